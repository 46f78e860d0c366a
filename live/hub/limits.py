"""Token buckets. Made when first needed: a viewer who only watches has none."""

from __future__ import annotations


class Bucket:
    """`rate` tokens a second, at most `burst`. Who goes on asking when there are none falls into debt, at most `debt`."""

    __slots__ = ("at", "burst", "debt", "left", "rate")

    def __init__(self, rate: float, burst: float, now: float, debt: float = 0.0) -> None:
        self.rate, self.burst, self.left, self.at, self.debt = rate, burst, burst, now, debt

    def take(self, now: float, n: float = 1.0) -> float:
        """Take n tokens: 0.0 when they were there, else the seconds until they will be."""
        self.left = min(self.burst, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left >= n:
            self.left -= n
            return 0.0
        if self.left - n >= -self.debt:
            self.left -= n
        return (n - self.left) / self.rate

    @property
    def hopeless(self) -> bool:
        """The debt is used up: this is no impatient person any more."""
        return self.left - 1 < -self.debt


class Purse:
    """What one person may still say and buy, however many sockets they have."""

    __slots__ = ("buys", "says")

    def __init__(self, says: Bucket, buys: Bucket) -> None:
        self.says, self.buys = says, buys

    def full(self, now: float) -> bool:
        """Untouched for so long that a new one would be the same."""
        return all(now - bucket.at > bucket.burst / bucket.rate for bucket in (self.says, self.buys))
