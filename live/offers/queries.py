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
