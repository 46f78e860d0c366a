"""A flash sale's state is read off its facts and the clock; nothing stores it a second time, so it cannot differ from them.

SCHEDULED → COUNTDOWN → RUNNING ⇄ SOLD_OUT → ENDED | STOPPED. Whether somebody may buy is decided by the same facts in the turnstile.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Fault = tuple[str, str]  # field, why
State = Literal["SCHEDULED", "COUNTDOWN", "RUNNING", "SOLD_OUT", "ENDED", "STOPPED"]

AHEAD = timedelta(days=7)  # beyond that a show is planned, not a sale of it; and its goods would be kept from the shop for as long
COUNTDOWN = (10, 300)  # seconds, as the large platforms allow: shorter and nobody sees it, longer and nobody stays for it
NO_COUNTDOWN = 0  # of a sale that was opened at once
USUAL_COUNTDOWN = 60

# What may follow what, in one step of the clock, of the stock or of the host.
NEXT: dict[State, frozenset[State]] = {
    "SCHEDULED": frozenset({"COUNTDOWN", "STOPPED"}),
    "COUNTDOWN": frozenset({"RUNNING", "STOPPED"}),
    "RUNNING": frozenset({"SOLD_OUT", "ENDED", "STOPPED"}),
    "SOLD_OUT": frozenset({"RUNNING", "ENDED", "STOPPED"}),
    "ENDED": frozenset(),
    "STOPPED": frozenset(),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the books know of a sale. `countdown`: seconds before `opens_at`; `closes_at` None: until it is stopped; `left`: units of all
    stores; `ended`: the books are closed, by whomever; `stopped`: by hand."""

    opens_at: datetime
    closes_at: datetime | None
    countdown: int
    left: int
    ended: bool = False
    stopped: bool = False


def state(sale: Facts, now: datetime) -> State:
    """The state at `now`, by the server's clock. A sale whose time is over is ENDED although no sweep has closed its books yet."""
    if sale.stopped:
        return "STOPPED"
    if sale.ended or (sale.closes_at is not None and now >= sale.closes_at):
        return "ENDED"
    if now < sale.opens_at - timedelta(seconds=sale.countdown):
        return "SCHEDULED"
    if now < sale.opens_at:
        return "COUNTDOWN"
    return "RUNNING" if sale.left > 0 else "SOLD_OUT"


def by_hand(opens_at: datetime, closes_at: datetime | None, now: datetime, asked: bool) -> bool:
    """Whether closing the books now is STOPPED rather than ENDED: somebody `asked` for it before its time was over, or it never began."""
    return now < opens_at or (asked and (closes_at is None or now < closes_at))


def schedule_fault(opens_at: datetime | None, countdown: int | None, now: datetime) -> Fault | None:
    """When it starts and how long before that it counts down; `opens_at` None: at once, without a countdown."""
    if opens_at is None:
        return None if countdown is None else ("countdown", "only of a sale that starts later")
    if not now < opens_at <= now + AHEAD:
        return ("opens", f"must be in the future, within {AHEAD.days} days")
    least, most = COUNTDOWN
    if countdown is not None and not least <= countdown <= most:
        return ("countdown", f"must be {least} to {most}")
    return None


def per_order_fault(per_order: int | None, per_person: int) -> Fault | None:
    """Units one order may take; None: as many as a person may have."""
    return None if per_order is None or 1 <= per_order <= per_person else ("per_order", f"must be 1 to {per_person}")
