"""Who does not read: what is skipped is counted to the item, told afterwards, and costs nobody else anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from live.hub import connection, figures, server
from live.hub.connection import SKIP_CHAT, SKIP_STATE, TOO_SLOW, Connection
from live.protocol.codes import Close
from live.rooms.live import Manners
from live.settings import Settings
from tests.hub.crowd import Viewer, counted, until
from tests.hub.stage import Gate, Stage, a_stage

TINY = 4_096  # bytes a slow reader's kernel keeps for it
BULK = "好" * 3_000  # 9 kB a comment
LONG = Manners(limit=10_000, budget=0)
LANES = ("critical", "state", "chat")
Write = Callable[[int], Awaitable[Any]]


def held_of(stage: Stage, viewer: Viewer) -> Connection:
    """The hub's end of a viewer's socket."""
    (found,) = stage.feed.people[viewer.sub]
    return found


def waiting(stage: Stage, viewer: Viewer) -> int:
    """Bytes that wait in the hub for a viewer; the limits' worth when it is gone."""
    people = stage.feed.people.get(viewer.sub, ())
    transport = people[0].transport if people else None
    return transport.get_write_buffer_size() if transport else TOO_SLOW


async def fill(stage: Stage, viewer: Viewer, size: int, write: Write) -> int:
    """Write until so much waits for the viewer; how often that was."""
    for number in range(1_000):
        if waiting(stage, viewer) >= size:
            return number
        await write(number)
        await asyncio.sleep(0.04)  # more than a tick: each is a frame of its own
    raise AssertionError("it never fell behind")


async def bulk(stage: Stage, number: int) -> None:
    """Something long is said."""
    assert (await stage.comment(f"{number} {BULK}", manners=LONG)).id


class Tally:
    """What the figures say of a stretch of time, and what the viewers of it were told."""

    def __init__(self, viewers: list[Viewer]) -> None:
        self.viewers = viewers
        self.offered = {lane: counted(figures.offered, lane=lane) for lane in LANES}
        self.skipped = {lane: counted(figures.skipped, lane=lane) for lane in LANES}
        self.slow = {lane: counted(figures.skipped, lane=lane, reason="slow") for lane in LANES}
        self.told = {lane: self._told(lane) for lane in LANES}

    def _told(self, lane: str) -> int:
        """Items in room frames, as they stood on the wire; those of hellos and whole maps are not of a lane."""
        name = {"critical": "ev", "state": "st", "chat": "ch"}[lane]
        return sum(len(one.get(name, ())) for viewer in self.viewers for one in viewer.frames if "r" in one and not one.get("stale"))

    def of(self, lane: str) -> tuple[float, float, float]:
        """(offered, told, skipped) since."""
        return (
            counted(figures.offered, lane=lane) - self.offered[lane],
            self._told(lane) - self.told[lane],
            counted(figures.skipped, lane=lane) - self.skipped[lane],
        )

    def slowly(self, lane: str) -> float:
        """Skipped because somebody was slow."""
        return counted(figures.skipped, lane=lane, reason="slow") - self.slow[lane]

    async def balanced(self) -> None:
        """Whatever was offered was told or skipped, to the item."""

        def open_(lane: str) -> float:
            offered, told, skipped = self.of(lane)
            return offered - told - skipped

        for _ in range(200):
            if not any(open_(lane) for lane in LANES):
                break
            await asyncio.sleep(0.01)
        assert {lane: self.of(lane) for lane in LANES if open_(lane)} == {}, "(offered, told, skipped)"


async def theatre(stage: Stage, slow: int = 2, fast: int = 4) -> tuple[list[Viewer], list[Viewer], Tally]:
    """Some who stop reading and some who do not."""
    slow_ones = [await stage.join(f"g:slow{n}", buffer=TINY) for n in range(slow)]
    fast_ones = await stage.crowd(fast)
    await stage.level()
    await asyncio.sleep(0.1)
    tally = Tally(stage.viewers)
    for one in slow_ones:
        one.stop()
    return slow_ones, fast_ones, tally


