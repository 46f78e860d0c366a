"""Pure decisions about money: which state may follow which, how numbers are derived, when to ask again."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import timedelta

# Attempt: NEW (committed, provider not asked yet) -> SENT (the provider has it, the buyer may hold pay params) -> an end.
# Money beats belief: SUCCEEDED may follow CLOSED and FAILED, for the provider's word is about money that has moved. Nothing follows it.
ATTEMPT: dict[str, frozenset[str]] = {
    "NEW": frozenset({"SENT", "SUCCEEDED", "CLOSED", "FAILED"}),
    "SENT": frozenset({"SUCCEEDED", "CLOSED", "FAILED"}),
    "CLOSED": frozenset({"SUCCEEDED"}),
    "FAILED": frozenset({"SUCCEEDED"}),
    "SUCCEEDED": frozenset(),
}
OPEN_ATTEMPT = ("NEW", "SENT")  # may still bring money

# Refund: REQUESTED (asked by a buyer) -> DECLINED | APPROVED -> SENT (the provider may have it) -> DONE | FAILED.
# FAILED -> APPROVED: a person looked into it; the provider wants the same number again (WeChat Pay, "apply for refund").
REFUND: dict[str, frozenset[str]] = {
    "REQUESTED": frozenset({"APPROVED", "DECLINED"}),
    "DECLINED": frozenset(),
    "APPROVED": frozenset({"SENT", "DONE", "FAILED"}),
    "SENT": frozenset({"DONE", "FAILED"}),
    "FAILED": frozenset({"APPROVED", "DONE"}),
    "DONE": frozenset(),
}

TRADE_NO = re.compile(r"[A-Za-z0-9_\-*]{6,32}")  # WeChat Pay: out_trade_no, 6 to 32 of these
FIRST_WAIT = timedelta(seconds=2)  # a refund to a wallet takes a second or two
LONGEST_WAIT = timedelta(minutes=10)  # to a bank card up to three days; its notice usually comes first
REASON_BYTES = 80  # WeChat Pay's limit on a refund's reason


def attempt_may(state: str, following: str) -> bool:
    """Whether an attempt in `state` may become `following`."""
    return following in ATTEMPT[state]


def refund_may(state: str, following: str) -> bool:
    """Whether a refund in `state` may become `following`."""
    return following in REFUND[state]


def out_trade_no(order_no: str, number: int) -> str:
    """Our number of the `number`-th attempt (from 1) to pay an order. Readable where it fits, else a digest; always the same."""
    return _fit(f"{order_no}-{number}", f"trade\n{order_no}\n{number}")


def out_refund_no(order_no: str, cause: str) -> str:
    """Our number of the refund of an order for a cause: derived, so that a repeat is the same refund."""
    return _fit(f"R-{order_no}-{cause.replace(':', '-')}", f"refund\n{order_no}\n{cause}")


def cause_of(kind: str, attempt_id: int) -> str:
    """The cause of a refund that answers one attempt (`late`, `loser`): two attempts of an order may both need one."""
    return f"{kind}:{attempt_id}"


def refund_wait(age: timedelta) -> timedelta:
    """How long to wait before asking again about a refund of this age: half of it, so the pauses grow by themselves."""
    return min(max(age / 2, FIRST_WAIT), LONGEST_WAIT)


def clip(text: str, limit: int) -> str:
    """Text of at most `limit` bytes in UTF-8, cut between characters."""
    return text.encode()[:limit].decode(errors="ignore")


def _fit(readable: str, source: str) -> str:
    if TRADE_NO.fullmatch(readable):
        return readable
    digest = base64.b32encode(hashlib.sha256(source.encode()).digest()).decode()
    return f"X{digest[:31]}"  # 155 bits
