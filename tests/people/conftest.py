"""The doors of people, opened for one test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from live.infra.db import Database
from live.settings import Settings

from .doors import doors


@pytest_asyncio.fixture
async def client(database: Database, redis: Redis, settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser on our own page."""
    async with doors(database, redis, settings) as opened:
        yield opened


@pytest.fixture(autouse=True)
def cheap(cheap_passwords: None) -> None:
    """None of these tests is about the price of a hash."""
