"""Following a room on a real database: once each, counted, and told to the room."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest
from redis.asyncio import Redis

from live.infra import roomlog
from live.infra.db import Database
from live.infra.keys import room_key
from live.offers.rebuild import rebuild
from live.people.following.actions import follow, unfollow
from live.people.following.queries import counted, follows, rooms_of
from live.people.following.rules import SHOW
from live.protocol.codes import Code, Refusal
from tests.crowd import side_by_side
from tests.offers.shop import make_shop
from tests.promotions.red_packet.stage import one, rows
from tests.web.doors import holdings
from tests.workers.crew import worker
from workers.ledger import facts
from workers.relay import nudge_waiting
from workers.tools import Tools

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


async def press(db: Database, person: str, on: bool = True, room: str = "r1") -> bool:
    async with db.begin() as session:
        return await (follow if on else unfollow)(session, room, person, NOW)


async def count(db: Database) -> tuple[int, int]:
    """(version, followers) of room r1."""
    async with db.begin() as session:
        version, value = (await counted(session, "r1"))["follows"]
    return version, value["followers"]


async def test_following_twice_is_once_and_the_version_rises_with_every_change(database: Database) -> None:
    await make_shop(database)
    async with database.begin() as session:
        assert await counted(session, "r1") == {}
    assert [await press(database, "p:1"), await press(database, "p:1"), await press(database, "p:2")] == [True, False, True]
    assert await count(database) == (2, 2)
    stopped = [await press(database, who, False) for who in ("p:1", "p:1", "p:9")]
    assert stopped == [True, False, False]
    assert await count(database) == (3, 1)
    async with database.begin() as session:
        assert (await follows(session, "r1", "p:1"), await follows(session, "r1", "p:2")) == (False, True)
        found = await rooms_of(session, "p:2")
    assert [(room["room"], room["phase"]) for room in found] == [("r1", "live")]
    assert await one(database, "SELECT count(*) FROM outbox WHERE topic = :t", t=SHOW) == 3


async def test_a_room_that_is_not_there_is_refused_and_nothing_is_written(database: Database) -> None:
    await make_shop(database)
    before = await holdings(database)
    with pytest.raises(Refusal) as refused:
        await press(database, "p:1", room="nowhere")
    assert (refused.value.code, refused.value.facts) == (Code.NOT_FOUND, {"what": "room"})
    assert await holdings(database) == before


async def test_240_presses_of_40_thumbs_leave_each_as_one_and_every_change_is_told(database: Database) -> None:
    """Half of them press "follow" six times, the others play with the button."""
    await make_shop(database)
    changed = await side_by_side(press(database, f"p:{n % 40}", on=n % 80 < 60) for n in range(240))
    version, followers = await count(database)
    assert version == sum(changed) == await one(database, "SELECT count(*) FROM outbox WHERE topic = :t", t=SHOW)
    assert await one(database, "SELECT count(*) FROM follow WHERE split_part(person, ':', 2)::int < 20 AND following AND version = 1") == 20
    assert 20 <= followers <= 40


async def test_many_follows_are_one_number_for_the_room(database: Database, given: Tools) -> None:
    await make_shop(database)
    for person in range(30):
        await press(database, f"p:{person}")
    await press(database, "p:3", False)
    await nudge_waiting(given)
    await worker(given).run_check()
    told = await rows(database, "SELECT room_id, key, payload FROM outbox WHERE kind = 'count'")
    assert told == [("r1", "follows", {"version": 31, "value": {"followers": 29}})]
    assert await one(database, "SELECT count(*) FROM outbox WHERE topic = :t AND done_at IS NULL", t=SHOW) == 0


async def test_a_room_made_anew_shows_its_count_and_a_picture_of_before_changes_nothing(database: Database, redis: Redis) -> None:
    await make_shop(database)
    for person in range(3):
        await press(database, f"p:{person}")
    await rebuild(redis, database, "r1", facts)
    held = {"followers": 3}
    for version, followers, wanted in ((3, 9, held), (2, 9, held), (4, 2, {"followers": 2})):
        await roomlog.count(redis, "r1", "follows", version, {"followers": followers})
        shown = orjson.loads(await redis.hget(room_key("r1", "state"), "follows"))  # type: ignore[misc]
        assert shown[1] == wanted
