"""What goes wrong between turnstile and till, one fault at a time: nobody is left without an answer, and no unit is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra import outbox
from live.infra.db import Database, utc_now
from live.infra.keys import hub_channel, room_key
from live.offers.actions import end_offer
from live.offers.audit import audit_room
from live.offers.leases import Ledger
from live.offers.ledger import PARKED_AFTER, RoomLedger
from live.offers.rebuild import rebuild, sound
from live.offers.reservations import reserve
from live.offers.rules import House, Intent
from live.offers.till import book_house, return_rid
from tests.offers.shop import book_all, books, forget, make_shop, sale, tap
from workers.ledger import facts, hands

CAP = 20_000


async def count(db: Database, query: str) -> int:
    async with db.connection() as connection:
        return int((await connection.execute(text(query))).scalar_one())


async def left(redis: Redis, offer: int, place: str = "S1") -> int:
    return int(await redis.hget(room_key("r1", f"offer:{offer}"), f"left:{place}"))


async def test_intents_whose_delivery_was_lost_are_booked_all_the_same(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 9})
    await books(database, redis)
    stop = asyncio.Event()
    running = asyncio.create_task(Ledger(database, redis, hands()).run(stop))
    try:
        await asyncio.sleep(0.3)
        await reserve(redis, "r1", [tap(n, offer) for n in (1, 2)], CAP)
        # Somebody read them as the ledger's own consumer, and the reply never arrived.
        await redis.xreadgroup("ledger", "till", {room_key("r1", "intents"): ">"}, count=10)
        async with asyncio.timeout(5):
            while await count(database, "SELECT count(*) FROM orders") < 2:
                await asyncio.sleep(0.05)
    finally:
        stop.set()
        await running
    assert await left(redis, offer) == 7


async def test_buyers_in_time_are_booked_even_when_the_end_is_applied_between_read_and_lock(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(n, offer) for n in (1, 2, 3)], CAP)
    read = await ledger._read(">")  # the intents' loop has read, and waits for the lock …
    async with database.begin() as session:
        await end_offer(session, offer, utc_now())
    await ledger._apply_outbox()  # … which the relay holds
    await ledger._book(read)
    await book_all(ledger)
    assert await count(database, "SELECT count(*) FROM orders") == 3
    assert await count(database, "SELECT count(*) FROM drift") == 0
    assert await count(database, "SELECT allotted FROM stock WHERE location = 'S1'") == 3
    assert await left(redis, offer) == 0


async def test_a_buyer_refused_by_a_drain_is_not_booked_by_the_loop_that_had_read_the_tap_before(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 1})
    ledger = await books(database, redis)
    await redis.hset(room_key("r1", f"offer:{offer}"), "left:S1", 2)  # a turnstile that lets one too many through
    async with ledger.lock:
        loop = asyncio.create_task(ledger._intents())
        await reserve(redis, "r1", [tap(n, offer) for n in (1, 2)], CAP)
        async with asyncio.timeout(5):  # until the loop has read both, and waits for the lock
            while (await redis.xinfo_groups(room_key("r1", "intents")))[0]["lag"]:
                await asyncio.sleep(0.01)
        await ledger._drain()  # … which the relay holds: one is booked, one refused
        assert await count(database, "SELECT count(*) FROM orders") == 1
        await redis.hincrby(room_key("r1", f"offer:{offer}"), "left:S1", -1)  # what was planted
        entry = {"kind": "ADJUST", "rid": "add:1", "location": "S1", "lines": [[offer, 1]]}
        async with database.begin() as session:  # and a unit more, that the refused one could now have
            await outbox.house(session, "r1", entry)
            await session.execute(text("UPDATE stock SET allotted = allotted + 1 WHERE location = 'S1'"))
        await ledger._apply_outbox()
    await asyncio.sleep(0.3)
    ledger.closed = True
    await reserve(redis, "r1", [tap(3, offer)], CAP)  # ends the wait for an intent
    await loop
    assert await count(database, "SELECT count(*) FROM orders") == 2
    assert await count(database, f"SELECT count(*) FROM orders WHERE rid = '{tap(2, offer).rid}'") == 0
    assert (await audit_room(database, redis, "r1")).balanced


async def test_what_the_loop_reads_in_the_middle_of_a_drain_is_booked_by_it_once_and_before_the_rest_goes_back(
    database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(n, offer) for n in (1, 2, 3)], CAP)
    async with database.begin() as session:
        await end_offer(session, offer, utc_now())
    read, loop = ledger._read, list[tuple[int, list[Intent]]]()

    async def between(begin: str, block: int | None = None) -> list[Intent]:
        if begin == ">" and not loop:  # the drain has looked for what was delivered, and finds nothing new: the loop was faster
            loop.append((ledger.drains, await read(begin)))
        return await read(begin, block)

    monkeypatch.setattr(ledger, "_read", between)
    await ledger._apply_outbox()
    [(drains, intents)] = loop
    assert len(intents) == 3
    assert await count(database, "SELECT count(*) FROM orders") == 3
    monkeypatch.setattr(ledger, "_book", None)  # nobody is booked once more
    await ledger._book_read(intents, drains)
    assert await count(database, "SELECT count(*) FROM drift") == 0
    assert await count(database, "SELECT allotted FROM stock WHERE location = 'S1'") == 3
    assert (await audit_room(database, redis, "r1")).balanced


async def cancelled(database: Database, redis: Redis) -> tuple[RoomLedger, int, dict[str, Any]]:
    """A sale of 4 with one order, cancelled: the ledger, the offer, and the release that no ledger has looked at yet."""
    await make_shop(database)
    offer = await sale(database, {"S1": 4})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    await book_all(ledger)
    entry = {"kind": "RELEASE", "rid": tap(1, offer).rid, "location": "S1", "person": "p:1", "lines": [[offer, 1]], "seats": False}
    async with database.begin() as session:
        await outbox.house(session, "r1", entry)
        await session.execute(text("UPDATE orders SET state = 'CANCELLED'"))
    return ledger, offer, entry


async def test_a_release_before_the_end_is_applied_gives_nothing_back_to_the_store_yet(database: Database, redis: Redis) -> None:
    ledger, offer, _ = await cancelled(database, redis)
    async with database.begin() as session:
        await end_offer(session, offer, utc_now())
    await reserve(redis, "r1", [tap(n, offer) for n in (2, 3)], CAP)  # the end has not reached the turnstile
    await book_all(ledger)
    assert await count(database, "SELECT count(*) FROM orders WHERE state = 'AWAIT_PAY'") == 2
    assert await count(database, "SELECT count(*) FROM drift") == 0
    assert (await audit_room(database, redis, "r1")).balanced


async def test_a_release_booked_before_the_rest_went_back_is_followed_by_no_second_return(database: Database, redis: Redis) -> None:
    ledger, offer, entry = await cancelled(database, redis)
    async with database.begin() as session:
        await end_offer(session, offer, utc_now())
    rest = {"kind": "RETURN", "rid": return_rid(offer, "S1"), "location": "S1", "lines": [[offer, 0]]}
    for each in (entry, rest):  # both are booked, and the ledger dies before any of it reaches the turnstile
        async with database.connection() as connection:
            await book_house(connection, "r1", House.read(each), ledger.hands.bar, utc_now())
    await RoomLedger("r1", database, redis, hands())._apply_outbox()
    assert await count(database, "SELECT count(*) FROM movement WHERE kind = 'RETURN'") == 1
    assert await left(redis, offer) == 0
    assert (await audit_room(database, redis, "r1")).balanced


async def test_a_movement_no_constraint_lets_pass_is_parked_and_stops_nobody_else(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 4})
    ledger = await books(database, redis)
    poison = {"kind": "RELEASE", "rid": "never-sold", "location": "S1", "person": "p:9", "lines": [[offer, 3]], "seats": False}
    async with database.begin() as session:
        await outbox.house(session, "r1", poison)
        await outbox.house(session, "r1", {"kind": "RELEASE", "rid": "x", "location": "S1", "lines": [[4711, 1]], "person": None})
    for _ in range(PARKED_AFTER):
        await ledger._apply_outbox()
    assert await count(database, "SELECT count(*) FROM outbox WHERE topic = 'parked' AND due_at = 'infinity'") == 2
    assert await count(database, "SELECT count(*) FROM drift WHERE what = 'house_parked'") == 2
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    await book_all(ledger)
    assert await count(database, "SELECT count(*) FROM orders") == 1


async def test_a_question_is_answered_when_what_was_delivered_before_it_is_booked(database: Database, redis: Redis) -> None:
    """The former owner died with the intent in its hands, Redis lost the rid's record, and its buyer sends again."""
    await make_shop(database)
    offer = await sale(database, {"S1": 1})
    former = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    assert len(await former._read(">")) == 1
    await forget(redis, tap(1, offer))
    assert [answer.tag for answer in await reserve(redis, "r1", [tap(1, offer, tries=2)], CAP)] == ["ASK"]
    async with redis.pubsub(ignore_subscribe_messages=True) as ears:
        await ears.subscribe(hub_channel("h1"))
        await ears.get_message(timeout=1)
        ledger = RoomLedger("r1", database, redis, hands())
        await ledger._book_rounds(await ledger._read(">"))
        told = []
        while message := await ears.get_message(timeout=1):
            told += orjson.loads(message["data"])
    assert [(rid, no) for rid, _, _, no in told] == [(tap(1, offer).rid, [])] * 2
    assert len({body["order"]["no"] for _, _, body, _ in told if body}) == 1
    assert await left(redis, offer) == 0
    assert (await audit_room(database, redis, "r1")).balanced


