"""Viewers over real sockets, each of whom holds the room as `static/sdk/mirror.js` does and keeps a diary."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections.abc import Callable
from typing import Any

import orjson
from prometheus_client import Counter, Gauge

from live.infra.security import Tokens
from tests.hub.peer import CLOSE, PATIENCE, TEXT, Peer, command, frame, request, take

ROOM = "show"


def counted(metric: Counter | Gauge, **labels: str) -> float:
    """What a figure stands at, summed over the labels that are not given."""
    return sum(
        sample.value for family in metric.collect() for sample in family.samples
        if not sample.name.endswith("_created") and labels.items() <= sample.labels.items()
    )  # fmt: skip


async def until(fact: Callable[[], Any], what: str = "") -> None:
    """Wait for something that happens elsewhere; AssertionError when it does not. By looks, not by the clock: a stopped machine is none."""
    for _ in range(int(PATIENCE / 0.005)):
        if fact():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"never: {what or fact}")


class Viewer:
    """One person's socket, or one after another, read by a task; what is held of the room, and what was told, in order.

    `told`: ("anew", epoch, seq) for a join or reset, ("event", seq, type, body), ("chat", id, text), ("own", p, body), ("fetch",) where
    own events must be read over HTTP, ("state", key, version, value), ("gap", position, seq) where a client would have to come back.
    """

    def __init__(self, port: int, tokens: Tokens, sub: str, role: str = "", room: str = ROOM) -> None:
        self.port, self.sub, self.room = port, sub, room
        role = role or {"g": "guest", "p": "viewer", "s": "host"}[sub[0]]
        self.token = tokens.issue(sub, role, sub, seconds=600)
        self.e: str | None = None
        self.s: int | None = None
        self.p: int | None = None
        self.state: dict[str, tuple[int, Any]] = {}
        self.chat: list[str] = []
        self.counts = (0, 0)
        self.told: list[tuple[Any, ...]] = []
        self.frames: list[dict[str, Any]] = []
        self.code: int | None = None  # of the close
        self.bye: dict[str, Any] | None = None
        self.peer: Peer | None = None
        self.reading: asyncio.Task[None] | None = None
        self.hello: dict[str, Any] = {}
        self._ids = itertools.count(1)
        self._greeting = 0  # number of the last hello

    # the socket

    async def come(self, buffer: int = 0, **where: Any) -> dict[str, Any]:
        """Open a socket and say hello from the position held, or from `where`. `buffer`: bytes the kernel may keep for us."""
        await self.open(buffer)
        return await self.greet(**where)

    async def open(self, buffer: int = 0) -> None:
        """A socket that has not said hello."""
        sock = socket.socket()
        sock.setblocking(False)
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        except OSError:
            sock.close()
            raise
        self.peer = Peer(*await asyncio.open_connection(sock=sock))
        self.code = self.bye = None
        await self.peer.send(request())
        assert (await self.peer.answer()).status == 101

    async def greet(self, **where: Any) -> dict[str, Any]:
        """Say hello and take the answer in."""
        assert self.peer is not None
        self.e, self.s, self.p = (where.get(name, None if where else getattr(self, name)) for name in "esp")
        held = {"e": self.e, "s": self.s, "p": self.p}
        self.frames.clear()
        self.reading = asyncio.create_task(self._read(self.peer))
        number = self.send("hello", v=1, token=self.token, room=self.room, **{name: at for name, at in held.items() if at is not None})
        reply = await self.reply(number)
        assert "ok" in reply, reply
        return self.hello

    def send(self, t: str, **d: Any) -> int:
        """Send a command; its number."""
        assert self.peer is not None
        number = next(self._ids)
        self._greeting = number if t == "hello" else self._greeting
        self.peer.writer.write(frame(TEXT, command(number, t, **d)))
        return number

    async def reply(self, number: int) -> dict[str, Any]:
        """The answer to a command."""
        await until(lambda: self.answered(number) or self.gone, f"an answer to command {number} of {self.sub}")
        found = self.answered(number)
        assert found is not None, f"{self.sub} was closed with {self.code} instead of an answer"
        return found

    def answered(self, number: int) -> dict[str, Any] | None:
        """The answer to a command, if there is one yet."""
        return next((one for one in self.frames if one.get("id") == number), None)

    async def ask(self, t: str, **d: Any) -> dict[str, Any]:
        """Send a command and give its answer."""
        return await self.reply(self.send(t, **d))

    @property
    def gone(self) -> bool:
        """Whether there is no socket, or the hub ended it."""
        return self.reading is None or self.reading.done()

    def stop(self) -> None:
        """Read nothing any more."""
        assert self.peer is not None
        self.peer.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def go_on(self) -> None:
        """Read again."""
        assert self.peer is not None
        self.peer.writer.transport.resume_reading()  # type: ignore[attr-defined]

    async def leave(self, reset: bool = False) -> None:
        """The socket goes without a word; `reset`: as when a network is gone."""
        if self.peer is None:
            return
        if self.reading is not None:
            self.reading.cancel()
            await asyncio.gather(self.reading, return_exceptions=True)
        if reset:
            sock = self.peer.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.peer.writer.transport.abort()
        await self.peer.leave()
        self.peer = self.reading = None

    async def _read(self, peer: Peer) -> None:
        held, at = bytearray(peer.held), 0
        while True:
            while (one := take(held, at)) is not None:
                (opcode, payload), at = one
                if opcode == TEXT:
                    self.take(orjson.loads(payload))
                elif opcode == CLOSE:
                    self.code = int.from_bytes(payload[:2], "big") or 1005
                    peer.writer.write(frame(CLOSE, payload))
            del held[:at]
            at = 0
            try:
                more = await peer.reader.read(1 << 16)
            except ConnectionError:
                return
            if not more:
                return
            held += more

    # what is held

    def take(self, found: dict[str, Any]) -> None:
        """One frame."""
        self.frames.append(found)
        if "bye" in found:
            self.bye = found["bye"]
        elif found.get("id") == self._greeting and "ok" in found:
            self._greeted(found["ok"])
        elif "reset" in found:
            self.p = found["reset"]["p"]
            self._whole(found["reset"], anew=True)
            self.told.append(("fetch",))
        elif "own" in found and "r" not in found:
            self._own(found["own"])
        elif "r" in found:
            self._tick(found)

    def _greeted(self, hello: dict[str, Any]) -> None:
        self.hello = hello
        if hello["e"] != self.e:
            self.p = None
        self._whole(hello, anew=not hello["rec"])
        for seq, kind, body in hello.get("ev", ()):
            self._event(seq, kind, body)
        self.p = self.p or 0
        if hello["own"] is None:
            self.told.append(("fetch",))
        else:
            self._own(hello["own"])
        self.p = max(self.p, hello["p"])

    def _whole(self, found: dict[str, Any], anew: bool) -> None:
        self.e, self.s = found["e"], found["s"]
        self.state = {}
        self.counts = (found["snap"]["viewers"], found["snap"]["likes"])
        if anew:
            self.told.append(("anew", found["e"], found["s"]))
            self.chat.clear()
        self._merge(found["snap"]["st"])
        self._said(found["snap"]["chat"])

    def _tick(self, found: dict[str, Any]) -> None:
        if found.get("stale"):  # the whole map: what it does not name is gone
            self.state = {key: held for key, held in self.state.items() if key in found["st"]}
        self._merge(found.get("st", {}))
        self.counts = tuple(found.get("v", self.counts))
        assert self.s is not None
        assert self.p is not None
        for seq, kind, body in found.get("ev", ()):
            if seq > self.s:
                if seq != self.s + 1:
                    self.told.append(("gap", self.s, seq))
                self.s = seq
                self._event(seq, kind, body)
        if found["s"] > self.s:
            self.told.append(("gap", self.s, found["s"]))
            self.s = found["s"]
        self.p = max(self.p, found["p"])
        self._said(found.get("ch", ()))

    def _event(self, seq: int, kind: str, body: dict[str, Any]) -> None:
        self.told.append(("event", seq, kind, body))
        if kind == "comment.withdrawn":
            self.chat = [one for one in self.chat if one != body["id"]]

    def _merge(self, st: dict[str, Any]) -> None:
        for key, (version, value) in st.items():
            if key not in self.state or self.state[key][0] < version:
                self.state[key] = (version, value)
                self.told.append(("state", key, version, value))

    def _said(self, comments: Any) -> None:
        for comment in comments:
            self.told.append(("chat", comment["id"], comment["text"]))
            if comment["id"] not in self.chat:
                self.chat.append(comment["id"])

    def _own(self, entries: list[list[Any]]) -> None:
        assert self.p is not None
        for p, before, body in entries:
            if p <= self.p:
                continue
            if before > self.p:
                self.told.append(("fetch",))
            self.p = p
            self.told.append(("own", p, body))

    # looking back

    @property
    def shown(self) -> dict[str, tuple[int, Any]]:
        """State without what was taken away."""
        return {key: held for key, held in self.state.items() if held[1] is not None}

    def holds(self, epoch: str, seq: int, state: dict[str, tuple[int, Any]]) -> bool:
        """Whether this is what is held."""
        return (self.e, self.s, self.shown) == (epoch, seq, state)

    def of(self, what: str) -> list[tuple[Any, ...]]:
        """Everything told of one kind."""
        return [one[1:] for one in self.told if one[0] == what]

    def seqs(self) -> list[int]:
        """The events told, as they came."""
        return [one[0] for one in self.of("event")]
