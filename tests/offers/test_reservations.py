"""The turnstile on a real server."""

from __future__ import annotations

import asyncio
import random

import orjson
import pytest
from redis.asyncio import Redis

from live.infra.db import Database, utc_now
from live.infra.keys import room_key
from live.offers.actions import end_offer
from live.offers.reservations import ABSENT, CLOSED, Behind, Settled, adjust, read_record, reserve, settle
from tests.offers.shop import book_all, books, coupon, group, make_shop, sale, tap

CAP = 20_000


async def left(redis: Redis, offer: int) -> dict[str, int]:
    fields = await redis.hgetall(room_key("r1", f"offer:{offer}"))
    return {name.decode()[5:]: int(value) for name, value in fields.items() if name.startswith(b"left:")}


async def frozen(redis: Redis, offer: int) -> tuple[object, ...]:
    """Everything a refusal must leave as it was."""
    names = ("meta", f"offer:{offer}", f"used:{offer}", "state")
    hashes = [await redis.hgetall(room_key("r1", name)) for name in names]
    return (*[tuple(sorted(found.items())) for found in hashes], await redis.xlen(room_key("r1", "intents")))


async def test_last_unit_goes_to_exactly_one_of_200_buyers(database: Database, redis: Redis) -> None:
    await make_shop(database)
    await books(database, redis)
    offer = await sale(database, {"S1": 1})
    await (await books(database, redis))._apply_outbox()
    taps = [tap(n, offer) for n in range(1, 201)]
    random.Random(7).shuffle(taps)
    answers = await asyncio.gather(*(reserve(redis, "r1", [one], CAP) for one in taps))
    tags = [(found[0].tag, found[0].code) for found in answers]
    assert tags.count(("OK", "")) == 1
    assert tags.count(("NO", "sold_out")) == 199
    assert await left(redis, offer) == {"S1": 0}
    log = await redis.xrange(room_key("r1", "log"))
    assert log[-1][1][b"t"] == b"offer.sold_out"


async def test_two_lines_of_one_offer_are_summed(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 3}, per_person=9)
    await books(database, redis)
    before = await frozen(redis, offer)
    twice = tap(1, offer, lines=((offer, 2, 1), (offer, 2, 1)))
    assert [(a.tag, a.code) for a in await reserve(redis, "r1", [twice], CAP)] == [("NO", "sold_out")]
    assert await frozen(redis, offer) == before


async def test_the_same_rid_acts_once_and_is_told_what_it_has(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    await books(database, redis)
    first = (await reserve(redis, "r1", [tap(1, offer)], CAP))[0]
    again = (await reserve(redis, "r1", [tap(1, offer, tries=2)], CAP))[0]
    other = (await reserve(redis, "r1", [tap(1, offer, qty=2, tries=2)], CAP))[0]
    assert (first.tag, again.tag) == ("OK", "KNOWN")
    assert read_record(again.record).hash == tap(1, offer).hash
    assert read_record(other.record).hash != tap(1, offer, qty=2).hash  # the hub answers key_reused
    assert await left(redis, offer) == {"S1": 4}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"phase": "ended"}, "ended"),
        ({"opens": "9999999999999"}, "not_started"),
        ({"closes": "1"}, "ended"),
        ({"version": "2"}, "price_changed"),
        ({"k": "0"}, "limit"),
        ({"seats": "0"}, "team_full"),
        ({"left:S1": "0"}, "sold_out"),
    ],
)
async def test_a_refusal_names_its_reason_and_changes_nothing(database: Database, redis: Redis, change: dict[str, str], code: str) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    await books(database, redis)
    await redis.hset(room_key("r1", f"offer:{offer}"), mapping=change)
    before = await frozen(redis, offer)
    answer = (await reserve(redis, "r1", [tap(1, offer)], CAP))[0]
    assert (answer.tag, answer.code) == ("NO", code)
    assert await frozen(redis, offer) == before


async def test_first_acceptable_store_with_enough_is_taken(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 1, "S2": 5})
    await books(database, redis)
    answers = await reserve(redis, "r1", [tap(1, offer, qty=2, at=("S1", "S2"))], CAP)
    assert answers[0].tag == "OK"
    assert await left(redis, offer) == {"S1": 1, "S2": 3}


async def test_a_server_that_was_restarted_or_forgot_refuses_at_its_first_call(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    await books(database, redis)
    await redis.hset(room_key("r1", "meta"), "run_id", "another")
    assert [a.tag for a in await reserve(redis, "r1", [tap(1, offer), tap(2, offer)], CAP)] == ["FENCED", "FENCED"]
    await redis.flushall()
    assert [a.tag for a in await reserve(redis, "r1", [tap(1, offer)], CAP)] == ["FENCED"]
    assert await redis.dbsize() == 0


async def test_too_many_unbooked_intents_are_busy(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    await books(database, redis)
    answers = await reserve(redis, "r1", [tap(n, offer) for n in (1, 2, 3)], 2)
    assert [(a.tag, a.code) for a in answers] == [("OK", ""), ("OK", ""), ("NO", "busy")]


async def test_a_resend_that_would_be_refused_becomes_a_question(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 1})
    await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    answer = (await reserve(redis, "r1", [tap(2, offer, tries=2)], CAP))[0]
    assert answer.tag == "ASK"
    entries = await redis.xrange(room_key("r1", "intents"))
    asked = orjson.loads(entries[-1][1][b"j"])
    assert asked["ask"][:2] == ["NO", "sold_out"]
    assert await left(redis, offer) == {"S1": 0}


async def test_giving_back_happens_once_however_often_a_batch_is_settled(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5}, per_person=1)
    await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    stream_id = (await redis.xrange(room_key("r1", "intents")))[0][0].decode()
    refused = Settled(stream_id, tap(1, offer).rid, None, ((offer, "S1", 1, "p:1"),))
    done = [await settle(redis, "r1", [refused], {(offer, "S1"): (0, 0)}) for _ in range(3)]
    assert done == [1, 0, 0]
    assert await left(redis, offer) == {"S1": 5}
    assert (await reserve(redis, "r1", [tap(1, offer)], CAP))[0].tag == "OK"


