"""A withdrawn comment is marked in the archive, whenever it gets there."""

from __future__ import annotations

from redis.asyncio import Redis
from sqlalchemy import select, text
from sqlmodel import col

from live.infra.db import Database, utc_now
from live.infra.tables import Outbox
from live.rooms.actions import create_room, withdraw
from live.rooms.tables import CommentRow
from tests.workers.crew import worker
from tests.workers.test_archive import say
from workers.relay import nudge_waiting
from workers.tools import Tools


async def run(given: Tools) -> int:
    await nudge_waiting(given)
    return await worker(given).run_check()


async def undone(database: Database) -> int:
    async with database.begin() as session:
        query = select(col(Outbox.id)).where(col(Outbox.kind) == "job", col(Outbox.done_at).is_(None))
        return len((await session.execute(query)).all())


async def marked(database: Database) -> list[str]:
    async with database.begin() as session:
        return list((await session.execute(select(col(CommentRow.chat_id)).where(col(CommentRow.withdrawn_at).is_not(None)))).scalars())


async def test_a_comment_withdrawn_before_it_is_archived_is_marked_in_the_archive(given: Tools, database: Database, redis: Redis) -> None:
    await say(redis, 1, 3)
    async with database.begin() as session:
        await create_room(session, room_id="demo", title_zh="明", title_en="Ming")
        await withdraw(session, "demo", "c2", utc_now())
    assert await run(given) == 1
    assert await marked(database) == ["c2"]
    assert await undone(database) == 0


async def test_a_comment_nobody_said_is_forgotten_after_a_minute(given: Tools, database: Database, redis: Redis) -> None:
    async with database.begin() as session:
        await create_room(session, room_id="demo", title_zh="明", title_en="Ming")
        await withdraw(session, "demo", "c9", utc_now())
    assert await run(given) == 1
    assert await undone(database) == 1
    async with database.begin() as session:
        await session.execute(text("UPDATE outbox SET created_at = created_at - interval '61 seconds'"))
    assert await run(given) == 1
    assert (await undone(database), await marked(database)) == (0, [])
