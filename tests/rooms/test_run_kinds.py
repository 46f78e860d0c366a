"""Every kind of act on a run sheet: it opens what the same form opens by hand, and is pinned at once where its row says so."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest_asyncio
from sqlalchemy import text

from tests.rooms.test_run_sheet import COUPON, DRAW, LEADER, PACKET, SALE, TEAM, Host, one, row, xiaoman

__all__ = ["xiaoman"]
POINT = "INSERT INTO location (code, name_zh, name_en, active, leader_point) VALUES ('P1', '团点', 'Point', true, true)"


@pytest_asyncio.fixture
async def host(xiaoman: Host) -> Host:
    """A host in a shop with the leader laowang, who has 20 of TEA at their point."""
    async with xiaoman.doors.db.connection() as connection:
        await connection.execute(text(POINT))
        await connection.execute(text("INSERT INTO stock (sku_id, location, on_hand) VALUES (1, 'P1', 20)"))
    await xiaoman.doors.hire("leader", store="P1", account="laowang", name="老王")
    return xiaoman


async def test_packets_draws_leaders_groups_and_teams_are_started_from_the_sheet(host: Host) -> None:
    kinds = {"packet": PACKET, "draw": DRAW, "leader": LEADER, "team": TEAM}
    plan = [row(kind, settings, n) for n, (kind, settings) in enumerate(kinds.items())]
    assert (await host.ask("/import", {"rows": plan}))[0] == 201
    assert await one(host.doors.db, "SELECT (SELECT count(*) FROM offer) + (SELECT count(*) FROM draw)") == 0, "a trial left something"
    for n in range(len(plan)):
        status, answer = await host.do("start", n)
        assert (status, answer["rows"][n]["state"]) == (200, "STARTED"), answer
    assert [bool(each["offer"]) for each in host.sheet["rows"]] == [True, False, True, True]
    assert await one(host.doors.db, "SELECT string_agg(kind, ' ' ORDER BY id) FROM offer WHERE phase = 'open'") == "packet group group"
    assert await one(host.doors.db, "SELECT word || ' ' || winners FROM draw WHERE phase = 'open'") == "抽我 2"
    assert await one(host.doors.db, "SELECT allotted FROM stock WHERE location = 'P1'") == 10
    assert await one(host.doors.db, "SELECT pin FROM room WHERE id = 'r1'") is None


async def test_a_row_pins_what_it_opens_and_a_copy_of_it_does_too(host: Host) -> None:
    plan = [row("sale", SALE, 0, pins=True), row("coupon", COUPON, 1), row("packet", PACKET, 2, pins=True)]
    await host.ask("/import", {"rows": plan})
    assert [each["pins"] for each in host.sheet["rows"]] == [True, False, True]
    pinned = []
    for n in range(3):
        await host.do("start", n)
        pinned.append(await one(host.doors.db, "SELECT pin FROM room WHERE id = 'r1'"))
    sale, _, packet = (each["offer"] for each in host.sheet["rows"])
    assert pinned == [sale, sale, packet]
    assert await one(host.doors.db, "SELECT value->'pin' FROM room_state WHERE room_id = 'r1' AND key = 'room'") == packet
    status, kept = await host.ask("/export", method="GET")
    assert (status, kept["rows"]) == (200, plan)
    await host.ask(f"/rows/{host.row(0)['id']}/duplicate")
    assert [each["pins"] for each in host.sheet["rows"]] == [True, True, False, True]


async def test_of_200_presses_one_opens_and_pins(host: Host) -> None:
    await host.ask("/rows", row("packet", PACKET, pins=True))
    path, version = f"/rows/{host.row(0)['id']}/start", host.row(0)["version"]
    answers = await asyncio.gather(*(host.ask(path, {"version": version, "key": f"press-{n:04}"}) for n in range(200)))
    assert Counter(status for status, _ in answers) == {200: 1, 409: 199}
    assert await one(host.doors.db, "SELECT count(*) FROM offer") == 1
    events = "SELECT count(*) FROM outbox WHERE payload::text LIKE '%room.pinned%'"
    assert await one(host.doors.db, events) == 1
