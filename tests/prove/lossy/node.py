"""A Valkey of our own that can be killed, loses the end of its log, comes back from an older copy, or follows another."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis

from live.infra.embedded import EmbeddedServers
from live.infra.redis import connect
from loadtest.stage import free_port

COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n[a-zA-Z]")  # where a command of the log begins
TAIL = 1 << 18  # bytes of the log's end that are looked through for such places
SYNC_SECONDS = 20.0  # a copy of a room takes milliseconds; this is for a machine that stands still


class Node:
    """One server in one folder, with the product's own settings. `redis`: straight to it, past every line."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._server = EmbeddedServers(home, database=False, sync=False)
        self.redis: Redis = connect("unix://nowhere")  # until it runs
        self._spent: list[Redis] = []

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return Path(unquote(urlsplit(self._server.redis_url).path))

    async def start(self) -> None:
        """With the data that is there."""
        await self._server.start()
        self.redis = connect(self._server.redis_url)

    async def stop(self) -> None:
        """As an operator does; for good."""
        for client in (*self._spent, self.redis):
            await client.aclose()
        await self._server.stop()

    async def kill(self) -> None:
        """SIGKILL."""
        self._spent.append(self.redis)  # somebody may be using it, and may not find it closed under their hands
        for child in self._server._children:
            child.process.kill()
        await self._server.stop()

    # what is on its disk

    @property
    def data(self) -> Path:
        """The append-only files."""
        return self.home / "valkey" / "appendonlydir"

    def cut_tail(self, dice: random.Random, between_commands: bool) -> int:
        """The last of the log never reached the disk. The server must be down. Returns how many bytes are gone."""
        log = max(self.data.glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[-3]))
        size = log.stat().st_size
        if not size:
            return 0
        cut = size - max(1, min(size, int(2 ** dice.uniform(0, 16))))
        if between_commands:
            with log.open("rb") as file:
                file.seek(max(0, size - TAIL))
                begins = [max(0, size - TAIL) + found.start() for found in COMMAND.finditer(file.read())]
            cut = max((at for at in begins if at <= cut), default=cut)
        with log.open("rb+") as file:
            file.truncate(cut)
        return size - cut

    def save(self) -> Path:
        """A copy of what is on the disk at this moment."""
        copy = self.home / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.data, copy)
        return copy

    def restore(self, copy: Path) -> None:
        """Put a copy back. The server must be down."""
        shutil.rmtree(self.data)
        shutil.copytree(copy, self.data)

    # replication

    async def follow(self, master: Node) -> None:
        """Become the replica of another and wait until it holds the same. Raises TimeoutError."""
        port = free_port()
        await master.redis.config_set("repl-diskless-sync-delay", 0)
        await master.redis.config_set("port", port)
        await self.redis.execute_command("REPLICAOF", "127.0.0.1", port)
        async with asyncio.timeout(SYNC_SECONDS):
            while (await self.redis.info("replication"))["master_link_status"] != "up":
                await asyncio.sleep(0.02)

    async def lead(self) -> None:
        """Follow nobody any more: what the master does from here on is not known here."""
        await self.redis.execute_command("REPLICAOF", "NO", "ONE")
