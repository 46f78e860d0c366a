"""Servers of these tests, until there is one set for all."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from redis.asyncio import Redis

from live.infra.db import Database
from live.infra.embedded import EmbeddedServers
from live.infra.redis import connect
from live.migrations.metadata import metadata
from live.settings import Settings


@pytest_asyncio.fixture(scope="session")
async def servers() -> AsyncIterator[EmbeddedServers]:
    with tempfile.TemporaryDirectory(prefix="live-test-") as folder:
        async with EmbeddedServers(Path(folder) / "home", sync=False) as running:
            db = Database(running.database_url)
            async with db.engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
            await db.close()
            yield running


@pytest_asyncio.fixture
async def database(servers: EmbeddedServers) -> AsyncIterator[Database]:
    db = Database(servers.database_url)
    async with db.engine.begin() as connection:
        names = ", ".join(table.name for table in metadata.sorted_tables)
        await connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
    yield db
    await db.close()


@pytest_asyncio.fixture
async def redis(servers: EmbeddedServers) -> AsyncIterator[Redis]:
    client = connect(servers.redis_url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest_asyncio.fixture
async def settings(servers: EmbeddedServers) -> Settings:
    return Settings(home=servers.home, redis_url=servers.redis_url, database_url=servers.database_url)
