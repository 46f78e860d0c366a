"""How long people watched: spans from anywhere, counted once each, of the show that is on."""

from __future__ import annotations

import asyncio
import random
import time

import pytest_asyncio
from redis.asyncio import Redis

from live.infra.keys import room_key
from live.infra.roomlog import apply
from live.rooms.live import watch

HOUR = 3_600_000
SLACK = 5_000  # ms between what a test says was so long ago and the server's hearing of it


async def show(redis: Redis, no: int, phase: str, ago: int = HOUR) -> None:
    """Tell the room that its show began so many ms ago."""
    began = int(time.time() * 1000) - ago if phase == "live" else None
    body = {"no": no, "events": [], "state": {"room": {"phase": phase, "began": began}}, "offers": {}, "muted": {}}
    assert await apply(redis, "r1", body) == 1


async def watched(redis: Redis, who: str) -> int:
    """ms of the show."""
    found = await redis.hget(room_key("r1", "watched"), who)  # type: ignore[misc]
    return int(found.partition(b"|")[0]) if found else 0


@pytest_asyncio.fixture
async def room(redis: Redis) -> Redis:
    """Room r1, whose show began an hour ago."""
    await redis.hset(room_key("r1", "meta"), mapping={"epoch": "e", "act_no": "0", "seq": "0", "sv": "0"})  # type: ignore[misc]
    await show(redis, 1, "live")
    return redis


async def test_two_devices_count_once_and_a_reconnect_goes_on(room: Redis) -> None:
    await watch(room, "r1", [("p:1", 600_000, 300_000), ("p:1", 600_000, 300_000)])
    assert abs(await watched(room, "p:1") - 300_000) < SLACK
    await watch(room, "r1", [("p:1", 400_000, 200_000)])  # another device, 100 s of it new
    assert abs(await watched(room, "p:1") - 400_000) < SLACK
    await watch(room, "r1", [("p:1", 100_000, 0)])  # away for 100 s, and back
    assert abs(await watched(room, "p:1") - 500_000) < SLACK
    assert await watched(room, "p:2") == 0


async def test_only_the_show_that_is_on_is_counted(room: Redis) -> None:
    await watch(room, "r1", [("p:1", 2 * HOUR, 0)])
    assert abs(await watched(room, "p:1") - HOUR) < SLACK, "from its beginning on"
    await show(room, 2, "ended")
    await watch(room, "r1", [("p:1", 1000, 0), ("p:2", 60_000, 0)])
    assert (await watched(room, "p:2"), await room.hlen(room_key("r1", "watched"))) == (0, 2)  # type: ignore[misc]
    await show(room, 3, "live", ago=30_000)
    await watch(room, "r1", [("p:2", 60_000, 10_000)])
    assert await watched(room, "p:1") == 0, "the last show's"
    assert abs(await watched(room, "p:2") - 20_000) < SLACK


async def test_200_people_on_six_devices_each_are_never_counted_longer_than_they_watched(room: Redis) -> None:
    """Devices write in any order, all at once. What is counted is at most the union of a person's spans."""
    dice = random.Random(20261123)
    people = {f"p:{n}": [sorted(dice.sample(range(1, HOUR), 2), reverse=True) for _ in range(6)] for n in range(200)}
    began = time.monotonic()
    calls = [(who, *span) for who, spans in people.items() for span in spans]
    dice.shuffle(calls)
    batches = [calls[at : at + 50] for at in range(0, len(calls), 50)]
    await asyncio.gather(*(watch(room, "r1", batch) for batch in batches))
    drift = int((time.monotonic() - began) * 1000) + 1  # the same "ms ago" said later is another moment
    for who, spans in people.items():
        union, till = 0, 0
        for begin, end in sorted((HOUR - begin, HOUR - end) for begin, end in spans):
            union += max(0, end - max(begin, till))
            till = max(till, end)
        found = await watched(room, who)
        assert found <= union + 6 * drift, who
        assert found > 0, who
