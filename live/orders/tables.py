"""Orders and their lines, without foreign keys (see `offers.tables.Movement`).

A line is a snapshot: a product renamed or deleted later changes no order.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import SQLModel

from live.infra.columns import Moment, big, big_or_none, document, identity, moment, moment_or_none, words

STATES = ("AWAIT_PAY", "CLOSING", "CANCELLED", "PAID", "GROUP_WAIT", "ALLOCATED", "READY", "COLLECTED", "REFUNDING", "REFUNDED")


class Order(SQLModel, table=True):
    """One order, collected at one store. `fen` = units x price; `payable` = fen - discount; `refunded` is what went back."""

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint("state IN ('" + "','".join(STATES) + "')", name="state"),
        CheckConstraint("fen >= 0 AND discount >= 0 AND discount <= fen", name="discount"),
        CheckConstraint("0 <= refunded AND refunded <= fen - discount", name="refunded"),
        Index("ix_orders_due", "pay_until", postgresql_where=text("state IN ('AWAIT_PAY','CLOSING')")),
        Index("ix_orders_person", "person", "id"),
        Index("ix_orders_credit", "room_id", text("(attribution ->> 'credit')"), postgresql_where=text("attribution ? 'credit'")),
        Index("ix_orders_party", "party_id", "id", postgresql_where=text("party_id IS NOT NULL")),
        Index("ix_orders_team", "team_id", "id", postgresql_where=text("team_id IS NOT NULL")),
    )

    id: int | None = identity()
    no: str = words(unique=True)
    rid: str = words(unique=True)
    intent_id: str = words()
    room_id: str = words(index=True)
    person: str = words()
    channel: str = words("live")  # live, group
    fulfilment: str = words("store_pickup")
    location: str = words()
    state: str = words("AWAIT_PAY")
    version: int = big(1)
    fen: int = big()
    discount: int = big(0)
    refunded: int = big(0)
    grant_id: int | None = big_or_none()
    team_id: int | None = big_or_none()
    party_id: int | None = big_or_none()
    pay_until: Moment = moment()
    paid_at: Moment | None = moment_or_none()
    attribution: dict[str, Any] = document(default_factory=dict)  # written once, when it is paid: `attribution.py`
    created_at: Moment = moment()


class OrderLine(SQLModel, table=True):
    """`fen` is the price of one, promised when the hold was made."""

    __tablename__ = "order_line"
    __table_args__ = (CheckConstraint("qty > 0", name="qty"),)

    order_no: str = words(primary_key=True)
    line: int = big(primary_key=True)
    offer_id: int = big(index=True)
    sku_id: int = big()
    sku: str = words()
    name_zh: str = words()
    name_en: str = words()
    picture: str = words("")
    qty: int = big()
    fen: int = big()
    price_version: int = big()
