"""A buyer's socket for load programs: the client's half of RFC 6455, as little of it as the hub uses.

A library's client costs five times this per frame, and on one machine every microsecond of the load is taken from the server under load.
Only whole text frames are handed on; compression is not offered and fragments, which the hub never sends, are an error.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

from websockets.frames import Frame, Opcode
from websockets.utils import accept_key

CONNECT_SECONDS = 10.0  # loopback answers in a millisecond; a listen queue of thousands takes seconds
TEXT, CLOSE = 0x81, 0x88  # first byte: final frame + opcode


class WireError(ConnectionError):
    """The other end does not speak as the hub does."""


class Frames:
    """Cuts bytes, however they arrive, into the frames of a server: (first byte, payload)."""

    __slots__ = ("buffer",)

    def __init__(self) -> None:
        self.buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Whole frames in `data` and what was left before. Raises WireError on a masked or fragmented one."""
        buffer = self.buffer
        buffer += data
        found: list[tuple[int, bytes]] = []
        at, end = 0, len(buffer)
        while end - at >= 2:
            head, size = buffer[at], buffer[at + 1]
            if not head & 0x80 or head & 0x0F == 0 or size & 0x80:
                raise WireError(f"frame begins with {head:#04x} {size:#04x}")
            body = at + 2
            if size >= 126:
                wide = 2 if size == 126 else 8
                if end - body < wide:
                    break
                size = int.from_bytes(buffer[body : body + wide], "big")
                body += wide
            if end - body < size:
                break
            found.append((head, bytes(buffer[body : body + size])))
            at = body + size
        del buffer[:at]
        return found


class Socket(asyncio.Protocol):
    """One connection. `heard(payload)` is called per text frame, `lost()` once when it ends, whoever ended it."""

    def __init__(self, heard: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self.heard, self.lost = heard, lost
        self.transport: asyncio.Transport | None = None
        self.frames = Frames()
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head = b""
        self._key = base64.b64encode(os.urandom(16)).decode()

    @classmethod
    async def connect(cls, url: str, heard: Callable[[bytes], None], lost: Callable[[], None]) -> Socket:
        """Open `ws://host:port/…`. Raises OSError (WireError among them) or TimeoutError."""
        parts = urlsplit(url)
        async with asyncio.timeout(CONNECT_SECONDS):
            _, self = await asyncio.get_running_loop().create_connection(lambda: cls(heard, lost), parts.hostname or "", parts.port or 80)
            request = (
                f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {self._key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            assert self.transport is not None
            self.transport.write(request.encode())
            await self.open
        return self

    def send(self, payload: bytes) -> None:
        """One text frame; nothing happens on a socket that is gone."""
        if self.transport is not None:
            self.transport.write(Frame(Opcode.TEXT, payload).serialize(mask=True))

    def close(self) -> None:
        """Go, as browsers of closed tabs do: without a word."""
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The TCP connection is there."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        """The answer to the upgrade, then frames."""
        if not self.open.done():
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            status = head.split(b"\r\n", 1)[0]
            if b" 101" not in status or accept_key(self._key).encode() not in head:
                self.open.set_exception(WireError(f"no upgrade: {status.decode(errors='replace')}"))
                self.close()
                return
            self.open.set_result(None)
        try:
            frames = self.frames.feed(data)
        except WireError:
            self.close()
            return
        for head_byte, payload in frames:
            if head_byte == TEXT:
                self.heard(payload)
            elif head_byte == CLOSE:
                self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone."""
        self.transport = None
        if not self.open.done():
            self.open.set_exception(WireError(f"closed during the upgrade: {exc}"))
        else:
            self.lost()
