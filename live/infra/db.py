"""PostgreSQL: one engine a process, one transaction an action. Tables' common columns and naming live here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

import orjson
import psycopg
from sqlalchemy import DateTime, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlmodel import SQLModel

# Named constraints: migrations compare CHECKs by name, and refusals are mapped by constraint name, never by message.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

TIMESTAMP = DateTime(timezone=True)


def utc_now() -> datetime:
    """The clock of actions; rules get it as a parameter."""
    return datetime.now(UTC)


def epoch_ms(moment: datetime) -> int:
    """A moment as the wire writes it."""
    return int(moment.timestamp() * 1000)


def from_ms(at: int) -> datetime:
    """A moment the wire wrote."""
    return datetime.fromtimestamp(at / 1000, UTC)


def array(values: Iterable[str | int]) -> str:
    """A PostgreSQL array as its text: `CAST(:x AS text[])` takes it. The driver escapes element by element, half the time of a batch."""
    texts = [value if isinstance(value, str) else str(value) for value in values]
    plain = '","'.join(texts)
    if "\\" in plain or plain.count('"') != 2 * max(0, len(texts) - 1):
        plain = '","'.join([each.replace("\\", "\\\\").replace('"', '\\"') for each in texts])
    return '{"' + plain + '"}' if texts else "{}"


async def driver(connection: AsyncConnection) -> psycopg.AsyncConnection[Any]:
    """The driver's own connection, in the same transaction: statements that hundreds wait for go by it, several in one round trip
    (`pipeline`). It raises `psycopg.Error`, not SQLAlchemy's."""
    return cast("psycopg.AsyncConnection[Any]", (await connection.get_raw_connection()).driver_connection)


# What keeps a plan from reading a whole table: one made while the tables were small is kept for as long as its session.
BY_INDEX = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit")
_BY_INDEX = text("SELECT " + ", ".join(f"set_config('{name}', 'off', true)" for name in BY_INDEX))


async def by_index(session: AsyncSession) -> None:
    """Until this transaction ends no plan is made that reads a whole table: for statements about a few rows that come for ever."""
    await session.execute(_BY_INDEX)


class Database:
    """An engine and the one way to open a transaction.

    `idle_ms`: a process that stops in mid-transaction holds its rows no longer than this. `ping`: ask a pooled connection whether it lives
    before each use; a caller that runs again by itself saves the round trip. `by_index`: never read a whole table, for sessions that keep
    the plans they made while the tables were small.
    """

    def __init__(self, url: str, pool: int = 10, *, idle_ms: int = 5000, ping: bool = True, by_index: bool = False) -> None:
        # lock_timeout bounds what waits behind a held row.
        options = f"-c idle_in_transaction_session_timeout={idle_ms} -c lock_timeout=8000 -c timezone=UTC"
        if by_index:
            options += "".join(f" -c {name}=off" for name in BY_INDEX)
        self.engine: AsyncEngine = create_async_engine(
            url, pool_size=pool, max_overflow=0, pool_timeout=10, pool_pre_ping=ping, connect_args={"options": options},
            json_deserializer=orjson.loads,
        )  # fmt: skip

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed at the end of the block, rolled back by any exception (a Refusal too)."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """One transaction on a bare connection, for the ledger's array statements."""
        async with self.engine.begin() as connection:
            yield connection

    async def raw(self) -> psycopg.AsyncConnection[Any]:
        """A connection of its own outside the pool, in autocommit: for LISTEN and for locks that end with the connection."""
        _, keywords = self.engine.dialect.create_connect_args(self.engine.url)
        return await psycopg.AsyncConnection.connect(autocommit=True, connect_timeout=5, **keywords)

    async def close(self) -> None:
        """Close every pooled connection."""
        await self.engine.dispose()
