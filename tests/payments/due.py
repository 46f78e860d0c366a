"""What a refund worker would find due; the product learns it from the outbox."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.payments.tables import Refund


async def due_refunds(session: AsyncSession, now: datetime, limit: int = 200) -> list[int]:
    """Ids of refunds that are approved or sent and have waited long enough: what the sweep gives to `send_refund`."""
    query = select(col(Refund.id)).where(col(Refund.state).in_(("APPROVED", "SENT")), col(Refund.due_at) <= now)
    return [int(i) for i in (await session.execute(query.order_by(col(Refund.due_at)).limit(limit))).scalars() if i is not None]
