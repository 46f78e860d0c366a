"""A hub of this process on a real port, with the room's ledger beside it."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest_asyncio
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect

from live.hub.server import run
from live.infra.db import Database
from live.infra.security import Tokens
from live.offers.leases import Ledger
from live.settings import Settings
from tests.hub.stage import Stage, a_stage
from tests.offers.shop import make_shop
from workers.ledger import hands


@dataclass
class Client:
    """A viewer: sends commands, keeps every frame, finds replies by id."""

    ws: ClientConnection
    frames: list[dict[str, Any]] = field(default_factory=list)
    ids: Any = field(default_factory=lambda: itertools.count(1))

    async def next(self, seconds: float = 5.0) -> dict[str, Any]:
        """The next frame."""
        async with asyncio.timeout(seconds):
            frame: dict[str, Any] = orjson.loads(await self.ws.recv())
        self.frames.append(frame)
        return frame

    async def until(self, found: Callable[[dict[str, Any]], Any], seconds: float = 5.0) -> dict[str, Any]:
        """The first frame, of those kept or to come, that fits."""
        for frame in self.frames:
            if found(frame):
                return frame
        async with asyncio.timeout(seconds):
            while True:
                frame = await self.next(seconds)
                if found(frame):
                    return frame

    async def ask(self, t: str, **d: Any) -> dict[str, Any]:
        """Send a command and give its (last known) reply."""
        number = next(self.ids)
        await self.ws.send(orjson.dumps({"id": number, "t": t, "d": d}).decode())
        return await self.until(lambda frame: frame.get("id") == number)

    async def event(self, kind: str) -> list[Any]:
        """The first critical event of a kind: [seq, type, body]."""
        frame = await self.until(lambda f: any(entry[1] == kind for entry in f.get("ev", ())))
        return next(entry for entry in frame["ev"] if entry[1] == kind)


@dataclass
class House:
    """A running hub and what a test needs of it."""

    settings: Settings
    port: int
    tokens: Tokens
    db: Database
    redis: Redis
    clients: list[ClientConnection]

    def token(self, sub: str, role: str | None = None, seconds: int = 600) -> str:
        """A token; the role follows from the subject unless given."""
        role = role or {"g": "guest", "p": "viewer", "s": "host"}[sub[0]]
        return self.tokens.issue(sub, role, sub, seconds=seconds)

    async def open(self) -> Client:
        """A socket that has not said hello."""
        ws = await connect(f"ws://127.0.0.1:{self.port}/ws", compression=None, max_size=None)
        self.clients.append(ws)
        return Client(ws)

    async def join(self, sub: str, **where: Any) -> tuple[Client, dict[str, Any]]:
        """A socket that has said hello, and the answer to it."""
        client = await self.open()
        role = where.pop("role", None)
        reply = await client.ask("hello", v=1, token=self.token(sub, role), room=where.pop("room", "r1"), **where)
        return client, reply["ok"]


@pytest_asyncio.fixture
async def house(settings: Settings, database: Database, redis: Redis) -> AsyncIterator[House]:
    """Hub and ledger over the small shop."""
    await make_shop(database)
    config = settings.model_copy(update={"hub_hello_seconds": 1.0})
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    stop, ready = asyncio.Event(), asyncio.Event()
    hub = asyncio.create_task(run(config, stop, ready, sock))
    ledger = asyncio.create_task(Ledger(database, redis, hands()).run(stop))
    await ready.wait()
    found = House(config, sock.getsockname()[1], Tokens(str(config.token_secret)), database, redis, [])
    yield found
    await asyncio.gather(*(client.close() for client in found.clients))
    stop.set()
    await asyncio.gather(hub, ledger)


@pytest_asyncio.fixture
async def stage(settings: Settings, redis: Redis) -> AsyncIterator[Stage]:
    """A hub and a room that needs no SQL, on an emptied Valkey."""
    async with a_stage(settings) as found:
        yield found
