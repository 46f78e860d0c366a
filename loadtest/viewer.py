"""One viewer of a crowd: what it says to the hub, and when it comes back. No epoll and no counting here."""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import orjson
from websockets.utils import accept_key

from loadtest.held import Held, Step

KEY = "bG9hZHRlc3Qgdmlld2Vycw=="  # sixteen bytes; one for all, since no proxy that caches stands between
ACCEPT = f"sec-websocket-accept: {accept_key(KEY)}".lower().encode()
IP_BIND_ADDRESS_NO_PORT = 24  # Linux: the port is chosen at connect, so an address has its ports once per destination
STOP = range(4500, 5000)  # close codes after which nobody comes back
BASE, CAP = 0.5, 20.0  # seconds of backoff, as in static/sdk/live.js
IDLE, CONNECTING, SECURING, UPGRADING, GREETING, LIVE = range(6)


class Viewer:
    """`held`: None until greeted; `past`: what was held when the socket was lost; `got`: where its steps are counted; `rest`: half a frame.

    `tries`: connections begun so far, `tried`: when the last socket was lost; `own`: its last own event; `bye`: what the hub said before
    it closed; `spread`: seconds over which the hub asks a lost crowd to come back.
    """

    __slots__ = (
        "bye", "failures", "fd", "got", "held", "lost_at", "number", "own", "past", "rest", "sock", "source", "spread", "stage", "token",
        "tried", "tries",
    )  # fmt: skip

    def __init__(self, number: int, token: str, source: str, got: list[Step]) -> None:
        self.number, self.token, self.source, self.got = number, token, source, got
        self.sock: socket.socket | None = None
        self.fd, self.stage, self.own, self.failures, self.tries, self.tried = -1, IDLE, 0, 0, 0, 0
        self.held: Held | None = None
        self.past: Held | None = None
        self.rest = b""
        self.lost_at = 0.0
        self.spread: tuple[float, float] = (0.0, 8.0)
        self.bye: dict[str, Any] | None = None

    def connect(self, host: str, port: int) -> int:
        """Begin to connect, from this viewer's own address; returns the descriptor. Raises OSError."""
        sock = self.sock = socket.socket()
        sock.setblocking(False)
        with suppress(OSError):  # an older kernel: the port is chosen now, which is enough for 28,000 of an address
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((self.source, 0))
        with suppress(BlockingIOError):
            sock.connect((host, port))
        self.fd, self.stage, self.rest = sock.fileno(), CONNECTING, b""
        return self.fd

    def close(self) -> None:
        """Go without a word."""
        if self.sock is not None:
            self.sock.close()
        self.sock, self.fd, self.stage, self.held, self.rest = None, -1, IDLE, None, b""

    def say(self, data: bytes) -> bool:
        """Send a few bytes; False when the socket does not take them."""
        try:
            return self.sock is not None and self.sock.send(data) == len(data)
        except OSError:
            return False

    def read_tls(self, size: int) -> bytes:
        """What TLS holds decrypted is unknown to epoll: take all of it. A half frame is put together by the caller."""
        sock, parts = self.sock, []
        assert isinstance(sock, ssl.SSLSocket)
        try:
            while part := sock.recv(size):
                parts.append(part)
                if not sock.pending():
                    break
        except ssl.SSLWantReadError:
            if not parts:
                raise BlockingIOError from None
        return b"".join(parts)

    def hello(self, room: str) -> bytes:
        """The first frame; with the position held when this one was here before."""
        words: dict[str, Any] = {"v": 1, "token": self.token, "room": room}
        if self.past is not None:
            words |= {"e": self.past.epoch, "s": self.past.seq, "p": max(self.own, self.past.own)}
        return masked(orjson.dumps({"id": 0, "t": "hello", "d": words}))

    def away(self) -> float | None:
        """Seconds to stay away, as static/sdk/live.js does after a loss or a failure; None: for good."""
        bye, self.bye = self.bye, None
        if bye is not None and bye["code"] in STOP:
            return None
        low, high = 0.0, min(CAP, BASE * 2**self.failures)
        if self.failures == 0 and bye is None:
            low, high = self.spread
        self.failures += 1
        return (bye["after"] / 1000 if bye is not None else 0.0) + random.uniform(low, high)


def masked(payload: bytes) -> bytes:
    """A client's text frame; masked with zeros, which is as good a mask as any and costs nothing."""
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


def upgrade(host: str, port: int, path: str) -> bytes:
    """The request that opens a socket."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def upgraded(head: bytes) -> tuple[bool, float]:
    """Whether the answer opens the socket, and else how many seconds it asks us to wait."""
    status, *fields = head.lower().split(b"\r\n")
    if b" 101" in status and ACCEPT in fields:
        return True, 0.0
    waits = [field.partition(b":")[2].strip() for field in fields if field.startswith(b"retry-after:")]
    return False, float(waits[0]) if waits and waits[0].isdigit() else 0.0


def own_gaps(held: int, entries: Sequence[Sequence[Any]]) -> tuple[int, int]:
    """A person's own events (p, previous p, body) after position `held`: (last position now, how many gaps)."""
    gaps = 0
    for p, previous, *_ in entries:
        gaps += previous > held
        held = max(held, p)
    return held, gaps
