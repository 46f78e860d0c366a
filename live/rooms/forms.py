"""Bodies of the console's doors. Units stand in the names: `fen`, `minutes`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from live.infra.doors import Form
from live.rooms.run_sheet.rules import LAST_MINUTE, MOST_ROWS

RoomId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,32}$")]
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
# A play URL is a path of ours or http(s): nothing a page could be made to run.
Url = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500, pattern=r"^(|/[^/\\].*|https?://.+)$")]
Store = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,32}$")]
Fen = Annotated[int, Field(ge=1, le=100_000_000)]  # a million yuan: beyond it a digit was typed twice
Units = Annotated[int, Field(ge=1, le=1_000_000)]
PerPerson = Annotated[int, Field(ge=1, le=99)]
EpochMs = Annotated[int, Field(ge=0, lt=2**43)]  # up to the year 2248
Minutes = Annotated[int, Field(ge=1, le=1440)]
Word = Annotated[str, StringConstraints(strip_whitespace=True, max_length=40)]
Code = Annotated[str, StringConstraints(min_length=1, max_length=64)]  # of a SKU, a category, a leader's account
StockForm = dict[Store, Units]


class NewRoom(Form):
    """A room to create."""

    id: RoomId
    title_zh: Title
    title_en: Title
    play_url: Url = ""
    poster: Url = ""


class RoomChange(Form):
    """What to change; absent parts stay."""

    title_zh: Title | None = None
    title_en: Title | None = None
    play_url: Url | None = None
    poster: Url | None = None


class PinForm(Form):
    """None: explain nothing."""

    offer: int | None


class SaleForm(Form):
    """A sale to open. `minutes` count from its start; `opens` None: now, else then, with `countdown` seconds shown before (None: 60)."""

    sku: Code
    fen: Fen
    per_person: PerPerson
    stock: StockForm
    minutes: Minutes | None = None
    per_order: PerPerson | None = None
    opens: EpochMs | None = None
    countdown: Annotated[int, Field(ge=10, le=300)] | None = None


class PriceForm(Form):
    """Another price of a sale."""

    fen: Fen


class SaleTime(Form):
    """Another time for a planned sale; `countdown` None: as it was."""

    opens: EpochMs
    countdown: Annotated[int, Field(ge=10, le=300)] | None = None


class CouponForm(Form):
    """A coupon to drop. `percent`: that share, at most `off`; for goods of `category`, or of `skus`, or for all; `watch`: minutes of the
    show to be watched before it can be claimed."""

    off: Fen
    threshold: Annotated[int, Field(ge=0, le=100_000_000)]
    total: Units
    per_person: PerPerson = 1
    minutes: Minutes | None = None
    percent: Annotated[int, Field(ge=1, le=99)] | None = None
    category: Code | None = None
    skus: Annotated[list[Code], Field(max_length=50)] = Field(default_factory=list)
    audience: Literal["all", "new"] = "all"
    watch: Minutes | None = None
    valid_seconds: Annotated[int, Field(ge=60, le=31_536_000)] | None = None
    valid_until: Annotated[int, Field(ge=0, lt=2**43)] | None = None  # epoch ms


class VoidForm(Form):
    """A batch of coupons to take back, for a reason its holders read."""

    reason: Title


class TierForm(Form):
    """From `seats` paid seats on everybody pays `fen`."""

    seats: Annotated[int, Field(ge=0, le=1_000_000)]
    fen: Fen


class GroupForm(Form):
    """A group buy to open."""

    sku: Code
    per_person: PerPerson
    stock: StockForm
    size: Units
    minimum: Units
    tiers: Annotated[list[TierForm], Field(min_length=1, max_length=10)]
    minutes: Minutes | None = None


class PacketForm(Form):
    """A red packet to drop: `sum` points, or fen in coupons, cut into so many shares. `word`: what has to be said to open it."""

    currency: Literal["points", "coupon"]
    sum: Fen
    shares: Units
    least: Fen = 1
    threshold: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    word: Word = ""
    minutes: Minutes | None = None


class DrawForm(Form):
    """A draw to open: a prize in words, a coupon of `off` fen, or `points`. Entered by a comment with `word`, by an order that is
    paid for, or by a press that follows the room."""

    prize_zh: Annotated[str, StringConstraints(strip_whitespace=True, max_length=60)] = ""
    prize_en: Annotated[str, StringConstraints(strip_whitespace=True, max_length=60)] = ""
    off: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    threshold: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    points: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    winners: Units
    entry: Literal["comment", "order", "follow"]
    word: Word = ""
    minutes: Minutes


class LeaderGroupForm(Form):
    """A group leader's group: one price, a cut-off, a minimum, collected at the leader's point."""

    sku: Code
    leader: Code
    fen: Fen
    size: Units
    minimum: Units
    per_person: PerPerson
    minutes: Minutes


class TeamForm(Form):
    """A group buy of many small teams to open: `size` seats each, `team_minutes` from the opener's payment."""

    sku: Code
    fen: Fen
    stock: StockForm
    size: Annotated[int, Field(ge=2, le=50)]
    team_minutes: Minutes
    fills: bool = False
    minutes: Minutes | None = None


class StockAdd(Form):
    """Units to add to a running offer."""

    location: Annotated[str, StringConstraints(min_length=1, max_length=32)]
    qty: Units


class MuteForm(Form):
    """`minutes` None: for good. `on` false: may comment again."""

    who: Annotated[str, StringConstraints(pattern=r"^[gp]:[A-Za-z0-9_-]{1,64}$")]
    minutes: Annotated[int, Field(ge=1, le=525_600)] | None = None
    on: bool = True


class PinProduct(Form):
    """Explain the newest open offer of these goods (None: nothing). A plan is made before there are offers to name."""

    sku: Code | None


class RowForm(Form):
    """A row of a run sheet. `settings` are what the form of its `kind` takes; `minute` counts from the show's start; `pins`: what it opens
    is explained at once."""

    minute: Annotated[int, Field(ge=0, le=LAST_MINUTE)]
    kind: str
    settings: dict[str, Any]
    pins: bool = False
    note: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)] = ""


class RowChange(RowForm):
    """A whole row anew. `version`: of the row as it was seen."""

    version: int


class RowSeen(Form):
    """The row as it was seen: whoever has not seen its last change decides nothing about it."""

    version: int


class RowMove(RowSeen):
    """To stand before another row; None: last."""

    before: int | None


class RowStart(RowSeen):
    """`key`: of this press of the button, so that a resend is not a second one."""

    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]


class RowsForm(Form):
    """Rows to add, all or none."""

    rows: Annotated[list[RowForm], Field(min_length=1, max_length=MOST_ROWS)]


class CopyForm(Form):
    """The room whose rows to add."""

    room: RoomId
