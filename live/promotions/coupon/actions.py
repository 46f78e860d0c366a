"""Flash coupons: open and end a batch; lock, use and give back what a person holds.

A grant is always taken after its order's row, so orders and coupons cannot wait for each other.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra import outbox
from live.infra.db import epoch_ms
from live.offers.actions import open_offer
from live.offers.rules import ANYWHERE
from live.offers.tables import Offer
from live.promotions.actions import end_kind, refuse
from live.promotions.coupon import rules
from live.promotions.coupon.tables import CouponGrant
from live.promotions.rules import closing, limits_fault
from live.protocol.codes import Code, Refusal
from live.protocol.events import CouponTerms, GrantView, Names, OfferView, view


async def open_coupon(
    session: AsyncSession, *, room_id: str, off: int, threshold: int, total: int, per_person: int, minutes: int | None, now: datetime
) -> Offer:
    """Drop `total` coupons of `off` fen, usable on orders of `threshold` fen on. Refusal(BAD_REQUEST field why)."""
    refuse(rules.terms_fault(off, threshold, total), limits_fault(per_person, minutes))
    zh, en = rules.title(off, threshold)

    def card(offer: Offer) -> OfferView:
        return OfferView(
            id=int(offer.id or 0),
            kind="coupon",
            phase="open",
            name=Names(zh=zh, en=en),
            picture="",
            fen=0,
            list_fen=0,
            version=offer.price_version or 1,
            per_person=per_person,
            total=total,
            opens=epoch_ms(now),
            closes=epoch_ms(offer.closes_at) if offer.closes_at else None,
            coupon=CouponTerms(off=off, threshold=threshold),
        )

    return await open_offer(
        session,
        room_id=room_id,
        kind="coupon",
        sku_id=None,
        fen=0,
        per_person=per_person,
        stock={ANYWHERE: total},
        terms={"off": off, "threshold": threshold},
        view=card,
        closes_at=closing(now, minutes),
        hold_seconds=0,  # a claimed coupon is not held: it is theirs
        now=now,
    )


async def end_coupon(session: AsyncSession, offer_id: int, now: datetime) -> Offer:
    """Nobody can claim it any more; what was claimed stays usable. Refusal(STATE) when it has ended."""
    return await end_kind(session, offer_id, "coupon", now)


async def lock(session: AsyncSession, grant_id: int, person: str, order_no: str, order_fen: int) -> int:
    """Tie the coupon to the order in place of any other the order had. Returns the discount in fen, at least 1.

    Refusal(COUPON_NOT_USABLE why): unknown, locked (by another order), used, void, threshold.
    """
    # Both rows in one order of ids: two orders that swap their coupons would else wait for each other.
    mine = or_(col(CouponGrant.id) == grant_id, col(CouponGrant.order_no) == order_no)
    rows = await session.execute(select(CouponGrant).where(mine).order_by(col(CouponGrant.id)).with_for_update())
    grants = {grant.id: grant for grant in rows.scalars()}
    wanted = grants.pop(grant_id, None)
    if wanted is None or wanted.person != person:
        raise Refusal(Code.COUPON_NOT_USABLE, why="unknown")
    gain = rules.discount(wanted.off, wanted.threshold, order_fen)
    why = rules.unusable(wanted.state, wanted.order_no, order_no, gain)
    if why is not None:
        raise Refusal(Code.COUPON_NOT_USABLE, why=why)
    for other in grants.values():  # at most one: order_no is unique
        await _move(session, other, "CLAIMED", None)
    if wanted.state != "LOCKED":
        await _move(session, wanted, "LOCKED", order_no)
    return gain


async def unlock(session: AsyncSession, order_no: str) -> None:
    """The order is cancelled or does without: its coupon is free again. Nothing happens when it had none."""
    grant = await _of(session, order_no)
    if grant is not None and grant.state == "LOCKED":
        await _move(session, grant, "CLAIMED", None)


async def use(session: AsyncSession, order_no: str) -> None:
    """The order is paid."""
    grant = await _of(session, order_no)
    if grant is not None and grant.state == "LOCKED":
        await _move(session, grant, "USED", order_no)


async def give_back(session: AsyncSession, order_no: str) -> None:
    """The paid order was refunded in full: its coupon can be used again."""
    grant = await _of(session, order_no)
    if grant is not None and grant.state == "USED":
        await _move(session, grant, "CLAIMED", None)


async def _of(session: AsyncSession, order_no: str) -> CouponGrant | None:
    query = select(CouponGrant).where(col(CouponGrant.order_no) == order_no).with_for_update()
    return (await session.execute(query)).scalar_one_or_none()


async def _move(session: AsyncSession, grant: CouponGrant, state: str, order_no: str | None) -> None:
    assert state in rules.MOVES[grant.state], f"coupon {grant.id}: {grant.state} -> {state}"
    grant.state, grant.order_no, grant.version = state, order_no, grant.version + 1
    await session.flush()  # order_no is unique: one coupon must let go before the next takes it
    assert grant.id is not None
    told = GrantView(id=grant.id, version=grant.version, offer=grant.offer_id, state=state)
    await outbox.own(session, grant.room_id, grant.person, f"coupon:{grant.id}", grant.version, view(told))
