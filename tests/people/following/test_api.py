"""The doors of following, as a page asks them."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from live.people.following.rules import BURST
from tests.offers.shop import make_shop
from tests.rooms.test_giveaways import me
from tests.web.doors import Doors, holdings


async def test_a_person_follows_reads_it_and_stops(doors: Doors, redis: Redis) -> None:
    await make_shop(doors.db)
    assert await doors.ask("GET", "/v1/rooms/r1/follow", **me(doors, 1)) == (200, {"following": False})
    for _ in range(2):
        assert await doors.ask("POST", "/v1/rooms/r1/follow", {}, **me(doors, 1)) == (200, {"following": True})
    assert await doors.ask("GET", "/v1/rooms/r1/follow", **me(doors, 1)) == (200, {"following": True})
    _, found = await doors.ask("GET", "/v1/me/follows", **me(doors, 1))
    assert [(room["room"], set(room["title"])) for room in found["rooms"]] == [("r1", {"zh", "en"})]
    for _ in range(2):
        assert await doors.ask("POST", "/v1/rooms/r1/unfollow", {}, **me(doors, 1)) == (200, {"following": False})
    assert await doors.ask("GET", "/v1/me/follows", **me(doors, 1)) == (200, {"rooms": []})


@pytest.mark.parametrize(
    ("path", "body", "code", "field"),
    [("/v1/rooms/nowhere/follow", {}, "not_found", None), ("/v1/rooms/r1/follow", {"x": 1}, "bad_request", "x"),
     ("/v1/draws/7/enter", {}, "not_found", None), ("/v1/draws/7/enter", {"x": 1}, "bad_request", "x")],
)  # fmt: skip
async def test_what_is_wrong_is_refused_and_changes_nothing(
    doors: Doors, redis: Redis, path: str, body: dict[str, int], code: str, field: str | None
) -> None:
    await make_shop(doors.db)
    before = await holdings(doors.db)
    _, answer = await doors.ask("POST", path, body, **me(doors, 1))
    assert (answer["no"]["code"], answer["no"].get("field")) == (code, field)
    guest = {"authorization": f"Bearer {doors.tokens.issue('g:1', 'guest', 'G', seconds=60)}"}
    assert (await doors.ask("POST", path, {}, **guest))[1]["no"]["code"] == "identify"
    assert await holdings(doors.db) == before


async def test_a_thumb_that_does_not_stop_is_told_to_wait_and_another_person_is_not(doors: Doors, redis: Redis) -> None:
    await make_shop(doors.db)
    answers = [await doors.ask("POST", f"/v1/rooms/r1/{verb}", {}, **me(doors, 1)) for verb in ("follow", "unfollow") * (BURST // 2 + 1)]
    refused = [answer["no"] for status, answer in answers if status == 429]
    assert [(no["code"], no["wait"] > 0) for no in refused][-1:] == [("slow_down", True)]
    assert [status for status, _ in answers[:BURST]] == [200] * BURST
    assert (await doors.ask("POST", "/v1/rooms/r1/follow", {}, **me(doors, 2)))[0] == 200
