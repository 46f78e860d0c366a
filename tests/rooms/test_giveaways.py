"""The console's doors of packets and draws, and what a viewer reads of them."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from live.offers.reservations import reserve
from live.offers.rules import rid_of
from tests.offers.shop import book_all, books, make_shop
from tests.promotions.red_packet.stage import claim
from tests.web.doors import Doors, holdings

PACKET = {"currency": "points", "sum": 500, "shares": 5, "word": "开门", "minutes": 5}
DRAW = {"prize_zh": "茶", "prize_en": "Tea", "winners": 2, "entry": "comment", "word": "抽我", "minutes": 5}


@pytest_asyncio.fixture
async def host(doors: Doors) -> str:
    """A host's cookie, in a shop whose room r1 is live."""
    await make_shop(doors.db)
    return await doors.hire("host")


def me(doors: Doors, person: int) -> dict[str, str]:
    """The header of person p:<n>."""
    return {"authorization": f"Bearer {doors.tokens.issue(f'p:{person}', 'viewer', 'P', seconds=60)}"}


async def test_a_viewer_reads_what_became_of_a_claim_and_the_points_it_brought(doors: Doors, host: str, redis: Redis) -> None:
    assert await doors.ask("POST", "/v1/rooms/r1/packets", PACKET, host) == (201, {"offer": 1})
    ledger = await books(doors.db, redis)
    await reserve(redis, "r1", [claim(1, 1, "12345678", "开门")], 10)
    assert (await doors.ask("GET", "/v1/me/intents/r1/12345678", **me(doors, 1)))[1] == {"pending": True}
    await book_all(ledger)
    _, became = await doors.ask("GET", "/v1/me/intents/r1/12345678", **me(doors, 1))
    share = became["packet"]
    assert (share["offer"], share["currency"], share["grant"]) == (1, "points", None)
    assert await doors.ask("GET", "/v1/me/packets?room=r1", **me(doors, 1)) == (200, {"packets": [share]})
    _, points = await doors.ask("GET", "/v1/me/points", **me(doors, 1))
    rid = rid_of("p:1", "r1", "12345678")
    assert (points["points"], [(one["amount"], one["cause"]) for one in points["entries"]]) == (
        share["amount"], [(share["amount"], f"packet:{rid}")],
    )  # fmt: skip
    assert (await doors.ask("GET", "/v1/me/points", **me(doors, 2)))[1] == {"points": 0, "entries": []}
    _, report = await doors.ask("GET", "/v1/offers/1/packet")
    assert (report["taken"], report["taken_sum"], report["luckiest"]) == (1, share["amount"], [])
    assert (await doors.ask("GET", "/v1/offers/9/packet"))[0] == 404


async def test_the_show_ends_its_packets_and_closes_its_draws(doors: Doors, host: str) -> None:
    await doors.ask("POST", "/v1/rooms/r1/packets", PACKET, host)
    status, made = await doors.ask("POST", "/v1/rooms/r1/draws", DRAW, host)
    assert (status, made["draw"], len(made["commitment"])) == (201, 1, 64)
    assert (await doors.ask("POST", "/v1/rooms/r1/stop", {}, host))[0] == 200
    assert await doors.ask("POST", "/v1/draws/1/close", {}, host) == (409, {"no": {"code": "state", "retry": False, "state": "closed"}})
    assert (await doors.ask("POST", "/v1/offers/1/end", {}, host))[1]["no"]["state"] == "ended"
    assert (await doors.ask("POST", "/v1/rooms/r1/draws", DRAW, host))[1]["no"]["code"] == "room_closed"


async def test_an_open_draw_keeps_its_seed_secret(doors: Doors, host: str) -> None:
    _, made = await doors.ask("POST", "/v1/rooms/r1/draws", DRAW, host)
    _, proof = await doors.ask("GET", "/v1/draws/1/proof")
    assert (proof["commitment"], proof["seed"], proof["tickets"], proof["winners"]) == (made["commitment"], None, None, None)
    _, mine = await doors.ask("GET", "/v1/me/draws/1", **me(doors, 1))
    assert (mine["entered"], mine["place"]) == (False, None)


@pytest.mark.parametrize(
    ("path", "changed", "field"),
    [
        ("packets", {"sum": 4}, "sum"), ("packets", {"shares": 0}, "shares"), ("packets", {"shares": 2_001, "sum": 90_000}, "shares"),
        ("packets", {"least": 101}, "sum"), ("packets", {"currency": "cash"}, "currency"), ("packets", {"threshold": 10}, "threshold"),
        ("packets", {"word": "加微信"}, "word"), ("packets", {"word": "长" * 21}, "word"), ("packets", {"minutes": 1_441}, "minutes"),
        ("packets", {"extra": 1}, "extra"),
        ("draws", {"winners": 0}, "winners"), ("draws", {"winners": 101}, "winners"), ("draws", {"entry": "raffle"}, "entry"),
        ("draws", {"entry": "follow"}, "word"),
        ("draws", {"word": ""}, "word"), ("draws", {"word": "代付"}, "word"), ("draws", {"entry": "order"}, "word"),
        ("draws", {"minutes": None}, "minutes"), ("draws", {"prize_en": " "}, "prize_en"), ("draws", {"off": 100}, "prize_zh"),
        ("draws", {"points": 5}, "points"), ("draws", {"points": -1}, "points"),
    ],
)  # fmt: skip
async def test_what_is_not_sound_is_refused_by_field_and_changes_nothing(
    doors: Doors, host: str, path: str, changed: dict[str, Any], field: str
) -> None:
    before = await holdings(doors.db)
    sound = PACKET if path == "packets" else DRAW
    status, answer = await doors.ask("POST", f"/v1/rooms/r1/{path}", sound | changed, host)
    assert (status, answer["no"]["code"], answer["no"]["field"]) == (422, "bad_request", field)
    assert await holdings(doors.db) == before
