"""The till when a constraint fires, a batch deadlocks, or an intent comes twice: one bad intent sinks only itself."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra.db import Database, utc_now
from live.infra.keys import hub_channel, room_key
from live.infra.outbox import news_of
from live.offers.audit import audit_room
from live.offers.ledger import RoomLedger
from live.offers.reservations import record, reserve
from live.offers.rules import Intent
from live.offers.till import Booking, book
from live.orders.booking import OrderBooker
from tests.offers.shop import book_all, books, forget, group, make_shop, sale, tap
from workers.ledger import hands

CAP = 20_000


async def column(db: Database, query: str, **values: object) -> list[Any]:
    async with db.connection() as connection:
        return list((await connection.execute(text(query), values)).scalars())


async def left(redis: Redis, offer: int) -> int:
    return int(await redis.hget(room_key("r1", f"offer:{offer}"), "left:S1"))


async def booked(ledger: RoomLedger, intents: list[Intent]) -> Booking:
    async with ledger.db.connection() as connection:
        return await book(connection, "r1", intents, ledger.hands.bookers, ledger.hands.bar, utc_now())


async def test_one_bad_intent_among_eight_sinks_only_itself(database: Database, redis: Redis) -> None:
    """Its rid is on the movement books already, under an order that is gone: only the unique key can say so."""
    await make_shop(database)
    offer = await sale(database, {"S1": 100})
    ledger = await books(database, redis)
    bad = tap(5, offer)
    async with database.connection() as connection:
        await connection.execute(
            text("INSERT INTO movement (offer_id, location, move_no, kind, qty, rid) VALUES (:o, 'S2', 1, 'HOLD', 1, :r)"),
            {"o": offer, "r": bad.rid},
        )
    await reserve(redis, "r1", [tap(n, offer) for n in range(1, 9)], CAP)
    async with redis.pubsub(ignore_subscribe_messages=True) as ears:
        await ears.subscribe(hub_channel("h1"))
        await ears.get_message(timeout=1)
        handles = {orjson.loads(fields[b"j"])["rid"]: f"1/{at.decode()}" for at, fields in await redis.xrange(room_key("r1", "intents"))}
        await book_all(ledger)
        message = await ears.get_message(timeout=1)
    assert message is not None
    told = orjson.loads(message["data"])
    assert {rid: handle for rid, handle, _, _ in told} == handles
    assert [rid for rid, _, body, no in told if body is None and no == ["sold_out"]] == [bad.rid]
    assert await column(database, "SELECT person FROM orders ORDER BY person") == [f"p:{n}" for n in range(1, 9) if n != 5]
    assert await column(database, "SELECT taken FROM allotment WHERE offer_id = :o", o=offer) == [7]
    assert await column(database, "SELECT move_no FROM movement WHERE location = 'S1' ORDER BY move_no") == list(range(1, 8))
    assert await column(database, "SELECT person FROM quota WHERE person = 'p:5'") == []
    drifts = await column(database, "SELECT jsonb_build_array(room_id, offer_id, what, facts) FROM drift")
    assert drifts == [["r1", offer, "till_refused", {"rid": bad.rid, "why": "uq_movement_cause"}]]
    assert await left(redis, offer) == 93
    assert await redis.hget(room_key("r1", f"used:{offer}"), "p:5") == b"0"
    assert await redis.xlen(room_key("r1", "intents")) == 0
    assert (await record(redis, "r1", bad.rid), (await record(redis, "r1", tap(4, offer).rid) or ("",))[0]) == (None, "done")


async def test_a_quota_that_the_till_did_not_see_is_refused_by_its_check(database: Database, redis: Redis) -> None:
    """`allowed` in the row is less than the offer says now: the CHECK decides, not what the till thinks."""
    await make_shop(database)
    offer = await sale(database, {"S1": 10}, per_person=3)
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    await book_all(ledger)
    async with database.connection() as connection:
        await connection.execute(text("UPDATE quota SET allowed = 1"))
    await reserve(redis, "r1", [tap(1, offer, key="second"), tap(2, offer, key="second")], CAP)
    await book_all(ledger)
    assert await column(database, "SELECT person FROM orders ORDER BY id") == ["p:1", "p:2"]
    assert await column(database, "SELECT facts->>'why' FROM drift") == ["ck_quota_used"]
    assert await left(redis, offer) == 8
    assert (await audit_room(database, redis, "r1")).balanced


async def test_a_team_is_never_overfilled_whatever_the_turnstile_believes(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await group(database, size=4)
    ledger = await books(database, redis)
    await redis.hset(room_key("r1", f"offer:{offer}"), mapping={"seats": "9", "left:S1": "9"})
    await reserve(redis, "r1", [tap(n, offer) for n in range(1, 8)], CAP)
    await book_all(ledger)
    assert await column(database, "SELECT person FROM orders ORDER BY person") == ["p:1", "p:2", "p:3", "p:4"]
    assert await column(database, "SELECT held FROM team") == [4]
    assert await column(database, "SELECT facts->>'why' FROM drift ORDER BY id") == ["team_full"] * 3


async def test_a_group_is_decided_in_the_order_of_the_stream(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5}, per_person=9)
    ledger = await books(database, redis)
    await redis.hset(room_key("r1", f"offer:{offer}"), "left:S1", 50)
    await reserve(redis, "r1", [tap(9, offer, qty=3), tap(1, offer, qty=3), tap(5, offer, qty=2), tap(2, offer)], CAP)
    await book_all(ledger)
    assert sorted(await column(database, "SELECT person FROM orders")) == ["p:5", "p:9"]
    assert await column(database, "SELECT taken FROM allotment WHERE offer_id = :o", o=offer) == [5]


async def test_one_rid_twice_in_a_group_is_one_order_and_the_second_units_go_back(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 10})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer, qty=2)], CAP)
    await forget(redis, tap(1, offer))  # the record was lost, the client sends again
    await reserve(redis, "r1", [tap(1, offer, qty=2, tries=2)], CAP)
    assert await left(redis, offer) == 6
    await book_all(ledger)
    assert await column(database, "SELECT qty FROM order_line") == [2]
    assert await column(database, "SELECT used FROM quota") == [2]
    assert await left(redis, offer) == 8
    assert await redis.hget(room_key("r1", f"used:{offer}"), "p:1") == b"2"
    assert (await audit_room(database, redis, "r1")).balanced


async def test_a_lock_that_is_held_for_long_is_waited_for_and_the_same_batch_booked_once(database: Database, redis: Redis) -> None:
    """A writer takes the rows the other way round: PostgreSQL ends one of the two, and if it is ours the batch is run again."""
    await make_shop(database)
    first, second = await sale(database, {"S1": 5}), await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, first, lines=((first, 1, 1), (second, 1, 1)))], CAP)
    intents = await ledger._read(">")
    lock = text("SELECT 1 FROM allotment WHERE offer_id = :o FOR UPDATE")
    async with database.connection() as other:
        await other.execute(text("SET LOCAL deadlock_timeout = '10s'"))  # so that ours is the one that notices
        await other.execute(lock, {"o": second})
        booking = asyncio.create_task(ledger._commit(intents))
        await asyncio.sleep(0.2)
        await other.execute(lock, {"o": first})
    assert [(verdict.no, verdict.body is not None) for verdict in (await booking).verdicts] == [((), True)]
    assert await column(database, "SELECT taken FROM allotment ORDER BY offer_id") == [1, 1]
    assert await column(database, "SELECT count(*) FROM drift") == [0]


async def test_a_group_that_fails_half_way_writes_nothing(database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer), tap(2, offer)], CAP)
    intents = await ledger._read(">")
    real = OrderBooker.book

    async def fails(*given: Any) -> Any:
        await real(*given)
        raise OSError("the wire was cut")

    monkeypatch.setattr(OrderBooker, "book", fails)
    with pytest.raises(OSError, match="cut"):
        await ledger._commit(intents)
    for table in ("orders", "order_line", "movement", "quota", "drift"):
        assert await column(database, f"SELECT count(*) FROM {table}") == [0], table
    monkeypatch.undo()
    await ledger._book(intents)
    await ledger._settled_all()
    assert await column(database, "SELECT person FROM orders ORDER BY person") == ["p:1", "p:2"]


async def test_booking_the_same_intents_again_changes_nothing(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(n, offer) for n in (1, 2, 3)], CAP)
    intents = await ledger._read(">")
    first = await booked(ledger, intents)
    again = await booked(RoomLedger("r1", database, redis, hands()), intents)
    assert [(v.intent.id, v.body, v.gives_back) for v in again.verdicts] == [(v.intent.id, v.body, False) for v in first.verdicts]
    assert await column(database, "SELECT taken FROM allotment WHERE offer_id = :o", o=offer) == [3]
    assert await column(database, "SELECT count(*) FROM movement") == [3]
    assert [len(news_of("", {}, news)) for news in await column(database, "SELECT news FROM outbox WHERE kind = 'own'")] == [3]
