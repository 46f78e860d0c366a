"""When load is due, and how late the answers came. Open loop: a slow server does not slow the load down, it only makes latencies longer."""

from __future__ import annotations

import random
from collections.abc import Sequence


def arrivals(count: int, seconds: float, seed: int) -> list[float]:
    """`count` moments in [0, seconds), ascending: a Poisson process whose count is known, as crowds come. Same seed, same crowd."""
    chance = random.Random(seed)
    return sorted(chance.random() * seconds for _ in range(count))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all do not exceed; 0.0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    rank = min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))
    return ordered[rank]
