"""Small teams, read. Names of members are nobody's business: a team shows its seats and its clock."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import epoch_ms
from live.offers.parties.tables import Party
from live.protocol.codes import Code, Refusal

SHOWN = 20  # the newest; older ones are found by their link


def view(party: Party) -> dict[str, Any]:
    """A team as its page shows it."""
    return {
        "id": party.id, "offer": party.offer_id, "room": party.room_id, "size": party.size, "paid": party.paid, "held": party.held,
        "left": party.size - party.paid - party.held, "state": party.state,
        "closes": epoch_ms(party.closes_at) if party.closes_at else None,
    }  # fmt: skip


async def team(session: AsyncSession, party_id: int) -> dict[str, Any]:
    """One team, in any state. Refusal(NOT_FOUND)."""
    found = await session.get(Party, party_id)
    if found is None:
        raise Refusal(Code.NOT_FOUND, what="team")
    return view(found)


async def joinable(session: AsyncSession, offer_id: int, now: datetime) -> list[dict[str, Any]]:
    """The newest teams of an offer that have a seat and time left, at most SHOWN."""
    free = (col(Party.offer_id) == offer_id, col(Party.state) == "filling", col(Party.closes_at) > now)
    query = select(Party).where(*free, col(Party.held) + col(Party.paid) < col(Party.size)).order_by(col(Party.id).desc()).limit(SHOWN)
    return [view(found) for found in (await session.execute(query)).scalars()]


async def counts(session: AsyncSession, offer_id: int) -> dict[str, int]:
    """Teams of an offer by state, for the console."""
    query = select(col(Party.state), func.count()).where(col(Party.offer_id) == offer_id).group_by(col(Party.state))
    return {state: int(number) for state, number in (await session.execute(query)).all()}
