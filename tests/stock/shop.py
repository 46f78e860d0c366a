"""A shop of two stores, `a` and `b`, and its import file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from live.infra.db import Database
from live.stock.actions import create_store
from live.stock.importer import Imported, import_csv
from live.stock.rules import COLUMNS
from live.stock.tables import Location

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HEADER = ",".join([*COLUMNS, "stock:a", "stock:b"])
PEAR = "fruit,水果,Fruit,pear,梨,Pear"


def line(sku: str = "pear-1", price: str = "19.90", a: object = "", b: object = "", *, product: str = PEAR, name: str = "一个,one") -> str:
    return f"{product},{sku},{name},{price},,{a},{b}"


async def put_stores(db: Database) -> None:
    async with db.begin() as session:
        for code in ("a", "b"):
            await create_store(session, Location(code=code, name_zh=f"{code}店", name_en=code.upper()))


async def put(db: Database, *lines: str) -> Imported:
    async with db.begin() as session:
        return await import_csv(session, "\n".join([HEADER, *lines]).encode(), NOW)


async def put_shop(db: Database, stock: Mapping[str, int]) -> None:
    """SKU 1, `pear-1`, at 19.90 yuan."""
    await put_stores(db)
    await put(db, line(a=stock.get("a", ""), b=stock.get("b", "")))
