"""A batch of coupons taken back by its host; what a red packet gave in coupons is a batch too.

Nobody claims from it any more, and what was claimed and not used is void at once: `lock` and `choice` ask for the batch. The grants
themselves are marked a sweep at a time, however many there are, and their holders told why. What an order holds stays with that order; if
it lets go of its coupon, unpaid or refunded in full, that is void too.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra import outbox
from live.offers.actions import lock_offer
from live.offers.tables import Offer
from live.promotions.actions import end_kind
from live.promotions.coupon.tables import CouponVoid
from live.protocol.codes import Code, Refusal
from live.protocol.events import GrantView, view

AT_ONCE = 500  # grants in one sweep: a row of news for each
LATE = timedelta(minutes=10)  # after a void the ledger may still book what the turnstile let through before it


async def void_coupon(session: AsyncSession, offer_id: int, reason: str, staff: int | None, now: datetime) -> Offer:
    """Take a batch back, for a reason its holders read. Refusal(NOT_FOUND), or (STATE) when it is void already."""
    offer = await lock_offer(session, offer_id)
    if offer.kind != "coupon" and offer.terms.get("currency") != "coupon":
        raise Refusal(Code.NOT_FOUND, what="coupon")
    if await session.get(CouponVoid, offer_id) is not None:
        raise Refusal(Code.STATE, state="void")
    session.add(CouponVoid(offer_id=offer_id, reason=reason, by_staff=staff, at=now))
    await session.flush()
    if offer.phase == "open":
        await end_kind(session, offer_id, offer.kind, now, void=reason)
    else:
        key = f"offer:{offer_id}"
        card = await outbox.room_state(session, offer.room_id, key)
        if card is not None:  # else its card was cleared away
            await outbox.act(session, offer.room_id, state={key: {**card, "void": reason}})
    await void_due(session, now)
    return offer


async def voids(session: AsyncSession, offers: Iterable[int]) -> dict[int, str]:
    """Which of these batches are void, and why."""
    query = select(col(CouponVoid.offer_id), col(CouponVoid.reason)).where(col(CouponVoid.offer_id).in_(set(offers)))
    return {int(offer): reason for offer, reason in (await session.execute(query)).all()}


async def void_due(session: AsyncSession, now: datetime, limit: int = AT_ONCE) -> int:
    """Mark up to `limit` unused grants of void batches and tell their holders. Returns how many. What is being locked is its order's."""
    done = (await session.execute(_VOID, {"most": limit})).all()
    by_room: dict[str, list[tuple[str, str, int, Any]]] = {}
    for grant, room, person, version, offer, reason in done:
        body = view(GrantView(id=grant, version=version, offer=offer, state="VOID", void=reason))
        by_room.setdefault(room, []).append((person, f"coupon:{grant}", version, body))
    for room, news in sorted(by_room.items()):
        await outbox.tell_many(session, room, news)
    if not done:
        await session.execute(_DONE, {"now": now, "before": now - LATE})
    return len(done)


_VOID = text("""WITH due AS (SELECT c.id, w.reason FROM coupon_grant c JOIN coupon_void w ON w.offer_id = c.offer_id
    WHERE w.done_at IS NULL AND c.state = 'CLAIMED' ORDER BY c.id LIMIT :most FOR UPDATE OF c SKIP LOCKED)
  UPDATE coupon_grant g SET state = 'VOID', version = g.version + 1 FROM due WHERE g.id = due.id
  RETURNING g.id, g.room_id, g.person, g.version, g.offer_id, due.reason""")
_DONE = text("UPDATE coupon_void SET done_at = :now WHERE done_at IS NULL AND at < :before")
