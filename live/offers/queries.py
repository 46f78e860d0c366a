"""Offers, read."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.offers.tables import Offer
from live.protocol.codes import Code, Refusal


async def kind_of(session: AsyncSession, offer_id: int) -> str:
    """What kind of offer this is, without locking it. Refusal(NOT_FOUND)."""
    kind = (await session.execute(select(col(Offer.kind)).where(col(Offer.id) == offer_id))).scalar_one_or_none()
    if kind is None:
        raise Refusal(Code.NOT_FOUND, what="offer")
    return kind


async def newest_open(session: AsyncSession, room_id: str, sku_id: int) -> int | None:
    """The offer of this SKU that was opened last in a room and is still open."""
    query = select(col(Offer.id)).where(col(Offer.room_id) == room_id, col(Offer.sku_id) == sku_id, col(Offer.phase) == "open")
    return (await session.execute(query.order_by(col(Offer.id).desc()).limit(1))).scalar_one_or_none()
