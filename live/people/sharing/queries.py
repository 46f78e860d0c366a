"""Links and who came by them, read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import array, epoch_ms
from live.people.sharing import rules
from live.people.sharing.tables import ShareLink, ShareTouch
from live.protocol.codes import Code, Refusal

# One read for all orders: who brought each buyer first, and whose link they opened last, both as of the moment it was booked.
_BROUGHT = text(
    "SELECT w.place, p.first_touch, (SELECT t.sharer FROM share_touch t WHERE t.person = 'p:' || w.id"
    " AND t.at > w.at - CAST(:span AS interval) AND t.at <= w.at ORDER BY t.id DESC LIMIT 1) AS sharer"
    " FROM unnest(CAST(:ids AS bigint[]), CAST(:moments AS timestamptz[])) WITH ORDINALITY AS w(id, at, place) JOIN person p ON p.id = w.id"
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


async def brought_by(session: AsyncSession, buyers: Sequence[tuple[str, datetime]]) -> list[tuple[dict[str, Any], str | None]]:
    """Of each (person, moment): the first touch, and the sharer of the last touch within the window; ({}, None): nobody brought them."""
    found: list[tuple[dict[str, Any], str | None]] = [({}, None) for _ in buyers]
    # A payment is not refused for somebody who is not in the books.
    known = [n for n, (person, _) in enumerate(buyers) if person.removeprefix("p:").isdecimal()]
    if known:
        ids, moments = [buyers[n][0].removeprefix("p:") for n in known], [buyers[n][1].isoformat() for n in known]
        values = {"ids": array(ids), "moments": array(moments), "span": rules.WINDOW}
        for place, first, sharer in await session.execute(_BROUGHT, values):
            n = known[place - 1]
            found[n] = (first if first and first["at"] <= epoch_ms(buyers[n][1]) else {}), sharer
    return found


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
