"""Follow a room, stop following it. Both may be sent again: what is so already stays as it is."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from live.infra import outbox
from live.people.following.rules import SHOW
from live.protocol.codes import Code, Refusal


async def follow(session: AsyncSession, room_id: str, person: str, now: datetime) -> bool:
    """This person follows the room from now on; False: they did before. Refusal(NOT_FOUND room)."""
    try:
        return await _change(session, _FOLLOW, room_id, person, now)
    except IntegrityError:
        raise Refusal(Code.NOT_FOUND, what="room") from None


async def unfollow(session: AsyncSession, room_id: str, person: str, now: datetime) -> bool:
    """This person follows the room no more; False: they did not before, or there is no such room."""
    return await _change(session, _UNFOLLOW, room_id, person, now)


async def _change(session: AsyncSession, statement: str, room_id: str, person: str, now: datetime) -> bool:
    changed = (await session.execute(text(statement), {"r": room_id, "p": person, "now": now})).first() is not None
    if changed:
        await outbox.job(session, SHOW, room_id)
    return changed


_FOLLOW = """INSERT INTO follow (room_id, person, following, at) VALUES (:r, :p, true, :now) ON CONFLICT (room_id, person)
  DO UPDATE SET following = true, version = follow.version + 1, at = :now WHERE NOT follow.following RETURNING 1"""
_UNFOLLOW = """UPDATE follow SET following = false, version = version + 1, at = :now
  WHERE room_id = :r AND person = :p AND following RETURNING 1"""
