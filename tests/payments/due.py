"""What a refund worker would find due (the product learns it from the outbox), and one refund sent by itself."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import Database
from live.payments.actions import OnRefunded, send_refunds
from live.payments.gateway import Gateway
from live.payments.tables import Refund


async def due_refunds(session: AsyncSession, now: datetime, limit: int = 200) -> list[int]:
    """Ids of refunds that are approved or sent and have waited long enough: what the worker gives to `send_refunds`."""
    query = select(col(Refund.id)).where(col(Refund.state).in_(("APPROVED", "SENT")), col(Refund.due_at) <= now)
    return [int(i) for i in (await session.execute(query.order_by(col(Refund.due_at)).limit(limit))).scalars() if i is not None]


async def send_refund(db: Database, gateway: Gateway, refund_id: int, on_refunded: OnRefunded, now: datetime) -> str:
    """Send one; returns its state, raises what stands in place of one."""
    [state] = (await send_refunds(db, gateway, [refund_id], on_refunded, now)).values()
    if isinstance(state, Exception):
        raise state
    return state
