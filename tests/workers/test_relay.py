from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from structlog.testing import capture_logs

from live.infra import jobs, outbox
from live.infra.db import Database
from tests.workers.crew import until
from workers import relay
from workers.tools import Tools


@asynccontextmanager
async def listening(given: Tools) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.listen(given))
    await asyncio.sleep(0.3)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def write(database: Database, topic: str, key: str) -> None:
    async with database.begin() as session:
        await outbox.job(session, topic, key)


async def queued(given: Tools, *names: str, within: float = 1.0) -> None:
    """Wait until the queue holds exactly these."""

    async def there() -> bool:
        return {name.decode() for name in await given.queue.zrange(jobs.QUEUE, 0, -1)} == set(names)

    await until(there, within)


async def test_rows_are_nudged_as_they_are_committed_once_per_key(given: Tools, database: Database) -> None:
    async with listening(given):
        async with database.begin() as session:
            for _ in range(50):
                await outbox.job(session, "handoff", "S1", {"order": "x"})
            await outbox.job(session, "group.close", "7")
        await queued(given, "handoff:S1:50", "group.close:7:51")
        await write(database, "handoff", "S1")
        await queued(given, "handoff:S1:50", "group.close:7:51", "handoff:S1:52")


async def test_rows_written_before_it_listened_are_nudged_too(given: Tools, database: Database) -> None:
    await write(database, "refund", "R1")
    async with listening(given):
        await queued(given, "refund::0")


async def test_a_rolled_back_row_nudges_nobody(given: Tools, database: Database) -> None:
    async with listening(given):
        with suppress(ZeroDivisionError):
            async with database.begin() as session:
                await outbox.job(session, "handoff", "S1")
                raise ZeroDivisionError
        await asyncio.sleep(0.3)
        assert await given.queue.zcard(jobs.QUEUE) == 0


async def test_it_listens_again_after_its_connection_was_cut(given: Tools, database: Database) -> None:
    async with listening(given):
        async with database.connection() as connection:
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN outbox'"
            await connection.exec_driver_sql(cut)
        await write(database, "handoff", "S1")
        await queued(given, "handoff:S1:1", within=4)
        await write(database, "handoff", "S2")
        await queued(given, "handoff:S1:1", "handoff:S2:2")


async def test_a_topic_nobody_works_on_is_said_and_left(given: Tools, database: Database) -> None:
    await write(database, "gossip", "S1")
    with capture_logs() as lines:
        assert await relay.nudge_waiting(given) == 0
    assert [(line["event"], line["topic"]) for line in lines] == [("outbox topic without a job", "gossip")]
    assert await given.queue.zcard(jobs.QUEUE) == 0


async def test_a_row_that_is_due_later_is_left_until_then(given: Tools, database: Database) -> None:
    await write(database, "handoff", "S1")
    async with database.connection() as connection:
        await connection.exec_driver_sql("UPDATE outbox SET due_at = now() + interval '1 minute'")
    assert await relay.nudge_waiting(given) == 0
