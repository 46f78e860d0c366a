"""Coupons people hold."""

from __future__ import annotations

from sqlalchemy import CheckConstraint
from sqlmodel import SQLModel

from live.infra.columns import Moment, big, identity, moment, words, words_or_none


class CouponGrant(SQLModel, table=True):
    """One coupon of one person. LOCKED by an order before its first payment attempt, USED when that is paid."""

    __tablename__ = "coupon_grant"
    __table_args__ = (
        CheckConstraint("state IN ('CLAIMED','LOCKED','USED','VOID')", name="state"),
        CheckConstraint("(state IN ('LOCKED','USED')) = (order_no IS NOT NULL)", name="order_no"),
    )

    id: int | None = identity()
    rid: str = words(unique=True)
    intent_id: str = words()
    offer_id: int = big(index=True)
    room_id: str = words()
    person: str = words(index=True)
    off: int = big()
    threshold: int = big()
    state: str = words("CLAIMED")
    order_no: str | None = words_or_none(unique=True)
    version: int = big(1)
    created_at: Moment = moment()
