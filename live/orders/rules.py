"""The order machine and its sums. Pure: the standard library only, the clock is a parameter."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from functools import lru_cache

# Design, section 6. Money for a CANCELLED order is refunded with its attempt (`payments`) and leaves the order as it is; so
# does a group's difference, which `refunded` counts.
MOVES: dict[str, frozenset[str]] = {
    "AWAIT_PAY": frozenset({"PAID", "CLOSING"}),
    "CLOSING": frozenset({"PAID", "CANCELLED"}),  # "already paid" wins over closing
    "CANCELLED": frozenset(),
    "PAID": frozenset({"GROUP_WAIT", "ALLOCATED", "REFUNDING"}),
    "GROUP_WAIT": frozenset({"ALLOCATED", "REFUNDING"}),
    "ALLOCATED": frozenset({"READY", "REFUNDING"}),
    "READY": frozenset({"COLLECTED", "REFUNDING"}),
    "COLLECTED": frozenset({"REFUNDING"}),
    "REFUNDING": frozenset({"REFUNDED"}),
    "REFUNDED": frozenset(),
}
UNPAID = frozenset({"AWAIT_PAY", "CLOSING"})
REFUNDABLE = frozenset({"ALLOCATED", "READY"})  # a team in the making is left by nobody; what was collected goes another way
OF_THE_ORDER = ("buyer", "ladder", "group_failed")  # causes of refunds whose money is the order's own; `late` and `loser` are not
WHOLE = ("buyer", "group_failed")  # those that send everything back and end the order

LEAST_TO_PAY = timedelta(seconds=60)  # who was told "you got it" as the team's clock ran out can still pay

# Crockford's base32: no I, L, O, U to mistake. Two letters at a time.
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _LETTERS for second in _LETTERS]
_BITS = 50  # ten letters: at ten thousand orders a second the odds of a clash are some 1 in 70,000 an hour, and the unique key refuses it
_TICKS = 12  # a second: a day has 2 ** 20 of them, nearly


def legal(state: str, to: str) -> bool:
    """Whether an order in `state` may become `to`."""
    return to in MOVES[state]


def number(rid: str, now: datetime) -> str:
    """The order's number: the day (UTC) as yyMMdd, four letters for the time of day, ten derived from its rid.

    Numbers of one time lie side by side in every index, so a rush writes to a few pages of each and not to all of them.
    """
    digest = int.from_bytes(hashlib.sha256(rid.encode()).digest()[:8], "big") >> (64 - _BITS)
    return _moment(now) + "".join([_PAIRS[digest >> shift & 1023] for shift in range(_BITS - 10, -1, -10)])


@lru_cache(maxsize=4)  # a batch has one `now`
def _moment(now: datetime) -> str:
    utc = now.astimezone(UTC)
    tick = (utc.hour * 3600 + utc.minute * 60 + utc.second) * _TICKS + utc.microsecond * _TICKS // 1_000_000
    return f"{utc:%y%m%d}{_PAIRS[tick >> 10]}{_PAIRS[tick & 1023]}"


def pay_until(now: datetime, hold_seconds: int, closes_at: datetime | None) -> datetime:
    """When the hold ends; `closes_at`: the clock of its team, which no hold outlives but by the minute it takes to pay."""
    end = now + timedelta(seconds=hold_seconds)
    return end if closes_at is None else min(end, max(closes_at, now + LEAST_TO_PAY))


def payable(fen: int, discount: int) -> int:
    """What the buyer pays: never less than one fen, for the provider takes no less."""
    due = fen - discount
    if due < 1:
        raise ValueError(f"an order of {fen} fen less {discount} leaves nothing to pay")
    return due


def difference(line_fen: int, final_fen: int, qty: int, paid: int) -> int:
    """What goes back to one line of a group when it closes at `final_fen` each: never more than was `paid`, never less than 0."""
    return max(0, min((line_fen - final_fen) * qty, paid))


def refundable(paid: int, going_back: int) -> int:
    """What a full refund still sends back when `going_back` fen are back or on their way."""
    return max(0, paid - going_back)
