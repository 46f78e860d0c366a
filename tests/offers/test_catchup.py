"""A turnstile that lacks movements is brought up to the books before anything later reaches it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra import outbox
from live.infra.db import Database, utc_now
from live.infra.keys import room_key
from live.offers import catchup
from live.offers.actions import add_stock, clear_shelf, end_offer
from live.offers.audit import audit_room
from live.offers.catchup import missing, send
from live.offers.ledger import RoomLedger
from live.offers.rebuild import rebuild, sound
from live.offers.reservations import Behind, reserve
from live.offers.rules import House
from live.offers.till import Move, book_house, return_rid
from tests.offers.shop import book_all, books, group, make_shop, sale, tap
from workers.ledger import facts, hands

CAP = 20_000


async def counters(redis: Redis, offer: int) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """Units left, seats and marks; units per person."""
    fields = await redis.hgetall(room_key("r1", f"offer:{offer}"))
    kept = {name: value for name, value in fields.items() if name.startswith((b"left:", b"move:", b"seats"))}
    return kept, await redis.hgetall(room_key("r1", f"used:{offer}"))


async def roll_back(redis: Redis, offer: int, before: tuple[dict[bytes, bytes], dict[bytes, bytes]]) -> None:
    """The counters as they were."""
    await redis.hdel(room_key("r1", f"offer:{offer}"), "move:S1")
    for name, values in zip(("offer", "used"), before, strict=True):
        if values:
            await redis.hset(room_key("r1", f"{name}:{offer}"), mapping=values)  # type: ignore[arg-type]


def gives(kind: str, buyer: int, offer: int, qty: int, seats: bool = False) -> dict[str, Any]:
    return {"kind": kind, "rid": tap(buyer, offer).rid, "location": "S1", "person": f"p:{buyer}", "lines": [[offer, qty]], "seats": seats}


async def adds(db: Database, offer: int, qty: int) -> None:
    async with db.begin() as session:
        await add_stock(session, offer, "S1", qty, utc_now())


async def entries(db: Database) -> list[tuple[int, House]]:
    """The house rows of the outbox."""
    async with db.connection() as connection:
        rows = (await connection.execute(text("SELECT id, payload FROM outbox WHERE kind = 'house' ORDER BY id"))).all()
    return [(row_id, House.read(payload)) for row_id, payload in rows]


async def booked(ledger: RoomLedger, entry: House) -> list[Move]:
    """A movement of the shop in the books, of which the turnstile has not heard."""
    async with ledger.db.connection() as connection:
        return await book_house(connection, "r1", entry, ledger.hands.bar, utc_now())


@pytest.mark.parametrize("team", [False, True])
async def test_what_the_books_say_was_missed_is_what_the_ledger_would_have_sent(database: Database, redis: Redis, team: bool) -> None:
    await make_shop(database)
    offer = await group(database, 9) if team else await sale(database, {"S1": 9})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(n, offer, qty=2) for n in (1, 2, 3)], CAP)
    before = await counters(redis, offer)  # units are taken, nothing is booked
    await book_all(ledger)
    async with database.begin() as session:
        await outbox.house(session, "r1", gives("RELEASE", 1, offer, 2, team))
        await session.execute(text("UPDATE orders SET state = 'CANCELLED' WHERE person = 'p:1'"))
        if team:
            await session.execute(text("UPDATE team SET held = held - 2, paid = 2"))
        await session.execute(text("UPDATE orders SET state = 'REFUNDED' WHERE person = 'p:2'"))
        await outbox.house(session, "r1", gives("RESTOCK", 2, offer, 2))
    await adds(database, offer, 3)
    await book_all(ledger)
    async with database.begin() as session:
        await end_offer(session, offer, utc_now())
    await book_all(ledger)
    after = await counters(redis, offer)
    await roll_back(redis, offer, before)
    async with database.connection() as connection:
        moves = await missing(connection, offer, "S1", 0, 7)
        assert await missing(connection, offer, "S1", 1, 5) == [Move(offer, "S1", 3, 0, run=2), *moves[1:3]]
    assert [(move.move_no, move.run) for move in moves] == [(3, 3), (4, 1), (5, 1), (6, 1), (7, 1)]
    assert [await send(redis, "r1", move) for move in moves] == [1] * 5
    assert await counters(redis, offer) == after
    assert (await audit_room(database, redis, "r1")).balanced


async def test_units_added_by_one_owner_are_on_sale_when_another_has_settled_a_later_group(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 4})
    first = await books(database, redis)
    second = RoomLedger("r1", database, redis, hands())
    await adds(database, offer, 5)
    (_, entry), *_ = await entries(database)
    late = await booked(first, entry)  # … and is held up before it can tell the turnstile
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    await second._book(await second._read(">"))
    await second._settled_all()
    fields, _ = await counters(redis, offer)
    assert (fields[b"left:S1"], fields[b"move:S1"]) == (b"8", b"2")
    assert [await send(redis, "r1", move) for move in late] == [0]
    assert (await audit_room(database, redis, "r1")).balanced


async def test_rows_booked_in_another_order_after_a_crash_both_reach_the_turnstile(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 4})
    ledger = await books(database, redis)
    await adds(database, offer, 5)
    await adds(database, offer, 7)
    (_, older), (_, newer) = await entries(database)
    assert [move.move_no for move in await booked(ledger, newer)] == [1]  # the older row's transaction had not ended; then the ledger dies
    await RoomLedger("r1", database, redis, hands())._apply_outbox()
    fields, _ = await counters(redis, offer)
    assert (fields[b"left:S1"], fields[b"move:S1"], older.lines) == (b"16", b"2", ((offer, 5),))
    assert await entries(database) == []


async def test_a_movement_booked_while_the_room_is_built_anew_is_kept_until_it_is_open(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 4})
    ledger = await books(database, redis)
    other = RoomLedger("r1", database, redis, hands())

    async def meanwhile(connection: Any, room: str) -> Any:  # after the snapshot, before the first counter
        await adds(database, offer, 5)
        await other._apply_outbox()
        assert len(await entries(database)) == 1
        return await facts(connection, room)

    await rebuild(redis, database, "r1", meanwhile)
    assert (await counters(redis, offer))[0][b"left:S1"] == b"4"
    await ledger._apply_outbox()
    assert (await counters(redis, offer))[0][b"left:S1"] == b"9"
    assert await entries(database) == []
    assert (await audit_room(database, redis, "r1")).balanced


async def test_a_movement_of_an_offer_the_room_does_not_hold_is_done_with(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 4})
    ledger = await books(database, redis)
    async with database.begin() as session:
        await end_offer(session, offer, utc_now())
    await book_all(ledger)
    async with database.begin() as session:
        assert await clear_shelf(session, utc_now() + timedelta(hours=1)) == 1
    await book_all(ledger)
    await rebuild(redis, database, "r1", facts)
    assert not await redis.exists(room_key("r1", f"offer:{offer}"))
    async with database.begin() as session:
        await outbox.house(session, "r1", {"kind": "RETURN", "rid": return_rid(offer, "S1"), "location": "S1", "lines": [[offer, 0]]})
    await ledger._apply_outbox()
    assert await entries(database) == []


async def test_a_group_that_died_between_commit_and_settling_is_counted_by_its_successor(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 4})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    await ledger._commit(await ledger._read(">"))
    await book_all(RoomLedger("r1", database, redis, hands()))
    fields, _ = await counters(redis, offer)
    assert (fields[b"left:S1"], fields[b"move:S1"]) == (b"3", b"1")


async def test_a_turnstile_that_lacks_too_much_is_built_anew(database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catchup, "MOST", 2)
    await make_shop(database)
    offer = await sale(database, {"S1": 4})
    ledger = await books(database, redis)
    before = await counters(redis, offer)
    for _ in range(3):
        await adds(database, offer, 1)
    await ledger._apply_outbox()
    await roll_back(redis, offer, before)
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    await ledger._book(await ledger._read(">"))
    with pytest.raises(Behind):
        await ledger._settled_all()
    assert ledger.lost
    await ledger.ensure()
    assert not ledger.lost
    assert (await counters(redis, offer))[0] == {b"left:S1": b"6", b"move:S1": b"4"}
    assert (await audit_room(database, redis, "r1")).balanced


async def test_an_older_dump_under_the_same_server_that_lost_acts_is_built_anew(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 4})
    ledger = await books(database, redis)
    dump = {key: await redis.dump(key) for key in await redis.keys("{r1}*")}
    await adds(database, offer, 5)
    await ledger._apply_outbox()  # an act, which goes when it is applied
    await redis.delete(*await redis.keys("{r1}*"))
    for key, value in dump.items():
        await redis.restore(key, 0, value)
    assert await sound(redis, database, "r1")  # nothing that is looked at says so
    await adds(database, offer, 1)
    await ledger._apply_outbox()
    assert ledger.lost
    await ledger.ensure()
    await ledger._apply_outbox()
    async with database.connection() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM outbox WHERE kind = 'act'"))).scalar_one() == 0
        number = (await connection.execute(text("SELECT act_no FROM room_clock"))).scalar_one()
    assert int(await redis.hget(room_key("r1", "meta"), "act_no")) == number  # type: ignore[arg-type, misc]
    assert (await counters(redis, offer))[0][b"left:S1"] == b"10"
    assert not ledger.lost
