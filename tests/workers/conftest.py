from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis

from live.infra import jobs
from live.infra.db import Database
from live.infra.jobs import ArqRedis
from live.settings import Settings
from tests.workers import crew
from workers.tools import Tools


@pytest_asyncio.fixture
async def queue(redis: Redis, settings: Settings) -> AsyncIterator[ArqRedis]:
    """The queue of an emptied Valkey."""
    assert settings.redis_url is not None
    pool = await jobs.connect(settings.redis_url)
    yield pool
    await pool.aclose()


@pytest_asyncio.fixture
async def given(settings: Settings, database: Database, redis: Redis, queue: ArqRedis) -> Tools:
    """What a job has at hand."""
    return crew.tools(settings, database, redis, queue)
