"""A room-wide group buy: everybody pays the price of the moment, it falls as paid seats fill, and differences go back at the close.

Tiers are (seats, fen): from that many paid seats on, everybody pays that. A fault is (field, why); None means sound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Tier = tuple[int, int]
Fault = tuple[str, str]

LEAST_SIZE = 2  # one is not a group
MOST_TIERS = 10  # what a progress bar can show on a phone


def tiers_fault(tiers: Sequence[Tier], size: int) -> Fault | None:
    """The ladder starts at no seats, rises strictly in seats, falls strictly in price and ends within the team's size."""
    if not 1 <= len(tiers) <= MOST_TIERS:
        return ("tiers", f"must be 1 to {MOST_TIERS} steps")
    if tiers[0][0] != 0:
        return ("tiers.0.seats", "the first step must start at 0 seats")
    for at, (seats, fen) in enumerate(tiers):
        if fen < 1:
            return (f"tiers.{at}.fen", "must be at least 1 fen")
        if at and seats <= tiers[at - 1][0]:
            return (f"tiers.{at}.seats", "must be more than the step before")
        if at and fen >= tiers[at - 1][1]:
            return (f"tiers.{at}.fen", "must be less than the step before")
        if seats > size:
            return (f"tiers.{at}.seats", "must not be more than the size of the group")
    return None


def team_fault(size: int, minimum: int, units: int) -> Fault | None:
    """`units`: what all locations hold together; every seat needs one."""
    if size < LEAST_SIZE:
        return ("size", f"must be at least {LEAST_SIZE}")
    if size > units:
        return ("size", "must not be more than the stock")
    if not 1 <= minimum <= size:
        return ("minimum", "must be 1 to the size of the group")
    return None


def leader_fault(size: int, minimum: int, minutes: int | None) -> Fault | None:
    """A leader's group ends at its cut-off, and needs fewer than it can take: else one who leaves would undo it for everybody."""
    if minutes is None:
        return ("minutes", "a leader's group needs a cut-off")
    if minimum >= size:
        return ("minimum", "must be less than the size of the group")
    return None


def fen_at(tiers: Sequence[Tier], paid: int) -> int:
    """Price of one with this many paid seats."""
    return next(fen for seats, fen in reversed(tiers) if seats <= paid)


def next_tier(tiers: Sequence[Tier], paid: int) -> Tier | None:
    """The step that is not reached yet, None on the last."""
    return next((tier for tier in tiers if tier[0] > paid), None)


def outcome(paid: int, minimum: int) -> str:
    """How a team ends once no seat waits for its payment any more."""
    return "success" if paid >= minimum else "failed"


def ladder(terms: Mapping[str, Any]) -> list[Tier]:
    """The steps kept in an offer's terms."""
    return [(int(step["seats"]), int(step["fen"])) for step in terms["tiers"]]


def bar(team: Mapping[str, Any], terms: Mapping[str, Any]) -> dict[str, Any]:
    """The state value `team:<offer id>`, from the team's row and its offer's terms. The ledger, which changes held seats, uses it too."""
    tiers, paid = ladder(terms), int(team["paid"])
    step = next_tier(tiers, paid)
    return {
        "size": int(team["size"]),
        "paid": paid,
        "held": int(team["held"]),
        "minimum": int(team["minimum"]),
        "fen": fen_at(tiers, paid),
        "next": {"seats": step[0], "fen": step[1]} if step else None,
        "state": str(team["state"]),
    }
