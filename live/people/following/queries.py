"""Who follows, read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from live.infra.db import epoch_ms
from live.people.following.rules import KEY
from live.people.following.tables import Follow
from live.protocol.events import FollowsView, view

PAGE = 50  # rooms, newest first


async def follows(session: AsyncSession, room_id: str, person: str) -> bool:
    """Whether this person follows this room now."""
    found = await session.get(Follow, (room_id, person))
    return found is not None and found.following


async def counted(session: AsyncSession | AsyncConnection, room_id: str) -> dict[str, tuple[int, dict[str, Any]]]:
    """The room's count as its state key: {key: (version, value)}; empty when nobody ever followed. The version is the sum of the rows'."""
    query = text("SELECT count(*) FILTER (WHERE following), coalesce(sum(version), 0)::bigint FROM follow WHERE room_id = :r")
    followers, version = (await session.execute(query, {"r": room_id})).one()
    return {KEY: (int(version), view(FollowsView(followers=int(followers))))} if version else {}


async def rooms_of(session: AsyncSession, person: str) -> list[dict[str, Any]]:
    """The rooms a person follows, newest first: `{room, title, phase, since}`. Rooms are a higher noun, so read by the table's name."""
    rows = (await session.execute(text(_ROOMS), {"p": person, "most": PAGE})).all()
    return [{"room": room, "title": {"zh": zh, "en": en}, "phase": phase, "since": epoch_ms(at)} for room, zh, en, phase, at in rows]


_ROOMS = """SELECT f.room_id, r.title_zh, r.title_en, r.phase, f.at FROM follow f JOIN room r ON r.id = f.room_id
  WHERE f.person = :p AND f.following ORDER BY f.at DESC, f.room_id LIMIT :most"""
