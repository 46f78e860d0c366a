"""How long a rid is known, and what two settling processes leave of it."""

from __future__ import annotations

from redis.asyncio import Redis

from live.infra.db import Database
from live.infra.keys import room_key
from live.offers.reservations import AT_ONCE, Settled, read_record, record, records, reserve, settle
from tests.offers.shop import book_all, books, make_shop, sale, tap

CAP = 20_000
DAY_MS = 86_400_000
RIDS = [room_key("r1", "rids:0"), room_key("r1", "rids:1")]


async def today(redis: Redis) -> int:
    """The UTC day of the server's clock."""
    return int((await redis.time())[0]) * 1000 // DAY_MS


async def test_a_record_is_kept_until_the_end_of_the_next_day(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    began = await today(redis)
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    at_reserve = [await redis.pexpiretime(key) for key in RIDS]
    await book_all(ledger)
    await reserve(redis, "r1", [tap(2, offer)], CAP)
    if await today(redis) == began:
        assert at_reserve == [await redis.pexpiretime(key) for key in RIDS]
        assert at_reserve[began % 2] == (began + 2) * DAY_MS
        assert at_reserve[1 - began % 2] == -2  # nothing was written there


async def test_yesterdays_record_is_known_and_todays_counts_before_it(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    first = (await reserve(redis, "r1", [tap(1, offer)], CAP))[0]
    await redis.rename(RIDS[await today(redis) % 2], RIDS[1 - await today(redis) % 2])  # a day went by
    again = (await reserve(redis, "r1", [tap(1, offer, tries=2)], CAP))[0]
    assert (again.tag, read_record(again.record).intent) == ("KNOWN", first.intent)
    await book_all(ledger)  # the verdict is written today
    assert [await redis.hexists(key, tap(1, offer).rid) for key in RIDS] == [True, True]  # type: ignore[misc]
    assert ((await record(redis, "r1", tap(1, offer).rid)) or ("",))[0] == "done"
    assert (await reserve(redis, "r1", [tap(1, offer, tries=2)], CAP))[0].record.startswith(b"D|")


async def test_a_refused_rid_of_yesterday_may_act_again(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    await books(database, redis)
    first = (await reserve(redis, "r1", [tap(1, offer)], CAP))[0]
    await redis.rename(RIDS[await today(redis) % 2], RIDS[1 - await today(redis) % 2])
    back = ((offer, "S1", 1, "p:1"),)
    gone = Settled(first.intent.split("/")[1], tap(1, offer).rid, None, back)
    assert [await settle(redis, "r1", [gone], {}) for _ in range(2)] == [1, 0]
    assert await redis.hget(room_key("r1", f"offer:{offer}"), "left:S1") == b"5"  # type: ignore[misc]
    assert await record(redis, "r1", tap(1, offer).rid) is None
    assert (await reserve(redis, "r1", [tap(1, offer)], CAP))[0].tag == "OK"


async def test_a_group_settled_in_part_by_another_gives_back_once_and_says_what_was_committed(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 9})
    await books(database, redis)
    taps = [tap(n, offer) for n in range(1, 7)]
    ids = [answer.intent.split("/")[1] for answer in await reserve(redis, "r1", taps, CAP)]
    group = [
        Settled(at, one.rid, b"D|h|{}" if n % 2 else None, () if n % 2 else ((offer, "S1", 1, one.who),))
        for n, (at, one) in enumerate(zip(ids, taps, strict=True))
    ]
    assert [await settle(redis, "r1", part, {}) for part in (group[:3], group, group)] == [3, 3, 0]
    assert await redis.hget(room_key("r1", f"offer:{offer}"), "left:S1") == b"6"  # type: ignore[misc]
    assert [found is not None for found in await records(redis, "r1", [one.rid for one in taps])] == [False, True] * 3


async def test_more_rids_than_a_call_takes_are_read(redis: Redis) -> None:
    await redis.hset(RIDS[0], "r7", "D|h|{}")  # type: ignore[misc]
    found = await records(redis, "r1", [f"r{n}" for n in range(AT_ONCE + 10)])
    assert [n for n, one in enumerate(found) if one is not None] == [7]
    assert await records(redis, "r1", []) == []
