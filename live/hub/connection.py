"""One viewer's socket: bytes in, bytes out. No task, no queue and no coroutine per connection.

The parser is the `websockets` library's Sans-I/O protocol; outgoing frames are built by us, unmasked and uncompressed, so that one frame's
bytes serve every socket.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, cast

import orjson
from websockets.datastructures import Headers
from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from live.hub import figures
from live.hub.limits import Bucket
from live.infra.security import Identity, client_address
from live.protocol.codes import Close, Refusal
from live.protocol.commands import parse

if TYPE_CHECKING:
    from live.hub.room import RoomFeed
    from live.hub.server import Hub

logger = logging.getLogger("live.hub.ws")
logger.setLevel(logging.ERROR)  # bad handshakes are everyday life; the counters tell them

SKIP_CHAT = 64 * 1024  # bytes waiting in the write buffer: chat is skipped …
SKIP_STATE = 128 * 1024  # … then state too …
TOO_SLOW = 256 * 1024  # … then the socket is closed and its client resumes
FRAGMENTS = 64  # pieces of one message: empty ones would pass any size limit


def text_frame(payload: bytes) -> bytes:
    """The bytes of one unmasked text frame."""
    return Frame(Opcode.TEXT, payload).serialize(mask=False)


class Connection(asyncio.Protocol):
    """A socket and who holds it. `feed` is set once its hello was accepted."""

    __slots__ = (
        "address", "admitted", "buys", "commands", "feed", "hub", "identity", "last_heard", "opened", "parts", "says", "stale",
        "transport", "ws",
    )  # fmt: skip

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.ws = ServerProtocol(origins=hub.origins, extensions=None, max_size=hub.settings.hub_inbound_bytes, logger=logger)
        self.transport: asyncio.Transport | None = None
        self.feed: RoomFeed | None = None
        self.identity: Identity | None = None
        self.admitted = False
        self.parts: list[bytes] | None = None
        self.address = ""
        self.opened = self.last_heard = time.monotonic()
        self.stale = False
        self.commands: Bucket | None = None
        self.buys: Bucket | None = None
        self.says: Bucket | None = None

    # receiving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket was accepted; nothing is known of it yet."""
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else "local"
        self.hub.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of the handshake or of frames, in any cut."""
        self.last_heard = time.monotonic()
        try:
            self.ws.receive_data(data)
        except EOFError:
            return
        for event in self.ws.events_received():
            if isinstance(event, Request):
                self._request(event)
            elif isinstance(event, Frame):
                self._frame(event)
        self._flush()

    def eof_received(self) -> bool:
        """The client half-closed: say goodbye and close."""
        self.ws.receive_eof()
        self._flush()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone, for whatever reason."""
        figures.closed.labels(code=str(self.ws.close_code or 1006)).inc()
        self.hub.forget(self)
        self.transport = None

    def pause_writing(self) -> None:
        """A peer that does not read may not make us answer its pings without end."""
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        if self.transport is not None:
            self.transport.resume_reading()

    def _request(self, request: Request) -> None:
        forwarded = request.headers.get_all("X-Forwarded-For")
        self.address = client_address(self.address, forwarded, self.hub.settings.proxies)
        path = request.path.split("?", 1)[0]
        if path != "/ws":
            status, reason, body, kind = self.hub.page(path, request, self.address)
            headers = Headers([("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")])
            self.ws.send_response(Response(status, reason, headers, body))
        elif not self.hub.admits(self):
            response = self.ws.reject(503, "busy\n")
            response.headers["Retry-After"] = "2"
            self.ws.send_response(response)
        else:
            self.ws.send_response(self.ws.accept(request))

    def _frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT:
            self.parts = [bytes(frame.data)]
        elif frame.opcode is Opcode.CONT and self.parts is not None:
            self.parts.append(bytes(frame.data))
        elif frame.opcode is Opcode.BINARY:
            self.ws.fail(1003, "text only")
            return
        else:
            return  # control frames were answered by the parser
        if len(self.parts) > FRAGMENTS or sum(map(len, self.parts)) > self.hub.settings.hub_inbound_bytes:
            self.ws.fail(1009, "too large")
        elif frame.fin:
            raw, self.parts = b"".join(self.parts), None
            self._message(raw)

    def _message(self, raw: bytes) -> None:
        try:
            raw.decode()
        except UnicodeDecodeError:
            self.ws.fail(1007, "not UTF-8")
            return
        try:
            command = parse(raw)
        except Refusal as refusal:
            figures.commands.labels(type="bad").inc()
            answer = refusal.facts.pop("id", None)
            self.refuse(answer, refusal)
            if self.identity is None:
                self.close(Close.BAD_FRAME)
            return
        figures.commands.labels(type=command.t).inc()
        self.hub.dispatch(self, command)

    # sending

    def _flush(self) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        for out in self.ws.data_to_send():
            if out:
                transport.write(out)
            elif transport.can_write_eof():
                transport.write_eof()
        if self.ws.close_expected():
            # Not at once: unread input would turn the close into a reset and the client would never read why.
            self.hub.loop.call_later(self.hub.settings.hub_drain_seconds, transport.abort)

    @property
    def open(self) -> bool:
        """Whether frames may be written."""
        return self.transport is not None and self.ws.state is State.OPEN and not self.transport.is_closing()

    def write(self, frame: bytes) -> None:
        """Write a ready frame; nothing happens on a socket that is going away."""
        if self.transport is not None and self.ws.state is State.OPEN:
            self.transport.write(frame)

    def send(self, body: object) -> None:
        """Write one JSON object as a frame."""
        self.write(text_frame(orjson.dumps(body)))

    def reply(self, command: int, body: object) -> None:
        """The command was done."""
        self.send({"id": command, "ok": body})

    def refuse(self, command: int | None, refusal: Refusal) -> None:
        """The command was refused, and why."""
        self.send({"id": command, "no": refusal.body()})

    def push(self, full: bytes, no_chat: bytes | None, critical: bytes | None) -> None:
        """A room's frame, in the largest variant this socket can take now. None: that variant would be empty."""
        transport = self.transport
        if transport is None or self.ws.state is not State.OPEN:
            return
        waiting = transport.get_write_buffer_size()
        if waiting < SKIP_CHAT:
            transport.write(full)
            return
        if waiting >= TOO_SLOW:
            self.close(Close.SLOW)
            return
        figures.skips.labels(lane="chat").inc()
        frame = no_chat
        if waiting >= SKIP_STATE:
            figures.skips.labels(lane="state").inc()
            frame, self.stale = critical, True
        if frame is not None:
            transport.write(frame)

    def close(self, code: Close, after: int = 0) -> None:
        """Say `bye` (some clients never see close codes), then close."""
        if self.ws.state is not State.OPEN:
            if self.transport is not None:
                self.transport.abort()
            return
        self.send({"bye": {"code": int(code), "after": after, "why": code.name.lower()}})
        try:
            self.ws.send_close(int(code), code.name.lower())
        except InvalidState:
            return
        self._flush()