async def test_chat_is_skipped_first_counted_exactly_and_nobody_else_misses_any(stage: Stage) -> None:
    slow, fast, tally = await theatre(stage)
    said = await fill(stage, slow[0], SKIP_CHAT, lambda n: bulk(stage, n))
    for number in range(5):
        await bulk(stage, said + number)
        await stage.act(("room.pinned", {"offer": number + 1}), team__1={"paid": number})
        await asyncio.sleep(0.04)
    for one in slow:
        one.go_on()
    await stage.level()
    await tally.balanced()
    missed = [said + 5 - len(one.of("chat")) for one in slow]
    assert min(missed) > 0
    assert tally.slowly("chat") == sum(missed)
    assert (tally.slowly("state"), tally.slowly("critical")) == (0, 0)
    assert [len(one.of("chat")) for one in fast] == [said + 5] * 4
    assert [one.seqs() for one in stage.viewers] == [[1, 2, 3, 4, 5]] * 6
    await bulk(stage, 99)
    await until(lambda: all(one.of("chat")[-1][1].startswith("99 ") for one in stage.viewers), "chat again")


async def test_skipped_state_is_made_good_by_the_whole_map_once_the_reader_has_caught_up(stage: Stage) -> None:
    await stage.act(offer__9={"phase": "ended"})
    slow, fast, tally = await theatre(stage, slow=1)
    news = {"n": 0, "text": BULK}
    changes = await fill(stage, slow[0], SKIP_STATE, lambda n: stage.act(team__1=news | {"n": n}))
    for number in range(4):
        await stage.act(team__2={"paid": number})
        await asyncio.sleep(0.04)
    await stage.act(offer__9=None)  # taken away while it does not listen
    await asyncio.sleep(0.1)
    assert stage.feed.stale == {held_of(stage, slow[0])}
    slow[0].go_on()
    await stage.level()
    await tally.balanced()
    assert [one["stale"] for one in slow[0].frames if one.get("stale")] == [True]
    assert tally.slowly("state") >= 5
    assert [version for key, version, _ in slow[0].of("state") if key == "team:2"] == [slow[0].state["team:2"][0]]
    assert [len([one for one in viewer.of("state") if one[0] == "team:1"]) for viewer in fast] == [changes] * 4
    assert not stage.feed.stale


