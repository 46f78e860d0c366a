"""The shop of these tests."""

from __future__ import annotations

import pytest_asyncio

from live.infra.db import Database
from tests.orders.stage import Shop


@pytest_asyncio.fixture
async def shop(database: Database) -> Shop:
    """An open shop in which nothing was sold yet."""
    return await Shop(database).build()
