"""Whether the servers that the settings name answer; if not, a sentence about it instead of a traceback of each process that needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import psycopg
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

ANSWER_SECONDS = 5.0
FAULTS = (OSError, TimeoutError, ValueError, psycopg.Error, RedisError, ArgumentError)  # a wrong address, or a server that is away


class UnreachableError(RuntimeError):
    """A server does not answer. The text is a sentence that names the setting."""


def advice(error: BaseException, setting: str) -> str:
    """What is wrong, and what to do."""
    reason = " ".join(str(error).split()).rstrip(".?") or type(error).__name__
    return f"{reason}. Start the server, or correct {setting}."


def redis_client(url: str) -> Redis:
    """A client that waits for no server longer than ANSWER_SECONDS. Raises ValueError for what is no address."""
    client: Redis = Redis.from_url(url, decode_responses=True, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS)
    return client


async def postgres(url: str) -> psycopg.AsyncConnection[Any]:
    """A connection to where this SQLAlchemy URL leads. Raises ArgumentError, psycopg.Error."""
    parsed = make_url(url)
    keywords = parsed.translate_connect_args(username="user", database="dbname") | {k: str(v) for k, v in parsed.query.items()}
    return await psycopg.AsyncConnection.connect(**keywords, connect_timeout=int(ANSWER_SECONDS))


async def answers(redis_url: str | None, database_url: str | None) -> None:
    """Ask the servers that are named. Raises UnreachableError."""
    if redis_url is not None:
        await _asked(_redis_answers(redis_url), "LIVE_REDIS_URL")
    if database_url is not None:
        await _asked(_postgres_answers(database_url), "LIVE_DATABASE_URL")


async def _asked(asking: Awaitable[None], setting: str) -> None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await asking
    except FAULTS as error:
        raise UnreachableError(advice(error, setting)) from None


async def _redis_answers(url: str) -> None:
    client = redis_client(url)
    try:
        await client.ping()
    finally:
        await client.aclose()


async def _postgres_answers(url: str) -> None:
    await (await postgres(url)).close()
