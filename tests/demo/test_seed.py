from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import pytest
from sqlalchemy import text

from live.catalog.queries import active_skus
from live.demo.drawings import DRAWINGS
from live.demo.seed import PASSWORD, ROOM, csv_text, seed
from live.infra.db import Database
from live.migrations.metadata import metadata
from live.people.staff import actions as staff
from live.settings import Settings
from live.stock import actions, queries

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


async def everything(db: Database) -> Any:
    async with db.begin() as session:
        return {
            table.name: sorted(str(tuple(row)) for row in (await session.execute(text(f"SELECT * FROM {table.name}"))).all())
            for table in metadata.sorted_tables
        }


async def test_the_demo_shop_is_whole(database: Database, settings: Settings) -> None:
    shop = await seed(database, NOW, settings)
    async with database.begin() as session:
        goods = await active_skus(session)
        stores = await queries.stores(session)
        stock = await queries.levels(session)
        room = (await session.execute(text("SELECT id, phase, play_url, poster FROM room"))).one()
    assert (len(goods), len({g.product_code for g in goods}), len({g.category for g in goods}), len(stores)) == (24, 12, 4, 6)
    assert {g.code for g in goods} == set(shop.skus)
    assert all(31.0 < (s.lat or 0) < 31.5 and 121.2 < (s.lon or 0) < 121.7 and s.hours and s.address_zh and s.address_en for s in stores)
    assert all(set(stock[g.id]) == set(shop.stores) for g in goods)
    assert all(120 <= level["on_hand"] <= 280 for levels in stock.values() for level in levels.values())
    assert room == (ROOM, "draft", "/media/show/index.m3u8", "/media/poster.svg")
    assert shop.accounts == ("owner", "host", "moderator", *(f"clerk-{store}" for store in shop.clerks))
    for account in (*shop.accounts,)[:4]:
        row = await staff.login(database, account, PASSWORD, NOW)
        assert (row.one_time, row.store) == (False, account.removeprefix("clerk-") if row.role == "clerk" else None)


async def test_seeding_again_changes_nothing_even_after_a_show(database: Database, settings: Settings) -> None:
    first = await seed(database, NOW, settings)
    async with database.begin() as session:
        await actions.allot(session, 1, first.stores[0], 100)
        await actions.collected(session, 1, first.stores[0], 60, "order:1")
    before = await everything(database)
    assert await seed(database, NOW, settings) == first
    assert await everything(database) == before


async def test_accounts_exist_in_the_demo_only(database: Database, settings: Settings) -> None:
    shop = await seed(database, NOW, settings.model_copy(update={"env": "development"}))
    assert (shop.accounts, shop.clerks) == ((), {})
    assert (await everything(database))["staff"] == []
    with pytest.raises(RuntimeError, match="not for production"):
        await seed(database, NOW, settings.model_copy(update={"env": "production"}))


async def test_every_product_has_a_picture_that_is_plain_svg(database: Database, settings: Settings) -> None:
    await seed(database, NOW, settings)
    files = sorted((settings.home / "media").rglob("*.svg"))
    assert {file.stem for file in files} == set(DRAWINGS) | {"poster"}
    for file in files:
        root = ElementTree.fromstring(file.read_text(encoding="utf-8"))
        tags = {element.tag.removeprefix("{http://www.w3.org/2000/svg}") for element in root.iter()}
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert tags <= {"svg", "g", "defs", "path", "circle", "ellipse", "rect", "text", "stop", "linearGradient", "radialGradient"}
        ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        assert len(ids) == len(set(ids))
    async with database.begin() as session:
        assert {g.picture for g in await active_skus(session)} == {f"/media/products/{code}.svg" for code in DRAWINGS}


def test_the_goods_are_the_import_file_of_an_owner() -> None:
    lines = csv_text().splitlines()
    assert len(lines) == 25
    assert lines[0].startswith("category,category_zh,category_en,product,")
    assert lines[0].endswith("stock:zhongshan,stock:qibao")
