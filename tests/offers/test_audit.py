"""The audit must find what it is there for: each fault is planted by hand in books that balanced a moment ago."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra import outbox
from live.infra.db import Database, utc_now
from live.infra.keys import room_key
from live.offers import audit as auditing
from live.offers.actions import end_offer
from live.offers.audit import Terms, audit, audit_room
from live.offers.ledger import RoomLedger
from live.offers.reservations import reserve
from tests.offers.shop import book_all, books, coupon, group, make_shop, sale, tap
from tests.web.doors import holdings

CAP = 20_000


@dataclass
class Show:
    """Offer 1: 10 at S1 and 5 at S2, of which 2 + 1 are held and one waits; a coupon and a group, one taken of each."""

    db: Database
    redis: Redis
    ledger: RoomLedger

    async def sql(self, *statements: str) -> None:
        """By hand, as somebody who may switch the database's own rules off (else they refuse: see test_gate)."""
        async with self.db.connection() as connection:
            await connection.execute(text("SET LOCAL session_replication_role = replica"))
            for statement in statements:
                await connection.execute(text(statement))

    async def faults(self) -> dict[tuple[int, str], list[str]]:
        """Faults per offer and place; the audit itself changes nothing."""
        before = await holdings(self.db)
        found = await audit_room(self.db, self.redis, "r1")
        assert await holdings(self.db) == before
        faults = {(terms.offer, terms.location): terms.faults for terms in found.offers if terms.faults}
        assert (found.balanced, found.settled) == (not faults, True)
        return faults


@pytest_asyncio.fixture
async def show(database: Database, redis: Redis) -> Show:
    await make_shop(database)
    await sale(database, {"S1": 10, "S2": 5}, per_person=4)
    await coupon(database, 3)
    await group(database, 4)
    ledger = await books(database, redis)
    taps = [tap(1, 1, qty=2), tap(2, 1, at=("S2",)), tap(1, 2, key="c", at=("-",)), tap(1, 3, key="g")]
    await reserve(redis, "r1", taps, CAP)
    await book_all(ledger)
    await reserve(redis, "r1", [tap(3, 1)], CAP)
    return Show(database, redis, ledger)


async def test_books_that_balance_say_so_term_by_term(show: Show) -> None:
    found = await audit_room(show.db, show.redis, "r1")
    assert (found.room, found.balanced, found.settled) == ("r1", True, True)
    assert found.offers == [
        Terms(1, "S1", "sale", "open", 10, 2, 2, 0, 0, 2, 7, 1, [], 1, 1),
        Terms(1, "S2", "sale", "open", 5, 1, 1, 0, 0, 1, 4, 0, [], 1, 1),
        Terms(2, "-", "coupon", "open", 3, 1, 0, 1, 0, 1, 2, 0, [], 1, 1),
        Terms(3, "S1", "group", "open", 4, 1, 1, 0, 0, 1, 3, 0, [], 1, 1),
    ]
    whole = await audit(show.db, show.redis)
    assert (whole["balanced"], whole["stock"], [room["room"] for room in whole["rooms"]]) == (True, [], ["r1"])
    assert orjson.loads(orjson.dumps(whole)) == whole


async def test_paid_cancelled_and_refunded_orders_stand_in_their_own_terms(show: Show) -> None:
    await show.sql("UPDATE orders SET state = 'PAID' WHERE person = 'p:1' AND channel <> 'group'")
    terms = (await audit_room(show.db, show.redis, "r1")).offers[0]
    assert (terms.held, terms.sold, terms.taken, terms.faults) == (0, 2, 2, [])
    entry = {"kind": "RESTOCK", "rid": tap(1, 1).rid, "location": "S1", "person": "p:1", "lines": [[1, 2]], "seats": False}
    async with show.db.begin() as session:
        await outbox.house(session, "r1", entry)
    await show.ledger._apply_outbox()
    await show.sql("UPDATE orders SET state = 'REFUNDED' WHERE state = 'PAID'")
    terms = (await audit_room(show.db, show.redis, "r1")).offers[0]
    assert (terms.held, terms.sold, terms.taken, terms.returned, terms.left, terms.faults) == (0, 0, 0, 2, 9, [])


async def test_an_extra_unit_taken_is_found(show: Show) -> None:
    await show.sql("UPDATE allotment SET taken = taken + 1 WHERE offer_id = 1 AND location = 'S1'")
    assert await show.faults() == {
        (1, "S1"): ["total != left + in flight + taken", "taken != held + sold", "taken != movements", "quotas != taken"],
        (1, "S2"): ["quotas != taken"],
    }


async def test_a_lost_movement_is_found(show: Show) -> None:
    await show.sql("DELETE FROM movement WHERE offer_id = 1 AND location = 'S2'")
    assert await show.faults() == {(1, "S2"): ["taken != movements", "movement numbers have gaps"]}


