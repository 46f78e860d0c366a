"""Goods of many refunded orders come back in one step: the same books and the same turnstile as one by one."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra import outbox
from live.infra.db import Database, utc_now
from live.infra.keys import room_key
from live.offers import restock
from live.offers.actions import end_offer
from live.offers.audit import audit_room
from live.offers.ledger import PARKED_AFTER, RoomLedger
from live.offers.reservations import reserve
from live.offers.rules import House
from tests.offers.shop import book_all, books, make_shop, sale, tap
from workers.ledger import hands

CAP = 20_000
BUYERS = 200
ROW = 50  # orders in one row


def entry(buyer: int, offer: int) -> dict[str, Any]:
    rid = tap(buyer, offer).rid
    return {"kind": "RESTOCK", "rid": rid, "location": "S1", "person": f"p:{buyer}", "lines": [[offer, 1]], "seats": False}


async def refunded(db: Database, redis: Redis, *, ended: bool = True, buyers: int = BUYERS) -> tuple[RoomLedger, int]:
    """A sale of five units more than it has buyers, all refunded; the restocks wait in rows of many."""
    await make_shop(db)
    offer = await sale(db, {"S1": buyers + 5}, per_person=1)
    ledger = await books(db, redis)
    await reserve(redis, "r1", [tap(n, offer) for n in range(1, buyers + 1)], CAP)
    await book_all(ledger)
    if ended:
        async with db.begin() as session:
            await end_offer(session, offer, utc_now())
        await book_all(ledger)
    async with db.begin() as session:
        await session.execute(text("UPDATE orders SET state = 'REFUNDED'"))
        for first in range(1, buyers + 1, ROW):
            await outbox.house(session, "r1", *(entry(n, offer) for n in range(first, min(first + ROW, buyers + 1))))
    return ledger, offer


async def rows(db: Database, query: str) -> list[tuple[Any, ...]]:
    async with db.connection() as connection:
        return [tuple(row) for row in (await connection.execute(text(query))).all()]


async def came_back(db: Database, redis: Redis, offer: int, buyers: int = BUYERS) -> None:
    """Everything is back in the shop, once."""
    assert await rows(db, "SELECT total, taken FROM allotment") == [(0, 0)]
    assert await rows(db, "SELECT allotted, on_hand FROM stock WHERE location = 'S1'") == [(0, 1000)]
    assert await rows(db, "SELECT sum(used) FROM quota") == [(0,)]
    restocks = await rows(db, "SELECT count(*), count(DISTINCT rid), sum(qty) FROM movement WHERE kind = 'RESTOCK'")
    assert restocks == [(buyers, buyers, -buyers)]
    [(last, moves)] = await rows(db, "SELECT a.move_no, count(*) FROM allotment a JOIN movement m USING (offer_id) GROUP BY 1")
    assert last == moves
    fields = await redis.hmget(room_key("r1", f"offer:{offer}"), ["left:S1", "move:S1"])
    assert [int(value) for value in fields] == [0, last]
    assert {int(units) for units in (await redis.hgetall(room_key("r1", f"used:{offer}"))).values()} == {0}
    assert await rows(db, "SELECT count(*) FROM outbox WHERE kind = 'house'") == [(0,)]
    assert (await audit_room(db, redis, "r1")).balanced
    assert await rows(db, "SELECT count(*) FROM drift") == [(0,)]


async def test_two_hundred_restocks_of_an_ended_offer_are_a_step_a_row(database: Database, redis: Redis) -> None:
    ledger, offer = await refunded(database, redis)
    await book_all(ledger)
    await came_back(database, redis, offer)
    # The rest went back once when the offer ended, and once with each row.
    assert await rows(database, "SELECT count(*), sum(qty) FROM movement WHERE kind = 'RETURN'") == [(1 + BUYERS // ROW, -BUYERS - 5)]


async def test_two_owners_at_once_bring_everything_back_once(database: Database, redis: Redis) -> None:
    ledger, offer = await refunded(database, redis)
    other = RoomLedger("r1", database, redis, hands())
    for _ in range(3):  # they stand in each other's way: an owner that was refused tries again
        await asyncio.gather(ledger._apply_outbox(), other._apply_outbox(), return_exceptions=True)
    await came_back(database, redis, offer)


@pytest.mark.parametrize(("buyers", "booked"), [(BUYERS, ROW), (BUYERS, ROW // 2), (ROW, ROW)])  # of one row nothing later tells
async def test_what_was_booked_and_not_told_to_the_turnstile_is_told_later(
    database: Database, redis: Redis, buyers: int, booked: int
) -> None:
    _, offer = await refunded(database, redis, buyers=buyers)
    entries = [House.read(entry(n, offer)) for n in range(1, booked + 1)]
    async with database.connection() as connection:
        await restock._restock(connection, entries, utc_now())  # and the ledger dies
    await book_all(RoomLedger("r1", database, redis, hands()))
    await came_back(database, redis, offer, buyers)


async def test_one_that_can_never_be_booked_is_set_apart_and_parked(database: Database, redis: Redis) -> None:
    ledger, offer = await refunded(database, redis, buyers=4)
    async with database.begin() as session:  # a row's offer that nobody knows
        poison = entry(9, 4711)
        await session.execute(
            text("UPDATE outbox SET payload = jsonb_set(payload, '{many}', payload->'many' || CAST(:p AS jsonb)) WHERE kind = 'house'"),
            {"p": orjson.dumps([poison]).decode()},
        )
    for _ in range(PARKED_AFTER + 2):
        await ledger._apply_outbox()
    assert await rows(database, "SELECT payload->>'rid' FROM outbox WHERE topic = 'parked'") == [(poison["rid"],)]
    assert await rows(database, "SELECT what FROM drift") == [("house_parked",)]
    async with database.connection() as connection:
        await connection.execute(text("DELETE FROM drift"))
    await came_back(database, redis, offer, 4)


async def test_units_of_an_offer_that_goes_on_are_for_sale_again(database: Database, redis: Redis) -> None:
    ledger, offer = await refunded(database, redis, ended=False, buyers=20)
    await book_all(ledger)
    assert await rows(database, "SELECT total, taken FROM allotment") == [(25, 0)]
    assert int(await redis.hget(room_key("r1", f"offer:{offer}"), "left:S1")) == 25
    assert (await audit_room(database, redis, "r1")).balanced
