"""Lines between the shop's processes and their Valkey, as bad as networks are: replies get lost, calls arrive late or twice, and a line may
lead to another server than it did a moment ago.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path

import hiredis

from live.infra import roomlog
from live.offers import rebuild, reservations

CALL = re.compile(rb"^\*\d+\r\n\$\d+\r\n(EVALSHA|EVAL|XREADGROUP|PUBLISH|MGET)\r\n(?:\$40\r\n([0-9a-f]{40}))?")
# What the shop cannot do without. A room's picture, read ten times a second, would drown them.
SCRIPTS = (
    reservations._reserve, reservations._settle, reservations._adjust, rebuild._clear, rebuild._fill, rebuild._rebuild, roomlog._apply,
)  # fmt: skip
LATE = 0.3  # seconds a call may be under way: below every client's timeout, and below what a buyer waits before trying elsewhere
CHUNK = 1 << 16


class Weather:
    """What happens to calls, as the dice fall. `owed`: replies still to be lost. `seen`: what was done, by sort and by call."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.owed = 0
        self.calm = True
        self.seen: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()

    def fate(self, asked: bytes) -> str:
        """For one call: pass, lose (the server has done it, the line is cut), twice, late."""
        name = called(asked)
        if self.calm or not name:
            return "pass"
        roll = self.dice.random()
        if self.owed > 0 and roll < (0.4 if name == "reserve" else 0.15):
            self.owed -= 1
            self.lost[name] += 1
            found = "lose"
        elif roll > 0.98 and name != "xreadgroup":  # a reader's group, delivered twice, is the next group
            found = "twice"
        elif roll > 0.95:
            found = "late"
        else:
            return "pass"
        self.seen[found] += 1
        return found


def called(asked: bytes) -> str:
    """The script or command of a call that weather may hit, else ''."""
    found = CALL.match(asked)
    if found is None:
        return ""
    if not found[1].startswith(b"EVAL"):
        return found[1].decode().lower()
    return next((script.name for script in SCRIPTS if script.sha.encode() == found[2] or script.source.encode() in asked), "")


def whole(data: bytes) -> bool:
    """Whether these bytes are one call from its first byte to its last."""
    reader = hiredis.Reader()
    reader.feed(data)
    return reader.gets() is not False and not reader.has_data()


class Line:
    """One process's way to its Valkey: `near` is the socket it knows, `there` the socket of the server it leads to."""

    def __init__(self, near: Path, there: Path, weather: Weather) -> None:
        self.near, self.there, self.weather = near, there, weather
        self.url = f"unix://{near}?db=0"
        self._server: asyncio.Server | None = None
        self._carried: set[asyncio.Task[None]] = set()

    async def open(self) -> Line:
        """From here on it carries."""
        self._server = await asyncio.start_unix_server(self._accept, str(self.near))
        return self

    async def close(self) -> None:
        """Carry nothing any more."""
        if self._server is not None:
            self._server.close()
        await self.cut()

    async def lead(self, there: Path) -> None:
        """To another server: what is open breaks, what is opened next goes there."""
        self.there = there
        await self.cut()

    async def cut(self) -> None:
        """Break every connection."""
        tasks = list(self._carried)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carried.add(task)
        try:
            await _Call(self.weather, reader, writer).carry(self.there)
        except (OSError, asyncio.CancelledError):
            pass  # the other end is told by the end of the connection
        finally:
            self._carried.discard(task)
            writer.close()


class _Call:
    """One connection."""

    def __init__(self, weather: Weather, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.weather, self.reader, self.writer = weather, reader, writer
        self.fate, self.asked = "pass", b""
        self.answer = hiredis.Reader()

    async def carry(self, there: Path) -> None:
        """Until either end is gone."""
        reader, writer = await asyncio.open_unix_connection(str(there))
        ways = [asyncio.ensure_future(way) for way in (self._up(writer), self._down(reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.close()

    async def _up(self, server: asyncio.StreamWriter) -> None:
        while asked := await self.reader.read(CHUNK):
            fate = self.weather.fate(asked)
            if fate == "late":
                await asyncio.sleep(self.weather.dice.uniform(0.02, LATE))
                if self.reader.at_eof():
                    return  # whoever asked has gone, and a closed connection delivers nothing
            elif fate == "twice" and not whole(asked):
                fate = "pass"
            self.fate, self.asked = fate, asked
            server.write(asked)
            with suppress(ConnectionError):
                await server.drain()

    async def _down(self, server: asyncio.StreamReader, again: asyncio.StreamWriter) -> None:
        while answer := await server.read(CHUNK):
            if self.fate == "lose":
                return
            if self.fate == "twice":
                self.answer.feed(answer)
                if self.answer.gets() is not False:  # the first answer is whole: nobody hears of it
                    self.fate, self.answer = "pass", hiredis.Reader()
                    again.write(self.asked)
                continue
            self.writer.write(answer)
            await self.writer.drain()
