"""Coming back: from the ring, from the room's log, by a snapshot; holes, and a listener that is dead or hears nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
import pytest
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError

from live.hub import figures, picture, server
from live.infra import roomlog
from live.infra.keys import hub_channel, room_key
from live.settings import Settings
from tests.hub.crowd import ROOM, Viewer, counted, until
from tests.hub.peer import PATIENCE
from tests.hub.stage import Gate, Stage, a_stage


async def away(stage: Stage, sub: str = "g:1") -> Viewer:
    """Somebody who watched and is gone for a moment."""
    viewer = await stage.join(sub)
    await stage.level()
    await viewer.leave()
    return viewer


# by position


async def test_who_was_away_for_a_moment_is_told_from_the_ring_without_a_read(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, watcher = await away(stage), await stage.join("g:2")
    await stage.events(5, team__1={"paid": 1})
    await stage.level([watcher])
    gate = Gate(monkeypatch)
    await gate.shut()
    ring = counted(figures.resumes, source="ring")
    assert (await viewer.come())["rec"] is True
    assert viewer.seqs() == [1, 2, 3, 4, 5]
    await viewer.leave()
    assert (await viewer.come())["ev"] == []  # nothing missed is told as such, not as a snapshot
    assert counted(figures.resumes, source="ring") == ring + 2
    gate.open()
    await stage.level()


async def test_who_was_away_longer_than_the_ring_is_told_from_the_log(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "RING_SECONDS", 0.0)
    viewer, watcher = await away(stage), await stage.join("g:2")
    await stage.events(5, team__1={"paid": 1})
    await stage.level([watcher])
    await until(lambda: not stage.feed.picture.ring, "an empty ring")
    log = counted(figures.resumes, source="log")
    assert (await viewer.come())["rec"] is True
    assert viewer.seqs() == [1, 2, 3, 4, 5]
    assert counted(figures.resumes, source="log") == log + 1
    await stage.events(2)
    await stage.level()
    assert viewer.seqs() == watcher.seqs() == [1, 2, 3, 4, 5, 6, 7]


async def test_fifty_who_come_back_at_once_cost_a_few_reads_in_all(
    settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "RING_SECONDS", 0.0)
    async with a_stage(settings, hub_tick_ms=5_000) as stage:
        watcher = await stage.join("g:watcher")
        await stage.events(30)
        await stage.level([watcher])
        await until(lambda: not stage.feed.picture.ring, "an empty ring")
        people = [stage.viewer(f"g:{n}") for n in range(50)]
        await asyncio.gather(*(one.open() for one in people))
        gate, reads = Gate(monkeypatch), counted(figures.reads, what="look")
        hellos = await asyncio.gather(*(one.greet(e="e1", s=(5, 12, 25)[n % 3], p=0) for n, one in enumerate(people)))
        assert [hello["rec"] for hello in hellos] == [True] * 50
        assert [one.seqs() for one in people] == [list(range((6, 13, 26)[n % 3], 31)) for n in range(50)]
        assert len(gate.asked) <= 10
        assert counted(figures.reads, what="look") - reads == len(gate.asked)


async def test_three_hundred_missed_events_are_replayed_and_one_more_is_a_snapshot(stage: Stage) -> None:
    near, far = await away(stage, "g:1"), await away(stage, "g:2")
    near.s = 1
    watcher = await stage.join("g:3")
    await stage.events(301, team__1={"paid": 1})
    await stage.level([watcher])
    assert (await near.come())["rec"] is True
    assert near.seqs() == list(range(2, 302))
    assert (await far.come())["rec"] is False
    assert far.seqs() == []
    await stage.events()
    await stage.level()


@pytest.mark.parametrize("keep", [0, 2, 4])
async def test_a_log_cut_off_before_the_position_is_a_snapshot(stage: Stage, monkeypatch: pytest.MonkeyPatch, keep: int) -> None:
    monkeypatch.setattr(picture, "RING_SECONDS", 0.0)
    viewer, watcher = await away(stage), await stage.join("g:2")
    await stage.events(5, team__1={"paid": 1})
    await stage.level([watcher])
    await stage.trim(keep)
    await until(lambda: not stage.feed.picture.ring, "an empty ring")
    assert (await viewer.come())["rec"] is False
    assert viewer.seqs() == []
    await stage.events()
    await stage.level()
    assert viewer.seqs() == [6]
    assert watcher.seqs() == [1, 2, 3, 4, 5, 6]


async def test_who_is_ahead_of_this_hub_waits_for_it_and_is_not_reset(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # Another hub had told it more: this one reads the room up to half a second later.
    viewer, watcher = await away(stage), await stage.join("g:2")
    gate = Gate(monkeypatch)
    await gate.shut()
    await stage.events(3)
    await viewer.open()
    coming = asyncio.create_task(viewer.greet(e="e1", s=2, p=0))
    await asyncio.sleep(0.05)
    gate.open()
    assert (await coming)["rec"] is True
    await stage.level([viewer, watcher])
    assert viewer.seqs() == [3]


# holes


@pytest.mark.parametrize("keep", [0, 3])
async def test_a_hole_under_a_running_feed_is_an_explicit_reset(stage: Stage, monkeypatch: pytest.MonkeyPatch, keep: int) -> None:
    crowd = await stage.crowd(5)
    await stage.events(2)
    await stage.level()
    gate = Gate(monkeypatch)
    await gate.shut()
    await stage.events(6, team__1={"paid": 1})
    await stage.trim(keep)
    gate.open()
    await stage.level()
    await stage.events(2)
    await stage.level()
    for one in crowd:
        assert one.of("anew") == [("e1", 0), ("e1", 8)]
        assert one.seqs() == [1, 2, 9, 10]
        assert one.of("gap") == []
    late = stage.viewer("g:late")
    assert (await late.come(e="e1", s=4, p=0))["rec"] is False  # nobody can be replayed across the hole


async def test_more_events_than_one_read_brings_are_all_told_in_order(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = await stage.crowd(3)
    gate = Gate(monkeypatch)
    await gate.shut()
    await stage.events(1_050, team__1={"paid": 1})
    gate.open()
    await stage.level()
    assert [one.seqs() for one in crowd] == [list(range(1, 1_051))] * 3
    assert [len(one.of("anew")) for one in crowd] == [1, 1, 1]


async def test_a_comment_taken_back_in_a_hole_is_not_shown_again_by_the_reset(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = await stage.join("g:1")
    said = [(await stage.comment(text)).id for text in ("kept", "oops")]
    await until(lambda: viewer.chat == said)
    gate = Gate(monkeypatch)
    await gate.shut()
    await stage.withdraw(said[1])
    await stage.trim()
    gate.open()
    await stage.level()
    assert viewer.chat == said[:1]
    assert (await stage.join("g:2")).chat == said[:1]


async def test_a_comment_taken_back_while_the_room_was_rebuilt_is_not_shown_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = await stage.join("g:1")
    said = [(await stage.comment(text)).id for text in ("kept", "oops")]
    await until(lambda: viewer.chat == said)
    gate = Gate(monkeypatch)
    await gate.shut()
    await stage.withdraw(said[1])
    await stage.begin_anew()
    gate.open()
    await stage.level()
    assert viewer.chat == said[:1]


async def test_a_console_that_comes_while_a_log_is_begun_anew_hears_every_comment(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.join("g:1")
    look, reads = roomlog.look, 0
    let_go = asyncio.Event()

    async def slow_second(*args: Any) -> roomlog.Look:
        nonlocal reads
        found = await look(*args)
        reads += found.epoch == "e2"
        if reads == 2:
            await let_go.wait()
        return found

    monkeypatch.setattr(roomlog, "look", slow_second)
    await stage.begin_anew()
    await until(lambda: reads == 2)
    console = await stage.join("s:1")  # let in by what is held of the old log
    let_go.set()
    await stage.level()
    said = (await stage.comment("is anybody there")).id
    await until(lambda: said in console.chat, "the comment at the console")


# own events


async def test_ones_place_among_own_events_moves_with_everybodys_frames(stage: Stage) -> None:
    buyer, other = await stage.join("p:1"), await stage.join("p:2")
    await stage.own("p:1", "A")
    await stage.own("p:1", "B")
    await until(lambda: len(buyer.of("own")) == 2)
    await stage.events()
    await stage.level()
    assert (buyer.p, other.p) == (2, 2)
    await other.leave()
    for n in range(5):
        await stage.own("p:1", f"C{n}")
    await stage.events()
    await stage.level([buyer])
    assert (await other.come())["own"] == []  # others' news are no gap
    assert other.p == 7
    assert (other.of("own"), other.of("fetch")) == ([], [()])


async def test_missed_own_events_are_told_from_the_ring(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    buyer = await away(stage, "p:1")
    watcher = await stage.join("p:2")
    for who, thing, version in (("p:1", "A", 1), ("p:2", "X", 1), ("p:1", "B", 1), ("p:1", "A", 2)):
        await stage.own(who, thing, version)
    await stage.events()
    await stage.level([watcher])
    gate = Gate(monkeypatch)
    await gate.shut()
    await buyer.come()
    assert [(p, body["no"], body["version"]) for p, body in buyer.of("own")] == [(1, "A", 1), (3, "B", 1), (4, "A", 2)]
    assert buyer.of("fetch") == [()]
    gate.open()


async def test_own_events_older_than_the_hub_are_told_from_the_stream(stage: Stage) -> None:
    for thing in "ABC":
        await stage.own("p:1", thing)
        await stage.own("p:2", thing)
    buyer = stage.viewer("p:1")  # whom another hub had served
    assert (await buyer.come(e="e1", s=0, p=2))["rec"] is True
    assert [p for p, _ in buyer.of("own")] == [3, 5]
    assert buyer.of("fetch") == []


async def test_own_events_too_old_are_to_be_fetched(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "OWN_RING", 3)
    buyer, watcher = await away(stage, "p:1"), await stage.join("g:2")
    for thing in "ABCDE":
        await stage.own("p:1", thing)
    await stage.events()
    await stage.level([watcher])
    assert (await buyer.come())["own"] is None
    late = stage.viewer("p:1")
    assert [entry[0] for entry in (await late.come(e="e1", s=0, p=2))["own"]] == [3, 4, 5]


async def test_a_hole_among_own_events_makes_everybody_fetch_theirs(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose news is gone nobody knows: the person may never be told anything again that would show it."""
    buyer, other = await stage.join("p:1"), await stage.join("p:2")
    gate = Gate(monkeypatch)
    await gate.shut()
    for who, thing in (("p:1", "A"), ("p:1", "B"), ("p:2", "X"), ("p:1", "C")):
        await stage.own(who, thing)
    await stage.trim(2, "own")
    gate.open()
    await until(lambda: len(buyer.of("fetch")) == len(other.of("fetch")) == 2, "fetching")  # one is of the first join
    assert (buyer.p, other.p) == (4, 4)
    await stage.own("p:1", "D")
    await until(lambda: buyer.of("own"), "news again")
    assert [p for p, _ in buyer.of("own")] == [5]
    await buyer.leave()
    assert (await buyer.come(e="e1", s=0, p=1))["own"] is None


