"""Points as a prize: in the winners' book once, in the transaction that draws, and the audit adds them up."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra.db import Database
from live.infra.outbox import news_of
from live.offers.audit import audit
from live.people.points.queries import balance, entries
from live.protocol.codes import Refusal
from tests.offers.shop import make_shop
from tests.promotions.draw.test_actions import after, draw, drop, say
from tests.promotions.red_packet.stage import one, rows

PRIZE = 88


async def of_points(db: Database, people: int, **changed: int) -> int:
    """A draw of points for three, with so many in it."""
    await make_shop(db)
    number = await drop(db, prize=("", ""), points=PRIZE, **changed)
    for person in range(1, people + 1):
        await say(db, f"p:{person}", "抽我", after(5))
    return number


async def test_each_winner_has_the_points_once_however_many_workers_draw(database: Database, redis: Redis) -> None:
    number = await of_points(database, 12)

    async def try_it() -> list[str]:
        try:
            return await draw(database, number)
        except Refusal:
            return []

    [won] = [found for found in await asyncio.gather(*(try_it() for _ in range(5))) if found]
    assert sorted(await rows(database, "SELECT person, amount, cause FROM points_entry")) == sorted(
        (who, PRIZE, f"draw:{number}:{who}") for who in won
    )
    async with database.begin() as session:
        assert await balance(session, won[0]) == PRIZE
        assert [entry.cause for entry in await entries(session, won[0])] == [f"draw:{number}:{won[0]}"]
    told = news_of("", {}, await one(database, "SELECT news FROM outbox WHERE kind = 'own'"))
    assert [(who, body["points"], body["prize"]["zh"]) for who, _, _, body in told] == [(who, PRIZE, "88 积分") for who in won]
    assert (await audit(database, redis))["points"] == []


@pytest.mark.parametrize(
    ("broken", "wanted", "found"),
    [
        ("UPDATE draw SET points = 89", 89, PRIZE),
        ("UPDATE draw SET points = 0", None, PRIZE),
        ("DELETE FROM draw_entry", None, PRIZE),
        ("INSERT INTO points_entry (person, amount, cause) VALUES ('p:7', 5, 'draw:9:p:7')", None, 5),
        ("INSERT INTO points_entry (person, amount, cause) VALUES ('p:7', 5, 'packet:x')", None, 5),
    ],
)
async def test_the_audit_finds_points_nobody_won_and_points_that_are_not_there(
    database: Database, redis: Redis, broken: str, wanted: int | None, found: int
) -> None:
    await of_points(database, 1)
    await draw(database, 1)
    assert (await audit(database, redis))["points"] == []
    async with database.connection() as connection:
        await connection.execute(text(broken))
    faults = (await audit(database, redis))["points"]
    assert [(fault["wanted"], fault["found"]) for fault in faults] == [(wanted, found)]
    assert not (await audit(database, redis))["balanced"]
