"""Taps before the turnstile: gathered, one place a rid, and in their order while the books are behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

import pytest
import pytest_asyncio
from redis.exceptions import ConnectionError as RedisConnectionError

from live.offers import intake
from live.offers.intake import Intake
from live.offers.reservations import Answer, Tap


def tap(n: int, tries: int = 1, digest: str = "h") -> Tap:
    return Tap(f"rid-{n}", f"p:{n}", f"P{n}", "hub", digest, tries, ("S1",), ((1, 1, 1),))


class Room(Intake[str]):
    """A turnstile that has let through as many as it may until `space` grows."""

    def __init__(self, size: int = 3, most: int = 100) -> None:
        super().__init__(0.001, size, most, self._begin)
        self.space = 0
        self.calls: list[list[str]] = []  # rids of each call
        self.through: list[tuple[str, int]] = []  # rid and tries of what was let through
        self.told: list[tuple[str, str]] = []  # who was told what
        self.waits: set[str] = set()
        self.lost: list[str] = []
        self.away = self.asking = False
        self.gone: set[str] = set()
        self.tasks: set[asyncio.Task[Any]] = set()

    def _begin(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def decide(self, taps: Sequence[Tap]) -> list[Answer]:
        self.calls.append([each.rid for each in taps])
        self.asking = True
        await asyncio.sleep(0)
        self.asking = False
        if self.away:
            raise RedisConnectionError("cut")
        answers = [Answer("OK") if n < self.space else Answer("NO", "busy") for n in range(len(taps))]
        self.through += [(each.rid, each.tries) for each, answer in zip(taps, answers, strict=True) if answer.tag == "OK"]
        self.space -= min(self.space, len(taps))
        return answers

    def sent(self, who: str, tap: Tap) -> None:
        self.waits.add(who)

    def kept(self, who: str, tap: Tap) -> None:
        self.waits.discard(who)

    def answered(self, who: str, tap: Tap, answer: Answer) -> None:
        self.told.append((who, answer.code or answer.tag))

    def unknown(self, taps: Sequence[Tap], error: Exception) -> None:
        self.lost += [each.rid for each in taps]

    def here(self, who: str) -> bool:
        return who not in self.gone

    async def until(self, count: int) -> None:
        """So many were told something."""
        async with asyncio.timeout(10):
            while len(self.told) < count:
                await asyncio.sleep(0.001)


@pytest_asyncio.fixture
async def room(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    monkeypatch.setattr(intake, "PAUSE", 0.002)
    found = Room()
    yield found
    for task in found.tasks:
        task.cancel()


async def behind(room: Room, *taps: int) -> None:
    """These were turned back, and are not just being asked for again."""
    for n in taps:
        room.add(f"who-{n}", tap(n))
    async with asyncio.timeout(10):
        while not room.behind or room.asking or len(room.line) < len(taps):
            await asyncio.sleep(0)


async def test_taps_are_gathered_for_one_call_up_to_its_size(room: Room) -> None:
    room.space = 99
    for n in range(4):
        room.add(f"who-{n}", tap(n))
    await room.until(4)
    assert room.calls == [["rid-0", "rid-1", "rid-2"], ["rid-3"]]
    assert room.told == [(f"who-{n}", "OK") for n in range(4)]
    assert (room.line, room.behind) == ({}, False)


async def test_who_finds_no_room_waits_in_order_and_nobody_passes_them(room: Room) -> None:
    await behind(room, 1, 2)
    assert room.waits == set()  # no verdict will come for them
    for n in (3, 4, 5, 6):
        room.add(f"who-{n}", tap(n))
    assert room.told == []
    for space in (1, 3, 2):
        room.space = space
        await room.until(len(room.told) + space)
    assert [rid for rid, _ in room.through] == [f"rid-{n}" for n in range(1, 7)]
    await asyncio.gather(*room.tasks)
    assert not room.behind
    room.space = 1
    room.add("who-7", tap(7))
    await room.until(7)
    assert room.told[-1] == ("who-7", "OK")


async def test_the_same_tap_keeps_its_place_and_all_who_sent_it_are_told(room: Room) -> None:
    await behind(room, 1, 2)
    room.add("again", tap(1, tries=2))
    room.add("other", tap(2, tries=2, digest="another body"))
    assert room.told == [("other", "key_reused")]
    room.space = 9
    await room.until(4)
    assert room.through == [("rid-1", 2), ("rid-2", 1)]
    assert room.told[1:] == [("who-1", "OK"), ("again", "OK"), ("who-2", "OK")]


async def test_the_same_tap_sent_while_it_is_asked_for_joins_it_when_it_is_turned_back(room: Room) -> None:
    await behind(room, 1)
    async with asyncio.timeout(10):
        while not room.asking:
            await asyncio.sleep(0)
    room.add("again", tap(1, tries=2))
    room.add("other", tap(1, tries=3, digest="another body"))
    assert room.told == [("other", "key_reused")]
    room.space = 0
    async with asyncio.timeout(10):
        while room.asking:
            await asyncio.sleep(0)
    room.space = 9
    await room.until(3)
    assert room.through == [("rid-1", 2)]
    assert room.told[1:] == [("who-1", "OK"), ("again", "OK")]


async def test_a_full_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "PAUSE", 0.002)
    room = Room(most=2)
    await behind(room, 1, 2)
    room.add("who-3", tap(3))
    assert room.told == [("who-3", "busy")]
    room.space = 2
    await room.until(3)
    assert {who for who, code in room.told if code == "OK"} == {"who-1", "who-2"}


async def test_who_has_gone_is_not_bought_for(room: Room) -> None:
    await behind(room, 1, 2, 3)
    room.gone = {"who-2"}
    room.space = 9
    await room.until(2)
    await asyncio.gather(*room.tasks)
    assert [rid for rid, _ in room.through] == ["rid-1", "rid-3"]


async def test_a_lost_reply_is_not_asked_again_and_the_others_go_on(room: Room) -> None:
    await behind(room, 1, 2, 3, 4)
    room.away = True
    async with asyncio.timeout(10):
        while not room.lost:
            await asyncio.sleep(0.001)
    room.away, room.space = False, 9
    await asyncio.gather(*room.tasks)
    assert not set(room.lost) & {rid for rid, _ in room.through}
    assert set(room.lost) | {rid for rid, _ in room.through} == {f"rid-{n}" for n in range(1, 5)}
    assert not room.behind
