"""What an offer of small teams is checked for. A fault is (field, why); None means sound."""

from __future__ import annotations

from live.offers.parties.rules import LEAST_SEATS, MOST_SEATS
from live.promotions.rules import MOST_MINUTES, Fault


def team_fault(size: int, team_minutes: int, units: int) -> Fault | None:
    """`units`: what all locations hold together; a single team at least must fit."""
    if not LEAST_SEATS <= size <= MOST_SEATS:
        return ("size", f"must be {LEAST_SEATS} to {MOST_SEATS}")
    if size > units:
        return ("size", "must not be more than the stock")
    if not 1 <= team_minutes <= MOST_MINUTES:
        return ("team_minutes", f"must be 1 to {MOST_MINUTES}")
    return None
