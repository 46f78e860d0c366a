"""What comes back goes to who waits, in their order, and nobody else can have it in between."""

from __future__ import annotations

from datetime import timedelta

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra.db import Database, utc_now
from live.offers import till
from live.offers.actions import change_price, end_offer
from live.offers.audit import audit_room
from live.offers.catchup import missing
from live.offers.rebuild import rebuild
from live.offers.reservations import reserve
from live.offers.rules import House
from live.offers.till import book_house
from live.offers.waitlist.giving import Giving
from tests.offers.shop import book_all, tap
from tests.offers.waitlist.queue import CAP, HOLDERS, Queue
from workers.ledger import facts, hands

A, B, C, D = range(HOLDERS, HOLDERS + 4)


@pytest_asyncio.fixture
async def queue(database: Database, redis: Redis) -> Queue:
    return await Queue(database, redis).open()


async def test_what_comes_back_goes_to_the_first_in_line_with_an_order_and_a_hold_of_its_own(queue: Queue) -> None:
    await queue.enter(1, 2)
    await queue.back(A)
    assert await queue.states() == {1: "GIVEN", 2: "WAITING"}
    [(rid, person, state, fen, hold)] = await queue.rows(
        "SELECT rid, person, state, fen, pay_until - created_at FROM orders WHERE rid LIKE 'wait:%'"
    )
    assert (rid, person, state, fen, hold) == ("wait:1", "p:1", "AWAIT_PAY", 5000, timedelta(seconds=120))
    assert (await queue.left(), await queue.used(A), await queue.used(1)) == (0, 0, 1)
    told = await queue.told(1)
    assert [(one["state"], one["number"], one["version"]) for one in told] == [("WAITING", 1, 1), ("GIVEN", None, 2)]
    [(no,)] = await queue.rows("SELECT no FROM orders WHERE rid = 'wait:1'")
    assert (told[1]["order"], told[1]["pay_until"] > 0) == (no, True)
    assert await queue.shown() == {"waiting": 1, "first": [2]}
    assert await queue.sound()


@pytest.mark.parametrize("kind", ["RELEASE", "RESTOCK"])
async def test_the_order_of_the_line_is_the_order_they_are_served_in(queue: Queue, kind: str) -> None:
    await queue.enter(3, 1, 2)
    await queue.back(B, kind=kind)
    await queue.back(A, C, kind=kind)
    assert await queue.orders() == [3, 1, 2]
    await queue.back(D, kind=kind)
    assert await queue.left() == 1  # nobody waits for the last one
    assert await queue.sound()


async def test_more_stock_serves_the_line_and_only_the_rest_is_on_sale(queue: Queue) -> None:
    await queue.enter(1, 2, 3)
    await queue.enter(4, qty=2)
    await queue.add(7)
    assert await queue.orders() == [1, 2, 3, 4]
    assert (await queue.left(), await queue.used(4)) == (2, 2)
    assert await queue.sound()


async def test_who_does_not_pay_makes_room_for_the_next(queue: Queue) -> None:
    await queue.enter(1, 2)
    await queue.back(A)
    await queue.lapse(1)
    assert await queue.orders() == [1, 2]
    assert (await queue.used(1), await queue.used(2), await queue.left()) == (0, 1, 0)
    await queue.lapse(2)
    assert await queue.left() == 1
    assert await queue.sound()


async def test_who_wants_more_than_came_back_keeps_their_place_and_the_next_who_fits_is_served(queue: Queue) -> None:
    await queue.enter(1, qty=2)
    await queue.enter(2)
    await queue.back(A)
    assert await queue.states() == {1: "WAITING", 2: "GIVEN"}
    await queue.add(2)
    assert await queue.states() == {1: "GIVEN", 2: "GIVEN"}
    assert await queue.sound()


async def test_who_would_not_collect_there_is_left_in_line(database: Database, redis: Redis) -> None:
    queue = await Queue(database, redis).open(units=2, S2=1)
    await queue.enter(1, at=("S2",))
    await queue.enter(2, at=("S1", "S2"))
    await queue.back(A)
    assert await queue.states() == {1: "WAITING", 2: "GIVEN"}
    await queue.add(1, at="S2")
    assert await queue.rows("SELECT person, location FROM orders WHERE rid LIKE 'wait:%' ORDER BY id") == [("p:2", "S1"), ("p:1", "S2")]
    assert await queue.sound()


async def test_who_reached_their_limit_meanwhile_is_passed_over_and_told(queue: Queue) -> None:
    await queue.enter(1, 2)
    await queue.enter(3, qty=2)
    await queue.only_at("S2")
    await queue.add(2)  # nobody in line would collect them there, so person 1 buys up to the limit by hand
    await reserve(queue.redis, "r1", [tap(1, queue.offer, qty=2, key="hand")], CAP)
    await book_all(queue.ledger)
    await queue.only_at("S1")
    await queue.back(A)
    assert await queue.states() == {1: "SKIPPED", 2: "GIVEN", 3: "WAITING"}
    assert [(one["state"], one["why"]) for one in await queue.told(1)] == [("WAITING", None), ("SKIPPED", "limit")]
    assert await queue.sound()


async def test_nobody_pays_more_than_they_were_shown_and_whoever_may_pay_less_does(queue: Queue) -> None:
    await queue.enter(1)
    await reprice(queue, 6000)
    await queue.enter(2, version=2)
    await reprice(queue, 5500)
    await queue.back(A)
    assert await queue.states() == {1: "SKIPPED", 2: "GIVEN"}
    assert [(one["state"], one["why"]) for one in await queue.told(1)][1] == ("SKIPPED", "price")
    query = "SELECT o.person, o.fen, l.price_version FROM orders o JOIN order_line l ON l.order_no = o.no WHERE o.rid LIKE 'wait:%'"
    assert await queue.rows(query) == [("p:2", 5500, 3)]
    assert await queue.sound()


