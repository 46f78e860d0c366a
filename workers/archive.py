"""Comments go from a room's stream to SQL, each once: what is archived is read from SQL itself, so a stopped worker just goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from redis.asyncio import Redis
from sqlalchemy import ColumnElement, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.keys import room_key
from live.rooms.tables import CommentRow, Room
from workers.tools import Tools

log = structlog.get_logger("worker")

BATCH = 1000  # comments a transaction
AFTER_CLOSE = timedelta(hours=1)  # a room that was just closed may still hold comments nobody archived
LONGEST_AWAY = timedelta(days=7)  # of all workers: somebody will have noticed by then
BEGIN = "0-0"


async def archive(tools: Tools, now: datetime) -> int:
    """Archive the rooms that are, or just were, live; how many comments were new."""
    return await _archive(tools, or_(col(Room.phase) == "live", col(Room.ended_at) > now - AFTER_CLOSE))


async def archive_late(tools: Tools, now: datetime) -> int:
    """Archive the rooms that closed before: no worker may have been there in that hour. How many comments were new."""
    return await _archive(tools, col(Room.phase) == "ended", col(Room.ended_at).between(now - LONGEST_AWAY, now - AFTER_CLOSE))


async def _archive(tools: Tools, *which: ColumnElement[bool]) -> int:
    async with tools.db.begin() as session:
        rooms = list((await session.execute(select(col(Room.id)).where(*which))).scalars())
    return sum([await archive_room(tools, room) for room in rooms])


async def archive_room(tools: Tools, room: str) -> int:
    """Archive one room to its end; how many comments were new."""
    # Before the comments themselves: each is archived by then.
    late = await tools.redis.lrange(room_key(room, "late"), 0, BATCH - 1)  # type: ignore[misc]
    total = 0
    found = BATCH
    while found == BATCH:
        async with tools.db.begin() as session:
            found = await _batch(session, tools.redis, room)
        total += found
    if late:
        await _shown_late(tools, room, {chat_id.decode() for chat_id in late})
    return total


async def _shown_late(tools: Tools, room: str, chat_ids: set[str]) -> None:
    """Mark comments that were shown when they were sent again. What another worker is still archiving waits for the next time."""
    mark = update(CommentRow).where(col(CommentRow.room_id) == room, col(CommentRow.chat_id).in_(chat_ids)).values(shown=True)
    async with tools.db.begin() as session:
        marked = (await session.execute(mark.returning(col(CommentRow.chat_id)))).scalars().all()
    async with tools.redis.pipeline(transaction=False) as pipe:
        for chat_id in marked:
            pipe.lrem(room_key(room, "late"), 1, chat_id)
        await pipe.execute()


async def archived_until(tools: Tools, room: str, moment: datetime) -> bool:
    """Archive a room; whether every comment its stream holds from before this moment is in SQL now."""
    await archive_room(tools, room)
    async with tools.db.begin() as session:
        last, _ = await _last(session, room)
    after = await tools.redis.xrange(room_key(room, "chat:all"), f"({last}", "+", count=1)
    return not after or int(after[0][1][b"at"]) >= moment.timestamp() * 1000


async def _last(session: AsyncSession, room: str) -> tuple[str, str]:
    """The stream id and the comment's own id of the newest in SQL."""
    columns = select(col(CommentRow.stream_id), col(CommentRow.chat_id)).where(col(CommentRow.room_id) == room)
    stream_id, chat_id = (await session.execute(columns.order_by(col(CommentRow.id).desc()).limit(1))).one_or_none() or (BEGIN, "c0-")
    return stream_id, chat_id


async def _batch(session: AsyncSession, redis: Redis, room: str) -> int:
    # One archivist a room: rows then stand in stream order, and the newest row tells where to go on.
    lock = select(func.pg_try_advisory_xact_lock(func.hashtextextended(f"archive:{room}", 0)))
    if not (await session.execute(lock)).scalar_one():
        return 0
    last, newest = await _last(session, room)
    entries = await redis.xrange(room_key(room, "chat:all"), f"({last}", "+", count=BATCH)
    if entries:
        lost = _number(entries[0][1][b"id"].decode()) - _number(newest) - 1
        if lost > 0:  # below zero: the room was built anew and counts from the beginning
            log.error("comments trimmed before they were archived", room=room, lost=lost)
        await session.execute(insert(CommentRow), [_row(room, stream_id, fields) for stream_id, fields in entries])
    return len(entries)


def _number(chat_id: str) -> int:
    """Comments of a room are numbered without gaps: `c<number>-<second>`."""
    return int(chat_id[1:].partition("-")[0])


def _row(room: str, stream_id: bytes, fields: dict[bytes, bytes]) -> dict[str, Any]:
    return {
        "room_id": room,
        "stream_id": stream_id.decode(),
        "chat_id": fields[b"id"].decode(),
        "who": fields[b"who"].decode(),
        "name": fields[b"name"].decode(),
        "text": fields[b"text"].decode(),
        "shown": fields[b"shown"] == b"1",
        "said_at": datetime.fromtimestamp(int(fields[b"at"]) / 1000, UTC),
    }
