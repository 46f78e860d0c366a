"""A leader's group through the doors: hired, opened from the console, listed for its leader alone; links shared and opened."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.offers.shop import make_shop
from tests.web.doors import Doors, holdings

GROUP = {"sku": "TEA", "leader": "leader", "fen": 5000, "size": 5, "minimum": 2, "per_person": 2, "minutes": 30}


@pytest_asyncio.fixture
async def host(doors: Doors) -> str:
    """A host's cookie, in a shop whose room r1 is live; P1 is a leader's point with 20 of TEA."""
    await make_shop(doors.db)
    async with doors.db.connection() as connection:
        point = "INSERT INTO location (code, name_zh, name_en, active, leader_point) VALUES ('P1', '团点', 'Point', true, true)"
        await connection.execute(text(point))
        await connection.execute(text("INSERT INTO stock (sku_id, location, on_hand) VALUES (1, 'P1', 20)"))
    return await doors.hire("host")


def bearer(doors: Doors, sub: str) -> str:
    return f"Bearer {doors.tokens.issue(sub, 'viewer', sub, seconds=600)}"


async def test_a_host_opens_a_leaders_group_and_only_its_leader_and_the_owner_see_its_list(doors: Doors, host: str) -> None:
    leader, owner = await doors.hire("leader", store="P1"), await doors.hire("owner")
    known = [{"account": "leader", "name": "leader", "store": "P1"}]
    assert await doors.ask("GET", "/v1/leaders", cookie=host) == (200, {"leaders": known})
    assert await doors.ask("POST", "/v1/rooms/r1/leader-groups", GROUP, host) == (201, {"offer": 1})
    async with doors.db.connection() as connection:
        for no, person, state, paid in (("A1", 1, "GROUP_WAIT", "now()"), ("A2", 2, "AWAIT_PAY", "NULL")):
            await connection.execute(text(
                "INSERT INTO orders (no, rid, intent_id, room_id, person, location, state, fen, team_id, pay_until, paid_at)"
                f" VALUES ('{no}', '{no}', '1-0', 'r1', 'p:{person}', 'P1', '{state}', 5000, 1, now(), {paid})"
            ))  # fmt: skip
            await connection.execute(text(
                "INSERT INTO order_line (order_no, line, offer_id, sku_id, sku, name_zh, name_en, qty, fen, price_version)"
                f" VALUES ('{no}', 0, 1, 1, 'TEA', '茶', 'Tea', 1, 5000, 1)"
            ))  # fmt: skip
    for cookie in (leader, owner):
        status, answer = await doors.ask("GET", "/v1/leader/groups", cookie=cookie)
        assert (status, len(answer["groups"])) == (200, 1)
        (group,) = answer["groups"]
        assert (group["offer"], group["room"], group["state"]) == (1, "r1", "filling")
        assert (group["size"], group["minimum"], group["fen"]) == (5, 2, 5000)
        assert group["orders"] == [
            {"no": "A1", "name": "P**", "qty": 1, "sku": "TEA", "title": {"zh": "茶", "en": "Tea"}, "state": "GROUP_WAIT"}
        ]
    other = await doors.hire("leader", store="P1", account="other")
    assert await doors.ask("GET", "/v1/leader/groups", cookie=other) == (200, {"groups": []})
    assert (await doors.ask("GET", "/v1/leader/groups", cookie=host))[0] == 403
    desk = await doors.ask("GET", "/v1/desk/queue", cookie=leader)  # of the point, which is theirs too
    assert desk == (200, {"tickets": [], "store": "P1"})


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"leader": "host"}, "leader"), ({"leader": ""}, "leader"), ({"fen": 0}, "fen"), ({"size": 0}, "size"), ({"minimum": 5}, "minimum"),
        ({"minutes": None}, "minutes"), ({"minutes": 0}, "minutes"), ({"per_person": 100}, "per_person"), ({"stock": {"S1": 1}}, "stock"),
    ],
)  # fmt: skip
async def test_what_is_not_sound_is_refused_with_its_field_and_changes_nothing(
    doors: Doors, host: str, changed: dict[str, Any], field: str
) -> None:
    await doors.hire("leader", store="P1")
    before = await holdings(doors.db)
    status, answer = await doors.ask("POST", "/v1/rooms/r1/leader-groups", GROUP | changed, host)
    assert (status, answer["no"]["code"], answer["no"]["field"]) == (422, "bad_request", field)
    assert await holdings(doors.db) == before


async def test_a_leader_has_a_store_and_opens_nothing(doors: Doors, host: str) -> None:
    leader, owner = await doors.hire("leader", store="P1"), await doors.hire("owner")
    status, answer = await doors.ask("POST", "/v1/staff", {"account": "new", "name": "N", "role": "leader"}, owner)
    assert (status, answer["no"]["field"]) == (422, "store")
    assert (await doors.ask("POST", "/v1/rooms/r1/leader-groups", GROUP, leader))[0] == 403


async def test_a_link_is_shared_by_a_guide_and_a_person_and_counted_for_both(doors: Doors, host: str) -> None:
    first, second, guest = (bearer(doors, sub) for sub in ("p:1", "p:2", "g:0a"))
    status, guides = await doors.ask("POST", "/v1/rooms/r1/share/staff", {}, host)
    assert status == 200
    assert guides == {"token": guides["token"], "path": f"/room/r1?s={guides['token']}", "scene": guides["token"]}
    _, mine = await doors.ask("POST", "/v1/rooms/r1/share", {}, authorization=first)
    assert await doors.ask("GET", f"/v1/shares/{mine['token']}") == (200, {"room": "r1"})
    assert await doors.ask("POST", f"/v1/shares/{guides['token']}/open", {}, authorization=first) == (200, {"room": "r1"})
    assert await doors.ask("POST", f"/v1/shares/{mine['token']}/open", {}, authorization=second) == (200, {"room": "r1"})
    assert await doors.ask("GET", "/v1/me/shares?room=r1", authorization=first) == (200, {"people": 1, "orders": 0, "fen": 0})
    assert await doors.ask("GET", "/v1/me/shares?room=r1", authorization=second) == (200, {"people": 0, "orders": 0, "fen": 0})
    _, top = await doors.ask("GET", "/v1/rooms/r1/sharers", cookie=host)
    assert [(one["who"], one["people"]) for one in top["sharers"]] == [("p:1", 1), ("s:1", 1)]

    status, no = await doors.ask("POST", f"/v1/shares/{mine['token']}/open", {}, authorization=first)
    assert (status, no["no"]) == (409, {"code": "state", "retry": False, "state": "self"})
    for method, path in (("POST", "/v1/rooms/none/share"), ("GET", "/v1/shares/none"), ("POST", "/v1/shares/none/open")):
        assert (await doors.ask(method, path, {} if method == "POST" else None, authorization=first))[0] == 404
    assert (await doors.ask("POST", "/v1/rooms/r1/share", {}, authorization=guest))[1]["no"]["code"] == "identify"
    assert (await doors.ask("POST", f"/v1/shares/{mine['token']}/open", {}, authorization=guest))[1]["no"]["code"] == "identify"
