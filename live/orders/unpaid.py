"""Sold out for now, or for good: whether units of a sale that are all taken may come back, because some are not paid yet.

The turnstile cannot tell, for no payment touches it. The books can, and say so on the card: an act when the answer changes, at most a few
a sale.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from live.infra import outbox
from live.infra.db import Database, array
from live.offers.actions import lock_offer


async def tell_unpaid(db: Database) -> int:
    """Bring the cards of running sales without a unit left up to date; how many changed. Safe to repeat and to run twice at once."""
    async with db.begin() as session:
        gone = {int(offer): bool(said) for offer, said in (await session.execute(_GONE)).all()}
        waiting = await _unpaid(session, gone) if gone else set()
    changed = 0
    for offer_id, said in gone.items():
        if said != (offer_id in waiting):
            async with db.begin() as session:
                changed += await _say(session, offer_id, offer_id in waiting)
    return changed


async def _unpaid(session: AsyncSession, offers: dict[int, bool]) -> set[int]:
    return {int(offer) for offer in (await session.execute(_WAITING, {"ids": array(offers)})).scalars()}


async def _say(session: AsyncSession, offer_id: int, unpaid: bool) -> bool:
    offer = await lock_offer(session, offer_id)
    key = f"offer:{offer_id}"
    card = await outbox.room_state(session, offer.room_id, key)
    if offer.phase != "open" or card is None or card.get("unpaid", False) == unpaid:
        return False
    await outbox.act(session, offer.room_id, state={key: {**card, "unpaid": unpaid}})
    return True


_GONE = text(
    "SELECT f.id, coalesce(CAST(s.value ->> 'unpaid' AS boolean), false) FROM offer f"
    " JOIN room_state s ON s.room_id = f.room_id AND s.key = 'offer:' || f.id WHERE f.phase = 'open' AND f.kind = 'sale'"
    " AND NOT EXISTS (SELECT 1 FROM allotment a WHERE a.offer_id = f.id AND a.taken < a.total)"
)
_WAITING = text(
    "SELECT DISTINCT l.offer_id FROM orders o JOIN order_line l ON l.order_no = o.no"
    " WHERE o.state IN ('AWAIT_PAY','CLOSING') AND l.offer_id = ANY(CAST(:ids AS bigint[]))"
)
