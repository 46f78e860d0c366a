"""The line before a sold-out offer: who may stand in it and what becomes of one whose turn it is. Pure."""

from __future__ import annotations

HOLD = "waitlist_hold"  # of an offer's terms: seconds to pay for what came back to somebody who waited; an offer without it has no line
PREFIX = "wait:"  # of the rid of an order that came out of the line: its HOLD took nothing at the turnstile
MOST = 10_000  # people in one line: whoever came later would be told a number that means nothing
SHOWN = 10  # whose numbers a whole room is told; those behind ask when they look
STATES = ("WAITING", "GIVEN", "LEFT", "SKIPPED", "CLOSED")


def rid(entry: int) -> str:
    """The request id of what this entry is given: whatever is repeated, it is one order."""
    return f"{PREFIX}{entry}"


def passed_over(promised_fen: int, fen: int) -> str | None:
    """Why somebody whose turn it is gets nothing, before their limit is looked at: nobody buys at a price they were not shown."""
    return "price" if fen > promised_fen else None


def worth_telling(waiting: int) -> bool:
    """Whether a line that grew to this many is news for the room: each of the first, then in steps of a tenth."""
    return waiting <= 2 * SHOWN or waiting % 10 ** (len(str(waiting)) - 2) == 0
