from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import func, select
from sqlmodel import col
from structlog.testing import capture_logs

from live.infra.db import Database
from live.infra.keys import room_key
from live.rooms.live import Manners, Remark, say_all
from live.rooms.tables import CommentRow, Room
from workers import archive as module
from workers.archive import archive, archive_late
from workers.tools import Tools

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
KEY = room_key("demo", "chat:all")


async def open_rooms(database: Database, **rooms: tuple[str, datetime | None]) -> None:
    async with database.begin() as session:
        session.add_all(
            [Room(id=name, title_zh=name, title_en=name, phase=phase, ended_at=ended) for name, (phase, ended) in rooms.items()]
        )


async def say(redis: Redis, first: int, count: int, room: str = "demo", shown: str = "1") -> None:
    async with redis.pipeline(transaction=False) as pipe:
        for n in range(first, first + count):
            # All within one millisecond: ids 1000-9 and 1000-10 sort the other way round as text.
            fields: Any = {"id": f"c{n}", "who": "p:1", "name": "明", "text": f"第 {n}", "at": "1763798400123", "shown": shown, "demo": "0"}
            pipe.xadd(room_key(room, "chat:all"), fields, id=f"1000-{n}")
        await pipe.execute()


async def archived(database: Database, room: str = "demo") -> list[str]:
    async with database.begin() as session:
        query = select(col(CommentRow.chat_id)).where(col(CommentRow.room_id) == room).order_by(col(CommentRow.id))
        return list((await session.execute(query)).scalars())


async def test_comments_are_kept_as_they_were_said(given: Tools, database: Database, redis: Redis) -> None:
    await open_rooms(database, demo=("live", None))
    await say(redis, 1, 1)
    await say(redis, 2, 1, shown="0")
    assert await archive(given, NOW) == 2
    async with database.begin() as session:
        first, second = (await session.execute(select(CommentRow).order_by(col(CommentRow.id)))).scalars()
    assert (first.chat_id, first.stream_id, first.who, first.name, first.text, first.shown) == ("c1", "1000-1", "p:1", "明", "第 1", True)
    assert first.said_at == datetime(2025, 11, 22, 8, 0, 0, 123000, tzinfo=UTC)
    assert (second.shown, second.withdrawn_at) == (False, None)


async def test_a_comment_shown_when_it_was_sent_again_is_archived_as_shown(given: Tools, database: Database, redis: Redis) -> None:
    await open_rooms(database, demo=("live", None))
    one, other = Remark("p:1", "明", "cid00001", "好看"), Remark("p:2", "红", "cid00002", "多少钱")
    assert [said.code for said in await say_all(redis, "demo", [one, other], Manners(budget=1))] == ["", "slow_down"]

    async def shown() -> list[bool]:
        async with database.begin() as session:
            return list((await session.execute(select(col(CommentRow.shown)).order_by(col(CommentRow.id)))).scalars())

    assert (await archive(given, NOW), await shown()) == (2, [True, False])
    assert (await say_all(redis, "demo", [other], Manners(budget=0)))[0].id  # as in the next second
    await asyncio.gather(*(archive(given, NOW) for _ in range(4)))
    assert (await shown(), await redis.exists(room_key("demo", "late"))) == ([True, True], 0)


async def test_it_goes_on_where_it_stopped_whatever_became_of_the_worker(given: Tools, database: Database, redis: Redis) -> None:
    await open_rooms(database, demo=("live", None))
    expected: list[str] = []
    for first, count in ((1, 9), (10, 3), (13, 0), (13, 100)):
        await say(redis, first, count)
        expected += [f"c{n}" for n in range(first, first + count)]
        assert await archive(given, NOW) == count
        assert await archived(database) == expected


async def test_more_than_a_batch_and_several_workers_keep_each_comment_once_in_order(
    given: Tools, database: Database, redis: Redis
) -> None:
    await open_rooms(database, demo=("live", None))
    await say(redis, 1, 2500)
    assert sum(await asyncio.gather(*(archive(given, NOW) for _ in range(4)))) == 2500
    assert await archived(database) == [f"c{n}" for n in range(1, 2501)]


async def test_a_crash_before_the_commit_keeps_nothing_and_loses_nothing(given: Tools, database: Database, redis: Redis) -> None:
    await open_rooms(database, demo=("live", None))
    await say(redis, 1, 5)
    try:
        async with database.begin() as session:
            assert await module._batch(session, redis, "demo") == 5
            raise ConnectionResetError("killed here")
    except ConnectionResetError:
        pass
    assert await archived(database) == []
    assert await archive(given, NOW) == 5


async def test_rooms_just_closed_are_archived_and_old_and_draft_ones_are_not_looked_at(
    given: Tools, database: Database, redis: Redis
) -> None:
    closed, old = NOW - timedelta(minutes=59), NOW - timedelta(minutes=61)
    await open_rooms(database, live=("live", None), closed=("ended", closed), old=("ended", old), draft=("draft", None))
    for room in ("live", "closed", "old", "draft"):
        await say(redis, 1, 2, room)
    assert await archive(given, NOW) == 4
    async with database.begin() as session:
        query = select(col(CommentRow.room_id), func.count()).group_by(col(CommentRow.room_id)).order_by(col(CommentRow.room_id))
        assert [tuple(row) for row in (await session.execute(query)).all()] == [("closed", 2), ("live", 2)]


async def test_what_a_worker_was_not_there_for_within_the_hour_is_archived_all_the_same(
    given: Tools, database: Database, redis: Redis
) -> None:
    """A worker that was away while a show closed, and for longer, loses no comment: the table of what dies promises it."""
    old, ancient = NOW - timedelta(hours=9), NOW - timedelta(days=8)
    await open_rooms(database, live=("live", old), closed=("ended", NOW), old=("ended", old), draft=("draft", None))
    await open_rooms(database, ancient=("ended", ancient))
    for room in ("live", "closed", "old", "ancient", "draft"):
        await say(redis, 1, 2, room)
    assert await archive_late(given, NOW) == 2
    assert await archived(database, "old") == ["c1", "c2"]
    assert await archive_late(given, NOW) == 0


async def test_comments_trimmed_before_they_were_archived_are_said_to_be_lost(given: Tools, database: Database, redis: Redis) -> None:
    await open_rooms(database, demo=("live", None))
    with capture_logs() as logs:
        await say(redis, 1, 5)
        assert await archive(given, NOW) == 5
        await say(redis, 6, 20)
        await redis.xtrim(KEY, maxlen=3, approximate=False)
        assert await archive(given, NOW) == 3
        await redis.delete(KEY)  # built anew: it counts from the beginning
        fields: Any = {"id": "c1", "who": "p:1", "name": "明", "text": "再来", "at": "1763798400123", "shown": "1", "demo": "0"}
        await redis.xadd(KEY, fields, id="2000-1")
        assert await archive(given, NOW) == 1
    assert [line["lost"] for line in logs if line["log_level"] == "error"] == [17]