async def test_the_whole_map_comes_after_the_events_it_goes_with(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, _, _ = await theatre(stage, slow=1)
    await fill(stage, slow[0], SKIP_STATE, lambda n: stage.act(team__1={"n": n, "text": BULK}))
    await stage.act(team__2={"paid": 1})
    await until(lambda: stage.feed.stale, "skipped state")
    gate = Gate(monkeypatch)
    await gate.shut()
    await stage.events(2, team__2={"paid": 2})
    slow[0].go_on()
    await until(lambda: waiting(stage, slow[0]) == 0)
    gate.open()
    await stage.level()
    assert (slow[0].seqs(), slow[0].of("gap")) == ([1, 2], [])


async def test_what_came_with_an_event_is_not_counted_as_skipped_when_it_was_written(stage: Stage) -> None:
    slow, _, tally = await theatre(stage, slow=1)
    await fill(stage, slow[0], SKIP_STATE, lambda n: stage.act(team__1={"n": n, "text": BULK}))
    for number in range(5):
        await stage.act(("room.pinned", {"offer": number + 1}), team__2={"paid": number})
        await asyncio.sleep(0.04)
    slow[0].go_on()
    await stage.level()
    await tally.balanced()
    assert slow[0].seqs() == [1, 2, 3, 4, 5]
    assert tally.slowly("critical") == 0


async def test_who_is_far_too_slow_is_sent_away_and_resumes_with_every_event(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TURN_SECONDS", 60.0)  # it is the buffer's size that decides here, not time
    slow, fast, tally = await theatre(stage, slow=1)
    big = {"offer": 1, "text": BULK}
    events = await fill(stage, slow[0], TOO_SLOW, lambda n: stage.act(("room.pinned", big | {"offer": n})))
    await stage.events()
    await until(lambda: not stage.feed.people.get(slow[0].sub) or held_of(stage, slow[0]).leaving, "the bye")
    slow[0].go_on()
    await until(lambda: slow[0].gone, "the end")
    assert (slow[0].code, slow[0].bye) == (Close.SLOW, {"code": 4002, "after": 0, "why": "slow"})
    await tally.balanced()
    before = slow[0].seqs()
    assert before == list(range(1, len(before) + 1))
    await stage.events(3)
    await slow[0].leave()
    assert (await slow[0].come())["rec"] is True
    await stage.level()
    assert [one.seqs() for one in (*slow, *fast)] == [list(range(1, events + 5))] * 5
    assert [len(one.of("anew")) for one in (*slow, *fast)] == [1] * 5


@pytest.mark.usefixtures("redis")
async def test_who_is_behind_for_too_long_is_sent_away_and_resumes(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TURN_SECONDS", 0.05)
    async with a_stage(settings, hub_behind_seconds=0.5, hub_drain_seconds=5.0) as stage:
        slow, fast, _ = await theatre(stage, slow=1)
        await fill(stage, slow[0], 1, lambda n: bulk(stage, n))
        await stage.events(3)
        assert stage.hub.door.behind == {held_of(stage, slow[0])}
        await until(lambda: held_of(stage, slow[0]).leaving, "the bye")
        slow[0].go_on()
        await until(lambda: slow[0].gone, "the end")
        assert slow[0].code == Close.SLOW
        await slow[0].leave()
        await slow[0].come()
        await stage.level()
        assert [one.seqs() for one in (*slow, *fast)] == [[1, 2, 3]] * 5
        assert stage.hub.door.behind == set()
        assert stage.hub.door.wheel.size == 5


async def test_whoever_catches_up_is_written_to_directly_again(stage: Stage) -> None:
    slow, _, tally = await theatre(stage, slow=1)
    held = held_of(stage, slow[0])
    assert held.fd >= 0
    await fill(stage, slow[0], 1, lambda n: bulk(stage, n))
    assert (held.fd, held.behind_since > 0, held in stage.hub.door.behind) == (-1, True, True)
    slow[0].go_on()
    await until(lambda: waiting(stage, slow[0]) == 0)
    await stage.events()
    await stage.level()
    assert (held.fd >= 0, held.behind_since, held in stage.hub.door.behind) == (True, 0.0, False)
    await tally.balanced()


async def test_frames_stay_whole_and_in_order_however_little_the_kernel_takes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every frame is torn: the hub's own writes take seven bytes, the transport writes the rest.
    monkeypatch.setattr("live.hub.sweep.write", lambda fd, data: connection.os.write(fd, data[:7]))  # type: ignore[attr-defined]
    crowd = await stage.crowd(5)
    for number in range(60):
        await stage.act(("room.pinned", {"offer": number + 1}), team__1={"paid": number})
        await stage.comment(f"{number}")
        if number % 7 == 0:
            await stage.own("g:crowd1", f"T{number}")
    await stage.level()
    await until(lambda: all(len(one.of("chat")) == 60 for one in crowd))
    assert [one.seqs() for one in crowd] == [list(range(1, 61))] * 5
    assert len(crowd[1].of("own")) == 9


async def test_own_news_reach_a_slow_reader_in_the_end(stage: Stage) -> None:
    buyer = await stage.join("p:1", buffer=TINY)
    buyer.stop()
    await fill(stage, buyer, SKIP_STATE, lambda n: bulk(stage, n) if n < 10 else stage.act(team__1={"n": n, "text": BULK}))
    for thing in "ABC":
        await stage.own("p:1", thing)
    await asyncio.sleep(0.1)
    buyer.go_on()
    await until(lambda: len(buyer.of("own")) == 3)
    assert [body["no"] for _, body in buyer.of("own")] == ["A", "B", "C"]
