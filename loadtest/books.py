"""A connection to the books of a house: to look at them, or to prepare them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg


@asynccontextmanager
async def opened(database_url: str, *, autocommit: bool = False) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection of its own, one transaction unless `autocommit`. `database_url`: as settings have it. Raises psycopg.Error."""
    async with await psycopg.AsyncConnection.connect(database_url.replace("+psycopg", ""), autocommit=autocommit) as connection:
        yield connection
