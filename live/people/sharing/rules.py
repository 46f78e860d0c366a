"""Who brought whom, and who is credited with what they buy. Pure: the clock is a parameter.

A **first touch** is the first link of another that somebody opened: kept on the person for good, it is their place in the tree of
inviters. The **last touch** is the newest link opened before an order; it is credited when it is not older than `WINDOW`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

WINDOW = timedelta(days=7)  # what live platforms count as bought because of a show: in it, or within 7 days after
DEPTH = 10  # inviters above a person that are kept: enough to explain any chain, and a bound for the row
TOUCHES_A_DAY = 20  # of one person: more is a program, not somebody who reads
SAME = timedelta(hours=1)  # the same link opened again within this (a reload) is one touch


def path(sharer: str, above: Sequence[str]) -> list[str]:
    """Inviters of somebody this sharer brought, the nearest first. `above`: the sharer's own."""
    return [sharer, *above][:DEPTH]


def attribution(first: Mapping[str, Any], last: str | None, leader: str | None) -> dict[str, Any]:
    """What is frozen on an order; {} when nobody brought the buyer.

    `credit` is one subject and `rule` says why it is this one: an order of a leader's group is the leader's, else the last touch counts.
    """
    credit = leader or last
    found = {"first": first.get("by"), "path": first.get("path"), "last": last, "leader": leader, "credit": credit}
    found["rule"] = "leader" if leader else "last_touch" if last else None
    return {name: value for name, value in found.items() if value}
