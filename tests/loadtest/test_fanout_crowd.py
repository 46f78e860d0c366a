"""A crowd against a hub of a few lines: it comes in, counts what it is sent, comes back with its position, and goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from loadtest.crowd import Crowd, processes, shares
from loadtest.held import Held
from loadtest.stage import StageError
from loadtest.viewer import Viewer, masked, own_gaps, upgraded

SNAP = {"st": {"team:1": [3, {}]}, "chat": [], "viewers": 0, "likes": 0}
OK = {"now": 0, "e": "log", "s": 4, "p": 2, "rej": [0, 10], "rec": False, "snap": SNAP, "own": None}


def test_things_are_shared_out_without_rest() -> None:
    assert [len(part) for part in shares(10, 3)] == [3, 3, 4]
    assert [number for part in shares(10, 3) for number in part] == list(range(10))
    assert [len(part) for part in shares(1, 3)] == [0, 0, 1]


@pytest.mark.parametrize(
    ("viewers", "cores", "found"), [(60, 2, 1), (17_000, 2, 1), (17_001, 2, 2), (36_000, 2, 3), (60, 16, 1), (36_000, 16, 8)]
)
def test_as_many_receivers_as_descriptors_and_cores_ask_for(viewers: int, cores: int, found: int) -> None:
    assert processes(viewers, cores) == found


def test_a_viewer_stays_away_as_long_as_it_was_told() -> None:
    viewer = Viewer(1, "token", "127.0.0.2", [])
    viewer.spread = (3.0, 4.0)
    assert 3.0 <= (viewer.away() or 0) <= 4.0  # lost without a word: spread with the others
    assert (viewer.away() or 0) <= 1.0  # that try failed too
    viewer.failures = 20
    assert (viewer.away() or 0) <= 20.0
    viewer.failures, viewer.bye = 0, {"code": 4001, "after": 2500}
    assert 2.5 <= (viewer.away() or 0) <= 3.0
    viewer.bye = {"code": 4502, "after": 0}
    assert viewer.away() is None


def test_a_viewer_comes_back_with_what_it_holds() -> None:
    viewer = Viewer(1, "token", "127.0.0.2", [])
    assert b'"e"' not in viewer.hello("show")
    viewer.past, viewer.own = Held("log", 7, 3, {}), 5
    frame = viewer.hello("show")
    assert frame[:2] == bytes((0x81, 0x80 | len(frame) - 6))
    assert json.loads(frame[6:])["d"] == {"v": 1, "token": "token", "room": "show", "e": "log", "s": 7, "p": 5}
    assert masked(b"x" * 200)[:4] == b"\x81\xfe\x00\xc8"


def test_own_events_form_a_chain() -> None:
    assert own_gaps(3, [[5, 3, {}], [9, 5, {}]]) == (9, 0)
    assert own_gaps(3, [[7, 5, {}]]) == (7, 1)


def test_a_full_hub_says_how_long_to_wait() -> None:
    assert upgraded(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2") == (False, 2.0)
    assert upgraded(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket") == (False, 0.0)


async def test_a_crowd_stays_on_this_machine() -> None:
    with pytest.raises(StageError, match="not on this machine"):
        async with Crowd("ws://192.0.2.1:8001/ws", "show", ["token"]):
            pass


async def hub(greet: Callable[[ServerConnection, dict[str, Any]], Awaitable[None]]) -> Any:
    """A server whose sockets are handed to `greet` with what they said first."""

    async def talk(socket: ServerConnection) -> None:
        await greet(socket, json.loads(await socket.recv())["d"])
        await socket.wait_closed()

    return await serve(talk, "127.0.0.1", 0, compression=None)


def address(server: Any) -> str:
    return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"


async def until(crowd: Crowd, frames: int) -> None:
    async with asyncio.timeout(10):
        while (await crowd.status()).frames < frames:
            await asyncio.sleep(0.02)


async def test_everybody_counts_what_was_sent_whole_or_in_pieces() -> None:
    event, tick = '{"r":"show","s":5,"p":2,"ev":[[5,"room.pinned",{}]]}', '{"r":"show","s":5,"p":3,"st":{"team:1":[4,{}],"team:2":[5,{}]}}'

    async def greet(socket: ServerConnection, _: dict[str, Any]) -> None:
        await socket.send(json.dumps({"id": 0, "ok": OK}))
        await socket.send(event)
        for byte in bytes((0x81, len(tick))) + tick.encode():
            socket.transport.write(bytes((byte,)))
            await asyncio.sleep(0)
        await socket.send('{"r":"show","s":7,"p":3}')

    server = await hub(greet)
    async with Crowd(address(server), "show", ["one", "two", "three"], processes=2) as crowd:
        await crowd.open()
        await until(crowd, 9)
        seen, status = await crowd.take(), await crowd.status()
        assert await crowd.behind(9, {"team:1": 4, "team:2": 6}) == (6, 3)
    server.close()
    assert (status.connected, status.lost, status.counts["hello none"]) == (3, 0, 3)
    assert seen.all.items == {"critical": 3, "state": 6, "chat": 0}
    assert (seen.all.lost, seen.items["critical"], seen.items["state"]) == (6, {5}, {4, 5})


async def test_a_lost_viewer_comes_back_with_its_position() -> None:
    said: list[dict[str, Any]] = []

    async def greet(socket: ServerConnection, words: dict[str, Any]) -> None:
        said.append(words)
        if len(said) == 1:
            await socket.send(json.dumps({"id": 0, "ok": OK}))
            await socket.send('{"r":"show","s":5,"p":4,"ev":[[5,"room.pinned",{}]]}')
            await socket.send('{"own":[[6,2,{}]]}')
            await socket.send('{"bye":{"code":4001,"after":20,"why":"drain"}}')
            await socket.close(4001)
        else:
            again = OK | {"s": 7, "p": 8, "rec": True, "ev": [[6, "room.pinned", {}], [7, "room.pinned", {}]], "own": [[8, 6, {}]]}
            await socket.send(json.dumps({"id": 0, "ok": again}))

    server = await hub(greet)
    async with Crowd(address(server), "show", ["one"], ping=0) as crowd:
        await crowd.come_back()
        await crowd.open()
        async with asyncio.timeout(10):
            while len(said) < 2 or (await crowd.status()).connected < 1:
                await asyncio.sleep(0.02)
        seen, status = await crowd.take(), await crowd.status()
    server.close()
    assert {name: said[1][name] for name in "esp"} == {"e": "log", "s": 5, "p": 6}
    (back,) = seen.returns
    assert (back.number, back.source, back.tries) == (0, "replay", 1)
    assert back.back - back.lost >= 0.02
    counts = status.counts
    assert (seen.all.lost, counts["replayed"], counts["own"], counts["own gap"], counts["bye 4001"]) == (0, 2, 2, 0, 1)


async def test_who_is_set_aside_can_stop_reading() -> None:
    sockets: list[ServerConnection] = []

    async def greet(socket: ServerConnection, _: dict[str, Any]) -> None:
        await socket.send(json.dumps({"id": 0, "ok": OK}))
        sockets.append(socket)

    server = await hub(greet)
    async with Crowd(address(server), "show", ["one", "two"]) as crowd:
        await crowd.open()
        await crowd.set_aside(1)
        await crowd.stall(0.5)
        for socket in sockets:
            await socket.send('{"r":"show","s":5,"p":2,"ev":[[5,"room.pinned",{}]]}')
        await until(crowd, 1)
        assert (await crowd.take()).all.items["critical"] == 1
        await until(crowd, 2)
        assert (await crowd.take()).aside.items["critical"] == 1
    server.close()
