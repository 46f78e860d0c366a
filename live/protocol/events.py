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
    """`off` fen, or `percent` and at most `off` fen, from goods of `threshold` fen on; `scope` names the goods, None is all of them."""

    off: Fen
    threshold: Fen
    percent: int | None = None
    scope: Names | None = None
    audience: Literal["all", "new"] = "all"  # new: for who has paid for no order yet
    watch: int | None = None  # minutes of the show to be watched before it can be claimed
    valid_seconds: int | None = None  # after the claim
    valid_until: EpochMs | None = None


class PacketTerms(Facts):
    """A red packet: `sum` points, or fen in coupons usable from orders of `threshold` fen on. `word`: a password opens it."""

    currency: Literal["points", "coupon"]
    sum: int
    threshold: Fen = 0
    word: bool = False


class TeamTerms(Facts):
    """Small teams: seats of each, and minutes from its opener's payment."""

    size: int
    minutes: int


class OfferView(Facts):
    """What a card shows of an offer; state key `offer:<id>`. Units left are `left:<id>`, seats `team:<id>`."""

    id: int
    kind: Literal["sale", "coupon", "group", "packet"]
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
    per_order: int | None = None  # units one order may take; None: as many as a person may have
    countdown: int | None = None  # of a sale: seconds before `opens` from which it counts down; 0: it was opened at once
    stopped: bool = False  # of a sale that ended: by hand, before its time was over or before it began
    unpaid: bool = False  # of a sale whose units are all taken: some are not paid yet and may come back
    void: str | None = None  # coupons, a packet's too, that were taken back: why
    packet: PacketTerms | None = None
    leader: str | None = None  # a group leader's group: the name; it is collected at the one place it is sold at
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


class PartyView(Facts):
    """One small team. `left`: seats neither paid nor held."""

    id: int
    size: int
    paid: int
    held: int
    left: int
    state: Literal["opening", "filling", "closing", "success", "filled", "failed"]
    closes: EpochMs | None  # None: its opener has not paid yet


class PartiesView(Facts):
    """State key `teams:<id>`: the small teams of an offer. `paid` and `held` are seats of all of them that did not fail; `open`: a few
    of those whose opener has paid and that are not decided, first those with a seat left, then the newest."""

    filling: int
    full: int  # of these: every seat is taken, and some wait for their payment
    made: int  # filled by the shop or not
    failed: int  # what nobody ever paid in is not counted
    paid: int
    held: int
    open: list[PartyView]


class FollowsView(Facts):
    """State key `follows`: how many follow the room; a room without it has never been followed."""

    followers: int


class WaitlistView(Facts):
    """State key `waitlist:<id>`: the line before a sale that is sold out; a sale without this key has none."""

    waiting: int
    first: list[int]  # entries of the first ten, in their order: those read their number here, whoever stands behind asks for it


class RoomView(Facts):
    """State key `room`."""

    phase: Literal["draft", "live", "ended"]
    title: Names
    pin: int | None  # the offer being explained
    began: EpochMs | None = None  # when the show that is on began
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
    void: str | None = None  # why its batch was taken back, when it is VOID


class PacketView(Facts):
    """Own event `packet`: one's share of the packet `id`: `amount` points, or fen of the coupon `grant`."""

    t: Literal["packet"] = "packet"
    id: int
    version: int
    offer: int
    currency: Literal["points", "coupon"]
    amount: int
    grant: int | None = None


class PrizeView(Facts):
    """Own event `prize`: one won in the draw `id`. `grant`: the coupon it is, if it is one; `points`: how many, if it is points."""

    t: Literal["prize"] = "prize"
    id: int
    version: int
    prize: Names
    grant: int | None = None
    points: int = 0


class Won(Facts):
    """A winner as everybody may see them. `ticket`: their name in the draw's proof."""

    ticket: str
    name: str


class DrawView(Facts):
    """State key `draw:<id>`. `commitment`: the SHA-256 of the seed, which is kept secret until it is `drawn`. `won`: in their order."""

    id: int
    phase: Literal["open", "drawn"]
    prize: Names
    winners: int  # at most
    entry: Literal["comment", "order", "follow"]
    word: str  # what a comment must contain; else empty
    opens: EpochMs
    closes: EpochMs
    commitment: str
    entrants: int | None = None
    won: list[Won] = Field(default_factory=list)


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
    """A sale, a coupon, a group buy or a packet was opened; its card follows in the same frame's state."""

    offer: int
    kind: Literal["sale", "coupon", "group", "packet"]


class OfferScheduled(Facts):
    """A sale was made for later; its card follows in the same frame's state."""

    offer: int
    kind: Literal["sale"]
    opens: EpochMs


class SaleStarted(Facts):
    """A sale made for later has started, by the server's clock a moment ago: whoever shows a countdown need not wait for this."""

    offer: int


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
    """Another price: a step of the ladder was reached, or the host changed it."""

    offer: int
    fen: Fen
    version: int


class TeamDone(Facts):
    """The group buy succeeded or failed."""

    offer: int
    state: Literal["success", "failed"]
    fen: Fen


class DrawOpened(Facts):
    """A draw can be entered; its card follows in the same frame's state."""

    draw: int


class DrawDone(Facts):
    """The winners of a draw, in their order."""

    draw: int
    entrants: int
    won: list[Won]


class CommentWithdrawn(Facts):
    """Remove this comment wherever it is shown."""

    id: str


CRITICAL: dict[str, type[Facts]] = {
    "room.opened": RoomOpened,
    "room.closed": RoomClosed,
    "offer.opened": OfferOpened,
    "offer.scheduled": OfferScheduled,
    "sale.started": SaleStarted,
    "offer.ended": OfferEnded,
    "offer.sold_out": SoldOut,
    "offer.back": BackOnSale,
    "offer.price": PriceFell,
    "room.pinned": Pinned,
    "team.done": TeamDone,
    "comment.withdrawn": CommentWithdrawn,
    "draw.opened": DrawOpened,
    "draw.done": DrawDone,
}

STATE: dict[str, type[Facts]] = {
    "offer": OfferView, "left": LeftView, "team": TeamView, "teams": PartiesView, "waitlist": WaitlistView, "room": RoomView,
    "draw": DrawView, "follows": FollowsView,
}  # fmt: skip


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
