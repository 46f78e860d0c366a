"""Who may come in, who has been here too long without a word, and how everybody is sent away; and that nothing is left of who went."""

from __future__ import annotations

import asyncio
import gc
import math
import random
import resource
import socket
import struct
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from websockets.protocol import Protocol
from websockets.server import ServerProtocol

from live.hub import connection, door, figures, server
from live.hub.connection import Connection
from live.hub.door import SLOTS, Door, Wheel
from live.infra import security
from live.infra.db import utc_now
from live.protocol.codes import Close
from live.settings import Settings
from tests.hub.crowd import Viewer, counted, until
from tests.hub.peer import CLOSE, PATIENCE, TEXT, Answer, Peer, code_of, command, frame, request
from tests.hub.stage import Stage, a_stage

BUSY = (503, "2", b"busy\n")


async def knock(stage: Stage, start: str = "GET /ws HTTP/1.1", *, cut: int = 0, **fields: Any) -> tuple[Answer, Peer]:
    """Ask to come in; `cut`: so many bytes of the request arrive first, by themselves."""
    peer, asked = await Peer.connect(stage.port), request(start, **fields)
    await peer.send(*((asked[:cut], asked[cut:]) if cut else (asked,)))
    return await peer.answer(), peer


async def refusal(stage: Stage, start: str = "GET /ws HTTP/1.1", cut: int = 0, **fields: Any) -> tuple[int, str | None, bytes]:
    """What the door says to one more."""
    found, peer = await knock(stage, start, cut=cut, **fields)
    await peer.leave()
    return found.status, found.fields.get("retry-after"), found.body


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The descriptor limits (soft, hard) a door finds, and what it sets."""
    found = [1024, 300]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (found[0], found[1]))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: found.__setitem__(slice(None), pair))
    return found


# coming in


@pytest.mark.usefixtures("redis")
async def test_over_the_limit_of_sockets_the_answer_is_503_and_pages_are_served_on(settings: Settings) -> None:
    async with a_stage(settings, hub_max_connections=3) as stage:
        inside = await stage.crowd(3)
        refused = counted(figures.refused, why="sockets")
        assert await refusal(stage) == BUSY
        assert counted(figures.refused, why="sockets") == refused + 1
        assert await refusal(stage, "GET /healthz HTTP/1.1", Upgrade=None, Connection="close") == (200, None, b'{"ok":true}')
        await inside[0].leave()
        await until(lambda: len(stage.hub.door.wheel) == 2)
        await stage.join("g:next")
        await stage.events()
        await stage.level()


@pytest.mark.usefixtures("redis")
@pytest.mark.parametrize("cut", [1, 6])
async def test_a_request_that_comes_in_pieces_is_counted_like_any_other(settings: Settings, cut: int) -> None:
    async with a_stage(settings, hub_max_connections=1) as stage:
        await stage.join("g:1")
        assert await refusal(stage, cut=cut) == BUSY
        stage.hub.door.shut = True
        assert await refusal(stage, cut=cut) == BUSY
        stage.hub.door.shut = False


@pytest.mark.usefixtures("redis")
async def test_more_handshakes_a_second_than_allowed_are_answered_503(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_stage(settings, hub_handshakes_per_second=5) as stage:
        monkeypatch.setattr(stage.hub.door.handshakes, "rate", 1e-6)  # time stands still
        answers = [await knock(stage) for _ in range(8)]
        assert [found.status for found, _ in answers] == [101] * 5 + [503] * 3
        assert await refusal(stage) == BUSY
        for _, peer in answers:
            await peer.leave()


@pytest.mark.usefixtures("redis")
async def test_while_draining_nobody_new_comes_in(settings: Settings) -> None:
    async with a_stage(settings) as stage:
        stage.hub.door.shut = True
        refused = counted(figures.refused, why="drain")
        assert await refusal(stage) == BUSY
        assert counted(figures.refused, why="drain") == refused + 1


@pytest.mark.usefixtures("redis")
async def test_descriptors_are_kept_back_for_refusals_and_after_those_a_socket_is_cut(settings: Settings, limits: list[int]) -> None:
    limits[:] = [100, door.RESERVE + 2]
    async with a_stage(settings) as stage:
        assert limits == [door.RESERVE + 2, door.RESERVE + 2]  # raised as far as it goes
        assert (stage.hub.door.capacity, stage.hub.door.most) == (2, door.RESERVE + 2 - door.LAST)
        await stage.crowd(2)
        idle = [await Peer.connect(stage.port) for _ in range(stage.hub.door.most - 3)]
        await until(lambda: len(stage.hub.door.wheel) == stage.hub.door.most - 1)
        assert await refusal(stage) == BUSY
        await until(lambda: len(stage.hub.door.wheel) == stage.hub.door.most - 1)
        idle.append(await Peer.connect(stage.port))
        await until(lambda: len(stage.hub.door.wheel) == stage.hub.door.most)
        cut = counted(figures.refused, why="cut")
        over = await Peer.connect(stage.port)
        with suppress(ConnectionError):
            assert await over.reader.read() == b""
        assert counted(figures.refused, why="cut") == cut + 1
        await stage.events()
        await stage.level()
        for peer in (*idle, over):
            await peer.leave()


@pytest.mark.usefixtures("redis")
async def test_one_address_has_so_many_sockets_and_a_proxy_speaks_for_others(settings: Settings) -> None:
    async with a_stage(settings, hub_sockets_per_address=2, trusted_proxies="127.0.0.1") as stage:
        peers = []
        for address, expected in (
            ("192.0.2.1", 101), ("192.0.2.1", 101), ("192.0.2.1", 503), ("192.0.2.2", 101), ("192.0.2.1, 192.0.2.3", 101),
            ("nonsense, 192.0.2.2", 101), ("192.0.2.2", 503), ("192.0.2.9, 192.0.2.3, 127.0.0.1", 101), ("192.0.2.3", 503),
        ):  # fmt: skip
            found, peer = await knock(stage, X_Forwarded_For=address)
            assert found.status == expected, address
            assert (found.fields.get("retry-after") == "2") == (expected == 503)
            peers.append(peer)
        assert stage.hub.door.addresses == {"192.0.2.1": 2, "192.0.2.2": 2, "192.0.2.3": 2}
        for peer in peers:
            await peer.leave()
        await until(lambda: not stage.hub.door.wheel)
        assert stage.hub.door.addresses == {}


@pytest.mark.usefixtures("redis")
async def test_a_stranger_does_not_choose_its_address(settings: Settings) -> None:
    async with a_stage(settings, hub_sockets_per_address=1, trusted_proxies="192.0.2.99") as stage:
        first, peer = await knock(stage, X_Forwarded_For="192.0.2.1")
        second, other = await knock(stage, X_Forwarded_For="192.0.2.2")
        assert (first.status, second.status) == (101, 503)
        assert stage.hub.door.addresses == {"127.0.0.1": 1}
        for one in (peer, other):
            await one.leave()


# deadlines


@pytest.mark.usefixtures("redis")
async def test_no_hello_no_word_and_an_old_token_each_end_with_their_code(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TURN_SECONDS", 0.05)
    async with a_stage(settings, hub_hello_seconds=0.5, hub_silent_seconds=3.0) as stage:
        late, quiet, old, talks = (stage.viewer(f"g:{n}") for n in range(4))
        old.token = stage.tokens.issue("g:2", "guest", "old", seconds=2)
        await late.open()
        assert late.peer is not None
        for viewer in (quiet, old, talks):
            await viewer.come()
        async with asyncio.timeout(PATIENCE):
            while old.code is None or quiet.code is None:
                await talks.ask("ping")
                await asyncio.sleep(0.1)
        closes = [code_of(payload) for opcode, payload in await late.peer.rest() if opcode == CLOSE]
        assert (closes, quiet.code, old.code, talks.code) == ([Close.HELLO_LATE], Close.SILENT, Close.EXPIRED, None)
        assert quiet.bye == {"code": 4003, "after": 0, "why": "silent"}


@pytest.mark.usefixtures("redis")
async def test_who_never_finishes_a_handshake_is_cut(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TURN_SECONDS", 0.05)
    async with a_stage(settings, hub_hello_seconds=0.2) as stage:
        for part in (b"", b"G", b"GET /ws HTTP/1.1\r\nHost: x\r\n"):
            peer = await Peer.connect(stage.port)
            await peer.send(part)
            async with asyncio.timeout(PATIENCE):
                with suppress(ConnectionError):
                    assert await peer.reader.read() == b""
            await peer.leave()
        assert len(stage.hub.door.wheel) == 0


@pytest.mark.usefixtures("redis")
async def test_a_second_revocation_whose_message_was_lost_is_found_too(
    settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "TURN_SECONDS", 0.05)
    async with a_stage(settings) as stage:
        await security.revoke(redis, "p:1", utc_now())
        await until(lambda: "p:1" in stage.hub.not_before)
        await asyncio.sleep(0.01)
        again = await stage.join("p:1")  # logged in anew
        await asyncio.sleep(0.01)
        monkeypatch.setattr(Redis, "publish", lambda *_: asyncio.sleep(0))
        await security.revoke(redis, "p:1", utc_now())
        await until(lambda: again.code, "the close")
        assert again.code == Close.REVOKED


async def test_after_the_bye_nothing_is_done_any_more(stage: Stage) -> None:
    viewer, watcher = await stage.join("g:1"), await stage.join("g:2")
    held = next(iter(stage.feed.people["g:1"]))
    held.close(Close.REVOKED)
    for n in range(3):  # a client that is deaf to it
        viewer.send("say", cid=f"cid-{n:05d}", text="still here")
    with suppress(AssertionError):
        await until(lambda: viewer.gone)
    await stage.comment("the end")
    await until(lambda: watcher.of("chat"))
    assert [text for _, text in watcher.of("chat")] == ["the end"]


class Seat:
    """What the wheel needs of a socket."""

    slot = -1

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline


@pytest.mark.parametrize("began", [0.0, 17.3, 63.999, 64.0, 12_345.6])
def test_the_wheel_finds_everybody_once_never_early_and_at_most_a_second_late(began: float) -> None:
    chance = random.Random(began)
    wheel: Any = Wheel(began)
    seats = [Seat(began + chance.choice((0.0, 0.2, 0.999, 1.0, 5.0, 62.5, 63.0, 200.0)) + chance.random()) for _ in range(300)]
    for seat in seats:
        wheel.put(seat, seat.deadline)
    found: dict[Seat, float] = {}
    now = began
    while now < began + 300:
        now += chance.choice((0.05, 0.3, 1.0, 1.0, 2.4))
        for seat in wheel.due(now):
            if now < seat.deadline:
                assert seat.deadline - began > SLOTS - 2, "looked at early, and not because it was too far away"
                wheel.move(seat, seat.deadline)
                continue
            assert seat not in found
            assert now - seat.deadline <= 1 + 2.4 + 1e-9
            found[seat] = now
            wheel.drop(seat)
    assert len(found) == len(seats)
    assert (len(wheel), list(wheel)) == (0, [])


def test_the_wheel_counts_drops_and_moves() -> None:
    wheel: Any = Wheel(100.5)
    one, two = Seat(103.0), Seat(500.0)
    for seat in (one, two):
        wheel.put(seat, seat.deadline)
    assert (len(wheel), set(wheel)) == (2, {one, two})
    wheel.move(one, 110.0)
    assert wheel.due(109.9) == []
    assert wheel.due(110.0) == [one]
    wheel.drop(one)
    wheel.drop(one)
    wheel.move(one, 111.0)  # it is gone: nothing happens
    assert (len(wheel), list(wheel)) == (1, [two])
    assert wheel.due(100.5 + SLOTS) == [two]  # looked at, though its deadline is far
    past = Seat(50.0)
    wheel.put(past, past.deadline)
    assert wheel.due(math.floor(100.5 + SLOTS) + 1) == [past]


def test_a_door_is_never_wider_than_its_descriptors(settings: Settings, limits: list[int]) -> None:
    limits[:] = [1024, 4096]
    found = Door(settings)
    assert (found.capacity, found.most, limits) == (4096 - 256, 4096 - 32, [4096, 4096])
    limits[:] = [50_000, 50_000]
    assert Door(settings).capacity == settings.hub_max_connections


# going


@pytest.mark.usefixtures("redis")
async def test_a_stopping_hub_tells_everybody_when_to_come_back(settings: Settings) -> None:
    async with a_stage(settings, hub_return_ms=5_000, hub_drain_seconds=5.0) as stage:
        people = await stage.crowd(300)
        stranger = await Peer.connect(stage.port)
        draining = asyncio.create_task(stage.hub.drain())
        await asyncio.wait_for(asyncio.gather(*(viewer.reading for viewer in people if viewer.reading)), PATIENCE)
        byes = [viewer.bye for viewer in people if viewer.bye]
        assert {viewer.code for viewer in people} == {Close.DRAIN}
        assert {(bye["code"], bye["why"]) for bye in byes} == {(4001, "drain")}
        low = stage.hub.settings.hub_absent_ms
        assert [bye for bye in byes if not low <= bye["after"] <= low + 5_000] == []
        assert len({bye["after"] for bye in byes}) > 100  # spread, not all at once
        for viewer in people:
            await viewer.leave()
        await draining
        assert len(stage.hub.door.wheel) == 0
        await stranger.leave()


# nothing is left


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[weakref.ref[Any]]]:
    """A reference to every connection and parser made; nothing is collected meanwhile, so that only counting frees them."""
    found: list[weakref.ref[Any]] = []

    class Seen(Connection):
        __slots__ = ("__weakref__",)

        def __init__(self, hub: Any) -> None:
            super().__init__(hub)
            found.append(weakref.ref(self))

    class Parser(ServerProtocol):
        def __init__(self, *what: Any, **how: Any) -> None:
            super().__init__(*what, **how)
            found.append(weakref.ref(self))

    class Later(Protocol):
        def __init__(self, *what: Any, **how: Any) -> None:
            super().__init__(*what, **how)
            found.append(weakref.ref(self))

    monkeypatch.setattr(server, "Connection", Seen)
    monkeypatch.setattr(connection, "ServerProtocol", Parser)
    monkeypatch.setattr(connection, "Protocol", Later)
    gc.collect()
    gc.disable()
    yield found
    gc.enable()


@pytest_asyncio.fixture
async def hall(settings: Settings, redis: Redis, alive: list[Any]) -> AsyncIterator[Stage]:
    """A hub whose connections are watched."""
    async with a_stage(settings, hub_drain_seconds=0.1) as stage:
        yield stage


async def one_of_many(stage: Stage, number: int, chance: random.Random) -> None:
    """A socket that gets somewhere and ends somehow."""
    how = chance.choice(("silent", "half a request", "page", "no hello", "joined", "joined", "joined", "garbage"))
    viewer = Viewer(stage.port, stage.tokens, f"p:{number % 40}")
    if how in ("silent", "half a request", "page"):
        viewer.peer = await Peer.connect(stage.port)
        await viewer.peer.send({"silent": b"", "half a request": request()[:70], "page": request("GET /healthz HTTP/1.1")}[how])
    elif how == "joined":
        await viewer.come()
        viewer.send("say", cid=f"cid-{number:05d}", text="hi")
    else:
        await viewer.open()
        assert viewer.peer is not None
        await viewer.peer.send(b"\xff\xff\xff" if how == "garbage" else b"")
    assert viewer.peer is not None
    writer = viewer.peer.writer
    end = chance.choice(("close", "reset", "half", "goodbye"))
    if end == "half":
        writer.write_eof()
        await asyncio.sleep(0.01)
    elif end == "goodbye" and how == "joined":
        writer.write(frame(CLOSE, b"\x03\xe8"))
        await asyncio.sleep(0.01)
    await viewer.leave(reset=end == "reset")


async def empty(stage: Stage, alive: list[weakref.ref[Any]]) -> None:
    """Nothing is held of anybody."""
    await until(lambda: not stage.hub.door.wheel, "everybody gone")
    feed = stage.feed
    assert [len(held) for held in (feed.members, feed.consoles, feed.stale, feed.people, feed.waiting)] == [0] * 5
    assert (len(stage.hub.door.behind), stage.hub.door.addresses, any(stage.hub.door.wheel.slots)) == (0, {}, False)
    await until(lambda: not stage.hub.tasks - {task for task in stage.hub.tasks if task.get_coro().__name__ in ("listen", "watch")})  # type: ignore[union-attr]
    await asyncio.sleep(0.05)  # whatever a last tick held
    assert [type(ref()).__name__ for ref in alive if ref() is not None] == []


async def test_three_hundred_sockets_in_any_state_leave_nothing_behind(hall: Stage, alive: list[weakref.ref[Any]]) -> None:
    sockets, chance = counted(figures.sockets), random.Random(1)
    for start in range(0, 300, 30):
        await asyncio.gather(*(one_of_many(hall, number, chance) for number in range(start, start + 30)))
        await hall.events(1, team__1={"paid": start})
    assert len(alive) > 300
    await empty(hall, alive)
    assert counted(figures.sockets) == sockets


@pytest.mark.parametrize(
    "wrong", [request(Upgrade=None), request(Sec_WebSocket_Key="x"), b"hello\r\n\r\n", request(Origin="https://evil"), request()[:70]]
)
async def test_a_bad_handshake_leaves_nothing_behind_either(hall: Stage, alive: list[weakref.ref[Any]], wrong: bytes) -> None:
    (await hall.join("g:1")).send("ping")
    await hall.viewers[0].leave()
    for _ in range(5):
        peer = await Peer.connect(hall.port)
        await peer.send(wrong)
        peer.writer.write_eof()
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await peer.reader.read()
        await peer.leave()
    await empty(hall, alive)


async def test_nobody_who_just_goes_or_says_something_wrong_leaves_anything_behind(hall: Stage, alive: list[weakref.ref[Any]]) -> None:
    texts = (b"\xff", b"x" * 5000, command(1, "x"))
    for wrong in (b"", frame(3), frame(TEXT, b"x", mask=None), *(frame(TEXT, text) for text in texts)):
        viewer = await hall.join("g:1")
        assert viewer.peer is not None
        viewer.peer.writer.write(wrong)
        await asyncio.sleep(0.02)
        await viewer.leave()
    await empty(hall, alive)


async def test_a_peer_that_was_reset_in_the_middle_of_a_sweep_is_nobodys_exception(hall: Stage) -> None:
    people = await hall.crowd(40)
    for number, viewer in enumerate(people):
        if number % 2:
            assert viewer.peer is not None
            sock = viewer.peer.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            viewer.peer.writer.transport.abort()
        await hall.events(1, team__1={"paid": number})
    for viewer in people[1::2]:
        await viewer.leave()
    await hall.level(people[::2])
    assert [viewer.seqs() for viewer in people[::2]] == [list(range(1, 41))] * 20