async def test_a_movement_is_applied_once_and_in_order(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    await books(database, redis)
    assert [await adjust(redis, "r1", offer, "S1", n, 10) for n in (1, 1, 2, 1)] == [1, 0, 1, 0]
    assert await left(redis, offer) == {"S1": 25}
    assert await adjust(redis, "r1", 999, "S1", 1, 1) == ABSENT


async def test_the_mark_rises_without_gaps_and_what_would_leave_one_changes_nothing(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    await books(database, redis)
    key = room_key("r1", f"offer:{offer}")
    await reserve(redis, "r1", [tap(1, offer, qty=2)], CAP)
    stream_id = (await redis.xrange(room_key("r1", "intents")))[0][0].decode()
    booked = Settled(stream_id, tap(1, offer, qty=2).rid, b"D|h|{}")
    with pytest.raises(Behind) as early:
        await adjust(redis, "r1", offer, "S1", 3, 10)
    assert early.value.gaps == [(offer, "S1", 0, 2)]
    with pytest.raises(Behind) as group:
        await settle(redis, "r1", [booked], {(offer, "S1"): (1, 2)})
    assert group.value.gaps == [(offer, "S1", 0, 1)]
    assert (await redis.hget(key, "move:S1"), await left(redis, offer)) == (b"0", {"S1": 3})
    assert await redis.xlen(room_key("r1", "intents")) == 1
    assert await adjust(redis, "r1", offer, "S1", 1, 4) == 1
    assert await settle(redis, "r1", [booked], {(offer, "S1"): (1, 2)}) == 1
    assert await adjust(redis, "r1", offer, "S1", 3, 10) == 1
    assert (await redis.hget(key, "move:S1"), await left(redis, offer)) == (b"3", {"S1": 17})
    assert await adjust(redis, "r1", offer, "S1", 6, 0, run=3) == 1  # a run of holds
    assert await adjust(redis, "r1", offer, "S1", 8, 0, run=4) == 1  # a part of which is there
    assert await redis.hget(key, "move:S1") == b"8"


async def test_a_movement_is_not_taken_for_done_by_a_room_that_is_not_open(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    await books(database, redis)
    await redis.hdel(room_key("r1", "meta"), "fence")
    await redis.hset(room_key("r1", "meta"), "building", 2)
    assert await adjust(redis, "r1", offer, "S1", 1, 1) == CLOSED
    assert await left(redis, offer) == {"S1": 5}


async def test_a_coupon_is_claimed_once_a_person_and_never_beyond_its_total(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await coupon(database, total=50)
    await books(database, redis)
    taps = [tap(n, offer, key=f"k{d}", at=("-",)) for n in range(1, 101) for d in (1, 2)]
    random.Random(3).shuffle(taps)
    answers = await asyncio.gather(*(reserve(redis, "r1", taps[i : i + 20], CAP) for i in range(0, len(taps), 20)))
    codes = [a.code or a.tag for batch in answers for a in batch]
    assert codes.count("OK") == 50
    assert set(codes) == {"OK", "limit", "sold_out"}


async def test_seats_of_a_group_are_taken_when_ordering(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await group(database, size=4)
    await books(database, redis)
    await redis.hset(room_key("r1", f"offer:{offer}"), "left:S1", 99)  # the seats are the limit here, not the goods
    answers = await asyncio.gather(*(reserve(redis, "r1", [tap(n, offer)], CAP) for n in range(1, 51)))
    codes = [a[0].code or a[0].tag for a in answers]
    assert codes.count("OK") == 4
    assert codes.count("team_full") == 46


async def test_a_card_of_an_offer_that_ended_unsold_answers_ended_after_a_rebuild(database: Database, redis: Redis) -> None:
    """Its buyer was told to come back for ever: a card without its offer is lost stock."""
    await make_shop(database)
    offer = await sale(database, {"S1": 4})
    ledger = await books(database, redis)
    async with database.begin() as session:
        await end_offer(session, offer, utc_now())
    await book_all(ledger)
    await books(database, redis)
    assert [(answer.tag, answer.code) for answer in await reserve(redis, "r1", [tap(1, offer)], CAP)] == [("NO", "ended")]
    assert [answer.tag for answer in await reserve(redis, "r1", [tap(2, offer, tries=2)], CAP)] == ["ASK"]
    assert await left(redis, offer) == {"S1": 0}


async def test_nobody_is_shown_a_lost_counter_as_sold_out(database: Database, redis: Redis) -> None:
    """Hubs refuse first tries from the state they read: a place that is missing there counts as empty."""
    await make_shop(database)
    offer = await sale(database, {"S1": 1, "S2": 4})
    await books(database, redis)
    shown = await redis.hget(room_key("r1", "state"), f"left:{offer}")
    await redis.hdel(room_key("r1", f"offer:{offer}"), "left:S2")
    assert [answer.tag for answer in await reserve(redis, "r1", [tap(1, offer)], CAP)] == ["OK"]
    assert await redis.hget(room_key("r1", "state"), f"left:{offer}") == shown
    assert await redis.xlen(room_key("r1", "log")) == 0