async def test_an_unreadable_intent_is_thrown_away_and_the_others_are_booked(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 4})
    ledger = await books(database, redis)
    await redis.xadd(room_key("r1", "intents"), {"j": "{not json"})
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    await book_all(ledger)
    assert await count(database, "SELECT count(*) FROM orders") == 1
    assert await redis.xlen(room_key("r1", "intents")) == 0


async def test_of_two_rebuilders_the_newer_fence_opens_the_room(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 4})
    await books(database, redis)

    async def slow(connection: object, room: str) -> tuple[dict[str, int], dict[str, tuple[int, dict[str, object]]]]:
        await rebuild(redis, database, room, facts)  # another one, with a newer fence, starts and ends in the middle of this one
        await reserve(redis, "r1", [tap(1, offer, qty=4)], CAP)
        return {}, {}

    older = await rebuild(redis, database, "r1", slow)
    assert int(await redis.hget(room_key("r1", "meta"), "fence")) == older + 1
    assert await left(redis, offer) == 0
    assert [fields[b"t"] for _, fields in await redis.xrange(room_key("r1", "log"))] == [b"offer.sold_out"]
    assert await redis.xlen(room_key("r1", "intents")) == 1
    assert await sound(redis, database, "r1")


async def test_a_lost_stream_or_counter_is_noticed_and_the_room_rebuilt(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 4, "S2": 4})
    ledger = await books(database, redis)
    for harm in ("intents", "offer", "place", "meta"):
        await reserve(redis, "r1", [tap(1, offer, key=harm)], CAP)
        await book_all(ledger)
        assert await sound(redis, database, "r1")
        if harm == "place":
            await redis.hdel(room_key("r1", f"offer:{offer}"), "left:S2")
            answers = await reserve(redis, "r1", [tap(2, offer, at=("S2",))], CAP)
            assert [a.tag for a in answers] == ["FENCED"]
        elif harm == "offer":
            await redis.delete(room_key("r1", f"offer:{offer}"))
            assert [a.tag for a in await reserve(redis, "r1", [tap(2, offer)], CAP)] == ["FENCED"]
        else:
            await redis.delete(room_key("r1", harm))
        assert not await sound(redis, database, "r1")
        await ledger.ensure()
        assert await sound(redis, database, "r1")
    assert await left(redis, offer) == 0
    assert await left(redis, offer, "S2") == 4
    assert (await audit_room(database, redis, "r1")).balanced


async def test_a_faulty_room_does_not_stop_the_books_of_another(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 4})
    async with database.connection() as connection:
        await connection.execute(text("INSERT INTO room_clock (room_id, act_no) VALUES ('bad', 1)"))
        await connection.execute(text("INSERT INTO outbox (kind, room_id, payload) VALUES ('act', 'bad', '{}')"))
    stop = asyncio.Event()
    ledger = Ledger(database, redis, hands())
    running = asyncio.create_task(ledger.run(stop))
    try:
        await asyncio.sleep(1.0)
        mine: RoomLedger = ledger.rooms["r1"][0]
        await asyncio.sleep(1.5)
        assert ledger.rooms["r1"][0] is mine
        await reserve(redis, "r1", [tap(1, offer)], CAP)
        async with asyncio.timeout(5):
            while await count(database, "SELECT count(*) FROM orders") < 1:
                await asyncio.sleep(0.05)
    finally:
        stop.set()
        await running
