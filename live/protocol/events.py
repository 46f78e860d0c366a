"""Events and state the server pushes. Each declares its lane; bodies are strict, so a wrong one fails when it is built.

Frames from the server, all JSON text:
`{"id": n, "ok": {…}}`, `{"id": n, "no": {code, retry, …}}`: the reply to command n;
`{"r": room, "s": top, "p": own top, "ev": [[seq, type, body], …], "st": {key: [version, value]}, "ch": [comment, …],
"v": [viewers, likes]}`: a tick; a critical one overtakes a running one, so `s`, `p` and versions may be older than those held: newest wins;
`{"own": [[p, previous p, body], …]}`: this person's own orders, coupons and tickets;
`{"reset": {"e", "s", "p", "snap"}}`: forget everything held, this is the room now; `{"stale": true}`: state was skipped, it follows;
`{"bye": {"code", "after", "why"}}`: always before a close.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from .commands import Strict

Fen = int
EpochMs = int


class Facts(Strict):
    """Base of every event body."""


class Names(Facts):
    """One text in both languages."""

    zh: str
    en: str


class Tier(Facts):
    """From this many paid seats on, everybody pays this."""

    seats: int
    fen: Fen


class CouponTerms(Facts):
    """`off` fen, from orders of `threshold` fen on."""

    off: Fen
    threshold: Fen


class TeamTerms(Facts):
    """Small teams: seats of each, and minutes from its opener's payment."""

    size: int
    minutes: int


class OfferView(Facts):
    """What a card shows of an offer; state key `offer:<id>`. Units left are `left:<id>`, seats `team:<id>`."""

    id: int
    kind: Literal["sale", "coupon", "group"]
    phase: Literal["open", "ended"]
    name: Names
    picture: str
    fen: Fen  # price of one now; 0 for a coupon
    list_fen: Fen  # the shop's own price
    version: int  # price version, sent back by a buyer
    per_person: int
    total: int
    opens: EpochMs
    closes: EpochMs | None
    sku: str | None = None
    coupon: CouponTerms | None = None
    tiers: list[Tier] | None = None
    minimum: int | None = None
    team: TeamTerms | None = None  # of a group of many small teams


class LeftView(Facts):
    """State key `left:<id>`, written by the stock scripts only: units left per store (`-` where there is none)."""

    left: dict[str, int]


class TeamView(Facts):
    """State key `team:<id>`: the bar of a group buy. Paid and held are shown apart."""

    size: int
    paid: int
    held: int
    minimum: int
    fen: Fen  # price everybody pays by now
    next: Tier | None  # the next step down, None on the last
    state: Literal["filling", "closing", "success", "failed"]


class WaitlistView(Facts):
    """State key `waitlist:<id>`: the line before a sale that is sold out; a sale without this key has none."""

    waiting: int
    first: list[int]  # entries of the first ten, in their order: those read their number here, whoever stands behind asks for it


class RoomView(Facts):
    """State key `room`."""

    phase: Literal["draft", "live", "ended"]
    title: Names
    pin: int | None  # the offer being explained
    notice: str = ""


class OrderView(Facts):
    """Own event `order`: one order as its buyer sees it."""

    t: Literal["order"] = "order"
    no: str
    version: int
    state: str
    fen: Fen  # to pay, or paid
    pay_until: EpochMs | None = None
    refunded: Fen = 0


class GrantView(Facts):
    """Own event `coupon`: one coupon as its holder sees it."""

    t: Literal["coupon"] = "coupon"
    id: int
    version: int
    offer: int
    state: str


class WaitView(Facts):
    """Own event `waitlist`: one's place in a line. `GIVEN`: it is theirs as `order`, to be paid by `pay_until`; `SKIPPED`: `why`."""

    t: Literal["waitlist"] = "waitlist"
    id: int
    version: int
    offer: int
    state: Literal["WAITING", "GIVEN", "LEFT", "SKIPPED", "CLOSED"]
    qty: int
    number: int | None = None  # in the line, 1 is next; while WAITING
    order: str | None = None
    pay_until: EpochMs | None = None
    why: Literal["limit", "price"] | None = None


# Critical events: type -> body. The order of a room's log is the order of these.
class RoomOpened(Facts):
    """The show began."""


class RoomClosed(Facts):
    """The show ended."""


class OfferOpened(Facts):
    """A sale, a coupon or a group buy was opened; its card follows in the same frame's state."""

    offer: int
    kind: Literal["sale", "coupon", "group"]


class OfferEnded(Facts):
    """An offer was ended by the host or the clock."""

    offer: int


class SoldOut(Facts):
    """The last unit was taken; held ones may come back."""

    offer: int


class BackOnSale(Facts):
    """Units came back or were added."""

    offer: int


class Pinned(Facts):
    """The host explains this now (None: nothing)."""

    offer: int | None


class PriceFell(Facts):
    """A step of the ladder was reached."""

    offer: int
    fen: Fen
    version: int


class TeamDone(Facts):
    """The group buy succeeded or failed."""

    offer: int
    state: Literal["success", "failed"]
    fen: Fen


class CommentWithdrawn(Facts):
    """Remove this comment wherever it is shown."""

    id: str


CRITICAL: dict[str, type[Facts]] = {
    "room.opened": RoomOpened,
    "room.closed": RoomClosed,
    "offer.opened": OfferOpened,
    "offer.ended": OfferEnded,
    "offer.sold_out": SoldOut,
    "offer.back": BackOnSale,
    "offer.price": PriceFell,
    "room.pinned": Pinned,
    "team.done": TeamDone,
    "comment.withdrawn": CommentWithdrawn,
}

STATE: dict[str, type[Facts]] = {"offer": OfferView, "left": LeftView, "team": TeamView, "waitlist": WaitlistView, "room": RoomView}


class Comment(Facts):
    """Chat lane: one comment. `at` is the server's clock."""

    id: str
    who: str
    name: str
    text: str
    at: EpochMs
    demo: bool = Field(default=False)  # written by the demo's synthetic crowd


def event(kind: str, body: Facts) -> list[Any]:
    """A critical event as the log keeps it: [type, body]. Raises TypeError when body and type do not belong together."""
    if type(body) is not CRITICAL[kind]:
        raise TypeError(f"{kind} takes {CRITICAL[kind].__name__}, not {type(body).__name__}")
    return [kind, body.model_dump(mode="json")]


def view(body: Facts) -> dict[str, Any]:
    """A state value or own body as it stands on the wire."""
    return body.model_dump(mode="json")
