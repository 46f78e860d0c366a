"""Flash sales, read."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from live.promotions.flash_sale.rules import Facts, State, state


async def states(session: AsyncSession, room_id: str, now: datetime) -> dict[int, State]:
    """The state of every sale of a room, ended ones too."""
    rows = (await session.execute(_SALES, {"r": room_id})).all()
    return {int(offer): state(Facts(opens, closes, *facts), now) for offer, opens, closes, *facts in rows}


async def starting(session: AsyncSession, now: datetime) -> list[int]:
    """Sales that have started and whose rooms were not told yet."""
    return [int(offer) for offer in (await session.execute(_STARTING, {"now": now})).scalars()]


# In the order of Facts' fields.
_SALES = text("""SELECT o.id, o.opens_at, o.closes_at, s.countdown,
  (SELECT CAST(coalesce(sum(a.total - a.taken), 0) AS bigint) FROM allotment a WHERE a.offer_id = o.id),
  o.phase = 'ended', s.stopped_at IS NOT NULL FROM offer o JOIN flash_sale s ON s.offer_id = o.id WHERE o.room_id = :r ORDER BY o.id""")
_STARTING = text("""SELECT o.id FROM flash_sale s JOIN offer o ON o.id = s.offer_id
  WHERE s.told_at IS NULL AND o.phase = 'open' AND o.opens_at <= :now ORDER BY o.id""")
