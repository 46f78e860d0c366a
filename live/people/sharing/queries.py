"""Links and who came by them, read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import epoch_ms
from live.people.sharing import rules
from live.people.sharing.tables import ShareLink, ShareTouch
from live.protocol.codes import Code, Refusal

# One read for an order: who brought the buyer first, and whose link they opened last, both as of the moment it was booked.
_BROUGHT = text(
    "SELECT p.first_touch, (SELECT t.sharer FROM share_touch t WHERE t.person = :subject AND t.at > :since AND t.at <= :at"
    " ORDER BY t.id DESC LIMIT 1) FROM person p WHERE p.id = :id"
)
_NAMES = text(
    "SELECT 'p:' || id AS who, name FROM person WHERE id = ANY(CAST(:persons AS bigint[]))"
    " UNION ALL SELECT 's:' || id, name FROM staff WHERE id = ANY(CAST(:staff AS bigint[]))"
)


async def room_of(session: AsyncSession, token: str) -> str:
    """The room a link leads to. Refusal(NOT_FOUND)."""
    found = await session.get(ShareLink, token)
    if found is None:
        raise Refusal(Code.NOT_FOUND, what="share")
    return found.room_id


async def brought_by(session: AsyncSession, person: str, at: datetime) -> tuple[dict[str, Any], str | None]:
    """(first touch, sharer of the last touch within the window) of a person as of this moment; ({}, None) when nobody brought them."""
    number = person.removeprefix("p:")
    if not number.isdecimal():  # nobody of the books: a payment is not refused for that
        return {}, None
    values = {"subject": person, "since": at - rules.WINDOW, "at": at, "id": int(number)}
    row = (await session.execute(_BROUGHT, values)).one_or_none()
    if row is None:
        return {}, None
    first: dict[str, Any] = row.first_touch
    return (first if first and first["at"] <= epoch_ms(at) else {}), row.sharer


async def people_brought(session: AsyncSession, room_id: str, sharer: str | None = None) -> dict[str, int]:
    """Sharer -> how many different people came to this room by their link."""
    query = select(col(ShareTouch.sharer), func.count(func.distinct(col(ShareTouch.person)))).where(col(ShareTouch.room_id) == room_id)
    if sharer is not None:
        query = query.where(col(ShareTouch.sharer) == sharer)
    return {who: int(count) for who, count in (await session.execute(query.group_by(col(ShareTouch.sharer)))).all()}


async def names(session: AsyncSession, subjects: list[str]) -> dict[str, str]:
    """Subject -> name, of persons and of the staff."""
    ids = {kind: [int(one[2:]) for one in subjects if one.startswith(kind)] for kind in ("p:", "s:")}
    return {who: name for who, name in (await session.execute(_NAMES, {"persons": ids["p:"], "staff": ids["s:"]})).all()}
