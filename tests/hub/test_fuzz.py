"""A hundred thousand ways to be a bad client. The hub answers each by the protocol, or closes by a code that says why.

`LIVE_FUZZ=<seed>` runs other cases, `LIVE_FUZZ=<seed>/<number>` a single one: a failure prints both.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
import psutil
import pytest
import pytest_asyncio
from structlog.testing import capture_logs
from websockets import frames as parser
from websockets.protocol import Protocol

from live.hub import connection as connection_module
from live.hub.connection import Connection
from live.hub.server import Hub
from live.infra.security import Identity
from live.protocol import commands
from live.settings import Settings
from tests.hub import fuzz_commands, fuzz_frames
from tests.hub.conftest import House
from tests.hub.fuzz_frames import KNOWN, Case
from tests.hub.peer import CLOSE, PATIENCE, TEXT, Frame, Peer, WireError, answer, code_of, frame, frames, masked
from tests.offers.shop import coupon, sale

_seed, _, _only = os.environ.get("LIVE_FUZZ", "1").partition("/")
SEED, ONLY = int(_seed), int(_only) if _only else None
# 101,000 cases, some 40 s of one core. Split so that each test stays far below the minute it may take, on a busy machine, too.
PARTS, FRAMES, COMMANDS, HELLOS = 8, 8_750, 30_000, 1_000
OWN_CODES = frozenset({1002, 1003, 1007, 1009, 4004, 4006, 4500, 4501})  # 1011 would be the parser's word for a bug
STATUSES = frozenset({101, 200, 400, 403, 404, 405, 414, 426, 431, 503, 505})
BLOCKS = 400  # small objects that may come to stay in half a part (some 170 do): one that stays per ten cases would be 437
BYTES = 3 * 1024**2  # and large ones: 1 KiB a case would be 4 MiB
PLANTED = 1_000  # cases; a planted fault shows in some of them
HANDFUL = 20  # commands sent before their answers are read
REFUSAL = 400  # bytes: a refusal is a code, a field and a reason
TURNED_AWAY = frozenset({4004, 4500, 4501, 4503})
END = b"\r\n\r\n"
READ = 1 << 16
WHO = Identity("p:1", "viewer", "P1", None, None, 1, 2**40)
Plant = Callable[[pytest.MonkeyPatch], None]


class Line(asyncio.Transport):
    """A transport over one end of a pair of sockets: strict like the real one, and its descriptor is real."""

    def __init__(self, near: socket.socket) -> None:
        super().__init__({"peername": ("127.0.0.1", 9), "socket": near})
        self.near, self.ended, self.closing = near, False, False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """As asyncio has it: nothing after an end, silence after a close."""
        if self.ended:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not self.closing:
            assert self.near.send(data) == len(data)

    def write_eof(self) -> None:
        """Half-close."""
        self.ended = True
        self.near.shutdown(socket.SHUT_WR)

    def can_write_eof(self) -> bool:
        """TCP can."""
        return True

    def get_write_buffer_size(self) -> int:
        """Everything is sent at once."""
        return 0

    def is_closing(self) -> bool:
        """Whether it was closed or aborted."""
        return self.closing

    def close(self) -> None:
        """Close."""
        self.closing = True

    abort = close

    def pause_reading(self) -> None:
        """Cases are short."""

    resume_reading = pause_reading


def heard(far: socket.socket) -> bytes:
    """What has arrived at the other end. One call empties a pair of sockets unless there is more than it was asked for."""
    found = b""
    try:
        while len(more := far.recv(READ)) == READ:
            found += more
    except BlockingIOError:
        return found
    return found + more


@dataclass
class Bench:
    """A hub, and what went wrong with it: by kind, where to find it again."""

    hub: Hub
    faults: dict[str, list[str]] = field(default_factory=dict)

    def run(self, numbers: Iterable[int]) -> None:
        """Play cases."""
        for number in numbers:
            near, far = socket.socketpair()
            near.setblocking(False)
            far.setblocking(False)
            connection = Connection(self.hub)
            try:
                wrong = self._play(connection, Line(near), far, fuzz_frames.case(SEED, number))
            except WireError as error:
                wrong = f"bytes no client understands ({error.args[0].partition(':')[0]})"
            except Exception as error:  # noqa: BLE001 - whatever leaves a callback is what is looked for
                wrong = f"{type(error).__name__} left a callback ({error})"
            connection.connection_lost(None)
            near.close()
            far.close()
            if wrong:
                self.faults.setdefault(wrong, []).append(f"LIVE_FUZZ={SEED}/{number}")

    def _play(self, connection: Connection, line: Line, far: socket.socket, found: Case) -> str | None:
        connection.connection_made(line)
        connection.data_received(found.first)
        first = heard(far)
        clean = first.startswith(b"HTTP/1.1 101") and first.endswith(END) and found.first.find(END) == len(found.first) - len(END)
        if clean:
            connection.identity = WHO
        for segment in found.segments:
            connection.data_received(segment)
        said = heard(far)
        if clean:
            told = frames(said)
            wrong = fuzz_frames.against(fuzz_frames.read(found.segments), found.told, told) or _end(told, line)
        else:
            wrong = _loose(first + said, line)
        connection.eof_received()
        return wrong or ("words after the client had gone" if heard(far) else None)

    def report(self) -> str:
        """Every kind of fault, how often, and its first cases."""
        return "\n".join(f"{len(cases)} times {what}: {', '.join(cases[:3])}" for what, cases in sorted(self.faults.items()))


def _loose(said: bytes, line: Line) -> str | None:
    """What holds for any bytes at all: silence or an HTTP answer first, then frames of the protocol, then a defined end."""
    if not said:
        return None
    found = answer(said)
    if found.status not in STATUSES:
        return f"status {found.status}"
    if found.status != 101:
        whole = len(found.body) == int(found.fields["content-length"])
        return None if whole and (line.ended or line.closing) else "a page that is not whole"
    return _end(frames(found.body), line)


def _end(told: list[Frame], line: Line) -> str | None:
    for opcode, payload in told:
        if opcode == TEXT and not {"id", "bye"} & set(orjson.loads(payload)):
            return "a text nobody asked for"
    codes = [code_of(payload) for opcode, payload in told if opcode == CLOSE]
    if not codes:
        return "ended without a close frame" if line.ended or line.closing else None
    if codes[0] is not None and codes[0] not in KNOWN | OWN_CODES:
        return f"closed with {codes[0]}"
    return None


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """No limits of pace: what is limited is not looked at."""
    paces = [f"hub_{name}s_per_second" for name in ("command", "buy", "say", "handshake")]
    bursts = [f"hub_{name}_burst" for name in ("command", "buy", "say")]
    free = dict.fromkeys([*paces, *bursts], 1 << 30) | {"hub_drain_seconds": 0.01, "comment_budget_per_second": 0}
    return settings.model_copy(update=free)


@pytest_asyncio.fixture
async def bench(settings: Settings) -> AsyncIterator[Bench]:
    """A hub whose clocks run."""
    hub = Hub(settings)
    hub.spawn(hub.watch())
    yield Bench(hub)
    await hub.close()


def in_use() -> tuple[int, int]:
    """Small objects and bytes of this process."""
    gc.collect()
    return sys.getallocatedblocks(), psutil.Process().memory_info().rss


async def play(bench: Bench, numbers: range) -> None:
    """Play these, and let the hub's clocks run in between."""
    for start in range(numbers.start, numbers.stop, 250):
        bench.run(range(start, min(start + 250, numbers.stop)))
        await asyncio.sleep(0)


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_stream_of_frames_is_answered_outside_the_protocol(bench: Bench, part: int) -> None:
    start, stop = (ONLY, ONLY + 1) if ONLY is not None else (part * FRAMES, (part + 1) * FRAMES)
    await play(bench, range(start, (start + stop) // 2))
    blocks, size = in_use()
    await play(bench, range((start + stop) // 2, stop))
    more_blocks, more_size = in_use()
    assert not bench.faults, bench.report()
    assert list(bench.hub.connections) == []
    assert [one for one in gc.get_objects() if isinstance(one, Connection)] == []
    assert more_blocks - blocks < BLOCKS
    assert more_size - size < BYTES


# the fuzz, tried on faults


def mask_short(plant: pytest.MonkeyPatch) -> None:
    """The last byte of a long payload stays masked."""

    def apply_mask(data: bytes, mask: bytes) -> bytes:
        return masked(data, mask) if len(data) < 64 else masked(data[:-1], mask) + data[-1:]

    plant.setattr(parser, "apply_mask", apply_mask)


def join_short(plant: pytest.MonkeyPatch) -> None:
    """The last fragment loses a byte."""
    received = Protocol.recv_frame

    def recv_frame(ws: Protocol, frame: parser.Frame) -> None:
        if frame.opcode is parser.Opcode.CONT and frame.fin:
            frame.data = frame.data[:-1]
        received(ws, frame)

    plant.setattr(Protocol, "recv_frame", recv_frame)


def no_utf8(plant: pytest.MonkeyPatch) -> None:
    """Text is taken as it comes."""

    class Anything(bytes):
        def decode(self, *_: str) -> str:
            return ""

    plant.setattr(Connection, "_message", lambda self, ws, raw, real=Connection._message: real(self, ws, Anything(raw)))


def reserved_code(plant: pytest.MonkeyPatch) -> None:
    """A close code that must not stand in a frame is echoed."""
    plant.setattr(parser, "EXTERNAL_CLOSE_CODES", parser.EXTERNAL_CLOSE_CODES | {1005})


def crash(plant: pytest.MonkeyPatch) -> None:
    """A rare message raises what nobody expects."""

    def parse(raw: bytes) -> commands.Command:
        if raw.startswith(b"["):
            raise KeyError("x")
        return commands.parse(raw)

    plant.setattr(connection_module, "parse", parse)


PLANTS: dict[Plant, str] = {
    mask_short: "the answer to something else", join_short: "the answer to something else",
    no_utf8: "open, though it should have closed with one of [1007]", reserved_code: "closed with 1005, not one of [1002]",
    crash: "KeyError left a callback ('x')",
}  # fmt: skip


@pytest.mark.parametrize("plant", PLANTS)
async def test_the_fuzz_sees_a_planted_fault(bench: Bench, monkeypatch: pytest.MonkeyPatch, plant: Plant) -> None:
    plant(monkeypatch)
    await play(bench, range(PLANTED))
    assert PLANTS[plant] in bench.faults, bench.report()


# commands


async def talk(peer: Peer, cases: list[fuzz_commands.Case]) -> list[str]:
    """Say these, a handful at a time, and judge every answer."""
    wrong: list[str] = []
    for start in range(0, len(cases), HANDFUL):
        some = {one.number: one for one in cases[start : start + HANDFUL]}
        await peer.send(b"".join(frame(TEXT, one.raw) for one in some.values()))
        left, silent = len(some), set(some)
        try:
            while left:
                opcode, payload = await peer.next()
                body = orjson.loads(payload) if opcode == TEXT else {"closed": code_of(payload)}
                asked = some.get(body.get("id") or 0)
                if "id" not in body or _is_on_its_way(body, asked):
                    continue
                left -= 1
                silent.discard(body["id"])
                if fault := _judged(body, payload, asked, b"".join(one.raw for one in some.values())):
                    wrong.append(f"{fault}: {payload[:200]!r} to one of {SEED}/{min(some)} … {max(some)}")
        except (TimeoutError, EOFError, WireError) as error:
            return [*wrong, f"{error!r}: no answer to {left} of {sorted(silent)}, seed {SEED}"]
    return wrong


def _is_on_its_way(body: dict[str, Any], asked: fuzz_commands.Case | None) -> bool:
    """A verdict that follows was promised; to a question that is the answer."""
    pending = isinstance(body.get("ok"), dict) and bool(body["ok"].get("pending"))
    return pending and (asked is None or asked.kind != "ask")


def _judged(body: dict[str, Any], payload: bytes, asked: fuzz_commands.Case | None, sent: bytes) -> str | None:
    if body["id"] is not None and str(body["id"]).encode() not in sent:  # an id may have been spoilt into another
        return "an id nobody sent"
    if ("ok" in body) == ("no" in body):
        return "neither yes nor no"
    if "ok" in body:
        return "let in by a forged token" if asked is not None and asked.kind in ("hello", "refresh") else None
    if body["no"]["code"] not in fuzz_frames.CODES or not isinstance(body["no"]["retry"], bool):
        return "an unknown refusal"
    if len(payload) > REFUSAL:
        return "a refusal longer than need be"
    return "a good command not understood" if asked is not None and asked.whole and "why" in body["no"] else None


async def test_every_command_is_answered_by_a_word_of_the_protocol(house: House) -> None:
    shop = fuzz_commands.Shop(await sale(house.db, {"S1": 400, "S2": 400}, per_person=20), await coupon(house.db, 200))
    people = [*(f"p:{n}" for n in range(1, 16)), *(f"g:{n}" for n in range(6)), *(f"s:{n}" for n in range(1, 4))]
    cases = [fuzz_commands.case(SEED, number, shop) for number in ([ONLY] if ONLY is not None else range(COMMANDS))]
    peers = []
    with capture_logs() as logged:
        for sub in people:
            peers.append(peer := await Peer.upgraded(house.port))
            assert "ok" in await peer.ask(0, "hello", v=1, token=house.token(sub), room="r1")
        wrong = await asyncio.gather(*(talk(peer, cases[n :: len(peers)]) for n, peer in enumerate(peers)))
        for peer in peers:
            await peer.leave()
    assert [fault for faults in wrong for fault in faults] == []
    assert [entry for entry in logged if entry["log_level"] in ("error", "critical")] == []


async def first_words(house: House, number: int) -> str | None:
    """What is wrong with how a socket was received that begins like this."""
    known = house.token(f"g:{number}")
    raw = fuzz_commands.first(SEED, number, "r1" if number % 20 else "nowhere", known)
    peer = await Peer.upgraded(house.port)
    await peer.send(frame(TEXT, raw))
    texts: list[dict[str, Any]] = []
    try:
        while (told := await peer.next())[0] == TEXT:
            texts.append(orjson.loads(told[1]))
            if "ok" in texts[-1]:
                return None if known.encode() in raw else f"let in by {raw!r}"
    except (TimeoutError, EOFError, WireError) as error:
        return f"{error!r} after {raw!r}"
    finally:
        await peer.leave()
    code = code_of(told[1])
    byes = [text["bye"]["code"] for text in texts if "bye" in text]
    refused = [text for text in texts if "no" in text and text["no"]["code"] in fuzz_frames.CODES]
    told_why = byes == [code] and code in TURNED_AWAY and refused
    return None if told_why else f"{texts} and {code} to {raw!r}"


async def test_whatever_a_socket_says_first_it_is_greeted_or_told_why_not(house: House) -> None:
    turns = asyncio.Semaphore(100)

    async def one(number: int) -> str | None:
        async with turns:
            return await first_words(house, number)

    with capture_logs() as logged:
        wrong = await asyncio.gather(*(one(number) for number in ([ONLY] if ONLY is not None else range(HELLOS))))
    assert [fault for fault in wrong if fault] == []
    assert [entry for entry in logged if entry["log_level"] in ("error", "critical")] == []
    async with asyncio.timeout(PATIENCE):
        while [one for one in gc.get_objects() if isinstance(one, Connection)]:
            await asyncio.sleep(0.1)
