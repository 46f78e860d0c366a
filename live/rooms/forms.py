"""Bodies of the console's doors. Units stand in the names: `fen`, `minutes`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

RoomId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,32}$")]
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
# A play URL is a path of ours or http(s): nothing a page could be made to run.
Url = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500, pattern=r"^(|/[^/\\].*|https?://.+)$")]
Store = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,32}$")]
Fen = Annotated[int, Field(ge=1, le=100_000_000)]  # a million yuan: beyond it a digit was typed twice
Units = Annotated[int, Field(ge=1, le=1_000_000)]
PerPerson = Annotated[int, Field(ge=1, le=99)]
Minutes = Annotated[int, Field(ge=1, le=1440)]
StockForm = dict[Store, Units]


class Form(BaseModel):
    """The server refuses what it does not know."""

    model_config = ConfigDict(extra="forbid")


class Nothing(Form):
    """The address says it all."""


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
    """A sale to open."""

    sku: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    fen: Fen
    per_person: PerPerson
    stock: StockForm
    minutes: Minutes | None = None


class CouponForm(Form):
    """A coupon to drop."""

    off: Fen
    threshold: Annotated[int, Field(ge=0, le=100_000_000)]
    total: Units
    per_person: PerPerson = 1
    minutes: Minutes | None = None


class TierForm(Form):
    """From `seats` paid seats on everybody pays `fen`."""

    seats: Annotated[int, Field(ge=0, le=1_000_000)]
    fen: Fen


class GroupForm(Form):
    """A group buy to open."""

    sku: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    per_person: PerPerson
    stock: StockForm
    size: Units
    minimum: Units
    tiers: Annotated[list[TierForm], Field(min_length=1, max_length=10)]
    minutes: Minutes | None = None


class TeamForm(Form):
    """A group buy of many small teams to open: `size` seats each, `team_minutes` from the opener's payment."""

    sku: Annotated[str, StringConstraints(min_length=1, max_length=64)]
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
