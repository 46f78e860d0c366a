"""Doors of a line: enter, leave, look, and every no."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra.db import Database
from live.infra.outbox import news_of
from live.offers.actions import change_price, end_offer
from live.offers.ledger import RoomLedger
from live.offers.reservations import reserve
from live.settings import Settings
from tests.offers.shop import book_all, books, coupon, group, make_shop, sale, tap
from tests.web.doors import Doors, holdings, open_doors

WISH = {"qty": 1, "at": ["S1"], "version": 1}


@pytest_asyncio.fixture
async def doors(settings: Settings, database: Database, redis: Redis) -> AsyncIterator[Doors]:
    async with open_doors(settings, database) as found:
        yield found


class Line:
    """A sale of five at S1 and none left, and its doors as persons p:<n> see them."""

    def __init__(self, doors: Doors, ledger: RoomLedger, offer: int) -> None:
        self.doors, self.ledger, self.offer = doors, ledger, offer

    async def ask(self, method: str, path: str, person: int | str, body: Any = None) -> tuple[int, Any]:
        sub = f"p:{person}" if isinstance(person, int) else person
        token = self.doors.tokens.issue(sub, "person", "P", seconds=60)
        return await self.doors.ask(method, path, body, authorization=f"Bearer {token}")

    async def enter(self, person: int | str, offer: int | None = None, **wish: Any) -> tuple[int, Any]:
        return await self.ask("POST", f"/v1/offers/{offer or self.offer}/waitlist", person, WISH | wish)

    async def leave(self, person: int) -> tuple[int, Any]:
        return await self.ask("POST", f"/v1/offers/{self.offer}/waitlist/leave", person, {})

    async def mine(self, person: int) -> Any:
        return (await self.ask("GET", "/v1/me/waitlist?room=r1", person))[1]["waitlist"]

    async def state(self) -> Any:
        async with self.doors.db.connection() as connection:
            query = text("SELECT payload->'value' FROM outbox WHERE key = :k ORDER BY id DESC LIMIT 1")
            return (await connection.execute(query, {"k": f"waitlist:{self.offer}"})).scalar_one()


@pytest_asyncio.fixture
async def line(doors: Doors, redis: Redis) -> Line:
    await make_shop(doors.db)
    offer = await sale(doors.db, {"S1": 5, "S2": 1}, per_person=5, waitlist=120)
    ledger = await books(doors.db, redis)
    await reserve(redis, "r1", [tap(100, offer, qty=5), tap(101, offer, at=("S2",))], 100)
    await book_all(ledger)
    return Line(doors, ledger, offer)


async def test_who_comes_is_numbered_in_order_and_the_same_wish_again_is_the_same_place(line: Line) -> None:
    status, first = await line.enter(1)
    assert status == 201
    assert {name: first[name] for name in ("id", "version", "offer", "state", "qty", "number", "order", "why", "room", "at", "fen")} == {
        "id": 1, "version": 1, "offer": line.offer, "state": "WAITING", "qty": 1, "number": 1, "order": None, "why": None, "room": "r1",
        "at": ["S1"], "fen": 5000,
    }  # fmt: skip
    assert (await line.enter(2, at=["S2", "S1", "S1"]))[1]["number"] == 2
    before = await holdings(line.doors.db)
    assert await line.enter(1) == (200, first)
    assert await line.enter(2, at=["S1", "S2"]) == (200, (await line.mine(2))[0])
    assert await holdings(line.doors.db) == before
    assert await line.state() == {"waiting": 2, "first": [1, 2]}


async def test_another_wish_for_the_same_thing_is_told_to_leave_first(line: Line) -> None:
    await line.enter(1)
    before = await holdings(line.doors.db)
    status, answer = await line.enter(1, qty=2)
    assert (status, answer["no"]["code"], answer["no"]["state"]) == (409, "state", "WAITING")
    assert await holdings(line.doors.db) == before


async def test_who_leaves_is_out_of_the_line_and_comes_back_at_its_end(line: Line) -> None:
    for person in (1, 2, 3):
        await line.enter(person)
    status, gone = await line.leave(1)
    assert (status, gone["state"], gone["number"]) == (200, "LEFT", None)
    assert await line.leave(1) == (200, gone)
    assert [(await line.mine(person))[0]["number"] for person in (2, 3)] == [1, 2]
    assert await line.state() == {"waiting": 2, "first": [2, 3]}
    assert (await line.enter(1))[1]["number"] == 3
    assert await line.leave(9) == (404, {"no": {"code": "not_found", "retry": False, "what": "waitlist"}})


async def test_nobody_stands_in_line_for_what_is_on_sale(line: Line, redis: Redis) -> None:
    await redis.hincrby("{r1}:offer:1", "left:S1", 2)
    before = await holdings(line.doors.db)
    assert await line.enter(1) == (409, {"no": {"code": "on_sale", "retry": False, "left": 2}})
    assert await line.enter(1, at=["S1", "S2"]) == (409, {"no": {"code": "on_sale", "retry": False, "left": 2}})
    assert await holdings(line.doors.db) == before
    assert (await line.enter(1, at=["S2"]))[0] == 201
    assert (await line.enter(2, qty=3))[0] == 201


async def test_nobody_waits_for_more_than_one_order_takes(line: Line, doors: Doors) -> None:
    small = await sale(doors.db, {"S1": 1}, waitlist=120, per_order=2)
    await line.ledger._apply_outbox()
    await reserve(line.ledger.redis, "r1", [tap(100, small, key="all")], 100)
    await book_all(line.ledger)
    assert await line.enter(1, offer=small, qty=3) == (409, {"no": {"code": "order_limit", "retry": False, "allowed": 2}})
    assert (await line.enter(1, offer=small, qty=2))[0] == 201


async def test_what_cannot_be_waited_for_is_refused_and_changes_nothing(line: Line, doors: Doors) -> None:
    plain, cut, seats = await sale(doors.db, {"S1": 1}), await coupon(doors.db, 1), await group(doors.db, 4)
    before = await holdings(doors.db)
    refusals = [
        (await line.enter(1, version=2), (409, "price_changed")),
        (await line.enter(1, at=["S3"]), (422, "bad_request")),
        (await line.enter(1, qty=6), (409, "limit")),
        (await line.enter(100), (409, "limit")),
        (await line.enter(1, offer=99), (404, "not_found")),
        (await line.enter("g:abc"), (401, "identify")),
        *[(await line.enter(1, offer=each), (409, "no_waitlist")) for each in (plain, cut, seats)],
        (await line.enter(1, qty=0), (422, "bad_request")),
        (await line.enter(1, at=[]), (422, "bad_request")),
        (await line.enter(1, more=1), (422, "bad_request")),
    ]
    assert [(status, answer["no"]["code"]) for (status, answer), _ in refusals] == [wanted for _, wanted in refusals]
    assert await holdings(doors.db) == before


async def test_the_end_of_the_offer_closes_the_line_and_everybody_is_told(line: Line, doors: Doors) -> None:
    await line.enter(1)
    await line.enter(2)
    await line.leave(2)
    async with doors.db.begin() as session:
        await end_offer(session, line.offer, datetime.now(UTC))
    assert [(await line.mine(person))[0]["state"] for person in (1, 2)] == ["CLOSED", "LEFT"]
    assert await line.state() == {"waiting": 0, "first": []}
    async with doors.db.connection() as connection:
        query = text("SELECT news FROM outbox WHERE kind = 'own' ORDER BY id DESC LIMIT 1")
        [[who, key, version, body]] = news_of("", {}, (await connection.execute(query)).scalar_one())
    assert (who, key, version, body["state"]) == ("p:1", "waitlist:1", 2, "CLOSED")
    assert (await line.enter(1))[1]["no"]["code"] == "ended"


async def test_a_price_that_moved_is_shown_before_one_waits_for_it(line: Line, doors: Doors) -> None:
    async with doors.db.begin() as session:
        await change_price(session, line.offer, 4500, datetime.now(UTC))
    assert await line.enter(1) == (409, {"no": {"code": "price_changed", "retry": False, "fen": 4500, "version": 2}})
    assert (await line.enter(1, version=2))[1]["fen"] == 4500


async def test_a_person_sees_the_last_entry_of_each_offer_and_of_one_room_only(line: Line, doors: Doors) -> None:
    await line.enter(1)
    await line.leave(1)
    await line.enter(1)
    assert [(one["offer"], one["state"]) for one in await line.mine(1)] == [(line.offer, "WAITING")]
    assert (await line.ask("GET", "/v1/me/waitlist?room=other", 1))[1] == {"waitlist": []}
    assert (await line.ask("GET", "/v1/me/waitlist", 1))[1]["waitlist"] == await line.mine(1)
    assert await line.mine(2) == []
