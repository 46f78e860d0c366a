"""A ledger process's rooms: takes the leases of rooms nobody owns, runs their books (`ledger.py`), hears of new outbox rows by NOTIFY.

One lease per room: a PostgreSQL advisory lock on a connection of its own, so a dead owner's leases end with it. Safety does not depend on
the lease: two owners of one room book each rid once, and give back units once.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress

import psycopg
import structlog
from redis.asyncio import Redis

from live.infra import outbox
from live.infra.db import Database
from live.infra.keys import ALIVE
from live.offers.ledger import TROUBLE, Hands, RoomLedger

log = structlog.get_logger("ledger")

REST = 1.0  # seconds before the books of a room that stopped on a fault are taken up again
LEASE_SECONDS = 5  # the lease connection is used every 0.5 s


class Ledger:
    """The rooms this process owns."""

    def __init__(self, db: Database, redis: Redis, hands: Hands, reader: Redis | None = None) -> None:
        self.db, self.redis, self.hands, self.reader = db, redis, hands, reader
        self.id = secrets.token_hex(4)
        self.rooms: dict[str, tuple[RoomLedger, asyncio.Task[None]]] = {}
        self.resting: dict[str, float] = {}  # rooms whose books stopped on a fault, and when they are taken up again

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. A lost lease connection ends every room here; another instance, or this one, takes them again."""
        while not stop.is_set():
            try:
                await self._session(stop)
            except TROUBLE as error:
                log.warning("ledger.lost", error=str(error)[:200])
                await asyncio.sleep(0.3)
            finally:
                await self._drop()

    async def _session(self, stop: asyncio.Event) -> None:
        leases = await self.db.raw()
        # A ledger that is frozen or cut off loses its leases: PostgreSQL ends this connection when it is not used for so long.
        await leases.execute(f"SET idle_session_timeout = '{LEASE_SECONDS}s'")
        ears = asyncio.create_task(self._listen())
        try:
            while not stop.is_set():
                await self._take(leases)
                await self.redis.zadd(ALIVE + "ledger", {self.id: time.time()})
                for room, (_, task) in list(self.rooms.items()):
                    if task.done():
                        log.error("room.died", room=room, error=repr(task.exception()))
                        del self.rooms[room]
                        self.resting[room] = time.monotonic() + REST
                if ears.done():
                    raise psycopg.OperationalError("LISTEN ended")
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await stop.wait()
        finally:
            ears.cancel()
            await asyncio.gather(ears, return_exceptions=True)
            await self._drop()
            await leases.close()

    async def _take(self, leases: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        rows = await (await leases.execute("SELECT room_id FROM room_clock")).fetchall()
        for (room,) in rows:
            name = str(room)
            if name in self.rooms or self.resting.get(name, 0.0) > time.monotonic():
                continue
            lease = await leases.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 7))", (f"room:{name}",))
            if not ((await lease.fetchone()) or (False,))[0]:
                continue
            books = RoomLedger(name, self.db, self.redis, self.hands, self.reader)
            self.rooms[name] = (books, asyncio.create_task(books.run()))
            log.info("room.taken", room=name, ledger=self.id)

    async def _listen(self) -> None:
        connection = await self.db.raw()
        try:
            await connection.execute(f"LISTEN {outbox.CHANNEL}")
            async for notify in connection.notifies():
                held = self.rooms.get(notify.payload)
                if held is not None:
                    held[0].nudge()
        finally:
            await connection.close()

    async def _drop(self) -> None:
        rooms = list(self.rooms.values())
        for books, task in rooms:
            books.closed = True
            task.cancel()
        await asyncio.gather(*(task for _, task in rooms), return_exceptions=True)
        self.rooms.clear()
