"""Coupons people hold."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import SQLModel

from live.infra.columns import Moment, big, big_or_none, document, identity, moment, moment_or_none, words, words_or_none


class CouponVoid(SQLModel, table=True):
    """A batch that was taken back, and why. `done_at`: no grant of it is left to be marked."""

    __tablename__ = "coupon_void"

    offer_id: int = big(foreign_key="offer.id", primary_key=True)
    reason: str = words()
    by_staff: int | None = big_or_none(foreign_key="staff.id")
    at: Moment = moment()
    done_at: Moment | None = moment_or_none()


class CouponGrant(SQLModel, table=True):
    """One coupon of one person, with the terms of its batch as they were. LOCKED by an order before its first payment attempt, USED
    when that is paid. `scope`: {category or skus, name}, empty for everything."""

    __tablename__ = "coupon_grant"
    __table_args__ = (
        CheckConstraint("state IN ('CLAIMED','LOCKED','USED','EXPIRED','VOID')", name="state"),
        CheckConstraint("(state IN ('LOCKED','USED')) = (order_no IS NOT NULL)", name="order_no"),
        CheckConstraint("percent BETWEEN 1 AND 99", name="percent"),
        CheckConstraint("audience IN ('all','new')", name="audience"),
        Index("ix_coupon_grant_ends", "valid_until", postgresql_where=text("state = 'CLAIMED' AND valid_until IS NOT NULL")),
    )

    id: int | None = identity()
    rid: str = words(unique=True)
    intent_id: str = words()
    offer_id: int = big(index=True)
    room_id: str = words()
    person: str = words(index=True)
    off: int = big()
    threshold: int = big()
    percent: int | None = big_or_none()
    scope: dict[str, Any] = document(default_factory=dict)
    audience: str = words("all")
    valid_until: Moment | None = moment_or_none()
    state: str = words("CLAIMED")
    order_no: str | None = words_or_none(unique=True)
    version: int = big(1)
    created_at: Moment = moment()
