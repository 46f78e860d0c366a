from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import text

from live.catalog.queries import active_skus, sku_by_code, skus
from live.infra.db import Database
from live.protocol.codes import Code, Refusal
from live.settings import Settings
from live.stock import actions, importer, queries
from live.stock.importer import Imported, import_csv

from .shop import HEADER, NOW, line, put, put_shop, put_stores

TABLES = ("category", "product", "sku", "stock", "stock_change")


async def everything(db: Database) -> Any:
    async with db.begin() as session:
        return {t: [tuple(row) for row in (await session.execute(text(f"SELECT * FROM {t} ORDER BY 1, 2"))).all()] for t in TABLES}


async def refused(db: Database, *lines: str) -> list[dict[str, Any]]:
    before = await everything(db)
    with pytest.raises(Refusal) as refusal:
        await put(db, *lines)
    assert refusal.value.code is Code.ROWS
    assert await everything(db) == before
    errors: list[dict[str, Any]] = refusal.value.facts["errors"]
    return errors


async def test_goods_prices_and_stock_come_in(database: Database) -> None:
    await put_stores(database)
    nuts = "nuts,坚果,Nuts,walnut,核桃,Walnut"
    made = await put(database, line(a=5, b=0), line("pear-2", "35", a=3, name="两个,two"), line("walnut-1", "9.05", product=nuts))
    assert made == Imported(categories=2, products=2, skus=3, stock=3)
    async with database.begin() as session:
        shown = await active_skus(session)
        assert [(s.code, s.fen, s.category, s.product_zh, s.name["en"]) for s in shown] == [
            ("pear-1", 1990, "fruit", "梨", "one"),
            ("pear-2", 3500, "fruit", "梨", "two"),
            ("walnut-1", 905, "nuts", "核桃", "one"),
        ]
        assert shown[0].title == {"zh": "梨 一个", "en": "Pear one"}
        assert await sku_by_code(session, "pear-2") == shown[1]
        assert await sku_by_code(session, "pear-9") is None
        assert await skus(session, [shown[2].id, 999]) == {shown[2].id: shown[2]}
        assert await queries.free(session, shown[0].id) == {"a": 5, "b": 0}
        assert await queries.free(session, shown[2].id) == {}
        changes = (await session.execute(text("SELECT location, qty FROM stock_change ORDER BY sku_id, location"))).all()
        assert changes == [("a", 5), ("a", 3)]


async def test_importing_again_changes_names_and_prices_and_sets_what_is_on_hand(database: Database) -> None:
    await put_shop(database, {"a": 5, "b": 2})
    async with database.begin() as session:
        await actions.allot(session, 1, "a", 3)
    made = await put(database, line(price="18.00", a=4, b="", name="一只,single"))
    assert made == Imported(1, 1, 1, 1)
    async with database.begin() as session:
        sku = await sku_by_code(session, "pear-1")
        assert sku is not None
        assert (sku.id, sku.fen, sku.name_zh) == (1, 1800, "一只")
        assert await queries.levels(session) == {
            1: {"a": {"on_hand": 4, "allotted": 3, "free": 1}, "b": {"on_hand": 2, "allotted": 0, "free": 2}}
        }
        assert (await session.execute(text("SELECT price_version FROM sku"))).scalar_one() == 2
        qtys = (await session.execute(text("SELECT location, qty FROM stock_change ORDER BY id"))).all()
        assert sorted(qtys) == [("a", -1), ("a", 5), ("b", 2)]


async def test_the_same_file_again_changes_nothing(database: Database) -> None:
    await put_shop(database, {"a": 5, "b": 0})
    before = await everything(database)
    assert await put(database, line(a=5, b=0)) == Imported(1, 1, 1, 0)
    assert await everything(database) == before


async def test_one_wrong_row_imports_nothing_and_all_faults_are_told(database: Database) -> None:
    await put_shop(database, {"a": 5})
    async with database.begin() as session:
        await actions.allot(session, 1, "a", 4)
    errors = await refused(
        database,
        line("new-1", a=1),
        line("new-2", "free"),
        line(a=3),
        line("new-3", a=-1),
    )
    assert errors == [
        {"row": 3, "field": "price", "why": "not a price in yuan, such as 19.90"},
        {"row": 4, "field": "stock:a", "why": "below the 4 that shows have taken"},
        {"row": 5, "field": "stock:a", "why": "not a whole number from 0 to 9999999"},
    ]


async def test_a_sku_does_not_move_to_another_product(database: Database) -> None:
    await put_shop(database, {"a": 5})
    errors = await refused(database, line(product="fruit,水果,Fruit,apple,苹果,Apple"))
    assert errors == [{"row": 2, "field": "sku", "why": "belongs to product pear"}]


async def test_a_product_may_move_to_another_shelf(database: Database) -> None:
    await put_shop(database, {"a": 5})
    await put(database, line(product="gift,礼盒,Gifts,pear,梨,Pear"))
    async with database.begin() as session:
        assert [sku.category for sku in await active_skus(session)] == ["gift"]


async def test_a_file_without_rows_or_with_an_unknown_store_is_refused(database: Database) -> None:
    await put_stores(database)
    assert await refused(database) == [{"row": 2, "field": "file", "why": "no rows"}]
    with pytest.raises(Refusal) as refusal:
        async with database.begin() as session:
            await import_csv(session, (HEADER + ",stock:c\n").encode(), NOW)
    assert refusal.value.facts["errors"] == [{"row": 1, "field": "stock:c", "why": "unknown store"}]


async def test_two_imports_and_shows_at_once_leave_sums_that_agree(database: Database) -> None:
    await put_shop(database, {"a": 100, "b": 100})

    async def show(n: int) -> None:
        async with database.begin() as session:
            await actions.allot(session, 1, "ab"[n % 2], 1)

    await asyncio.gather(*(put(database, line(a=100 + n, b=200 - n)) for n in range(6)), *(show(n) for n in range(20)))
    async with database.begin() as session:
        found = (await session.execute(text("SELECT location, on_hand, allotted FROM stock ORDER BY location"))).all()
        sums = (await session.execute(text("SELECT location, sum(qty) FROM stock_change GROUP BY location ORDER BY location"))).all()
    assert [row.allotted for row in found] == [10, 10]
    assert [(row.location, row.on_hand) for row in found] == [(location, int(total)) for location, total in sums]


async def test_five_thousand_rows_come_in(database: Database) -> None:
    await put_stores(database)
    made = await put(database, *(line(f"pear-{n}", a=n, b=1) for n in range(5000)))
    assert made == Imported(1, 1, 5000, 10_000)


@pytest.fixture
def command(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Console:
    """The command's console, on this run's servers."""
    monkeypatch.setattr(importer, "settings", lambda: settings)
    return Console(record=True, width=120)


async def test_the_command_prints_a_summary_or_every_fault(command: Console, database: Database, tmp_path: Path) -> None:
    await put_stores(database)
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("\ufeff" + "\n".join([HEADER, line(a=5)]), encoding="utf-8")
    bad.write_text("\n".join([HEADER, line(price="0"), line("x", a="-1")]), encoding="utf-8")
    assert await importer._main(good, command) == 0
    assert "1 categories, 1 products, 1 SKUs; 1 stock counts changed." in command.export_text()
    before = await everything(database)
    assert await importer._main(bad, command) == 1
    printed = command.export_text()
    assert all(part in printed for part in ("nothing was imported", "not above 0", "not a whole number", "stock:a"))
    assert await everything(database) == before
