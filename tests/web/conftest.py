"""The web application over an empty database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis

from live.infra.db import Database
from live.settings import Settings
from tests.web.doors import Doors, open_doors


@pytest_asyncio.fixture
async def doors(database: Database, redis: Redis, settings: Settings) -> AsyncIterator[Doors]:
    """A browser of the demo."""
    async with open_doors(settings, database) as opened:
        yield opened
