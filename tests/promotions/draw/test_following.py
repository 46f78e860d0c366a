"""Draws entered by a press that follows the room: who is told that they are in is in."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest
from sqlalchemy import text

from live.infra.db import Database
from live.people.following.actions import unfollow
from live.people.following.queries import follows
from live.promotions.draw.actions import close_draw, enter_by_following
from live.promotions.draw.queries import of_person
from live.protocol.codes import Code, Refusal
from tests.crowd import side_by_side
from tests.offers.shop import make_shop
from tests.promotions.draw.test_actions import after, draw, drop, entered
from tests.promotions.red_packet.stage import one, rows
from tests.web.doors import holdings

CONTENDERS = 240
LATE = 40  # of them, who come when it is over


async def by_following(db: Database) -> int:
    await make_shop(db)
    return await drop(db, entry="follow", word="")


async def press(db: Database, number: int, who: str, now: datetime) -> None:
    async with db.begin() as session:
        await enter_by_following(session, number, who, now)


async def test_a_press_follows_and_enters_once_and_a_follower_who_does_not_press_is_not_in(database: Database) -> None:
    number = await by_following(database)
    await database_follow(database, "p:9")
    for _ in range(2):
        await press(database, number, "p:1", after(5))
    await press(database, number, "p:2", after(299))
    assert await entered(database, number) == {"p:1", "p:2"}
    async with database.begin() as session:
        assert await follows(session, "r1", "p:1")
        found = [(await of_person(session, number, who))["entered"] for who in ("p:1", "p:9")]
    assert found == [True, False]
    assert sorted(await draw(database, number)) == ["p:1", "p:2"]


async def database_follow(db: Database, who: str) -> None:
    """Somebody who has followed for long."""
    async with db.connection() as connection:
        await connection.execute(text("INSERT INTO follow (room_id, person, following) VALUES ('r1', :p, true)"), {"p": who})


async def test_who_follows_no_more_is_not_drawn_and_is_again_when_they_press_again(database: Database) -> None:
    number = await by_following(database)
    for who in ("p:1", "p:2"):
        await press(database, number, who, after(5))
        async with database.begin() as session:
            await unfollow(session, "r1", who, after(6))
    assert await entered(database, number) == set()
    await press(database, number, "p:2", after(7))
    assert await draw(database, number) == ["p:2"]


@pytest.mark.parametrize(
    ("case", "code", "facts"),
    [("comment", Code.STATE, {"state": "comment"}), ("closed", Code.ENDED, {}), ("drawn", Code.ENDED, {}), ("muted", Code.MUTED, {}),
     ("none", Code.NOT_FOUND, {"what": "draw"})],
)  # fmt: skip
async def test_a_press_that_cannot_count_is_refused_and_changes_nothing(
    database: Database, case: str, code: Code, facts: dict[str, str]
) -> None:
    number = await by_following(database)
    at = after(5)
    if case == "comment":
        number = await drop(database)
    elif case == "none":
        number += 1
    elif case == "muted":
        async with database.connection() as connection:
            await connection.execute(text("INSERT INTO mute (room_id, who) VALUES ('r1', 'p:1')"))
    else:
        async with database.begin() as session:
            await close_draw(session, number, after(3))
        if case == "drawn":
            await draw(database, number, after(4))
    before = await holdings(database)
    with pytest.raises(Refusal) as refused:
        await press(database, number, "p:1", at)
    assert (refused.value.code, refused.value.facts) == (code, facts)
    assert await holdings(database) == before


async def test_of_240_who_press_while_it_closes_and_is_drawn_exactly_those_who_are_told_so_are_in(database: Database) -> None:
    number = await by_following(database)

    async def contend(person: int) -> str:
        try:
            await press(database, number, f"p:{person}", after(1))
        except Refusal as refusal:
            return refusal.code.value
        return "in"

    async def finish() -> str:
        async with database.begin() as session:
            await close_draw(session, number, after(2))
        await draw(database, number, after(3))
        return "drawn"

    jobs = [contend(n) for n in range(CONTENDERS - LATE)]
    jobs.insert(CONTENDERS // 2, finish())
    answers = await side_by_side(jobs)
    # Presses share the draw's lock and may go before whoever closes it; these are surely too late.
    answers += await side_by_side([contend(n) for n in range(CONTENDERS - LATE, CONTENDERS)])
    people = [answer for answer in answers if answer != "drawn"]
    told = {f"p:{n}" for n, answer in enumerate(people) if answer == "in"}
    assert set(people) == {"in", "ended"}
    assert {who for (who,) in await rows(database, "SELECT person FROM draw_entry")} == told
    assert await one(database, "SELECT count(*) FROM follow") == len(told), "who came too late follows nobody by it"


async def test_a_draw_waits_for_a_press_under_way_and_has_it(database: Database) -> None:
    """As the race above, with the moment held still."""
    number = await by_following(database)
    async with database.begin() as session:
        await enter_by_following(session, number, "p:1", after(299))
        drawing = asyncio.create_task(draw(database, number, after(301)))
        while not await one(database, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FROM draw%'"):
            assert not drawing.done(), "it did not wait"
    assert await drawing == ["p:1"]
