"""The doors of people, opened for one test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio
from argon2 import PasswordHasher
from redis.asyncio import Redis

from live.infra.db import Database
from live.people.staff.passwords import passwords
from live.settings import Settings

from .doors import doors


@pytest_asyncio.fixture
async def client(database: Database, redis: Redis, settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser on our own page."""
    async with doors(database, redis, settings) as opened:
        yield opened


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost 1 ms: their price is not what these tests are about."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1))
    monkeypatch.setattr(passwords, "_decoy", None)
