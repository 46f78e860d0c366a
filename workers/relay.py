"""Tells the queue about undone job rows: at once when PostgreSQL notifies, and by a sweep for whatever that missed."""

from __future__ import annotations

import asyncio
import time

import psycopg
import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from live.infra import jobs, outbox
from workers.jobs import ANY_KEY, TOPICS
from workers.tools import Tools

log = structlog.get_logger("worker")

GATHER_SECONDS = 0.01  # rows of one burst are nudged together
APART_SECONDS = 0.2  # least distance of two passes: under a rush five nudges a second and store are enough
LISTEN_SECONDS = 5.0  # then look whether the connection still lives
RECONNECT_SECONDS = 1.0


async def nudge_waiting(tools: Tools) -> int:
    """Nudge every (topic, key) with undone rows; how many nudges somebody did not have already."""
    async with tools.db.begin() as session:
        waiting = await outbox.waiting(session)
    nudged, together = 0, {topic for topic, _, _ in waiting} & ANY_KEY
    for topic in sorted(together):  # one name for all of it: a second nudge while the job runs would only be a second job
        nudged += await jobs.nudge(tools.queue, topic, "", 0)
    for topic, key, top in waiting:
        if topic in together:
            continue
        if topic in TOPICS:
            nudged += await jobs.nudge(tools.queue, topic, key, top)
        else:
            log.error("outbox topic without a job", topic=topic, key=key)
    return nudged


async def listen(tools: Tools) -> None:
    """Runs until cancelled. A lost database or queue is waited for; the sweep catches up with what was missed."""
    while True:
        try:
            await _listen_once(tools)
        except (psycopg.Error, SQLAlchemyError, RedisError, OSError) as error:
            log.warning("relay lost its connection", error=repr(error)[:300])
            await asyncio.sleep(RECONNECT_SECONDS)


async def _listen_once(tools: Tools) -> None:
    async with await tools.db.raw() as connection:
        await connection.execute(f"LISTEN {outbox.CHANNEL}")
        await nudge_waiting(tools)  # what was written before we listened
        while True:
            heard = [notice.payload async for notice in connection.notifies(timeout=LISTEN_SECONDS, stop_after=1)]
            if any(payload.startswith("job:") for payload in heard):  # the others are for ledgers
                await asyncio.sleep(GATHER_SECONDS)
                began = time.monotonic()
                await nudge_waiting(tools)
                await asyncio.sleep(max(0.0, APART_SECONDS - (time.monotonic() - began)))
            elif not heard:
                await connection.execute("SELECT 1")  # a connection that is gone without a word says so only when written to
