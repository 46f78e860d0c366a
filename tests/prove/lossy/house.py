"""The servers of a run, and the processes of a shop as objects of ours: two hubs, two ledgers, a web process, each with its own line."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from redis.asyncio import Redis
from sqlalchemy import text

from live.hub.server import Hub
from live.infra.db import Database
from live.infra.embedded import EmbeddedServers
from live.infra.redis import connect
from live.migrations.upgrade import upgrade
from live.settings import Settings
from tests.conftest import SECRET
from tests.offers.shop import make_shop
from tests.prove.lossy.node import Node
from tests.prove.lossy.owner import Owner
from tests.prove.lossy.wire import Line, Weather

NAMES = ("hub1", "hub2", "ledger1", "ledger2", "web", "ghost")


class House:
    """Everything but the room. `master`: the Valkey that is to be believed; `other`: the one that follows it, when there is one."""

    def __init__(self, seed: int) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="lossy-")
        self.weather = Weather(random.Random(f"{seed} weather"))
        self.books = EmbeddedServers(Path(self.folder.name) / "books", redis=False, sync=False)
        self.master, self.other = (Node(Path(self.folder.name) / name) for name in ("a", "b"))
        self.lines: dict[str, Line] = {}
        self.hubs: list[Hub] = []
        self.owners: list[Owner] = []
        self.db: Database
        self.web: Redis

    async def start(self) -> None:
        """All of it."""
        await self.books.start()
        upgrade(self.books.database_url)
        self.db = Database(self.books.database_url, pool=20, ping=False)
        await make_shop(self.db)
        async with self.db.connection() as connection:
            await connection.execute(text("UPDATE stock SET on_hand = 100000000"))
            await connection.execute(text("DELETE FROM room_clock"))  # of the shop's own room: nobody is to own it
        await self.master.start()
        for name in NAMES:
            self.lines[name] = await Line(Path(self.folder.name) / f"{name}.sock", self.master.socket, self.weather).open()
        self.web = connect(self.lines["web"].url)
        for name in ("hub1", "hub2"):
            hub = Hub(self._settings(name))
            hub.spawn(hub.listen())
            hub.spawn(hub.watch())
            self.hubs.append(hub)
        self.owners = [Owner(self.books.database_url, self.lines[name]) for name in ("ledger1", "ledger2")]
        for owner in self.owners:
            owner.start()

    def _settings(self, name: str) -> Settings:
        """A hub that lets its few buyers tap as fast as they can."""
        return Settings(
            env="demo", home=Path(self.folder.name), redis_url=self.lines[name].url, database_url=self.books.database_url,
            token_secret=SECRET, hub_commands_per_second=1000, hub_command_burst=1000, hub_buys_per_second=1000, hub_buy_burst=1000,
        )  # fmt: skip

    async def lead(self, there: Node, *names: str) -> None:
        """Lines (all) to this server."""
        for name in names or NAMES:
            await self.lines[name].lead(there.socket)

    async def unplug(self) -> None:
        """No line leads anywhere."""
        for line in self.lines.values():
            await line.lead(Path(self.folder.name) / "nowhere")

    def promoted(self) -> None:
        """The other is to be believed from here on."""
        self.master, self.other = self.other, self.master

    async def forget(self, room: str) -> None:
        """The show is over: nobody owns the room any more, and Redis is empty."""
        for owner in self.owners:
            await owner.crash()
        async with self.db.connection() as connection:
            await connection.execute(text("DELETE FROM room_clock WHERE room_id = :r"), {"r": room})
        await self.master.redis.flushall()
        for owner in self.owners:
            owner.start()

    async def stop(self) -> None:
        """Leave nothing behind."""
        for owner in self.owners:
            await owner.crash()
        for hub in self.hubs:
            await hub.close()
        if self.lines:
            await self.web.aclose()
        for line in self.lines.values():
            await line.close()
        for node in (self.master, self.other):
            await node.stop()
        if self.books.database_url:
            await self.db.close()
        await self.books.stop()
        self.folder.cleanup()
