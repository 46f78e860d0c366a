"""Every refusal and every close code, with who may come back. Texts in zh and en are in static/i18n, one entry per code."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any

PROTOCOL = 1


class Code(StrEnum):
    """Why something was refused. The value is what stands on the wire and is the key of its text (`no.<value>`)."""

    # buying
    SOLD_OUT = "sold_out"
    SOLD_OUT_PENDING = "sold_out_pending"  # {n}: that many units wait for their payment and may come back
    LIMIT = "limit"  # {allowed}
    ORDER_LIMIT = "order_limit"  # {allowed}: one order of it takes no more
    NOT_STARTED = "not_started"  # {at}
    ENDED = "ended"
    WRONG_WORD = "wrong_word"  # a packet that opens to who says its word
    WATCH_LONGER = "watch_longer"  # {minutes}: still to be watched of the show
    TEAM_FULL = "team_full"
    TEAM_CLOSED = "team_closed"  # that small team is not there, not paid for by its opener, or over
    PRICE_CHANGED = "price_changed"  # {fen, version}
    KEY_REUSED = "key_reused"
    FENCED = "fenced"  # stock is being rebuilt: the same key again in a moment
    BUSY = "busy"
    AGAIN = "again"  # the intent was lost before it was booked: resend the same key
    PENDING = "pending"  # not a refusal: the answer follows
    ON_SALE = "on_sale"  # {left}: nobody need wait for it, it can be bought
    NO_WAITLIST = "no_waitlist"  # {why}: this offer has none, or it is full
    # who
    IDENTIFY = "identify"  # needs an openid or a verified phone
    UNAUTHORISED = "unauthorised"
    EXPIRED = "expired"
    FORBIDDEN = "forbidden"
    WRONG_LOGIN = "wrong_login"
    WRONG_CODE = "wrong_code"
    LOCKED_OUT = "locked_out"  # {wait} seconds
    PASSWORD_CHANGE = "password_change"  # noqa: S105 - a code, not a password
    ORIGIN = "origin"
    # talking
    SLOW_DOWN = "slow_down"  # {wait} ms
    MUTED = "muted"
    BAD_WORDS = "bad_words"
    EMPTY = "empty"
    TOO_LONG = "too_long"  # {limit}
    # form
    BAD_REQUEST = "bad_request"  # {field, why}
    UNKNOWN = "unknown"
    NOT_FOUND = "not_found"
    ROOM_CLOSED = "room_closed"
    STATE = "state"  # {state}: the thing is not in a state that allows this
    TOO_LARGE = "too_large"
    ROWS = "rows"  # {errors: [{row, field, why}]}: an import, all or nothing
    # money, orders, coupons, pickup
    COUPON_NOT_USABLE = "coupon_not_usable"  # {why}
    GATEWAY = "gateway"  # the payment provider does not answer; try again
    NOT_ENOUGH_STOCK = "not_enough_stock"  # {have}
    WRONG_STORE = "wrong_store"  # {store}
    REFUND_OPEN = "refund_open"
    NOT_READY = "not_ready"
    UNAVAILABLE = "unavailable"


# Codes after which the same command may be sent again by the client itself.
RETRY = frozenset({Code.FENCED, Code.BUSY, Code.AGAIN, Code.SLOW_DOWN, Code.GATEWAY, Code.UNAVAILABLE})

STATUS: dict[Code, int] = {
    Code.UNAUTHORISED: 401, Code.EXPIRED: 401, Code.WRONG_LOGIN: 401, Code.IDENTIFY: 401,
    Code.FORBIDDEN: 403, Code.ORIGIN: 403, Code.MUTED: 403, Code.WRONG_STORE: 403, Code.PASSWORD_CHANGE: 403,
    Code.NOT_FOUND: 404, Code.UNKNOWN: 404,
    Code.BAD_REQUEST: 422, Code.ROWS: 422, Code.EMPTY: 422, Code.TOO_LONG: 422, Code.BAD_WORDS: 422, Code.WRONG_CODE: 422,
    Code.WRONG_WORD: 422,
    Code.TOO_LARGE: 413,
    Code.LOCKED_OUT: 429, Code.SLOW_DOWN: 429,
    Code.BUSY: 503, Code.FENCED: 503, Code.UNAVAILABLE: 503, Code.GATEWAY: 502,
}  # everything else: 409, the world is not as the caller thought  # fmt: skip


class Refusal(Exception):
    """A typed no. Raised by actions so that the transaction around them changes nothing; rendered once per door."""

    def __init__(self, code: Code, **facts: Any) -> None:
        super().__init__(code.value)
        self.code = code
        self.facts = facts

    @property
    def status(self) -> int:
        """The HTTP status of this refusal."""
        return STATUS.get(self.code, 409)

    def body(self) -> dict[str, Any]:
        """What follows `no` on the socket and what HTTP answers: `{code, retry, …facts}`."""
        return {"code": self.code.value, "retry": self.code in RETRY, **self.facts}


class Close(IntEnum):
    """Close codes. 4000-4499: come back (after the time in `bye`); 4500-4999: do not."""

    DRAIN = 4001  # this process stops; come back after `after` ms
    SLOW = 4002  # this socket could not keep up; resume
    SILENT = 4003  # nothing heard for too long
    EXPIRED = 4004  # the token ran out; get another and resume
    HELLO_LATE = 4005  # no hello within the limit
    FLOOD = 4006  # too many commands
    BAD_TOKEN = 4500
    BAD_FRAME = 4501  # a frame outside the protocol
    REVOKED = 4502  # banned, logged out or role changed
    NO_ROOM = 4503
    ROOM_CLOSED = 4504
    REPLACED = 4505  # this person opened more sockets than one has; the oldest goes
