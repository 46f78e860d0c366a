"""Flash coupons: open and end a batch; lock, use and give back what a person holds.

A grant is always taken after its order's row, and several in one order of ids, so orders and coupons cannot wait for each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.catalog.queries import active_by_code, category_by_code
from live.infra import outbox
from live.infra.db import array
from live.offers.actions import open_offer
from live.offers.rules import ANYWHERE
from live.offers.tables import Offer
from live.promotions.actions import card, end_kind, refuse
from live.promotions.coupon import rules
from live.promotions.coupon.tables import CouponGrant
from live.promotions.coupon.terms import held, stored, told
from live.promotions.coupon.voiding import voids
from live.promotions.rules import closing, limits_fault
from live.protocol.codes import Code, Refusal
from live.protocol.events import GrantView, view


async def open_coupon(
    session: AsyncSession, *, room_id: str, off: int, threshold: int, total: int, per_person: int, minutes: int | None, now: datetime,
    **conditions: Any,
) -> Offer:
    """Drop `total` coupons of these terms (`conditions`: the other fields of `rules.Terms`). Refusal(BAD_REQUEST field why)."""
    terms = rules.Terms(off, threshold, **conditions)
    refuse(limits_fault(per_person, minutes), rules.terms_fault(terms, total, now, closing(now, minutes)))
    scope = await _scope(session, terms)
    zh, en = rules.title(terms)

    return await open_offer(
        session,
        room_id=room_id,
        kind="coupon",
        sku_id=None,
        fen=0,
        per_person=per_person,
        stock={ANYWHERE: total},
        terms=stored(terms, scope),
        view=lambda offer: card(offer, total, name={"zh": zh, "en": en}, coupon=told(terms, scope)),
        closes_at=closing(now, minutes),
        hold_seconds=0,  # a claimed coupon is not held: it is theirs
        now=now,
    )


async def _scope(session: AsyncSession, terms: rules.Terms) -> dict[str, Any]:
    """What the coupon is for, with the words that say so; empty for everything. Refusal(BAD_REQUEST field why)."""
    if terms.category is not None:
        shelf = await category_by_code(session, terms.category)
        if shelf is None:
            raise Refusal(Code.BAD_REQUEST, field="category", why="no such category")
        return {"category": shelf.code, "name": {"zh": shelf.name_zh, "en": shelf.name_en}}
    if not terms.skus:
        return {}
    found = await active_by_code(session, terms.skus)
    for code in terms.skus:
        if code not in found:
            raise Refusal(Code.BAD_REQUEST, field="skus", why=f"no such SKU: {code}")
    first, more = found[terms.skus[0]].title, len(terms.skus) - 1
    name = {"zh": f"{first['zh']}等 {more + 1} 种", "en": f"{first['en']} and {more} more"} if more else first
    return {"skus": list(terms.skus), "name": name}


async def end_coupon(session: AsyncSession, offer_id: int, now: datetime) -> Offer:
    """Nobody can claim it any more; what was claimed stays usable. Refusal(STATE) when it has ended."""
    return await end_kind(session, offer_id, "coupon", now)


async def lock(session: AsyncSession, grant_id: int, person: str, basket: rules.Basket, now: datetime) -> int:
    """Tie the coupon to the order in place of any other the order had. Returns the discount in fen, at least 1.

    Refusal(COUPON_NOT_USABLE why): unknown, or as `rules.fits` says.
    """
    # Rows in one order of ids: two orders that swap their coupons would else wait for each other. A new customer's coupons are locked
    # together, or two orders at once would each find that the other has none.
    first = and_(col(CouponGrant.person) == person, col(CouponGrant.audience) == "new")
    mine = or_(col(CouponGrant.id) == grant_id, col(CouponGrant.order_no) == basket.no, first)
    query = select(CouponGrant).where(mine).order_by(col(CouponGrant.id)).with_for_update().execution_options(populate_existing=True)
    grants = {grant.id: grant for grant in (await session.execute(query)).scalars()}
    wanted = grants.get(grant_id)
    if wanted is None or wanted.person != person:
        raise Refusal(Code.COUPON_NOT_USABLE, why="unknown")
    void = await voids(session, [wanted.offer_id])
    hand = [held(grant) for grant in grants.values() if grant.person == person]
    gain, why = rules.fits(held(wanted, bool(void)), rules.as_of(basket, hand), now)
    if why is not None:
        raise Refusal(Code.COUPON_NOT_USABLE, why=why)
    for other in grants.values():
        if other is not wanted and other.order_no == basket.no:  # at most one: order_no is unique
            await _let_go(session, other, now)
    if wanted.state != "LOCKED":
        await _move(session, wanted, "LOCKED", basket.no)
    return gain


async def unlock(session: AsyncSession, order_no: str, now: datetime) -> None:
    """The order is cancelled or does without: its coupon is free again, or over. Nothing happens when it had none."""
    grant = await _of(session, order_no)
    if grant is not None and grant.state == "LOCKED":
        await _let_go(session, grant, now)


async def use(session: AsyncSession, *order_nos: str) -> None:
    """These orders are paid."""
    await _tell(session, (await session.execute(_USE, {"nos": array(order_nos)})).all(), "USED")


async def give_back(session: AsyncSession, order_no: str, now: datetime) -> None:
    """The paid order was refunded in full: its coupon can be used again, unless its time has passed."""
    grant = await _of(session, order_no)
    if grant is not None and grant.state == "USED":
        await _let_go(session, grant, now)


async def expire_due(session: AsyncSession, now: datetime, limit: int = 500) -> int:
    """End up to `limit` coupons nobody used in time and tell their holders. Returns how many. What is being locked is left to its order."""
    done = (await session.execute(_EXPIRE, {"now": now, "most": limit})).all()
    await _tell(session, done, "EXPIRED")
    return len(done)


async def _tell(session: AsyncSession, rows: Sequence[Any], state: str) -> None:
    """Tell the holders of these (id, room, person, version, offer), in one row for each room."""
    by_room: dict[str, list[tuple[str, str, int, Mapping[str, Any]]]] = {}
    for grant, room, person, version, offer in rows:
        body = view(GrantView(id=grant, version=version, offer=offer, state=state))
        by_room.setdefault(room, []).append((person, f"coupon:{grant}", version, body))
    for room, news in sorted(by_room.items()):
        await outbox.tell_many(session, room, news)


_EXPIRE = text(
    "WITH due AS (SELECT id FROM coupon_grant"  # not `id IN (…)`: that may be looked up once a row, and ends more than the limit
    " WHERE state = 'CLAIMED' AND valid_until <= :now ORDER BY valid_until LIMIT :most FOR UPDATE SKIP LOCKED)"
    " UPDATE coupon_grant g SET state = 'EXPIRED', version = version + 1 FROM due WHERE g.id = due.id"
    " RETURNING g.id, g.room_id, g.person, g.version, g.offer_id"
)
_USE = text(
    "WITH locked AS (SELECT id FROM coupon_grant WHERE order_no = ANY(CAST(:nos AS text[])) AND state = 'LOCKED' ORDER BY id FOR UPDATE)"
    " UPDATE coupon_grant g SET state = 'USED', version = version + 1 FROM locked WHERE g.id = locked.id"
    " RETURNING g.id, g.room_id, g.person, g.version, g.offer_id"
)


async def _of(session: AsyncSession, order_no: str) -> CouponGrant | None:
    query = select(CouponGrant).where(col(CouponGrant.order_no) == order_no).with_for_update()
    return (await session.execute(query)).scalar_one_or_none()


async def _let_go(session: AsyncSession, grant: CouponGrant, now: datetime) -> None:
    void = (await voids(session, [grant.offer_id])).get(grant.offer_id)
    await _move(session, grant, "VOID" if void else "EXPIRED" if rules.over(grant.valid_until, now) else "CLAIMED", None, void)


async def _move(session: AsyncSession, grant: CouponGrant, state: str, order_no: str | None, void: str | None = None) -> None:
    assert state in rules.MOVES[grant.state], f"coupon {grant.id}: {grant.state} -> {state}"
    grant.state, grant.order_no, grant.version = state, order_no, grant.version + 1
    await session.flush()  # order_no is unique: one coupon must let go before the next takes it
    assert grant.id is not None
    news = GrantView(id=grant.id, version=grant.version, offer=grant.offer_id, state=state, void=void)
    await outbox.own(session, grant.room_id, grant.person, f"coupon:{grant.id}", grant.version, view(news))
