"""A crowd of viewers in processes of their own (`receiver.py`), on the loopback only: come, watch, stall, be lost and come back, go.

What they were sent is counted where they are, and merged here. A crowd of one room:

    async with Crowd(house.hub_url, room, [house.token(n) for n in range(viewers)]) as crowd:
        await crowd.open()
        …
        seen = await crowd.take()
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import orjson

from loadtest.held import LANES
from loadtest.remote import loopback
from loadtest.stage import StageError
from loadtest.tally import Tally

PER_PROCESS = 17_000  # sockets; a process may have 20,000 descriptors
PER_ADDRESS = 15_000  # sockets; one address has 28,000 ports towards one destination
RATE = 1_500  # new connections a second, below the 2,000 handshakes a hub takes
OPEN_SECONDS = 30.0  # beyond what the rate alone asks for, and no more progress
LINE = 1 << 28  # bytes of an answer at most: minutes of counts of a large crowd are some megabytes
END_SECONDS = 5.0  # closing 17,000 sockets takes a tenth of that
TOKENS = 500  # per line: a pipe takes it in one go


@dataclass
class Status:
    """`frames`, `first`, `last`: frames since the last mark, and `time.monotonic` of the first and the last of them.

    `counts`: hellos by source, refusals, `bye`s, own events and their gaps; `cpu`: seconds of processor time.
    """

    connected: int
    lost: int
    frames: int
    first: float
    last: float
    counts: Counter[str]
    cpu: float


@dataclass
class Return:
    """A viewer that came back: when it was lost and greeted again (`time.monotonic`), `replay` or `snapshot`, after how many tries."""

    number: int
    lost: float
    back: float
    source: str
    tries: int


@dataclass
class Seen:
    """What was counted since the last take. `items`: those that anybody was sent, by lane: seqs, state versions, ids of comments."""

    crowd: Tally = field(default_factory=Tally)
    aside: Tally = field(default_factory=Tally)
    items: dict[str, set[int | str]] = field(default_factory=lambda: {lane: set() for lane in LANES})
    returns: list[Return] = field(default_factory=list)

    @property
    def all(self) -> Tally:
        """Both groups together."""
        found = Tally()
        found.merge(self.crowd)
        found.merge(self.aside)
        return found

    def merge(self, other: Seen) -> None:
        """Add what came later."""
        self.crowd.merge(other.crowd)
        self.aside.merge(other.aside)
        for lane, items in other.items.items():
            self.items[lane] |= items
        self.returns += other.returns


@dataclass
class Crowd:
    """One viewer per token. `ping`: seconds between a viewer's pings, 0: none; `ca`: the certificate to trust, when `url` is wss.

    `rate`: new connections a second of all together.
    """

    url: str
    room: str
    tokens: Sequence[str]
    ping: float = 25.0
    ca: str = ""
    rate: float = RATE
    processes: int = 0  # as many as are needed, unless given
    children: list[_Child] = field(default_factory=list)
    _known: dict[str, set[int | str]] = field(default_factory=lambda: {lane: set() for lane in LANES})

    async def __aenter__(self) -> Crowd:
        """Start the processes. Raises StageError."""
        if not loopback(self.url):
            raise StageError(f"{self.url} is not on this machine")
        count = self.processes = self.processes or processes(len(self.tokens), os.cpu_count() or 1)
        parts = urlsplit(self.url)
        where = {"host": parts.hostname, "port": parts.port, "path": parts.path, "room": self.room, "ping": self.ping, "ca": self.ca}
        try:
            for _ in range(count):
                self.children.append(await _Child.start())
            await self._all("begin", **where, rate=self.rate / count)
        except BaseException:
            await self.leave()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    @property
    def pids(self) -> list[int]:
        """The processes of the crowd."""
        return [child.process.pid for child in self.children]

    async def open(self) -> None:
        """Let everybody in, a hub's handshake limit in mind. Raises StageError when they do not all get in."""
        first = 2  # 127.0.0.1 is everybody else's
        for child, share in zip(self.children, shares(len(self.tokens), self.processes), strict=True):
            addresses = [f"127.0.0.{first + n}" for n in range(max(1, math.ceil(len(share) / PER_ADDRESS)))]
            first += len(addresses)
            for at in range(share.start, share.stop, TOKENS):
                tokens = self.tokens[at : min(at + TOKENS, share.stop)]
                await child.ask("open", tokens=tokens, first=at, sources=addresses)
        await self.wait(len(self.tokens), OPEN_SECONDS)

    async def wait(self, connected: int, seconds: float) -> None:
        """Until so many are connected. Raises StageError when for so long nobody came."""
        most, since = -1, time.monotonic()
        while True:
            status = await self.status()
            if status.connected >= connected:
                return
            if status.connected > most:
                most, since = status.connected, time.monotonic()
            elif time.monotonic() - since > seconds:
                raise StageError(f"{status.connected} of {connected} viewers are in, for {seconds:g} s nobody came: {dict(status.counts)}")
            await asyncio.sleep(0.1)

    async def status(self) -> Status:
        """How it stands; cheap."""
        answers = await self._all("status")
        connected, lost, frames, cpu = (sum(answer[name] for answer in answers) for name in ("connected", "lost", "frames", "cpu"))
        first = min((answer["first"] for answer in answers if answer["frames"]), default=0.0)
        counts = sum((Counter(answer["counts"]) for answer in answers), Counter())
        return Status(connected, lost, frames, first, max(answer["last"] for answer in answers), counts, cpu)

    async def mark(self) -> None:
        """Let `Status.frames` count from here."""
        await self._all("mark")

    async def take(self) -> Seen:
        """What was counted since the last take."""
        seen = Seen()
        for answer in await self._all("take"):
            seen.crowd.merge(Tally.of_json(answer["groups"]["crowd"]))
            seen.aside.merge(Tally.of_json(answer["groups"]["aside"]))
            for lane, items in answer["items"].items():
                seen.items[lane] |= set(items) - self._known[lane]
            seen.returns += [Return(*each) for each in answer["returns"]]
        for lane, items in seen.items.items():
            self._known[lane] |= items  # another process may meet them only after the next take
        return seen

    async def set_aside(self, count: int) -> None:
        """Count so many viewers apart from here on: those that can be stalled."""
        for child, share in zip(self.children, shares(count, self.processes), strict=True):
            await child.ask("aside", count=len(share))

    async def stall(self, seconds: float) -> None:
        """Those set aside stop reading for so long; returns at once."""
        await self._all("stall", seconds=seconds)

    async def come_back(self, on: bool = True) -> None:
        """From here on whoever loses the socket comes back with the position held, when the server said, as pages do."""
        await self._all("returning", on=on)

    async def behind(self, seq: int, state: Mapping[str, int]) -> tuple[int, int]:
        """Events that connected viewers are short of `seq`, and state keys they hold in an older version than `state` says."""
        answers = await self._all("behind", seq=seq, state=dict(state))
        return sum(answer["events"] for answer in answers), sum(answer["states"] for answer in answers)

    async def ladder(self) -> Counter[tuple[tuple[int, ...], int]]:
        """(prices announced in their order, seats paid on the bar that is held) → how many connected viewers."""
        found: Counter[tuple[tuple[int, ...], int]] = Counter()
        for answer in await self._all("ladder"):
            for falls, paid, n in answer["seen"]:
                found[tuple(falls), paid] += n
        return found

    async def leave(self) -> None:
        """Everybody goes, without a word."""
        children, self.children = self.children, []
        for child in children:
            child.release()
        for child in children:
            await child.end()

    async def _all(self, do: str, **words: Any) -> list[dict[str, Any]]:
        return await asyncio.gather(*(child.ask(do, **words) for child in self.children))


