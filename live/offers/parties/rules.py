"""The machine of a small team (a *party*, so that it is not mistaken for a room-wide group's team row). Pure: the clock is a parameter.

`opening` its opener has not paid -> `filling` anybody may join -> `closing` its clock is out, held seats still pay or are given up ->
`success` | `filled` (the shop fills the rest, visibly) | `failed`. The last seat *paid* is success, whatever the clock says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

STATES = ("opening", "filling", "closing", "success", "filled", "failed")
DECIDED = frozenset({"success", "filled", "failed"})
LEAST_SEATS, MOST_SEATS = 2, 50  # one is no team; fifty is what a clock of hours can fill
MOST_MINUTES = 1440  # a day, as every promotion's window
SHOW = "team.show"  # topic of the job that shows an offer's teams to its room; many changes in a moment are one picture
FORM = "team"  # of an offer's terms: a group buy of many small teams


@dataclass(frozen=True, slots=True)
class Seats:
    """A party under lock. `fills`: the shop takes the empty seats of one that ran out with at least its opener paid."""

    offer: int
    size: int
    held: int
    paid: int
    state: str
    closes_at: datetime | None = None
    fills: bool = False


def terms_fault(size: int, team_minutes: int, units: int) -> tuple[str, str] | None:
    """What an offer of small teams is checked for, (field, why). `units`: what all locations hold together; one team must fit."""
    if not LEAST_SEATS <= size <= MOST_SEATS:
        return ("size", f"must be {LEAST_SEATS} to {MOST_SEATS}")
    if size > units:
        return ("size", "must not be more than the stock")
    if not 1 <= team_minutes <= MOST_MINUTES:
        return ("team_minutes", f"must be 1 to {MOST_MINUTES}")
    return None


def seat_fault(party: Seats | None, offer: int, now: datetime) -> str | None:
    """Why nobody can take a seat here (a refusal code), None when there is one. `offer`: what the order is for."""
    if party is None or party.offer != offer or party.state != "filling" or (party.closes_at is not None and party.closes_at <= now):
        return "team_closed"
    return "team_full" if party.held + party.paid >= party.size else None


def take_seat(party: Seats) -> Seats:
    """One more seat is held by an order."""
    return replace(party, held=party.held + 1)


def pay_seat(party: Seats, now: datetime, minutes: int, until: datetime | None, ended: bool) -> Seats:
    """A held seat is paid. The opener's starts the clock: `minutes`, but not beyond `until`, when the offer ends; one that has `ended`
    lets nobody join any more."""
    paid = replace(party, held=party.held - 1, paid=party.paid + 1)
    if paid.state == "opening":
        clock = now + timedelta(minutes=minutes)
        paid = replace(paid, state="closing" if ended else "filling", closes_at=clock if until is None else min(clock, until))
    return decide(paid)


def leave_seat(party: Seats) -> Seats:
    """An unpaid order was given up. A party whose opener never paid ends with it: nobody else can be in it."""
    return decide(replace(party, held=party.held - 1))


def run_out(party: Seats) -> Seats:
    """The clock is out, or the offer has ended: nobody joins any more."""
    return decide(replace(party, state="closing")) if party.state == "filling" else party


def decide(party: Seats) -> Seats:
    """What follows from the seats alone. A decided party stays as it is."""
    if party.state in DECIDED:
        return party
    if party.paid == party.size:
        return replace(party, state="success")
    if party.held == 0 and party.state == "closing":
        return replace(party, state="filled" if party.fills else "failed")
    if party.held == 0 and party.state == "opening":
        return replace(party, state="failed")
    return party
