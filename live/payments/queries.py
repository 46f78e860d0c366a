"""Money, read."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.payments.tables import Refund


async def refunds_of(session: AsyncSession, order_nos: Sequence[str]) -> list[Refund]:
    """Every refund of these orders, oldest first."""
    query = select(Refund).where(col(Refund.order_no).in_(order_nos)).order_by(col(Refund.id))
    return list((await session.execute(query)).scalars())
