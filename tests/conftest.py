"""Real servers for every test: one PostgreSQL and one Valkey a run, emptied before each test that asks for them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from argon2 import PasswordHasher
from hypothesis import settings as hypothesis_settings
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra.db import Database
from live.infra.embedded import EmbeddedServers
from live.infra.redis import connect
from live.migrations.metadata import metadata
from live.migrations.upgrade import upgrade
from live.people.staff.passwords import passwords
from live.settings import Settings

SECRET = "a-secret-for-tests-only-0123456789abcdef"
hypothesis_settings.register_profile("live", deadline=None, derandomize=True)  # a busy machine is no finding; the same cases every time
hypothesis_settings.load_profile("live")
PICKUP = "another-secret-for-tests-0123456789abcdef"
TABLES = [table.name for table in metadata.sorted_tables]
LARGE = 4 * 1024**2  # bytes of all tables, dead rows included
# TRUNCATE makes a new file for each of 180 tables, indexes and sequences, which takes 250 ms; to delete the few rows of a usual test, 15.
# The locks are TRUNCATE's: a transaction that a test left under way is waited for in both cases. As a replica, neither foreign keys nor
# the triggers that guard the books look at what is deleted.
EMPTY = text(f"""
DO $$ BEGIN
  LOCK TABLE {", ".join(TABLES)};
  IF (SELECT sum(pg_relation_size(oid)) > {LARGE} FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r') THEN
    TRUNCATE {", ".join(TABLES)} RESTART IDENTITY CASCADE;
  ELSE
    SET LOCAL session_replication_role = replica;
    {"; ".join(f"DELETE FROM {name}" for name in TABLES)};
    PERFORM setval(format('%I.%I', schemaname, sequencename), start_value, false) FROM pg_sequences WHERE last_value IS NOT NULL;
  END IF;
END $$""")


def need(found: object, what: str) -> None:
    """Skip on a user's machine, fail in CI, when a program a user may lack is missing."""
    if not found:
        if os.environ.get("LIVE_TEST_REQUIRE") == "all":
            pytest.fail(f"{what} is missing and LIVE_TEST_REQUIRE=all")
        pytest.skip(f"{what} is not installed")


@pytest_asyncio.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedServers]:
    """Valkey and PostgreSQL of this run, without fsync: what a crash keeps is tested where it is the subject."""
    found = EmbeddedServers(tmp_path_factory.mktemp("servers"), sync=False)
    await found.start()
    upgrade(found.database_url)
    yield found
    await found.stop()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder for one test's local state."""
    return tmp_path / "home"


@pytest.fixture
def settings(servers: EmbeddedServers, home: Path) -> Settings:
    """Settings that point at this run's servers."""
    return Settings(
        env="demo", home=home, redis_url=servers.redis_url, database_url=servers.database_url, token_secret=SECRET, pickup_secret=PICKUP
    )


@pytest_asyncio.fixture(scope="session")
async def connections(servers: EmbeddedServers) -> AsyncIterator[Database]:
    """Connections that stay open from test to test: each new one takes PostgreSQL a process and a look at every table's catalogue."""
    db = Database(servers.database_url, pool=20)
    yield db
    await db.close()


@pytest_asyncio.fixture
async def database(connections: Database) -> Database:
    """An empty, migrated database."""
    async with connections.connection() as connection:
        await connection.execute(EMPTY)
    return connections


@pytest_asyncio.fixture
async def redis(servers: EmbeddedServers) -> AsyncIterator[Redis]:
    """An empty Valkey."""
    client = connect(servers.redis_url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost 1 ms, where their price is not what the tests are about; so does every login with such a hash."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1))
    monkeypatch.setattr(passwords, "_decoy", None)
