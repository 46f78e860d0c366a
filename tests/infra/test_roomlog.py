"""A room in a real Valkey: acts in order, news once, and one read that never shows an event without its change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest_asyncio
from redis.asyncio import Redis

from live.infra import roomlog
from live.infra.keys import nudge_channel, room_key
from live.infra.roomlog import Position, look


@pytest_asyncio.fixture
async def room(redis: Redis) -> Redis:
    """r1, open and empty, as a rebuild leaves it."""
    opened = {"fence": "1", "run_id": "x", "epoch": "e1", "act_no": "0", "seq": "0", "sv": "0", "own": "0"}
    await redis.hset(room_key("r1", "meta"), mapping=opened)
    return redis


def act(no: int, **parts: Any) -> dict[str, Any]:
    return {"no": no, "events": [], "state": {}, "offers": {}, "muted": {}} | parts


async def held(redis: Redis) -> dict[bytes, bytes]:
    """Every key of the server, as it would be restored."""
    return {key: await redis.dump(key) for key in sorted(await redis.keys("*"))}


async def state(redis: Redis) -> dict[str, Any]:
    return {key: orjson.loads(value)[1] for key, value in (await look(redis, "r1", Position())).state.items()}


@asynccontextmanager
async def nudges(redis: Redis) -> AsyncIterator[list[bytes]]:
    """What is published to the room meanwhile."""
    heard: list[bytes] = []
    async with redis.pubsub(ignore_subscribe_messages=True) as ears:
        await ears.subscribe(nudge_channel("r1"))
        await ears.get_message(timeout=1)
        yield heard
        while message := await ears.get_message(timeout=0.05):
            heard.append(message["data"])


async def test_an_act_is_one_step_state_events_mutes_and_turnstile(room: Redis) -> None:
    card = {"id": 7, "name": {"zh": "茶"}}
    change = act(
        1, events=[["room.pinned", {"offer": 7}], ["offer.opened", {"offer": 7, "kind": "sale"}]], state={"offer:7": card},
        offers={"7": {"kind": "sale", "phase": "open", "left:S1": "5", "left:S2": "0"}}, muted={"p:1": 99},
    )  # fmt: skip
    async with nudges(room) as heard:
        assert await roomlog.apply(room, "r1", change) == 1
    assert len(heard) == 1
    found = await look(room, "r1", Position())
    events = [(seq, kind, orjson.loads(body)) for seq, kind, body in found.events]
    assert events == [(1, b"room.pinned", {"offer": 7}), (2, b"offer.opened", {"offer": 7, "kind": "sale"})]
    assert {key: orjson.loads(value) for key, value in found.state.items()} == {
        "offer:7": [1, card], "left:7": [2, {"left": {"S1": 5, "S2": 0}}],
    }  # fmt: skip
    assert (found.epoch, found.fence, found.seq, found.sv, found.own) == ("e1", "1", 2, 2, 0)
    assert await room.hgetall(room_key("r1", "muted")) == {b"p:1": b"99"}


async def test_an_act_applied_before_or_out_of_turn_changes_nothing(room: Redis) -> None:
    assert await roomlog.apply(room, "r1", act(1, events=[["room.opened", {}]], state={"room": {"n": 1}})) == 1
    before = await held(room)
    async with nudges(room) as heard:
        assert await roomlog.apply(room, "r1", act(1, events=[["room.opened", {}]], state={"room": {"n": 9}})) == 0
        assert await roomlog.apply(room, "r1", act(3, events=[["room.closed", {}]], state={"room": {"n": 3}})) == -1
        assert await roomlog.apply(room, "closed", act(1, state={"room": {"n": 1}})) == -2
        assert await roomlog.tell(room, "closed", [("p:1", "order:A", 1, b"{}")]) == -2
        assert await roomlog.count(room, "closed", "team:1", 1, {}) == -2
    assert (await held(room), heard) == (before, [])
    assert await roomlog.apply(room, "r1", act(2, state={"room": {"n": 2}})) == 1
    assert await state(room) == {"room": {"n": 2}}


async def test_nothing_takes_a_key_away_and_ends_a_mute(room: Redis) -> None:
    await roomlog.apply(room, "r1", act(1, state={"offer:7": {"id": 7}, "room": {}}, muted={"p:1": 99, "p:2": 99}))
    await roomlog.apply(room, "r1", act(2, state={"offer:7": None}, muted={"p:1": 0}))
    assert await state(room) == {"room": {}}
    assert await room.hkeys(room_key("r1", "muted")) == [b"p:2"]


async def test_a_reader_gets_what_it_lacks_and_no_more(room: Redis) -> None:
    for n in range(1, 6):
        await roomlog.apply(room, "r1", act(n, events=[["offer.ended", {"offer": n}]], state={"room": {"n": n}}))
    found = await look(room, "r1", Position(seq=3, sv=4))
    assert [seq for seq, _, _ in found.events] == [4, 5]
    assert list(found.state) == ["room"]
    again = await look(room, "r1", Position(seq=5, sv=5))
    assert (again.events, again.state, again.own_entries, again.chat, again.chat_all) == ([], {}, [], [], [])
    assert (await look(room, "r1", Position(seq=9, sv=9))).events == []  # ahead of a log that was rolled back: the epoch tells


async def test_own_news_are_told_once_in_order_with_the_one_before(room: Redis) -> None:
    news = [("p:1", "order:A", 1, b'{"v":1}'), ("p:2", "order:B", 1, b'{"v":1}'), ("p:1", "order:A", 2, b'{"v":2}')]
    assert await roomlog.tell(room, "r1", news) == 3
    before = await held(room)
    assert await roomlog.tell(room, "r1", news) == 0
    assert await roomlog.tell(room, "r1", [("p:1", "order:A", 1, b'{"v":"old"}')]) == 0
    assert await held(room) == before
    assert await roomlog.tell(room, "r1", [("p:1", "coupon:3", 1, b"{}"), ("p:2", "order:A", 1, b"{}")]) == 2
    found = await look(room, "r1", Position(own=0))
    assert [entry[:3] for entry in found.own_entries] == [(1, "p:1", 0), (2, "p:2", 0), (3, "p:1", 1), (4, "p:1", 3), (5, "p:2", 2)]
    assert [entry[3] for entry in found.own_entries][:3] == [b'{"v":1}', b'{"v":1}', b'{"v":2}']
    assert [entry[0] for entry in (await look(room, "r1", Position(own=3))).own_entries] == [4, 5]


async def test_of_two_counts_the_newer_is_shown_in_whatever_order_they_come(room: Redis) -> None:
    await roomlog.apply(room, "r1", act(1, state={"offer:7": {"id": 7}}))
    assert await roomlog.count(room, "r1", "team:7", 5, {"paid": 5}) == 1
    before = await held(room)
    assert await roomlog.count(room, "r1", "team:7", 4, {"paid": 4}) == 0
    assert await roomlog.count(room, "r1", "team:7", 5, {"paid": 0}) == 0
    assert await held(room) == before
    assert await roomlog.count(room, "r1", "team:7", 6, {"paid": 6}) == 1
    assert (await state(room))["team:7"] == {"paid": 6}


async def test_a_count_of_an_offer_off_the_shelf_is_nobodys_news(room: Redis) -> None:
    assert await roomlog.count(room, "r1", "team:7", 5, {"paid": 5}) == 0
    assert await state(room) == {}


async def test_viewers_of_all_hubs_are_summed_and_a_dead_hub_is_forgotten(room: Redis) -> None:
    assert (await look(room, "r1", Position(), "h1", 30)).viewers == 30
    assert (await look(room, "r1", Position(), "h2", 12)).viewers == 42
    assert (await look(room, "r1", Position(), "h1", 31)).viewers == 43
    now = (await look(room, "r1", Position())).now
    await room.hset(room_key("r1", "viewers"), "h2", f"12|{now - 1}")
    assert (await look(room, "r1", Position())).viewers == 31
    assert await room.hkeys(room_key("r1", "viewers")) == [b"h1"]


async def test_a_room_there_is_not_reads_as_nothing_and_leaves_nothing(redis: Redis) -> None:
    found = await look(redis, "none", Position(), "h1", 5)
    assert (found.epoch, found.fence, found.seq, found.events, found.state, found.viewers, found.likes) == ("", "", 0, [], {}, 0, 0)
    assert await redis.keys("*") == []


async def test_a_withdrawn_comment_is_not_shown_to_who_joins_later(room: Redis) -> None:
    for n in (1, 2, 3):
        await room.xadd(room_key("r1", "chat"), {"id": f"c{n}-1", "text": "x"})
    await roomlog.withdraw(room, "r1", "c2-1")
    await roomlog.withdraw(room, "r1", "c9-1")
    found = await look(room, "r1", Position())
    assert [fields[b"id"] for _, fields in found.chat] == [b"c1-1", b"c3-1"]


async def test_no_reader_ever_sees_an_event_without_its_change(room: Redis) -> None:
    """Each act raises the room's number and says so: in every read the state is as new as the newest event."""

    async def write() -> None:
        for n in range(1, 201):
            await roomlog.apply(room, "r1", act(n, events=[["offer.price", {"offer": n}]], state={"room": {"n": n}}))

    async def read() -> int:
        at, seen = Position(), 0
        while at.seq < 200:
            found = await look(room, "r1", at)
            for seq, _, body in found.events:
                assert (seq, orjson.loads(body)["offer"]) == (seen + 1, seen + 1)
                seen = seq
            if found.state:
                assert orjson.loads(found.state["room"])[1]["n"] == found.seq == seen
            at = Position(seq=found.seq, sv=found.sv)
        return seen

    _, *seen = await asyncio.gather(write(), *(read() for _ in range(4)))
    assert seen == [200] * 4
