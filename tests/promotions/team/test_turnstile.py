"""A crowd on the last seats through the turnstile: what the till refuses comes back there, and the books balance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from redis.asyncio import Redis
from sqlalchemy import text

from live.infra.db import Database
from live.offers.reservations import reserve, units_left
from live.promotions.team.actions import open_teams, seat_paid
from tests.offers.shop import book_all, books, make_shop, tap

CROWD, UNITS = 200, 300


async def test_what_a_full_team_refuses_is_back_at_the_turnstile(database: Database, redis: Redis) -> None:
    await make_shop(database)
    now = datetime.now(UTC)
    async with database.begin() as session:
        opened = await open_teams(
            session, room_id="r1", sku="TEA", fen=5000, stock={"S1": UNITS}, size=3, team_minutes=30, minutes=None, now=now
        )
    offer = int(opened.id or 0)
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, offer)], 1000)
    await book_all(ledger)
    async with database.begin() as session:
        await seat_paid(session, 1, now)
    answers = await reserve(redis, "r1", [replace(tap(n, offer), team=1) for n in range(2, CROWD + 2)], 1000)
    assert {answer.tag for answer in answers} == {"OK"}
    await book_all(ledger)
    async with database.connection() as connection:
        seats = (await connection.execute(text("SELECT held, paid, (SELECT count(*) FROM orders WHERE party_id = 1) FROM party"))).one()
        assert tuple(seats) == (2, 1, 3)
        assert (await connection.execute(text("SELECT count(*) FROM drift"))).scalar_one() == 0
    assert await units_left(redis, "r1", offer, ["S1"]) == UNITS - 3
    used = await redis.hgetall(f"{{r1}}:used:{offer}")  # type: ignore[misc]
    assert sum(int(units) for units in used.values()) == 3
