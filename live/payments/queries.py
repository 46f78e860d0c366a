"""Read-only views of money for sweeps and pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.payments.tables import PayAttempt, Refund


async def due_refunds(session: AsyncSession, now: datetime, limit: int = 200) -> list[int]:
    """Ids of refunds that are approved or sent and have waited long enough: what the sweep gives to `send_refund`."""
    query = select(col(Refund.id)).where(col(Refund.state).in_(("APPROVED", "SENT")), col(Refund.due_at) <= now)
    return [int(i) for i in (await session.execute(query.order_by(col(Refund.due_at)).limit(limit))).scalars() if i is not None]


async def refunds_of(session: AsyncSession, order_nos: Sequence[str]) -> list[Refund]:
    """Every refund of these orders, oldest first."""
    query = select(Refund).where(col(Refund.order_no).in_(order_nos)).order_by(col(Refund.id))
    return list((await session.execute(query)).scalars())


async def prepay_of(session: AsyncSession, attempt_id: int) -> str:
    """The provider's prepay id of an attempt, empty before it was sent; the demo's cashier page is named by it."""
    query = select(col(PayAttempt.prepay_id)).where(col(PayAttempt.id) == attempt_id)
    return (await session.execute(query)).scalar_one_or_none() or ""


async def waiting_orders(session: AsyncSession, sent_before: datetime, limit: int = 200) -> list[str]:
    """Orders with an attempt out for longer than that and no notice: what a sweep gives to `ask_provider`."""
    query = select(col(PayAttempt.order_no)).where(col(PayAttempt.state) == "SENT", col(PayAttempt.created_at) <= sent_before)
    return list((await session.execute(query.distinct().limit(limit))).scalars())
