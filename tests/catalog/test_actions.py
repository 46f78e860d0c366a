from __future__ import annotations

from sqlalchemy import text

from live.catalog.actions import CategoryLine, ProductLine, SkuLine, put_categories, put_products, put_skus
from live.infra.db import Database


async def put(db: Database, *shelves: str, fen: int = 1990, name: str = "一个") -> None:
    """One product of one SKU on each shelf."""
    async with db.begin() as session:
        categories = await put_categories(session, [CategoryLine(code, f"{code}架", code.upper()) for code in shelves])
        products = await put_products(session, [ProductLine(f"{code}-p", code, "梨", "Pear", "") for code in shelves], categories)
        await put_skus(session, [SkuLine(f"{code}-p-1", f"{code}-p", name, "one", fen) for code in shelves], products)


async def test_new_shelves_come_after_the_old_ones_and_old_ones_keep_their_place(database: Database) -> None:
    await put(database, "b", "a")
    await put(database, "c", "a", "d")
    async with database.begin() as session:
        assert (await session.execute(text("SELECT code FROM category ORDER BY position"))).scalars().all() == ["b", "a", "c", "d"]


async def test_the_price_version_rises_only_when_the_price_is_another_one(database: Database) -> None:
    await put(database, "a")
    await put(database, "a", name="一只")
    async with database.begin() as session:
        assert (await session.execute(text("SELECT name_zh, fen, price_version FROM sku"))).one() == ("一只", 1990, 1)
    await put(database, "a", fen=1800)
    await put(database, "a", fen=1990)
    async with database.begin() as session:
        assert (await session.execute(text("SELECT fen, price_version FROM sku"))).one() == (1990, 3)


async def test_a_sku_that_was_withdrawn_comes_back_with_the_file(database: Database) -> None:
    await put(database, "a")
    async with database.begin() as session:
        await session.execute(text("UPDATE sku SET active = false"))
    await put(database, "a")
    async with database.begin() as session:
        assert (await session.execute(text("SELECT active FROM sku"))).scalar_one() is True
