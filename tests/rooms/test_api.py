"""The console's doors: a whole show through them, and every body that is not meant."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra.db import Database
from tests.offers.shop import book_all, books, make_shop
from tests.web.doors import Answer, Doors, holdings

SALE = {"sku": "TEA", "fen": 5000, "per_person": 2, "stock": {"S1": 5, "S2": 3}, "minutes": 10}
COUPON = {"off": 500, "threshold": 3000, "total": 10}
GROUP = {
    "sku": "TEA", "per_person": 2, "stock": {"S1": 4}, "size": 4, "minimum": 2,
    "tiers": [{"seats": 0, "fen": 8000}, {"seats": 2, "fen": 7000}],
}  # fmt: skip
ROOM = {"id": "tea", "title_zh": "茶会", "title_en": "Tea party"}


@pytest_asyncio.fixture
async def host(doors: Doors) -> str:
    """A host's cookie, in a shop whose room r1 is live."""
    await make_shop(doors.db)
    return await doors.hire("host")


async def one(db: Database, query: str) -> Any:
    async with db.connection() as connection:
        return (await connection.execute(text(query))).scalar_one()


def no(status: int, code: str, **facts: Any) -> Answer:
    return status, {"no": {"code": code, "retry": False, **facts}}


async def test_a_host_runs_a_whole_show(doors: Doors, host: str, redis: Redis) -> None:
    shown = {"id": "tea", "title": {"zh": "茶会", "en": "Tea party"}, "phase": "draft", "play_url": "", "poster": "", "pin": None}
    assert await doors.ask("POST", "/v1/rooms", ROOM, host) == (201, shown)
    assert await doors.ask("POST", "/v1/rooms/tea", {"poster": "/media/p.svg"}, host) == (200, shown | {"poster": "/media/p.svg"})
    assert (await doors.ask("POST", "/v1/rooms/tea/start", {}, host))[1]["phase"] == "live"
    sold = await doors.ask("POST", "/v1/rooms/r1/sales", SALE, host)
    dropped = await doors.ask("POST", "/v1/rooms/r1/coupons", COUPON, host)
    joined = await doors.ask("POST", "/v1/rooms/r1/groups", GROUP, host)
    assert [sold, dropped, joined] == [(201, {"offer": 1}), (201, {"offer": 2}), (201, {"offer": 3})]
    assert (await doors.ask("POST", "/v1/rooms/r1/pin", {"offer": 1}, host))[1]["pin"] == 1
    assert await doors.ask("POST", "/v1/offers/1/stock", {"location": "S1", "qty": 7}, host) == (200, {"offer": 1})
    ledger = await books(doors.db, redis)
    _, answer = await doors.ask("GET", "/v1/rooms/r1/offers", cookie=host)
    assert [(each["view"]["id"], each["view"]["kind"], each["view"]["total"]) for each in answer["offers"]] == [
        (3, "group", 4), (2, "coupon", 10), (1, "sale", 15),
    ]  # fmt: skip
    assert answer["offers"][2]["allotments"] == [{"location": "S1", "total": 12, "taken": 0}, {"location": "S2", "total": 3, "taken": 0}]
    assert answer["offers"][0]["team"] == {"size": 4, "held": 0, "paid": 0, "minimum": 2, "state": "filling"}
    assert await doors.ask("POST", "/v1/offers/1/end", {}, host) == (200, {"offer": 1, "phase": "ended"})
    assert await doors.ask("POST", "/v1/offers/1/end", {}, host) == no(409, "state", state="ended")
    assert (await doors.ask("POST", "/v1/rooms/r1/stop", {}, host))[1]["phase"] == "ended"
    await book_all(ledger)
    assert await one(doors.db, "SELECT count(*) FROM offer WHERE phase = 'open'") == 0
    assert await one(doors.db, "SELECT state FROM team") == "closing"
    assert await one(doors.db, "SELECT sum(allotted) FROM stock") == 0


async def test_a_viewer_reads_a_room_and_its_stores(doors: Doors, host: str) -> None:
    status, answer = await doors.ask("GET", "/v1/rooms/r1")
    stores = answer.pop("stores")
    assert (status, answer) == (
        200,
        {"id": "r1", "title": {"zh": "间", "en": "Room"}, "phase": "live", "play_url": "", "poster": "", "pin": None, "demo": True,
         "hub_url": doors.settings.hub_url},
    )  # fmt: skip
    assert [store["code"] for store in stores] == ["S1", "S2"]
    assert await doors.ask("GET", "/v1/rooms/none") == no(404, "not_found", what="room")


async def test_nothing_is_sold_in_a_room_that_is_not_live(doors: Doors, host: str) -> None:
    await doors.ask("POST", "/v1/rooms", ROOM, host)
    before = await holdings(doors.db)
    for kind, body in (("sales", SALE), ("coupons", COUPON), ("groups", GROUP)):
        assert await doors.ask("POST", f"/v1/rooms/tea/{kind}", body, host) == no(409, "room_closed", phase="draft")
        assert await doors.ask("POST", f"/v1/rooms/none/{kind}", body, host) == no(404, "not_found", what="room")
    assert await holdings(doors.db) == before


