"""One viewer's socket: bytes in, bytes out. No task, no queue and no coroutine per connection.

The parser is the `websockets` library's Sans-I/O protocol; outgoing frames are built by us, unmasked and uncompressed, so that one frame's
bytes serve every socket.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING, cast

import orjson
from websockets.datastructures import Headers
from websockets.exceptions import InvalidMessage, InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from live.hub import figures
from live.hub.limits import Bucket
from live.hub.sweep import Push
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
ASKED = b"GET /ws"
END = b"\r\n\r\n"  # of a handshake
OURS = frozenset({*range(1000, 1016), *Close})  # codes that become metrics: clients may make up thousands
CONTROL = 125  # bytes of a control frame: the parser counts one between two fragments as part of the message
BAD = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
FRAGMENTS = 64  # pieces of one message: empty ones would pass any size limit
FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 5\r\nConnection: close\r\n\r\nbusy\n"


def text_frame(payload: bytes) -> bytes:
    """The bytes of one unmasked text frame."""
    return Frame(Opcode.TEXT, payload).serialize(mask=False)


class Connection(asyncio.Protocol):
    """A socket and who holds it. `feed` is set once its hello was accepted.

    `fd` is its descriptor while it is open and nothing waits in its write buffer, so that frames may be written to it directly; else -1.
    """

    __slots__ = (
        "address", "admitted", "behind_since", "commands", "deadline", "fd", "feed", "hub", "identity", "last_heard", "leaving", "parts",
        "slot", "tail", "transport", "ws",
    )  # fmt: skip

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.ws: Protocol | None = None  # made with the first bytes: a refused socket costs none
        self.transport: asyncio.Transport | None = None
        self.fd = -1
        self.tail = b""  # of a handshake that is not whole yet
        self.feed: RoomFeed | None = None
        self.identity: Identity | None = None
        self.admitted = False
        self.parts: list[bytes] | None = None
        self.address = ""
        self.last_heard = time.monotonic()
        self.deadline = self.last_heard + hub.settings.hub_hello_seconds  # to say hello; once it is leaving: to be gone
        self.leaving = False
        self.slot = -1  # its place in the wheel
        self.behind_since = 0.0  # when its write buffer began to fill; 0: it is empty
        self.commands: Bucket | None = None

    # receiving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket was accepted; nothing is known of it yet."""
        self.transport = cast(asyncio.Transport, transport)
        if not self.hub.door.enter(self):
            self.transport.abort()
            return
        self.fd = transport.get_extra_info("socket").fileno()
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else "local"

    def data_received(self, data: bytes) -> None:
        """Bytes of the handshake or of frames, in any cut."""
        self.last_heard = time.monotonic()
        ws = self.ws
        if ws is None:
            if self.leaving:
                return  # turned away: what it still says is read, or the close would become a reset and the answer be lost
            if ASKED.startswith(data[: len(ASKED)]) and self.hub.door.full():  # however little of it has come
                self._turn_away()
                return
            ws = self.ws = ServerProtocol(origins=self.hub.origins, extensions=None, logger=logger)
        if isinstance(ws, ServerProtocol) and ws.state is State.CONNECTING and not self.leaving:
            self._handshake(ws, data)
            return
        try:
            ws.receive_data(data)
        except EOFError:
            return
        self._events(ws)

    def _handshake(self, ws: ServerProtocol, data: bytes) -> None:
        """Some of the handshake. What follows its end waits for our answer: the parser would read it as frames before we spoke."""
        seen = self.tail + data
        at = seen.find(END)
        end = len(data) if at < 0 else at + len(END) - len(self.tail)
        head, rest = data[:end], data[end:]
        self.tail = seen[-3:] if at < 0 else b""  # the end may come in two pieces
        ws.receive_data(head)
        if isinstance(ws.handshake_exc, InvalidMessage):
            self._put(BAD)
        self._events(ws)
        if self.ws is ws and ws.state is State.OPEN:
            # It holds on to the request, 2 KiB.
            _cut(ws)
            self.ws = Protocol(Side.SERVER, max_size=self.hub.settings.hub_inbound_bytes + CONTROL, logger=logger)
            if rest:
                self.data_received(rest)

    def _events(self, ws: Protocol) -> None:
        for event in ws.events_received():
            if isinstance(event, Request):
                self._request(ws, event)
            elif isinstance(event, Frame):
                self._frame(ws, event)
        self._flush()

    def eof_received(self) -> bool:
        """The client half-closed: say goodbye and close."""
        if self.ws is not None:
            self.ws.receive_eof()
            self._flush()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone, for whatever reason."""
        ws, self.ws, self.transport, self.fd = self.ws, None, None, -1
        if ws is not None:
            code = ws.close_code or 1006
            figures.closed.labels(code=str(code) if code in OURS else "other").inc()
            _cut(ws)
        self.hub.forget(self)

    def pause_writing(self) -> None:
        """A peer that does not read may not make us answer its pings without end."""
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        if self.transport is not None:
            self.transport.resume_reading()

    def _turn_away(self) -> None:
        """503 before any work is done."""
        self._leave()
        if self.transport is not None:
            self.transport.write(FULL)
            self.transport.write_eof()

    def _leave(self) -> None:
        """Nothing is written any more; the peer has a moment to read what was and to go first."""
        self.fd = -1
        if not self.leaving:
            self.leaving = True
            self.deadline = time.monotonic() + self.hub.settings.hub_drain_seconds
            self.hub.door.wheel.move(self, self.deadline)

    def _request(self, ws: Protocol, request: Request) -> None:
        if not isinstance(ws, ServerProtocol):
            return
        forwarded = request.headers.get_all("X-Forwarded-For")
        self.address = client_address(self.address, forwarded, self.hub.settings.proxies)
        path = request.path.split("?", 1)[0]
        if len(request.headers.get_all("Host")) != 1:
            ws.send_response(ws.reject(400, "one Host\n"))
        elif path == "/ws" and request.headers.get_all("Sec-WebSocket-Version") not in ([], ["13"]):
            response = ws.reject(426, "version 13\n")
            response.headers["Sec-WebSocket-Version"] = "13"
            ws.send_response(response)
        elif path != "/ws":
            status, reason, body, kind = self.hub.page(path, request, self.address)
            headers = Headers([("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")])
            ws.send_response(Response(status, reason, headers, body))
        elif not self.hub.door.admits(self):
            response = ws.reject(503, "busy\n")
            response.headers["Retry-After"] = "2"
            ws.send_response(response)
        else:
            ws.send_response(ws.accept(request))

    def _frame(self, ws: Protocol, frame: Frame) -> None:
        if self.leaving:
            return  # we said our goodbye: nothing is acted on any more
        if frame.opcode is Opcode.TEXT:
            self.parts = [bytes(frame.data)]
        elif frame.opcode is Opcode.CONT and self.parts is not None:
            self.parts.append(bytes(frame.data))
        elif frame.opcode is Opcode.BINARY:
            self._fail(ws, 1003, "text only")
            return
        else:
            return  # control frames were answered by the parser
        if len(self.parts) > FRAGMENTS or sum(map(len, self.parts)) > self.hub.settings.hub_inbound_bytes:
            self._fail(ws, 1009, "too large")
        elif frame.fin:
            raw, self.parts = b"".join(self.parts), None
            self._message(ws, raw)

    def _fail(self, ws: Protocol, code: int, why: str) -> None:
        ws.fail(code, why)
        self._flush()

    def _message(self, ws: Protocol, raw: bytes) -> None:
        try:
            raw.decode()
        except UnicodeDecodeError:
            self._fail(ws, 1007, "not UTF-8")
            return
        try:
            command = parse(raw)
        except Refusal as refusal:
            figures.command("bad").inc()
            answer = refusal.facts.pop("id", None)
            self.refuse(answer, refusal)
            if self.identity is None:
                self.close(Close.BAD_FRAME)
            return
        figures.command(command.t).inc()
        self.hub.dispatch(self, command)

    # sending

    def _flush(self) -> None:
        ws, transport = self.ws, self.transport
        if ws is None or transport is None or transport.is_closing():
            return
        for out in ws.data_to_send():
            if out:
                self._put(out)
            elif transport.can_write_eof():
                transport.write_eof()
        if ws.close_expected():
            # Not at once: unread input would turn the close into a reset and the client would never read why.
            self._leave()
        elif ws.state is State.CLOSED:
            self.fd = -1

    @property
    def open(self) -> bool:
        """Whether frames may be written."""
        ws = self.ws
        return self.transport is not None and ws is not None and ws.state is State.OPEN and not self.transport.is_closing()

    def write(self, frame: bytes) -> None:
        """Write a ready frame; nothing happens on a socket that is going away."""
        if self.open:
            self._put(frame)

    def _put(self, data: bytes) -> None:
        if self.fd >= 0:
            try:
                written = os.write(self.fd, data)
            except BlockingIOError:
                written = 0
            except OSError:  # reset by the peer: the transport will hear of it from the loop
                self.fd = -1
                return
            if written < len(data):
                self.fall_behind(data[written:])
        elif self.transport is not None:
            self.transport.write(data)

    def send(self, body: object) -> None:
        """Write one JSON object as a frame."""
        self.write(text_frame(orjson.dumps(body)))

    def reply(self, command: int, body: object) -> None:
        """The command was done."""
        self.send({"id": command, "ok": body})

    def refuse(self, command: int | None, refusal: Refusal) -> None:
        """The command was refused, and why."""
        self.send({"id": command, "no": refusal.body()})

    def fall_behind(self, rest: bytes) -> None:
        """The socket did not take all of a frame: from here on its transport writes, until its buffer is empty."""
        self.fd = -1
        self.behind_since = time.monotonic()
        self.hub.door.behind.add(self)
        if self.transport is not None:
            self.transport.write(rest)

    def catch_up(self) -> int:
        """Bytes that wait in the write buffer. When there are none, frames are written directly again."""
        if self.transport is None:
            return 0
        waiting = self.transport.get_write_buffer_size()
        if not waiting and self.open:
            self.fd = self.transport.get_extra_info("socket").fileno()
            self.behind_since = 0.0
            self.hub.door.behind.discard(self)
        return waiting

    def push_behind(self, push: Push) -> bool:
        """A room's frame for a socket that may be behind, in the largest variant it can take now. Returns whether it took any."""
        if not self.open or self.feed is None:
            push.skipped("gone", state=True, critical=True)
            return False
        waiting = self.catch_up()
        if not waiting or waiting < SKIP_CHAT:
            self._put(push.full)
            return True
        if waiting >= TOO_SLOW:
            push.skipped("closed", state=True, critical=True)
            self.close(Close.SLOW)
            return False
        skips_state = waiting >= SKIP_STATE
        push.skipped("slow", state=skips_state)
        if skips_state and push.states:
            self.feed.stale.add(self)
        frame = push.critical if skips_state else push.no_chat
        if frame is not None:
            self._put(frame)
        return frame is not None

    def close(self, code: Close, after: int = 0) -> None:
        """Say `bye` (some clients never see close codes), then close."""
        ws = self.ws
        if ws is not None and ws.state is State.CLOSING and not self.leaving:
            self._flush()  # the parser has closed already: let that be read
            return
        if ws is None or ws.state is not State.OPEN:
            if self.transport is not None:
                self.transport.abort()
            return
        self.send({"bye": {"code": int(code), "after": after, "why": code.name.lower()}})
        try:
            ws.send_close(int(code), code.name.lower())
        except InvalidState:
            return
        self._flush()


def _cut(ws: Protocol) -> None:
    """A parser refers to itself, and so does what it failed with; without this only a full collection would free them."""
    ws.parser.close()
    del ws.parser
    for failed in (ws.handshake_exc, ws.parser_exc):
        error: BaseException | None = failed
        while error is not None:
            following = error.__cause__ or error.__context__
            error.__traceback__ = error.__cause__ = error.__context__ = None
            error = following
    ws.handshake_exc = ws.parser_exc = None