class _Child:
    """A receiver and the pipes to it."""

    def __init__(self, process: asyncio.subprocess.Process, commands: asyncio.StreamWriter, answers: asyncio.StreamReader) -> None:
        self.process, self.commands, self.answers = process, commands, answers
        self.turn = asyncio.Lock()  # one answer per command, in order

    @classmethod
    async def start(cls) -> _Child:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "loadtest.receiver", stdin=pipe, stdout=pipe, limit=LINE)
        if process.stdin is None or process.stdout is None:
            raise StageError("a receiver without pipes")
        return cls(process, process.stdin, process.stdout)

    async def ask(self, do: str, **words: Any) -> dict[str, Any]:
        async with self.turn:
            self.commands.write(orjson.dumps({"do": do, **words}) + b"\n")
            line = await self.answers.readline()
        if not line:
            raise StageError(f"a receiver ended with {await self.process.wait()}; what it said is above")
        return dict(orjson.loads(line))

    def release(self) -> None:
        """Nobody talks to it any more, so it ends."""
        self.commands.close()

    async def end(self) -> None:
        try:
            async with asyncio.timeout(END_SECONDS):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


def processes(viewers: int, cores: int) -> int:
    """How many receivers: as few as descriptors allow on a small machine, up to half the cores of a large one."""
    needed = max(1, math.ceil(viewers / PER_PROCESS))
    return max(needed, min(cores // 2, math.ceil(viewers / 5_000))) if cores >= 4 else needed


def shares(count: int, parts: int) -> list[range]:
    """`count` things in `parts` parts, as equal as can be."""
    edges = [count * n // parts for n in range(parts + 1)]
    return [range(low, high) for low, high in pairwise(edges)]
