"""A red packet: a sum that is cut into shares when it is dropped; the k-th in the books gets the k-th.

A fault is (field, why).

How the sum is cut (`split`), so that anybody can check a stored packet by its seed:
1. every share begins with the least it may be;
2. what remains of the sum is cut at random places, drawn evenly from all the ways to cut it, so that no place in the queue is better than
   another (the usual "up to twice the mean of what is left" makes late shares vary more than early ones);
3. what lies over the most a share may be is cut off and dealt out again in the same way among those below it, until nothing lies over.
"""

from __future__ import annotations

import random

Fault = tuple[str, str]

CURRENCIES = ("points", "coupon")
MOST_SHARES = 2_000  # the largest packet that live platforms allow
MOST_SUM = 10_000_000  # points, or fen: a hundred thousand yuan is a slip of the keyboard
MOST_WORD = 20  # characters people will type on a phone
LUCKIEST = 10  # of those who opened it, shown at the end


def terms_fault(currency: str, total: int, shares: int, least: int, threshold: int, word: str) -> Fault | None:
    """`total`: points, or fen when it is paid out in coupons, of which each is good from orders of `threshold` fen on (0: any order)."""
    if currency not in CURRENCIES:
        return ("currency", "must be points or coupon")
    if not 1 <= shares <= MOST_SHARES:
        return ("shares", f"must be 1 to {MOST_SHARES}")
    if least < 1:
        return ("least", "must be above 0")
    if not shares * least <= total <= MOST_SUM:
        return ("sum", f"must be {shares * least} to {MOST_SUM}")
    if threshold < 0 or (threshold and currency == "points"):
        return ("threshold", "is for coupons, and not negative")
    if threshold and total > shares * (threshold - 1):
        return ("threshold", "must be above the mean share: a coupon takes less off than the order it asks for")
    if len(word) > MOST_WORD:
        return ("word", f"must be {MOST_WORD} characters at most")
    return None


def split(total: int, shares: int, least: int, most: int, seed: str) -> list[int]:
    """Cut `total` into so many shares of `least` to `most` each, with exactly this sum; the same seed cuts the same way.

    ValueError when there is no way to.
    """
    if not (shares > 0 and least >= 0 and shares * least <= total <= shares * most):
        raise ValueError(f"{total} cannot be cut into {shares} shares of {least} to {most}")
    chance = random.Random(seed)  # noqa: S311 - its seed is secret and random; what is asked of it is that it can be repeated
    found = [least] * shares
    open_, rest = list(range(shares)), total - shares * least
    while rest:
        for at, part in zip(open_, _cut(rest, len(open_), chance), strict=True):
            found[at] += part
        rest = sum(max(0, share - most) for share in found)
        found = [min(share, most) for share in found]
        open_ = [at for at in open_ if found[at] < most]
    return found


def _cut(amount: int, parts: int, chance: random.Random) -> list[int]:
    """`amount` in so many parts, 0 among them, every way as likely: as bars between stars."""
    bars = sorted(chance.sample(range(amount + parts - 1), parts - 1))
    return [right - left - 1 for left, right in zip([-1, *bars], [*bars, amount + parts - 1], strict=True)]


def title(currency: str, total: int) -> tuple[str, str]:
    """What the card says, (zh, en)."""
    if currency == "points":
        return f"红包雨 {total} 积分", f"Red packets: {total} points"
    yuan, rest = divmod(total, 100)
    money = f"{yuan}.{rest:02d}" if rest else str(yuan)
    return f"红包雨 ¥{money} 优惠券", f"Red packets: ¥{money} in coupons"
