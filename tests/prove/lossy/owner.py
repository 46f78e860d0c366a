"""Ledgers as tasks of ours: with leases and their two loops, crashed by cancelling them; or one that does not know that it owns nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from redis.asyncio import Redis

from live.infra.db import Database
from live.infra.redis import connect, connect_buying
from live.offers.leases import Ledger
from live.offers.ledger import RoomLedger
from live.offers.rules import Intent
from live.offers.till import Booking
from tests.prove.lossy.wire import Line
from workers.ledger import hands

ENDING_SECONDS = 30.0  # what a cancelled ledger may take: its longest call, and more


class Owner:
    """A ledger process, clients and all."""

    def __init__(self, url: str, line: Line) -> None:
        self.url, self.line = url, line
        self._task: asyncio.Task[None] | None = None
        self._ends: list[Any] = []

    def start(self) -> None:
        """As `live ledger` does."""
        db, redis, reader = self._tools()
        self._ledger = Ledger(db, redis, hands(), reader)
        self._task = asyncio.create_task(self._ledger.run(asyncio.Event()))

    def _rooms(self) -> list[RoomLedger]:
        return [books for books, _ in self._ledger.rooms.values()]

    def _tools(self) -> tuple[Database, Redis, Redis]:
        db = Database(self.url, pool=5, idle_ms=1000, ping=False)
        redis, reader = connect(self.line.url), connect_buying(self.line.url, timeout=5.0)
        self._ends = [reader.aclose, redis.aclose, db.close]
        return db, redis, reader

    async def crash(self) -> None:
        """In the middle of whatever it does. What it had sent after its last commit is not taken back."""
        books = self._rooms()
        await ended([self._task] if self._task else [])
        if sent := [each.after for each in books if each.after is not None]:
            await asyncio.wait(sent, timeout=ENDING_SECONDS)
        for end in self._ends:
            await end()
        self._task, self._ends = None, []


class Ghost(Owner):
    """A second owner of one room, without a lease. `frozen`: it stops between what it read and the books, for as long as it is."""

    def __init__(self, url: str, line: Line, room: str) -> None:
        super().__init__(url, line)
        self.room = room
        self.awake = asyncio.Event()
        self.awake.set()
        self.held = 0  # intents it read and then stood still over

    def start(self) -> None:
        """Its two loops."""
        db, redis, reader = self._tools()
        self._books = _Sleeper(self.room, db, redis, hands(), reader)
        self._books.ghost = self
        self._task = asyncio.create_task(self._books.run())

    async def crash(self) -> None:
        """The same; its loops are told so, too, for of a group only the first cancellation reaches them."""
        self._books.closed = True
        await super().crash()

    def _rooms(self) -> list[RoomLedger]:
        return [self._books]

    def freeze(self) -> None:
        """Stop before the next commit."""
        self.awake.clear()

    def thaw(self) -> None:
        """Go on where it stopped."""
        self.awake.set()


class _Sleeper(RoomLedger):
    ghost: Ghost

    async def _commit(self, intents: list[Intent]) -> Booking:
        if not self.ghost.awake.is_set():
            self.ghost.held += len(intents)
            await self.ghost.awake.wait()
        return await super()._commit(intents)


async def ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them until they are gone: redis-py 5 can swallow a cancellation while it connects. Raises TimeoutError, saying where."""
    deadline, left = time.monotonic() + ENDING_SECONDS, {task for task in tasks if not task.done()}
    while left:
        if time.monotonic() > deadline:
            raise TimeoutError(f"cancelled, and they go on: {[task.get_stack() for task in left]}, {asyncio.all_tasks()}")
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.2)
