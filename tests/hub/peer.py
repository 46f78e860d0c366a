"""A client that does as it is told, right or wrong, and reads the hub's bytes with eyes of its own; and a hub to say it to.

Writing and reading frames here shares no code with the hub.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson
from redis.asyncio import Redis

from live.hub.server import listening_socket, run
from live.infra.keys import room_key
from live.infra.redis import connect
from live.infra.security import Tokens
from live.settings import Settings
from tests.conftest import PICKUP, SECRET

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"  # the RFC's own example; a mask of zeros would not show a server that forgets to unmask
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3
ROOM, ORIGIN = "conform", "https://shop.example"
PATIENCE = 40.0  # seconds; no test waits this long unless it fails; a message that was lost is found again within 10

Frame = tuple[int, bytes]  # opcode, payload


class WireError(AssertionError):
    """Bytes of the hub that a client would have to refuse."""


def masked(payload: bytes, mask: bytes) -> bytes:
    """The payload xor the repeated mask; the same call takes it off again."""
    size = len(payload)
    pattern = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")).to_bytes(size, "big")


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK, wide: int = 0, says: int | None = None
) -> bytes:
    """One frame of a client. `rsv`: 0-7; `mask` None: none; `wide`: least bytes of the length (0, 2, 8); `says`: a length that lies."""
    size = len(payload) if says is None else says
    wide = max(wide, 0 if size < 126 else 2 if size < 65536 else 8)
    short = {0: size, 2: 126, 8: 127}[wide]
    head = bytes([fin << 7 | rsv << 4 | opcode, (0 if mask is None else 128) | short]) + (size.to_bytes(wide, "big") if wide else b"")
    return head + (payload if mask is None else mask + masked(payload, mask))


def close(code: int, reason: bytes = b"") -> bytes:
    """A close frame of a client."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def pieces(payload: bytes, *at: int) -> list[bytes]:
    """One text message as frames, cut at these places."""
    ends = [*at, len(payload)]
    starts = [0, *at]
    return [
        frame(TEXT if start == 0 and n == 0 else CONT, payload[start:end], fin=n == len(at))
        for n, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def command(number: int, t: str = "ping", **d: Any) -> bytes:
    """A command's text."""
    return orjson.dumps({"id": number, "t": t, "d": d})


def take(data: bytes | bytearray, at: int = 0) -> tuple[Frame, int] | None:
    """The frame that begins at a place, and where it ends; None when it is not whole. Raises WireError for what no server may send."""
    if len(data) < at + 2:
        return None
    first, size, start = data[at], data[at + 1], at + 2
    opcode = first & 15
    if first & 0x70 or not first & 0x80 or opcode not in (TEXT, CLOSE, PING, PONG) or size & 0x80:
        raise WireError(f"a wrong frame: {bytes(data[at : at + 20])!r}")
    if size > 125:
        wide = 2 if size == 126 else 8
        if len(data) < start + wide:
            return None
        size, start = int.from_bytes(data[start : start + wide], "big"), start + wide
        if size < (126 if wide == 2 else 65536):
            raise WireError(f"a length longer than need be: {size} in {wide} bytes")
    if len(data) < start + size:
        return None
    payload = bytes(data[start : start + size])
    _check(opcode, payload)
    return (opcode, payload), start + size


def _check(opcode: int, payload: bytes) -> None:
    if opcode == TEXT:
        if not isinstance(orjson.loads(payload), dict):  # refuses what is not UTF-8, too
            raise WireError(f"no object: {payload[:80]!r}")
    elif len(payload) > 125 or (opcode == CLOSE and len(payload) == 1):
        raise WireError(f"a wrong control frame: {payload!r}")


def frames(data: bytes) -> list[Frame]:
    """Every frame of these bytes. Raises WireError when the last is not whole, or when more than pongs follow a close."""
    found: list[Frame] = []
    at = 0
    while at < len(data):
        one = take(data, at)
        if one is None:
            raise WireError(f"a torn frame: {data[at : at + 80]!r}")
        found.append(one[0])
        at = one[1]
    closes = [n for n, (opcode, _) in enumerate(found) if opcode == CLOSE]
    if closes and any(opcode != PONG for opcode, _ in found[closes[0] + 1 :]):
        raise WireError(f"after the close: {found[closes[0] + 1 :]}")
    return found


def code_of(payload: bytes) -> int | None:
    """The code in a close frame's payload."""
    return int.from_bytes(payload[:2], "big") if payload else None


def request(start: str = "GET /ws HTTP/1.1", **fields: str | list[str] | None) -> bytes:
    """A handshake. Fields replace those of a good one (`_` for `-`); None leaves one out, a list repeats it."""
    good: dict[str, Any] = {
        "Host": "127.0.0.1", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": KEY, "Sec-WebSocket-Version": "13",
    }  # fmt: skip
    lines = [start]
    for name, value in (good | {name.replace("_", "-"): value for name, value in fields.items()}).items():
        lines += [f"{name}: {one}" for one in (value if isinstance(value, list) else [value]) if one is not None]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@dataclass
class Answer:
    """What the hub answered to a handshake. Names of fields in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes = b""


def answer(data: bytes) -> Answer:
    """An HTTP answer and what follows it. Raises WireError when there is none."""
    head, end, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not end or not first.startswith("HTTP/1.1 ") or not first[9:12].isdigit():
        raise WireError(f"no HTTP answer: {data[:80]!r}")
    pairs = (line.partition(":") for line in lines)
    return Answer(int(first[9:12]), {name.lower(): value.strip() for name, _, value in pairs}, body)


@dataclass
class Peer:
    """A socket."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    held: bytes = b""

    @classmethod
    async def connect(cls, port: int) -> Self:
        """A TCP connection, nothing said yet."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @classmethod
    async def upgraded(cls, port: int) -> Self:
        """A WebSocket that has not said hello."""
        peer = await cls.connect(port)
        await peer.send(request())
        found = await peer.answer()
        assert (found.status, found.fields["sec-websocket-accept"]) == (101, ACCEPT)
        return peer

    async def send(self, *segments: bytes) -> None:
        """Write; each segment arrives by itself when the hub lives in this loop, because it gets a turn after each."""
        for segment in segments:
            self.writer.write(segment)
            await self.writer.drain()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def answer(self) -> Answer:
        """The answer to a handshake; of a refused one with all that comes until the hub ends the connection."""
        async with asyncio.timeout(PATIENCE):
            found = answer(await self.reader.readuntil(b"\r\n\r\n"))
            if found.status != 101:
                found.body = await self.reader.read()
        return found

    async def raw(self) -> bytes:
        """All that comes until the hub ends the connection."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def heard(self) -> Answer:
        """All that comes until the hub ends the connection, from the answer on; of a good one the rest is frames."""
        found = answer(await self.raw())
        if found.status == 101:
            frames(found.body)
        return found

    async def next(self) -> Frame:
        """The next frame. Raises EOFError when none comes any more."""
        async with asyncio.timeout(PATIENCE):
            while (one := take(self.held)) is None:
                more = await self.reader.read(65536)
                if not more:
                    raise EOFError(f"ended after {self.held!r}")
                self.held += more
        found, size = one
        self.held = self.held[size:]
        return found

    async def rest(self) -> list[Frame]:
        """Every frame until the hub ends the connection. A reset raises ConnectionResetError: a client might not have read why."""
        async with asyncio.timeout(PATIENCE):
            self.held += await self.reader.read()
        found, self.held = frames(self.held), b""
        return found

    async def reply(self, number: int | None) -> dict[str, Any]:
        """The answer to a command; what the room says meanwhile is passed over."""
        while True:
            opcode, payload = await self.next()
            body: dict[str, Any] = orjson.loads(payload) if opcode == TEXT else {}
            if "id" in body and body["id"] == number:
                return body

    async def ask(self, number: int, t: str = "ping", **d: Any) -> dict[str, Any]:
        """Send a command and give its answer."""
        await self.send(frame(TEXT, command(number, t, **d)))
        return await self.reply(number)

    async def refused(self) -> None:
        """Go on sending pings until that fails, as it does when the other end has closed TCP: raises ConnectionError."""
        async with asyncio.timeout(PATIENCE):
            while True:
                await self.send(frame(PING))
                await asyncio.sleep(0.01)

    async def leave(self) -> None:
        """Close the socket without a word."""
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


@dataclass
class Door:
    """A hub on a port, with one open room that needs no SQL."""

    port: int
    redis: Redis
    tokens: Tokens
    peers: list[Peer] = field(default_factory=list)
    people: Any = field(default_factory=lambda: itertools.count(1))

    async def connect(self) -> Peer:
        """A TCP connection, nothing said yet."""
        self.peers.append(await Peer.connect(self.port))
        return self.peers[-1]

    async def open(self) -> Peer:
        """A WebSocket that has not said hello."""
        self.peers.append(await Peer.upgraded(self.port))
        return self.peers[-1]

    async def join(self) -> tuple[Peer, str]:
        """A guest in the room, and who that is."""
        sub = f"g:c{next(self.people)}"
        peer = await self.open()
        await peer.send(frame(TEXT, self.hello(0, sub)))
        assert "ok" in await peer.reply(0)
        return peer, sub

    def hello(self, number: int, sub: str) -> bytes:
        """A guest's first command."""
        return command(number, "hello", v=1, token=self.tokens.issue(sub, "guest", sub, seconds=600), room=ROOM)

    async def comments(self) -> list[str]:
        """Everything that was ever said in the room. Somebody speaks first, so that what was on its way before has arrived."""
        witness, sub = await self.join()
        assert "ok" in await witness.ask(1, "say", cid="witness-1", text=f"{sub} was here")
        return [fields[b"text"].decode() for _, fields in await self.redis.xrange(room_key(ROOM, "chat:all"))]

    async def fate(self, *segments: bytes) -> list[tuple[int, Any]]:
        """What the hub says to these bytes until it ends the connection: texts and pongs as they are, a close as its code."""
        peer = await self.open()
        await peer.send(*segments)
        return [(opcode, code_of(payload) if opcode == CLOSE else payload) for opcode, payload in await peer.rest()]

    async def knock(self, data: bytes) -> Answer:
        """The answer to a handshake."""
        peer = await self.connect()
        await peer.send(data)
        return await peer.answer()

    async def clear(self) -> None:
        """Close what a test left open."""
        for peer in self.peers:
            await peer.leave()
        self.peers.clear()


@asynccontextmanager
async def a_door(redis_url: str, home: Path) -> AsyncIterator[Door]:
    """A hub without limits that would be in the way, on a Redis where its room is as a rebuild leaves it."""
    config = Settings(
        env="demo", home=home, redis_url=redis_url, token_secret=SECRET, pickup_secret=PICKUP, allowed_origins=ORIGIN, hub_hello_seconds=60,
        hub_drain_seconds=0.2, hub_says_per_second=100, hub_say_burst=100, comment_budget_per_second=0,
    )  # fmt: skip
    redis = connect(redis_url)
    opened = {"fence": "1", "run_id": "x", "epoch": "e1", "act_no": "0", "seq": "0", "sv": "0", "own": "0"}
    await redis.hset(room_key(ROOM, "meta"), mapping=opened)  # type: ignore[misc]
    sock = listening_socket("127.0.0.1", 0)
    stop, ready = asyncio.Event(), asyncio.Event()
    hub = asyncio.create_task(run(config, stop, ready, sock))
    await ready.wait()
    yield Door(sock.getsockname()[1], redis, Tokens(SECRET))
    stop.set()
    await hub
    await redis.aclose()
