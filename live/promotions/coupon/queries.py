"""Coupons people hold, read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import epoch_ms
from live.promotions.coupon.tables import CouponGrant

PAGE = 50  # newest first; more coupons than this in one hand are not looked through on a phone


def shape(grant: CouponGrant) -> dict[str, Any]:
    """A coupon as the wire shows it: `{id, offer, state, off, threshold, order, created}`."""
    return {
        "id": grant.id,
        "offer": grant.offer_id,
        "state": grant.state,
        "off": grant.off,
        "threshold": grant.threshold,
        "order": grant.order_no,
        "created": epoch_ms(grant.created_at),
    }


async def coupons_of(session: AsyncSession, person: str, room: str | None = None) -> list[CouponGrant]:
    """What a person holds, newest first; `room` narrows it to coupons dropped there."""
    query = select(CouponGrant).where(col(CouponGrant.person) == person)
    if room is not None:
        query = query.where(col(CouponGrant.room_id) == room)
    return list((await session.execute(query.order_by(col(CouponGrant.id).desc()).limit(PAGE))).scalars())


async def by_rid(session: AsyncSession, rid: str) -> CouponGrant | None:
    """The coupon a tap led to."""
    return (await session.execute(select(CouponGrant).where(col(CouponGrant.rid) == rid))).scalar_one_or_none()


async def figures(session: AsyncSession, room: str) -> dict[str, int]:
    """`coupons_claimed` (all ever given out) and `coupons_used` (on paid orders) of a room."""
    used = func.count().filter(col(CouponGrant.state) == "USED")
    row = (await session.execute(select(func.count(), used).where(col(CouponGrant.room_id) == room))).one()
    return {"coupons_claimed": int(row[0]), "coupons_used": int(row[1])}
