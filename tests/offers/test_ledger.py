"""The till on a real PostgreSQL, with the turnstile before it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra import outbox, roomlog
from live.infra.db import Database, utc_now
from live.infra.keys import room_key
from live.offers import ledger as offers_ledger
from live.offers import reservations
from live.offers.actions import add_stock, clear_shelf, end_offer
from live.offers.audit import audit_room
from live.offers.leases import Ledger
from live.offers.ledger import RoomLedger
from live.offers.rebuild import rebuild, sound
from live.offers.reservations import Tap, record, reserve
from live.offers.till import Verdict
from tests.offers.shop import book_all, books, coupon, forget, group, make_shop, sale, tap
from workers.ledger import facts, hands

CAP = 20_000


async def one(db: Database, query: str, **values: object) -> object:
    async with db.connection() as connection:
        return (await connection.execute(text(query), values)).scalar_one_or_none()


async def left(redis: Redis, offer: int, place: str = "S1") -> int:
    return int(await redis.hget(room_key("r1", f"offer:{offer}"), f"left:{place}"))


async def balanced(db: Database, redis: Redis) -> bool:
    return (await audit_room(db, redis, "r1")).balanced


async def test_an_intent_becomes_an_order_and_its_record_says_so(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer, qty=2)], CAP)
    await book_all(ledger)
    state = await record(redis, "r1", tap(1, offer).rid)
    assert state is not None
    assert state[0] == "done"
    assert state[1]["order"]["fen"] == 10_000
    assert await one(database, "SELECT taken FROM allotment WHERE offer_id = :o", o=offer) == 2
    assert await one(database, "SELECT used FROM quota WHERE offer_id = :o AND person = 'p:1'", o=offer) == 2
    assert await one(database, "SELECT count(*) FROM movement WHERE kind = 'HOLD'") == 1
    assert await redis.xlen(room_key("r1", "intents")) == 0
    assert await balanced(database, redis)


async def test_a_crash_between_commit_and_settle_leaves_one_order(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    intents = await ledger._read(">")
    await ledger._commit(intents)  # … and the process dies here
    successor = RoomLedger("r1", database, redis, hands())
    await book_all(successor)
    assert await one(database, "SELECT count(*) FROM orders") == 1
    assert await left(redis, offer) == 4
    assert await balanced(database, redis)


async def test_two_ledgers_on_one_room_book_each_intent_once(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 60}, per_person=1)
    first = await books(database, redis)
    second = RoomLedger("r1", database, redis, hands())
    await reserve(redis, "r1", [tap(n, offer) for n in range(1, 101)], CAP)
    read = await first._read(">")
    again = await second._read("0")  # one consumer name: the second sees what the first has read and not settled
    assert [i.id for i in read] == [i.id for i in again]
    await asyncio.gather(first._book(read), second._book(again))
    await asyncio.gather(first._settled_all(), second._settled_all())
    assert await one(database, "SELECT count(*) FROM orders") == 60
    assert await left(redis, offer) == 0
    assert await balanced(database, redis)


async def test_what_follows_a_commit_makes_way_for_the_next_group_and_never_waits_for_long(
    database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_shop(database)
    pens, cups = [await sale(database, {"S1": 9}) for _ in range(2)]
    ledger = await books(database, redis)
    turns: list[str] = []
    publish, news = ledger._publish, roomlog.tell

    async def settle(*given: Any) -> int:
        turns.append("settled" if ledger.course.asked.is_set() else "settled before it locked")
        return await reservations.settle(*given)

    async def tell(verdicts: Sequence[Verdict]) -> None:
        turns.append("told")
        await publish(verdicts)

    async def spread(*given: Any) -> int:
        turns.append("news, written" if ledger.course.sent.is_set() else "news, unwritten")
        return await news(*given)

    async def groups(*taps: Tap) -> None:
        read = []
        for each in taps:
            await reserve(redis, "r1", [each], CAP)
            read.append(await ledger._read(">"))
        for intents in read:
            await ledger._book(intents)

    monkeypatch.setattr(offers_ledger, "settle", settle)
    monkeypatch.setattr(ledger, "_publish", tell)
    monkeypatch.setattr(roomlog, "tell", spread)

    async def beside_a_lock(first: Tap, second: Tap, seen: Sequence[str]) -> None:
        """What is told of the first group while the second one waits for a row."""
        turns.clear()
        async with database.connection() as connection:
            await connection.execute(text("SELECT 1 FROM allotment WHERE offer_id = :o FOR UPDATE"), {"o": pens})
            held = asyncio.create_task(groups(first, second))
            async with asyncio.timeout(10):
                while len(turns) < len(seen):
                    await asyncio.sleep(0.01)
            assert turns == seen
            assert not held.done()
        await held
        await ledger._settled_all()

    await beside_a_lock(tap(1, cups), tap(2, pens), ["settled", "told", "news, unwritten"])  # although the second cannot be written
    monkeypatch.setattr(offers_ledger, "TURN", 60.0)
    await beside_a_lock(tap(3, cups), tap(4, pens), ["settled", "told"])  # news wait for the writes, buyers do not
    assert turns == ["settled", "told", "news, written"] * 2
    assert await balanced(database, redis)


async def test_an_intent_that_redis_forgot_to_count_is_refused_by_the_till(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 1})
    ledger = await books(database, redis)
    await redis.hset(room_key("r1", f"offer:{offer}"), "left:S1", 3)  # a rolled back counter
    await reserve(redis, "r1", [tap(n, offer) for n in (1, 2, 3)], CAP)
    await book_all(ledger)
    assert await one(database, "SELECT count(*) FROM orders") == 1
    assert await one(database, "SELECT count(*) FROM drift WHERE what = 'till_refused'") == 2


async def test_an_intent_of_an_older_fence_is_never_booked(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    intents = await ledger._read(">")
    await rebuild(redis, database, "r1", facts)
    booking = await ledger._commit(intents)
    assert [(v.body, v.no) for v in booking.verdicts] == [(None, ("again",))]
    assert await one(database, "SELECT count(*) FROM orders") == 0
    assert await left(redis, offer) == 5
    answer = (await reserve(redis, "r1", [tap(1, offer, tries=2)], CAP))[0]
    assert answer.tag == "OK"  # the same key again, under the new fence
    await book_all(ledger)
    assert await one(database, "SELECT count(*) FROM orders") == 1
    assert await balanced(database, redis)


async def test_a_winner_whose_reply_was_lost_is_never_told_sold_out(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 1})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    await book_all(ledger)
    await forget(redis, tap(1, offer))  # Redis lost the record, the order stands
    await reserve(redis, "r1", [tap(1, offer, tries=2), tap(2, offer, tries=2)], CAP)
    await book_all(ledger)
    winner, loser = await record(redis, "r1", tap(1, offer).rid), await record(redis, "r1", tap(2, offer).rid)
    assert winner is not None
    assert winner[0] == "done"
    assert loser is None
    assert await left(redis, offer) == 0


async def test_a_released_hold_comes_back_once(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 2})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer, qty=2)], CAP)
    await book_all(ledger)
    entry = {"kind": "RELEASE", "rid": tap(1, offer).rid, "location": "S1", "person": "p:1", "lines": [[offer, 2]], "seats": False}
    for _ in range(2):  # asked twice: by the sweep and by the buyer
        async with database.begin() as session:
            await outbox.house(session, "r1", entry)
    await book_all(ledger)
    assert await left(redis, offer) == 2
    assert await one(database, "SELECT taken FROM allotment WHERE offer_id = :o", o=offer) == 0
    log = [fields[b"t"] for _, fields in await redis.xrange(room_key("r1", "log"))]
    assert log.count(b"offer.sold_out") == 1
    async with database.connection() as connection:
        await connection.execute(text("UPDATE orders SET state = 'CANCELLED'"))
    assert await balanced(database, redis)


async def test_stock_added_in_a_sale_reaches_the_turnstile_and_fences_nobody(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 2})
    ledger = await books(database, redis)
    fence = await redis.hget(room_key("r1", "meta"), "fence")
    async with database.begin() as session:
        await add_stock(session, offer, "S1", 10, utc_now())
    await book_all(ledger)
    assert await left(redis, offer) == 12
    assert await one(database, "SELECT allotted FROM stock WHERE location = 'S1'") == 12
    assert await redis.hget(room_key("r1", "meta"), "fence") == fence
    assert await balanced(database, redis)


async def test_an_ended_offer_gives_back_what_is_left_after_booking_whoever_was_in_time(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 10})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer, qty=3)], CAP)
    async with database.begin() as session:
        await end_offer(session, offer, utc_now())
    await book_all(ledger)
    assert await one(database, "SELECT count(*) FROM orders") == 1
    assert await one(database, "SELECT total FROM allotment WHERE offer_id = :o", o=offer) == 3
    assert await one(database, "SELECT allotted FROM stock WHERE location = 'S1'") == 3
    assert await left(redis, offer) == 0
    assert (await reserve(redis, "r1", [tap(2, offer)], CAP))[0].code == "ended"
    assert await balanced(database, redis)


async def test_an_offer_that_ends_sold_out_leaves_books_without_gaps(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 2})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer, qty=2)], CAP)
    await book_all(ledger)
    async with database.begin() as session:
        await end_offer(session, offer, utc_now())
    await book_all(ledger)
    found = await audit_room(database, redis, "r1")
    assert (found.balanced, found.settled, found.offers[0].taken) == (True, True, 2)


async def test_seats_and_coupons_are_booked_with_their_own_rows(database: Database, redis: Redis) -> None:
    await make_shop(database)
    bar, batch = await group(database, size=4), await coupon(database, total=2)
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, bar), tap(2, bar, key="g2"), tap(1, batch, key="c", at=("-",))], CAP)
    await book_all(ledger)
    assert await one(database, "SELECT held FROM team") == 2
    assert await one(database, "SELECT state FROM coupon_grant WHERE person = 'p:1'") == "CLAIMED"
    state = await redis.hget(room_key("r1", "state"), f"team:{bar}")
    assert b'"held":2' in state
    assert await balanced(database, redis)


async def test_a_rebuilt_room_is_the_room_it_was(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer, bar = await sale(database, {"S1": 10, "S2": 5}, per_person=4), await group(database, size=4)
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer, qty=3), tap(2, offer, qty=1, at=("S2",)), tap(3, bar)], CAP)
    await book_all(ledger)
    wanted = {key: value.partition(b",")[2] for key, value in (await redis.hgetall(room_key("r1", "state"))).items()}
    hashes = [await redis.hgetall(room_key("r1", f"offer:{o}")) for o in (offer, bar)]
    used = await redis.hgetall(room_key("r1", f"used:{offer}"))
    await redis.flushall()
    assert not await sound(redis, database, "r1")
    await ledger.ensure()
    assert await sound(redis, database, "r1")
    found = {key: value.partition(b",")[2] for key, value in (await redis.hgetall(room_key("r1", "state"))).items()}
    assert {k: sorted(v) for k, v in found.items()} == {k: sorted(v) for k, v in wanted.items()}
    for before, o in zip(hashes, (offer, bar), strict=True):
        after = await redis.hgetall(room_key("r1", f"offer:{o}"))
        skip = (b"flip", b"out")
        assert {k: v for k, v in after.items() if k not in skip} == {k: v for k, v in before.items() if k not in skip}
    assert await redis.hgetall(room_key("r1", f"used:{offer}")) == used
    assert await balanced(database, redis)


async def test_a_running_ledger_books_by_itself_and_survives_flushall(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 100})
    stop = asyncio.Event()
    running = asyncio.create_task(Ledger(database, redis, hands()).run(stop))

    async def until_booked(key: str) -> None:
        for attempt in range(100):
            answer = (await reserve(redis, "r1", [tap(1, offer, key=key, tries=1 + attempt)], CAP))[0]
            if answer.tag == "KNOWN" and answer.record.startswith(b"D|"):
                return
            await asyncio.sleep(0.05)
        raise AssertionError("never booked")

    try:
        await until_booked("before")
        await redis.flushall()
        await until_booked("after")
    finally:
        stop.set()
        await running
    assert await one(database, "SELECT count(*) FROM orders") == 2
    assert await balanced(database, redis)


async def test_an_offer_that_ended_long_ago_leaves_the_shelf_for_good(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    await book_all(ledger)
    async with database.begin() as session:
        await end_offer(session, offer, utc_now())
    async with database.begin() as session:
        assert await clear_shelf(session, utc_now() - timedelta(minutes=10)) == 0
        assert await clear_shelf(session, utc_now() + timedelta(minutes=1)) == 1
    await book_all(ledger)
    assert set(await redis.hkeys(room_key("r1", "state"))) == {b"room"}
    entry = {"kind": "RELEASE", "rid": tap(1, offer).rid, "location": "S1", "person": "p:1", "lines": [[offer, 1]], "seats": False}
    async with database.begin() as session:
        await outbox.house(session, "r1", entry)
        await session.execute(text("UPDATE orders SET state = 'CANCELLED'"))
    await book_all(ledger)
    await rebuild(redis, database, "r1", facts)
    assert set(await redis.hkeys(room_key("r1", "state"))) == {b"room"}
    assert await one(database, "SELECT allotted FROM stock WHERE location = 'S1'") == 0
    assert await balanced(database, redis)
