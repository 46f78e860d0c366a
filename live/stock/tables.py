"""Places and what lies there. `allotted` is ring-fenced for shows, so a show can never sell what the shop sells elsewhere."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Float
from sqlmodel import Field, SQLModel

from live.infra.columns import Moment, big, identity, moment, words


class Location(SQLModel, table=True):
    """A store. Its code is its name everywhere: in URLs, in Redis, on tickets."""

    __tablename__ = "location"
    __table_args__ = (CheckConstraint("code ~ '^[A-Za-z0-9_]{1,32}$'", name="code"),)

    code: str = words(primary_key=True)
    name_zh: str = words()
    name_en: str = words()
    address_zh: str = words("")
    address_en: str = words("")
    lat: float | None = Field(default=None, sa_type=Float)
    lon: float | None = Field(default=None, sa_type=Float)
    hours: str = words("")
    active: bool = True
    leader_point: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})  # a group leader hands out goods here


class Stock(SQLModel, table=True):
    """Units of a SKU at a location: `allotted` of `on_hand` belong to shows."""

    __tablename__ = "stock"
    __table_args__ = (CheckConstraint("0 <= allotted AND allotted <= on_hand", name="allotted"),)

    sku_id: int = big(foreign_key="sku.id", primary_key=True)
    location: str = words(foreign_key="location.code", primary_key=True)
    on_hand: int = big(0)
    allotted: int = big(0)


class StockChange(SQLModel, table=True):
    """Why `on_hand` changed: import, count, collected, returned. `cause` is unique, so nothing is counted twice."""

    __tablename__ = "stock_change"

    id: int | None = identity()
    sku_id: int = big(foreign_key="sku.id")
    location: str = words(foreign_key="location.code")
    qty: int = big()
    cause: str = words(unique=True)
    at: Moment = moment()
