"""Coupons people hold, read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import epoch_ms
from live.promotions.coupon import rules
from live.promotions.coupon.tables import CouponGrant
from live.promotions.coupon.terms import held, told
from live.promotions.coupon.voiding import voids

PAGE = 50  # newest first; more coupons than this in one hand are not looked through on a phone
MOST_HELD = 200  # unused coupons the best is chosen from


def shape(grant: CouponGrant, void: Mapping[int, str] = {}) -> dict[str, Any]:
    """A coupon as the wire shows it: `{id, offer, state, void, off, threshold, percent, scope, audience, valid_until, order, created}`.

    `void`: the batches that are, and why; the coupon's own is told while it is void."""
    one = held(grant, grant.offer_id in void)
    facts = told(one.terms, grant.scope)
    del facts["valid_seconds"], facts["watch"]  # of the batch: here the one has become a moment, and the other is done
    return {
        "id": grant.id,
        "offer": grant.offer_id,
        "state": one.state,
        "void": void.get(grant.offer_id) if one.state == "VOID" else None,
        **facts,
        "order": grant.order_no,
        "created": epoch_ms(grant.created_at),
    }


async def choice(session: AsyncSession, person: str, basket: rules.Basket, now: datetime) -> dict[str, Any]:
    """What of a person's hand goes on this order: `{best: id or None, usable: [coupon + gain], others: [coupon + why]}`, best first.

    Looks at what is not used yet, whatever room it was dropped in; of more than MOST_HELD at the newest.
    """
    mine = col(CouponGrant.person) == person
    query = select(CouponGrant).where(mine, col(CouponGrant.state).in_(("CLAIMED", "LOCKED")))
    grants = {grant.id: grant for grant in (await session.execute(query.order_by(col(CouponGrant.id).desc()).limit(MOST_HELD))).scalars()}
    void = await voids(session, [grant.offer_id for grant in grants.values()])
    hand = [held(grant, grant.offer_id in void) for grant in grants.values()]
    usable, others = rules.choose(hand, rules.as_of(basket, hand), now)
    return {
        "best": usable[0][0].id if usable else None,
        "usable": [{**shape(grants[one.id]), "gain": gain} for one, gain in usable],
        "others": [{**shape(grants[one.id], void), "why": why} for one, why in others],
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
