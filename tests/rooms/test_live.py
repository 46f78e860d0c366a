"""Comments and likes on a real Valkey: once per client id, not from the muted, within everybody's budget."""

from __future__ import annotations

import asyncio
import time

import pytest
from redis.asyncio import Redis

from live.infra.keys import room_key
from live.rooms import rules
from live.rooms.live import Manners, Said, like
from tests.rooms.saying import say

FREE = Manners(budget=0)


async def shown(redis: Redis, name: str = "chat") -> list[dict[str, str]]:
    entries = await redis.xrange(room_key("r1", name))
    return [{key.decode(): value.decode() for key, value in fields.items()} for _, fields in entries]


async def early_in_a_second() -> None:
    """The budget is per second of the clock: begin where there is room for the test in one."""
    if (over := time.time() % 1) > 0.5:
        await asyncio.sleep(1.01 - over)


async def test_a_comment_is_cleaned_numbered_and_on_both_streams(redis: Redis) -> None:
    said = await say(redis, "r1", "p:1", "小明", "cid00001", "  好\u200b看 ", FREE)
    [comment] = await shown(redis)
    assert said == Said(id=comment["id"])
    assert comment["id"].split("-")[0] == "c1"
    at = int(comment.pop("at"))
    assert abs(at - time.time() * 1000) < 5000
    assert comment == {"id": said.id, "who": "p:1", "name": "小明", "text": "好看", "shown": "1", "demo": "0"}
    assert [each["id"] for each in await shown(redis, "chat:all")] == [said.id]


async def test_a_resent_comment_is_said_once(redis: Redis) -> None:
    first = await say(redis, "r1", "p:1", "A", "cid00001", "hello", FREE)
    again = await asyncio.gather(*(say(redis, "r1", "p:1", "A", "cid00001", "hello again", FREE) for _ in range(20)))
    assert set(again) == {first}
    assert [each["text"] for each in await shown(redis)] == ["hello"]
    assert len(await shown(redis, "chat:all")) == 1
    other = await say(redis, "r1", "p:2", "B", "cid00001", "mine", FREE)
    assert (other.id != first.id, len(await shown(redis))) == (True, 2)


async def test_what_may_not_be_said_reaches_no_stream(redis: Redis) -> None:
    for words, code in (("", "empty"), ("好" * 201, "too_long"), ("加微信123", "bad_words"), ("\u200b", "empty")):
        assert await say(redis, "r1", "p:1", "A", "cid00001", words, FREE) == Said(code=code)
    assert await redis.keys("*") == []


async def test_a_shops_own_words_and_length_count(redis: Redis) -> None:
    manners = Manners(limit=5, budget=0, words=rules.fold_words(["boo"]))
    assert await say(redis, "r1", "p:1", "A", "cid00001", "b-o-o!", manners) == Said(code="too_long")
    assert await say(redis, "r1", "p:1", "A", "cid00001", "B O!", manners) == Said(code="bad_words")
    assert (await say(redis, "r1", "p:1", "A", "cid00001", "casio", manners)).code == ""


@pytest.mark.parametrize(("milliseconds", "speaks"), [(60_000, False), (-60_000, True)])
async def test_the_muted_are_not_heard_until_their_time_is_over(redis: Redis, milliseconds: int, speaks: bool) -> None:
    until = int(time.time() * 1000) + milliseconds
    await redis.hset(room_key("r1", "muted"), "p:1", str(until))
    said = await say(redis, "r1", "p:1", "A", "cid00001", "hello", FREE)
    assert (bool(said.id), said.code) == ((True, "") if speaks else (False, "muted"))
    assert len(await shown(redis)) == len(await shown(redis, "chat:all")) == int(speaks)
    assert (await say(redis, "r1", "p:2", "B", "cid00002", "hello", FREE)).id


async def test_a_comment_said_before_the_mute_keeps_its_answer(redis: Redis) -> None:
    said = await say(redis, "r1", "p:1", "A", "cid00001", "hello", FREE)
    await redis.hset(room_key("r1", "muted"), "p:1", str(2**53 - 1))
    assert await say(redis, "r1", "p:1", "A", "cid00001", "hello", FREE) == said
    assert len(await shown(redis)) == 1


async def test_the_budget_is_everybodys_and_a_refused_comment_still_reaches_the_console(redis: Redis) -> None:
    await early_in_a_second()
    manners = Manners(budget=3)
    said = [await say(redis, "r1", f"p:{n}", "A", "cid00001", f"hello {n}", manners) for n in range(5)]
    assert [bool(each.id) for each in said] == [True, True, True, False, False]
    assert said[3] == said[4] == Said(code="slow_down", wait=1000)
    assert [each["text"] for each in await shown(redis)] == ["hello 0", "hello 1", "hello 2"]
    assert [each["shown"] for each in await shown(redis, "chat:all")] == ["1", "1", "1", "0", "0"]
    assert (await say(redis, "r2", "p:1", "A", "cid00001", "another room", manners)).id


async def test_a_refused_comment_may_be_sent_again_in_the_next_second(redis: Redis) -> None:
    await early_in_a_second()
    manners = Manners(budget=1)
    await say(redis, "r1", "p:1", "A", "cid00001", "first", manners)
    assert (await say(redis, "r1", "p:2", "B", "cid00002", "second", manners)).code == "slow_down"
    await asyncio.sleep(1.01 - time.time() % 1)
    assert (await say(redis, "r1", "p:2", "B", "cid00002", "second", manners)).id
    assert [each["text"] for each in await shown(redis)] == ["first", "second"]


async def test_every_key_a_comment_leaves_behind_is_the_rooms_or_ends_by_itself(redis: Redis) -> None:
    await say(redis, "r1", "p:1", "A", "cid00001", "hello", Manners())
    lives = {key.decode(): await redis.ttl(key) for key in await redis.keys("*")}
    lasting = {room_key("r1", name) for name in ("meta", "chat", "chat:all")}
    assert {key for key, life in lives.items() if life == -1} == lasting
    ending = {key: life for key, life in lives.items() if key not in lasting}
    assert sorted(key.split(":")[1] for key in ending) == ["say", "shown"]
    assert all(0 < life <= 60 for life in ending.values())


async def test_the_crowd_of_the_demo_is_marked(redis: Redis) -> None:
    await say(redis, "r1", "p:1", "A", "cid00001", "hello", FREE, demo=True)
    assert [each["demo"] for each in await shown(redis)] == ["1"]


async def test_likes_are_summed(redis: Redis) -> None:
    await asyncio.gather(*(like(redis, "r1", n) for n in (1, 20, 3)))
    assert await redis.get(room_key("r1", "likes")) == b"24"
