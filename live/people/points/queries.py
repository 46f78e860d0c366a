"""Points, read."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.people.points.tables import PointsEntry

PAGE = 50  # newest first


async def balance(session: AsyncSession, person: str) -> int:
    """What a person has now."""
    query = select(func.coalesce(func.sum(col(PointsEntry.amount)), 0)).where(col(PointsEntry.person) == person)
    return int((await session.execute(query)).scalar_one())


async def entries(session: AsyncSession, person: str) -> list[PointsEntry]:
    """The newest of a person's entries."""
    query = select(PointsEntry).where(col(PointsEntry.person) == person).order_by(col(PointsEntry.id).desc()).limit(PAGE)
    return list((await session.execute(query)).scalars())