async def test_a_show_never_sells_more_than_the_stores_have(doors: Doors, host: str) -> None:
    before = await holdings(doors.db)
    answer = await doors.ask("POST", "/v1/rooms/r1/sales", SALE | {"stock": {"S1": 900, "S2": 1001}}, host)
    assert answer == no(409, "not_enough_stock", have=1000, location="S2")
    assert await holdings(doors.db) == before
    _, opened = await doors.ask("POST", "/v1/rooms/r1/sales", SALE | {"stock": {"S1": 900}}, host)
    more = f"/v1/offers/{opened['offer']}/stock"
    before = await holdings(doors.db)
    assert await doors.ask("POST", more, {"location": "S1", "qty": 101}, host) == no(409, "not_enough_stock", have=100, location="S1")
    assert await doors.ask("POST", more, {"location": "S2", "qty": 1}, host) == no(
        422, "bad_request", field="location", why="this offer is not sold there"
    )
    assert await holdings(doors.db) == before


async def test_a_moderator_mutes_and_takes_comments_off(doors: Doors, host: str) -> None:
    cookie = await doors.hire("moderator")
    assert await doors.ask("POST", "/v1/rooms/r1/mute", {"who": "p:1", "minutes": 5}, cookie) == (200, {"who": "p:1", "muted": True})
    assert await one(doors.db, "SELECT by_staff FROM mute WHERE until IS NOT NULL") == 2
    assert await doors.ask("POST", "/v1/rooms/r1/mute", {"who": "p:1", "on": False}, cookie) == (200, {"who": "p:1", "muted": False})
    assert await one(doors.db, "SELECT count(*) FROM mute") == 0
    assert await doors.ask("POST", "/v1/rooms/r1/comments/c12-1795000000/withdraw", {}, cookie) == (200, {"id": "c12-1795000000"})
    assert await one(doors.db, "SELECT payload->'events' FROM outbox WHERE kind = 'act' ORDER BY id DESC LIMIT 1") == [
        ["comment.withdrawn", {"id": "c12-1795000000"}]
    ]
    before = await holdings(doors.db)
    for number in ("1", "c1", "c1-", "C1-1", "c1-1x", "..", "c1-1%0A"):
        status, answer = await doors.ask("POST", f"/v1/rooms/r1/comments/{number}/withdraw", {}, cookie)
        assert (status, answer["no"]["code"]) == (404, "not_found"), number
    assert await holdings(doors.db) == before


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/rooms", ROOM | {"id": "Tea"}, "id"),
    ("/v1/rooms", ROOM | {"id": ""}, "id"),
    ("/v1/rooms", ROOM | {"id": "t" * 33}, "id"),
    ("/v1/rooms", ROOM | {"id": "tea\n"}, "id"),
    ("/v1/rooms", ROOM | {"id": 7}, "id"),
    ("/v1/rooms", ROOM | {"title_zh": "   "}, "title_zh"),
    ("/v1/rooms", ROOM | {"title_en": "t" * 61}, "title_en"),
    ("/v1/rooms", ROOM | {"play_url": "javascript:alert(1)"}, "play_url"),
    ("/v1/rooms", ROOM | {"play_url": "//evil.example/x"}, "play_url"),
    ("/v1/rooms", ROOM | {"poster": "/\\evil.example"}, "poster"),
    ("/v1/rooms", ROOM | {"poster": "data:text/html,x"}, "poster"),
    ("/v1/rooms", {"id": "tea", "title_zh": "茶"}, "title_en"),
    ("/v1/rooms", ROOM | {"phase": "live"}, "phase"),
    ("/v1/rooms/r1", {"title_zh": ""}, "title_zh"),
    ("/v1/rooms/r1", {"phase": "ended"}, "phase"),
    ("/v1/rooms/r1/start", {"now": 1}, "now"),
    ("/v1/rooms/r1/stop", {"now": 1}, "now"),
    ("/v1/rooms/r1/pin", {}, "offer"),
    ("/v1/rooms/r1/pin", {"offer": "1"}, "offer"),
    ("/v1/rooms/r1/pin", {"offer": True}, "offer"),
    ("/v1/rooms/r1/pin", {"offer": 1.0}, "offer"),
    ("/v1/rooms/r1/sales", SALE | {"fen": 0}, "fen"),
    ("/v1/rooms/r1/sales", SALE | {"fen": -1}, "fen"),
    ("/v1/rooms/r1/sales", SALE | {"fen": 59.9}, "fen"),
    ("/v1/rooms/r1/sales", SALE | {"fen": 10**20}, "fen"),
    ("/v1/rooms/r1/sales", SALE | {"fen": None}, "fen"),
    ("/v1/rooms/r1/sales", SALE | {"per_person": 0}, "per_person"),
    ("/v1/rooms/r1/sales", SALE | {"per_person": 100}, "per_person"),
    ("/v1/rooms/r1/sales", SALE | {"stock": {}}, "stock"),
    ("/v1/rooms/r1/sales", SALE | {"stock": {f"S{n}": 1 for n in range(9)}}, "stock"),
    ("/v1/rooms/r1/sales", SALE | {"stock": {"S1": 0}}, "stock.S1"),
    ("/v1/rooms/r1/sales", SALE | {"stock": {"-": 1}}, "stock.-.[key]"),
    ("/v1/rooms/r1/sales", SALE | {"stock": [["S1", 1]]}, "stock"),
    ("/v1/rooms/r1/sales", SALE | {"minutes": 0}, "minutes"),
    ("/v1/rooms/r1/sales", SALE | {"minutes": 1441}, "minutes"),
    ("/v1/rooms/r1/sales", SALE | {"sku": "COFFEE"}, "sku"),
    ("/v1/rooms/r1/sales", SALE | {"price": 1}, "price"),
    ("/v1/rooms/r1/coupons", COUPON | {"off": 0}, "off"),
    ("/v1/rooms/r1/coupons", COUPON | {"threshold": -1}, "threshold"),
    ("/v1/rooms/r1/coupons", COUPON | {"threshold": 499}, "off"),
    ("/v1/rooms/r1/coupons", COUPON | {"total": 1_000_001}, "total"),
    ("/v1/rooms/r1/groups", GROUP | {"tiers": []}, "tiers"),
    ("/v1/rooms/r1/groups", GROUP | {"tiers": [{"seats": 1, "fen": 8000}]}, "tiers.0.seats"),
    ("/v1/rooms/r1/groups", GROUP | {"tiers": [{"seats": 0, "fen": 7000}, {"seats": 2, "fen": 8000}]}, "tiers.1.fen"),
    ("/v1/rooms/r1/groups", GROUP | {"tiers": [{"seats": 0, "fen": 8000, "x": 1}]}, "tiers.0.x"),
    ("/v1/rooms/r1/groups", GROUP | {"size": 5}, "size"),
    ("/v1/rooms/r1/groups", GROUP | {"minimum": 5}, "minimum"),
    ("/v1/offers/1/end", {"now": 1}, "now"),
    ("/v1/offers/1/stock", {"location": "S1", "qty": 0}, "qty"),
    ("/v1/offers/1/stock", {"location": "S1", "qty": -5}, "qty"),
    ("/v1/offers/1/stock", {"location": "", "qty": 5}, "location"),
    ("/v1/rooms/r1/mute", {"who": "s:1"}, "who"),
    ("/v1/rooms/r1/mute", {"who": "p:1|x"}, "who"),
    ("/v1/rooms/r1/mute", {"who": "p:1", "minutes": 0}, "minutes"),
    ("/v1/rooms/r1/mute", {"who": "p:1", "on": "no"}, "on"),
]


