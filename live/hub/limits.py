"""Token buckets of one socket. Made when first needed: a viewer who only watches has none."""

from __future__ import annotations


class Bucket:
    """`rate` tokens a second, at most `burst`."""

    __slots__ = ("at", "burst", "left", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst, self.left, self.at = rate, burst, burst, now

    def take(self, now: float, n: float = 1.0) -> float:
        """Take n tokens: 0.0 when they were there, else the seconds until they will be (nothing is taken)."""
        self.left = min(self.burst, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left >= n:
            self.left -= n
            return 0.0
        return (n - self.left) / self.rate
