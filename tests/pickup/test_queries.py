from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

from live.infra.db import Database, epoch_ms
from live.pickup import rules
from live.pickup.actions import Desk, collect
from live.pickup.queries import code_of, pickup_view, qr_svg, queue, ticket
from live.pickup.tables import Ticket
from live.settings import Settings
from tests.pickup.shop import NOW, SECRET, open_shop

SETTINGS = Settings(home=Path("/nonexistent"), pickup_secret=SECRET)


async def test_the_queue_is_the_stores_own_oldest_first_and_then_what_was_collected_today(database: Database) -> None:
    shop = await open_shop(database)
    queued, queued_no, _ = await shop.ticket(state="QUEUED")
    first, _, first_code = await shop.ticket(qty=3)
    second, _, _ = await shop.ticket()
    other, _, _ = await shop.ticket("S2")
    await collect(database, Desk(shop.clerks["S1"], "d", "S1"), first, first_code, NOW, secret=SECRET)
    async with database.begin() as session:
        here = await queue(session, "S1", NOW)
        assert [row["id"] for row in here] == [queued, second, first]
        assert [row["id"] for row in await queue(session, None, NOW)] == [queued, second, other, first]
        assert [row["id"] for row in await queue(session, "S1", NOW + timedelta(hours=13))] == [queued, second]
        assert await ticket(session, queued) == here[0]
    assert here[0] == {
        "id": queued, "order": queued_no, "state": "QUEUED", "store": "S1", "person_name": "小明", "phone_tail": "1234",
        "created": epoch_ms(NOW), "ready_at": None, "collected_at": None,
        "lines": [{"sku": "TEA", "name": {"zh": "茶", "en": "Tea"}, "qty": 2, "picture": ""}],
    }  # fmt: skip
    assert (here[2]["state"], here[2]["collected_at"]) == ("COLLECTED", epoch_ms(NOW))


async def test_a_buyer_sees_the_code_that_the_desk_takes_until_it_is_used(database: Database) -> None:
    shop = await open_shop(database)
    queued, queued_no, queued_code = await shop.ticket(state="QUEUED")
    done, done_no, done_code = await shop.ticket()
    await collect(database, Desk(shop.clerks["S1"], "d", "S1"), done, done_code, NOW, secret=SECRET)
    void, void_no, _ = await shop.ticket()
    async with database.begin() as session:
        (await session.get_one(Ticket, void)).state = "VOID"
    async with database.begin() as session:
        seen = await pickup_view(session, [queued_no, done_no, void_no, "none"], SETTINGS)
        assert await pickup_view(session, [], SETTINGS) == {}
    assert seen == {
        queued_no: {"state": "QUEUED", "code": rules.shown(queued_code), "qr": qr_svg(queued_code)},
        done_no: {"state": "COLLECTED", "code": "", "qr": ""},
    }
    assert queued != done


async def test_nothing_kept_of_a_ticket_tells_its_code(database: Database) -> None:
    shop = await open_shop(database)
    number, no, code = await shop.ticket()
    async with database.begin() as session:
        row = await session.get_one(Ticket, number)
    assert code not in repr(row)
    assert code_of(row, SECRET) == code
    assert code_of(row, "another secret") == ""
    assert rules.parse(code) == code
    assert no == row.order_no


def test_the_qr_symbol_is_black_on_white_with_a_quiet_zone() -> None:
    svg = ElementTree.fromstring(qr_svg("X1QW5P9F4"))
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert svg.attrib == {"viewBox": "0 0 29 29"}  # 21 modules and 4 on each side
    background, modules = list(svg)
    assert (background.attrib["fill"], background.attrib["d"]) == ("#fff", "M0 0h29v29h-29z")
    assert modules.attrib["stroke"] == "#000"
    assert modules.attrib["d"].startswith("M4 4.5h7")


async def test_a_collision_does_not_change_what_the_buyer_sees(database: Database) -> None:
    shop = await open_shop(database)
    _, no, code = await shop.ticket()
    second = rules.derive(SECRET, no, "S1", 1)
    row = Ticket(order_no=no, room_id="demo", person="p:1", location="S1", code_hash=rules.keyed_hash(SECRET, second))
    assert (code_of(row, SECRET), second == code) == (second, False)