async def test_a_body_that_is_not_meant_is_refused_by_its_field(doors: Doors, host: str) -> None:
    await doors.ask("POST", "/v1/rooms/r1/sales", SALE, host)
    before = await holdings(doors.db)
    found = []
    for path, body, field in WRONG:
        status, answer = await doors.ask("POST", path, body, host)
        assert (status, answer["no"]["code"], answer["no"]["retry"]) == (422, "bad_request", False), (path, body, answer)
        assert answer["no"]["why"], (path, body)
        found.append((path, answer["no"]["field"], field))
    assert [each for each in found if each[1] != each[2]] == []
    assert await holdings(doors.db) == before


@pytest.mark.parametrize(
    ("raw", "status", "code", "field"),
    [
        (b"", 422, "bad_request", "body"),
        (b"{", 422, "bad_request", "body"),
        (b"[]", 422, "bad_request", "body"),
        (b"null", 422, "bad_request", "body"),
        (b'"text"', 422, "bad_request", "body"),
        (b"\xff\xfe{}", 422, "bad_request", "body"),
        (b'{"offer": "\\ud800"}', 422, "bad_request", "body"),
        (b'{"offer": 1, "x": "\\u0000"}', 422, "bad_request", "body"),
        (b'{"offer": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 422, "bad_request", "body"),
        (b'{"offer": 1' + b"0" * 5000 + b"}", 422, "bad_request", "body"),
        (b'{"offer": NaN}', 422, "bad_request", "offer"),
        (b" " * (256 * 1024 + 1), 413, "too_large", None),
    ],
)  # fmt: skip
async def test_bytes_that_are_no_body_are_refused(doors: Doors, host: str, raw: bytes, status: int, code: str, field: str | None) -> None:
    before = await holdings(doors.db)
    headers = {"origin": doors.settings.web_url, "cookie": host, "content-type": "application/json; charset=utf-8"}
    answer = await doors.client.post("/v1/rooms/r1/pin", content=raw, headers=headers)
    refusal = answer.json()["no"]
    assert (answer.status_code, refusal["code"], refusal.get("field")) == (status, code, field)
    assert await holdings(doors.db) == before
