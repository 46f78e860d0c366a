"""News of a booked group: told from memory right after the commit, kept in the outbox for a successor until then."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import text

from live.infra import outbox, roomlog
from live.infra.db import Database, array, driver
from live.infra.keys import room_key
from live.offers.ledger import RoomLedger
from live.offers.reservations import read_record, reserve
from live.offers.till import Booking
from tests.offers.shop import books, group, make_shop, sale, tap
from workers.ledger import hands

CAP = 20_000
PATIENCE = 20  # seconds


async def told(redis: Redis) -> list[bytes]:
    return [who.encode() for _, who, _, _ in (await roomlog.look(redis, "r1", roomlog.Position())).own_entries]


async def rows(db: Database, kind: str = "own") -> int:
    async with db.connection() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM outbox WHERE kind = :k"), {"k": kind})).scalar_one())


async def bar(db: Database, offer: int, version: int) -> None:
    async with db.connection() as connection:
        await outbox.count(connection, "r1", f"team:{offer}", version, {"paid": version})


async def shown(redis: Redis, offer: int) -> int:
    """How many are paid by the bar that the room shows."""
    state = (await roomlog.look(redis, "r1", roomlog.Position())).state
    return int(orjson.loads(state[f"team:{offer}"])[1]["paid"]) if f"team:{offer}" in state else 0


async def test_buyers_are_told_after_the_commit_and_the_row_goes_with_the_next_look_at_the_outbox(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer), tap(2, offer)], CAP)
    await ledger._book(await ledger._read(">"))
    await ledger._settled_all()
    assert sorted(await told(redis)) == [b"p:1", b"p:2"]
    assert await rows(database) == 1
    await ledger._apply_outbox()
    assert await rows(database) == 0
    assert len(await told(redis)) == 2


async def test_what_a_dead_ledger_had_not_told_is_told_once_by_its_successor(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    booking = await ledger._commit(await ledger._read(">"))  # … and the process dies here
    assert await told(redis) == []
    await RoomLedger("r1", database, redis, hands())._apply_outbox()
    await ledger._follow(booking)  # it was only slow
    assert await told(redis) == [b"p:1"]
    assert await rows(database) == 0


async def test_news_that_did_not_reach_the_turnstile_stay_in_the_outbox(
    database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    tell = roomlog.tell

    async def cut(*_: object) -> int:
        raise RedisConnectionError("cut")

    monkeypatch.setattr(roomlog, "tell", cut)
    await ledger._book(await ledger._read(">"))
    with pytest.raises(RedisConnectionError):
        await ledger._settled_all()
    monkeypatch.setattr(roomlog, "tell", tell)
    assert ledger.told == []
    await ledger._apply_outbox()
    assert await told(redis) == [b"p:1"]
    assert await rows(database) == 0


async def test_news_that_an_older_release_left_are_told(database: Database, redis: Redis) -> None:
    await make_shop(database)
    ledger = await books(database, redis)
    left = [["p:1", "order:A", 1, {"t": "order"}], ["p:2", "order:B", 1, {"t": "order"}]]
    async with database.connection() as connection:
        await connection.execute(
            text("INSERT INTO outbox (kind, topic, room_id, key, payload) VALUES ('own', '', 'r1', '', CAST(:p AS jsonb))"),
            {"p": orjson.dumps({"many": left}).decode()},
        )
    await ledger._apply_outbox()
    assert sorted(await told(redis)) == [b"p:1", b"p:2"]
    assert await rows(database) == 0


async def test_a_bar_is_shown_while_a_group_is_being_booked(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    running = asyncio.create_task(ledger._bars())
    try:
        async with ledger.lock, asyncio.timeout(PATIENCE):
            for version in (1, 2):
                await bar(database, offer, version)
                ledger.nudge()
                while await shown(redis, offer) != version:
                    await asyncio.sleep(0.001)
        while await rows(database, "count"):  # shown, it goes; the lock was not needed for that
            await asyncio.sleep(0.001)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_held_seats_are_shown_right_after_the_commit_and_the_row_goes_with_the_next_look(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await group(database, size=4)
    ledger = await books(database, redis)
    await ledger._apply_outbox()  # the act that its offer came with
    ledger.bars.clear()
    await reserve(redis, "r1", [tap(1, offer), tap(2, offer)], CAP)
    await ledger._book(await ledger._read(">"))
    await ledger._settled_all()
    assert b'"held":2' in (await redis.hget(room_key("r1", "state"), f"team:{offer}"))
    assert (await rows(database, "count"), ledger.bars.is_set()) == (1, False)  # nobody is called to show it once more
    await ledger._apply_outbox()
    assert await rows(database, "count") == 0


async def test_held_seats_are_not_shown_before_the_act_that_stands_before_them(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await group(database, size=4)
    ledger = await books(database, redis)
    await ledger._apply_outbox()
    ledger.bars.clear()
    async with database.begin() as session:
        await outbox.act(session, "r1", state={"price": {"fen": 1}})
    await reserve(redis, "r1", [tap(1, offer)], CAP)
    await ledger._book(await ledger._read(">"))
    await ledger._settled_all()
    assert b'"held":0' in (await redis.hget(room_key("r1", "state"), f"team:{offer}"))
    assert ledger.bars.is_set()
    await ledger._apply_outbox()
    state = await redis.hgetall(room_key("r1", "state"))
    assert b'"held":1' in state[f"team:{offer}".encode()]
    assert b"price" in state
    assert await rows(database, "count") == 0


async def test_intents_that_follow_a_group_closely_become_one_group(
    database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("live.offers.ledger.PACE", 0.5)
    await make_shop(database)
    offer = await sale(database, {"S1": 9})
    ledger = await books(database, redis)
    running = asyncio.create_task(ledger._intents())
    try:
        for person in range(1, 6):  # the first waits for nobody, the others for the half second after it
            await reserve(redis, "r1", [tap(person, offer)], CAP)
            await asyncio.sleep(0.01)
        async with asyncio.timeout(PATIENCE):
            while len(await told(redis)) < 5:
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    async with database.connection() as connection:
        groups = (await connection.execute(text("SELECT count(*) FROM orders GROUP BY created_at ORDER BY created_at"))).scalars().all()
    assert list(groups) == [1, 4]


async def test_after_a_full_group_nobody_waits(database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live.offers.ledger.PACE", 10 * PATIENCE)
    monkeypatch.setattr("live.offers.ledger.FULL", 2)
    await make_shop(database)
    offer = await sale(database, {"S1": 9})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer), tap(2, offer)], CAP)
    running = asyncio.create_task(ledger._intents())
    try:
        async with asyncio.timeout(PATIENCE):
            while len(await told(redis)) < 2:
                await asyncio.sleep(0.01)
            await reserve(redis, "r1", [tap(3, offer)], CAP)
            while len(await told(redis)) < 3:
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_bar_waits_for_the_act_that_its_offer_comes_with(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    async with database.begin() as session:
        await outbox.act(session, "r1", state={f"offer:{offer + 1}": {"sku": "T"}})
    await bar(database, offer + 1, 7)
    await ledger._apply_bars()
    assert await shown(redis, offer + 1) == 0
    assert await rows(database, "count") == 1
    await ledger._apply_outbox()
    assert await shown(redis, offer + 1) == 7
    await bar(database, offer + 1, 6)  # an older one, late
    await ledger._apply_bars()
    assert await shown(redis, offer + 1) == 7
    assert await rows(database, "count") == 0


async def test_in_one_batch_a_person_gets_no_more_than_their_limit_and_a_rid_acts_once(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 9}, per_person=2)
    ledger = await books(database, redis)
    taps = [tap(1, offer, key="a"), tap(1, offer, key="a"), tap(1, offer, key="b"), tap(1, offer, key="c"), tap(2, offer, qty=2)]
    answers = await reserve(redis, "r1", taps, CAP)
    assert [(each.tag, each.code) for each in answers] == [("OK", ""), ("KNOWN", ""), ("OK", ""), ("NO", "limit"), ("OK", "")]
    assert read_record(answers[1].record).intent == answers[0].intent
    assert await redis.hgetall(room_key("r1", f"used:{offer}")) == {b"p:1": b"2", b"p:2": b"2"}
    assert await redis.hget(room_key("r1", f"offer:{offer}"), "left:S1") == b"5"
    assert [intent.rid for intent in await ledger._read(">")] == [taps[0].rid, taps[2].rid, taps[4].rid]


async def test_a_batch_larger_than_a_script_may_take_is_no_call_at_all(redis: Redis) -> None:
    with pytest.raises(ValueError, match="1 to 1000"):
        await reserve(redis, "r1", [tap(1, 1)] * 1001, CAP)
    assert await redis.dbsize() == 0


def test_halves_of_a_group_join_their_numbers_only_when_nobody_booked_between() -> None:
    pair = (1, "S1")
    assert (Booking(moves={pair: (0, 5)}) + Booking(moves={pair: (5, 9)})).moves == {pair: (0, 9)}
    assert (Booking(moves={pair: (0, 5)}) + Booking(moves={pair: (7, 9)})).moves == {pair: (7, 9)}
    assert (Booking(moves={pair: (0, 5)}) + Booking(moves={(2, "S1"): (3, 4)})).moves == {pair: (0, 5), (2, "S1"): (3, 4)}


async def test_any_text_survives_the_way_into_an_array(database: Database) -> None:
    texts = ["", "NULL", 'say "tea"', "back\\slash", "a,b", "{}", "茶"]
    async with database.connection() as connection:
        found = await (await (await driver(connection)).execute("SELECT CAST(%s AS text[])", (array(texts),))).fetchone()
    assert found == (texts,)
    assert (array([]), array([1, 2])) == ("{}", '{"1","2"}')