# the listener


async def works(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nudges and verdicts arrive."""
    nudged: list[bool] = []
    verdicts: list[str] = []
    monkeypatch.setattr(stage.feed, "nudge", nudged.append)
    monkeypatch.setattr(stage.hub.desk, "verdict", lambda rid, intent, body, no: verdicts.append(rid))
    async with asyncio.timeout(PATIENCE):
        while not nudged or not verdicts:  # again and again: what is published before it listens anew is lost
            await stage.events()
            await stage.redis.publish(hub_channel(stage.hub.id), orjson.dumps([["rid", "1/1-0", None, ["ended"]]]))
            await asyncio.sleep(0.05)


async def test_a_killed_listener_loses_nothing_and_listens_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = await stage.crowd(3)
    for _ in range(4):
        async with asyncio.timeout(5):
            while not await stage.redis.client_kill_filter(_type="pubsub"):
                await asyncio.sleep(0.01)  # the last one killed is not back yet
        await stage.events(10, team__1={"paid": 1})
        await stage.level()
    assert [one.seqs() for one in crowd] == [list(range(1, 41))] * 3
    assert [len(one.of("anew")) for one in crowd] == [1, 1, 1]
    await works(stage, monkeypatch)


class Valve:
    """A wire between hub and Valkey. `stuck`: connections that subscribe get no answer any more, and nobody is told."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.stuck = False
        self.subscribed = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it or the test ends."""
        there, back = await asyncio.open_unix_connection(self.path)
        listens = False

        async def answers() -> None:
            while data := await there.read(1 << 16):
                while listens and self.stuck:
                    await asyncio.sleep(0.01)
                writer.write(data)

        answering = asyncio.create_task(answers())
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if b"SUBSCRIBE" in data and not listens:
                    listens = True
                    self.subscribed += 1
                back.write(data)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        for one in (back, writer):
            one.close()


@asynccontextmanager
async def a_valve(settings: Settings, folder: Path) -> AsyncIterator[tuple[Valve, Settings]]:
    """The wire, and settings that go through it."""
    valve = Valve(unquote(urlsplit(str(settings.redis_url)).path))
    listening = await asyncio.start_unix_server(valve.carry, str(folder / "v.sock"))
    yield valve, settings.model_copy(update={"redis_url": f"unix://{folder}/v.sock?db=0"})
    listening.close()


@pytest.mark.usefixtures("redis")
async def test_a_listener_that_hears_nothing_is_replaced_and_ticks_go_on_meanwhile(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DEAF_SECONDS", 0.5)
    monkeypatch.setattr(server, "TURN_SECONDS", 0.1)
    async with a_valve(settings, tmp_path) as (valve, through), a_stage(through) as stage:
        crowd = await stage.crowd(3)
        before = valve.subscribed
        valve.stuck = True
        await stage.events(5, team__1={"paid": 1})
        await stage.level()
        await until(lambda: stage.hub.deaf, "that it is noticed")
        await stage.events(5)
        await stage.level()
        valve.stuck = False
        await until(lambda: not stage.hub.deaf, "a voice")
        assert valve.subscribed > before
        assert [one.seqs() for one in crowd] == [list(range(1, 11))] * 3
        await works(stage, monkeypatch)


async def test_a_room_whose_subscription_failed_is_subscribed_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    subscribe = PubSub.subscribe
    failures = 0

    async def once_broken(self: PubSub, *channels: Any, **handlers: Any) -> Any:
        nonlocal failures
        if failures == 0 and ROOM in str(channels):
            failures += 1
            raise RedisConnectionError("away for a moment")
        return await subscribe(self, *channels, **handlers)

    monkeypatch.setattr(PubSub, "subscribe", once_broken)
    monkeypatch.setattr(server.log, "error", lambda *_, **__: None)
    monkeypatch.setattr(server, "TURN_SECONDS", 0.1)
    await stage.join("g:1")
    await until(lambda: failures == 1)
    await until(lambda: f"{{{ROOM}}}:nudge" in str(stage.hub.pubsub.channels), "the room's channel")


@pytest.mark.parametrize("redis_is_away", [True, False])
async def test_hellos_given_up_while_a_room_cannot_be_read_do_not_pile_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, redis_is_away: bool
) -> None:
    async def nobody(*_: Any) -> roomlog.Look:
        raise RedisConnectionError("away")

    monkeypatch.setattr(picture, "RING_SECONDS", 0.0)
    watcher = await stage.join("g:watcher")
    await stage.events(3)
    await stage.level()
    await until(lambda: not stage.feed.picture.ring, "an empty ring")
    if redis_is_away:
        monkeypatch.setattr(roomlog, "look", nobody)
    else:  # it waits for its rebuild, and no ledger is there
        await stage.redis.delete(room_key(ROOM, "meta"))
        await until(lambda: not stage.feed.picture.fence, "a closed room")
    for n in range(20):
        viewer = stage.viewer(f"g:{n}")
        await viewer.open()
        viewer.send("hello", v=1, token=viewer.token, room=ROOM, e="e1", s=1, p=0)
        await until(lambda: stage.feed.waiting)
        await viewer.leave()
    await until(lambda: len(stage.hub.door.wheel) == 1, "all of them gone")
    await until(lambda: not stage.feed.waiting, "nobody waiting who is gone")
    await watcher.leave()


async def test_a_room_that_opens_late_lets_in_who_waited(stage: Stage) -> None:
    late = stage.viewer("g:1", room="later")
    await late.open()
    coming = asyncio.create_task(late.greet())
    await asyncio.sleep(0.1)
    meta = {"fence": "1", "run_id": "x", "seq": "0", "sv": "0", "own": "0", "epoch": "e9", "act_no": "0"}
    await stage.redis.hset(room_key("later", "meta"), mapping=meta)  # type: ignore[misc]
    assert (await coming)["e"] == "e9"