async def reprice(queue: Queue, fen: int) -> None:
    async with queue.db.begin() as session:
        await change_price(session, queue.offer, fen, utc_now())
    await queue.ledger._apply_outbox()


async def test_a_line_of_an_ended_offer_gets_nothing_and_the_store_gets_the_units(queue: Queue) -> None:
    await queue.enter(1)
    async with queue.db.begin() as session:
        await end_offer(session, queue.offer, utc_now())
    await queue.back(A)
    assert await queue.states() == {1: "CLOSED"}
    assert await queue.orders() == []
    assert await queue.number("SELECT allotted FROM stock WHERE location = 'S1'") == 3
    assert await queue.sound()


async def test_a_window_that_is_over_gives_nothing_although_the_end_has_not_been_booked(queue: Queue) -> None:
    await queue.enter(1)
    async with queue.db.connection() as connection:
        await connection.execute(text("UPDATE offer SET closes_at = now() - interval '1 second'"))
    await queue.back(A)
    assert await queue.states() == {1: "WAITING"}
    assert await queue.left() == 1


async def test_a_ledger_that_dies_between_commit_and_turnstile_gives_nothing_twice(queue: Queue) -> None:
    await queue.enter(1, 2, 3)
    await queue.ask_back(A, B)
    [(_, first), (_, second)] = await queue.rows("SELECT id, payload FROM outbox WHERE kind = 'house' ORDER BY id")
    async with queue.db.connection() as connection:
        for payload in (first, second):
            await book_house(connection, "r1", House.read(payload), hands().bar, utc_now(), Giving(hands().bookers))
    assert (await queue.orders(), await queue.left()) == ([1, 2], 0)
    await book_all(queue.ledger)  # the next owner finds both rows
    await book_all(queue.ledger)
    assert (await queue.orders(), await queue.left(), await queue.used(1), await queue.used(2)) == ([1, 2], 0, 1, 1)
    assert await queue.number("SELECT count(*) FROM outbox WHERE kind = 'house'") == 0
    assert await queue.sound()


async def test_a_turnstile_that_missed_it_is_sent_the_same_step(queue: Queue) -> None:
    await queue.enter(1, 2)
    await queue.ask_back(A)
    [(payload,)] = await queue.rows("SELECT payload FROM outbox WHERE kind = 'house'")
    async with queue.db.connection() as connection:
        [move] = await book_house(connection, "r1", House.read(payload), hands().bar, utc_now(), Giving(hands().bookers))
        assert await missing(connection, queue.offer, "S1", 4, 6) == [move]
    assert (move.move_no, move.left, move.run, move.gifts) == (6, 0, 2, (("p:1", 1),))
    # The next movement finds the gap and fills it first.
    async with queue.db.connection() as connection:
        await connection.execute(text("DELETE FROM outbox WHERE kind = 'house'"))
    await queue.back(B)
    assert (await queue.orders(), await queue.left(), await queue.used(1), await queue.used(2)) == ([1, 2], 0, 1, 1)
    assert await queue.sound()


async def test_a_rebuilt_room_has_its_lines_again(queue: Queue) -> None:
    await queue.enter(1, 2)
    await queue.back(A)
    await queue.redis.flushall()
    await rebuild(queue.redis, queue.db, "r1", facts)
    assert await queue.shown() == {"waiting": 1, "first": [2]}
    assert (await queue.left(), await queue.used(1)) == (0, 1)
    assert await queue.sound()


async def test_tappers_on_their_way_keep_what_the_turnstile_gave_them(queue: Queue) -> None:
    await queue.enter(1, 2, 3)
    await queue.only_at("S2")
    await queue.back(A)  # on sale, for nobody in line would collect it there …
    await reserve(queue.redis, "r1", [tap(200, queue.offer)], CAP)  # … and somebody has just tapped it
    await queue.only_at("S1")
    await queue.ask_back(B)
    await queue.ledger._apply_outbox()  # the books say two are free; only one of them has come back now
    assert await queue.orders() == [1]
    await book_all(queue.ledger)
    assert await queue.number("SELECT count(*) FROM orders WHERE person = 'p:200'") == 1
    assert await queue.sound()


async def test_a_fault_in_the_line_keeps_the_units_from_nobody_else(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    await queue.enter(1)

    async def fails(*_: object) -> None:
        raise LookupError("planted")

    monkeypatch.setattr(till, "_write", fails)
    await queue.ask_back(A)
    await queue.ledger._apply_outbox()
    monkeypatch.undo()
    assert (await queue.states(), await queue.left()) == ({1: "WAITING"}, 1)
    assert await queue.number("SELECT count(*) FROM orders WHERE rid LIKE 'wait:%'") == 0
    assert await queue.rows("SELECT what FROM drift") == [("waitlist_refused",)]
    assert (await audit_room(queue.db, queue.redis, "r1")).balanced


async def test_a_door_that_stands_still_in_the_line_does_not_hold_up_the_room(queue: Queue) -> None:
    await queue.enter(1)
    await queue.ask_back(A)
    async with queue.db.connection() as frozen:
        await frozen.execute(text("SELECT 1 FROM waitlist_line FOR UPDATE"))
        await queue.ledger._apply_outbox()
        assert (await queue.states(), await queue.left()) == ({1: "WAITING"}, 1)
    await queue.back(B)
    assert await queue.orders() == [1]
    assert (await audit_room(queue.db, queue.redis, "r1")).balanced