async def test_a_movement_with_another_number_is_found(show: Show) -> None:
    await show.sql("UPDATE movement SET move_no = 7 WHERE offer_id = 1 AND location = 'S1'")
    assert await show.faults() == {(1, "S1"): ["movement numbers have gaps"]}


@pytest.mark.parametrize(("offer", "place", "change"), [(1, "S1", 1), (1, "S2", -1), (2, "-", 3), (3, "S1", 1)])
async def test_a_turnstile_that_has_too_many_or_too_few_is_found(show: Show, offer: int, place: str, change: int) -> None:
    await show.redis.hincrby(room_key("r1", f"offer:{offer}"), f"left:{place}", change)
    assert await show.faults() == {(offer, place): ["total != left + in flight + taken"]}


async def test_an_intent_lost_from_the_stream_is_found(show: Show) -> None:
    [(stream_id, _)] = await show.redis.xrange(room_key("r1", "intents"))
    await show.redis.xdel(room_key("r1", "intents"), stream_id)
    assert await show.faults() == {(1, "S1"): ["total != left + in flight + taken"]}


@pytest.mark.parametrize("change", ["used = used - 1", "used = used + 1"])
async def test_a_quota_that_does_not_match_is_found(show: Show, change: str) -> None:
    await show.sql(f"UPDATE quota SET {change} WHERE offer_id = 1 AND person = 'p:1'")
    assert await show.faults() == {(1, "S1"): ["quotas != taken"], (1, "S2"): ["quotas != taken"]}


async def test_an_order_deleted_or_moved_is_found(show: Show) -> None:
    await show.sql("DELETE FROM order_line WHERE offer_id = 3")
    assert await show.faults() == {(3, "S1"): ["taken != held + sold"]}
    await show.sql("UPDATE orders SET location = 'S1' WHERE location = 'S2'")
    assert await show.faults() == {
        (3, "S1"): ["taken != held + sold"],
        (1, "S1"): ["taken != held + sold"],
        (1, "S2"): ["taken != held + sold"],
    }


async def test_a_coupon_out_of_nowhere_is_found(show: Show) -> None:
    await show.sql(
        "INSERT INTO coupon_grant (rid, intent_id, offer_id, room_id, person, off, threshold) VALUES ('x','1-0',2,'r1','p:9',500,3000)"
    )
    assert await show.faults() == {(2, "-"): ["taken != held + sold"]}


async def test_stock_that_shows_do_not_hold_is_found(show: Show) -> None:
    await show.sql("UPDATE stock SET allotted = allotted + 1 WHERE location = 'S2'")
    found = await audit(show.db, show.redis)
    assert (found["balanced"], found["stock"]) == (False, [{"sku_id": 1, "location": "S2", "allotted": 6, "wanted": 5}])


async def test_an_ended_offer_and_a_collected_order_still_balance(show: Show) -> None:
    async with show.db.begin() as session:
        await end_offer(session, 1, utc_now())
    await book_all(show.ledger)
    assert await show.faults() == {}
    assert (await audit(show.db, show.redis))["balanced"]


async def test_a_room_that_is_not_in_redis_is_judged_by_its_books(show: Show) -> None:
    await show.redis.flushall()
    assert [terms.left for terms in (await audit_room(show.db, show.redis, "r1")).offers] == [None] * 4
    assert await show.faults() == {}
    await show.sql("UPDATE quota SET used = used - 1 WHERE offer_id = 2")
    assert await show.faults() == {(2, "-"): ["quotas != taken"]}


async def test_a_room_whose_movements_never_reach_the_turnstile_is_unsettled(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "TRIES", 3)
    async with show.db.begin() as session:  # booked by the ledger, and never applied
        entry = {"kind": "ADJUST", "rid": "add:1", "location": "S1", "lines": [[1, 5]]}
        await outbox.house(session, "r1", entry)
    monkeypatch.setattr("live.offers.catchup.adjust", lambda *_: asyncio.sleep(0))
    await show.ledger._apply_outbox()
    found = await audit_room(show.db, show.redis, "r1")
    assert (found.settled, found.balanced) == (False, True)  # each unit is accounted for at the movement the turnstile knows
    assert (found.offers[0].move_no, found.offers[0].applied, found.offers[0].late) == (2, 1, 1)
    assert not (await audit(show.db, show.redis))["balanced"]


async def test_books_in_motion_are_read_between_two_movements(show: Show) -> None:
    async def buy(hold: Callable[[], Awaitable[object]]) -> None:
        for n in range(10, 16):
            await reserve(show.redis, "r1", [tap(n, 1)], CAP)
            await hold()

    async def pause() -> None:
        await asyncio.sleep(0.01)
        await book_all(show.ledger)

    _, *found = await asyncio.gather(buy(pause), *(audit_room(show.db, show.redis, "r1") for _ in range(5)))
    assert [(each.balanced, each.settled) for each in found] == [(True, True)] * 5
