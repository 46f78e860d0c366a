"""`live import`: categories, products, SKUs, prices and stock from one CSV file, all or nothing, every row's faults at once.

It lies in stock because it writes both nouns and stock is the higher one. Importing again changes names and prices and *sets* what is
on hand, through StockChange rows; what shows have ring-fenced can never be counted away.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.catalog.actions import CategoryLine, ProductLine, SkuLine, put_categories, put_products, put_skus
from live.catalog.tables import Product, Sku
from live.infra.db import Database, utc_now
from live.protocol.codes import Code, Refusal
from live.settings import settings
from live.stock import queries, rules
from live.stock.rules import Fault, Row
from live.stock.tables import Stock

LOCK = 0x11FE_1390  # advisory lock: one import at a time, so that two never deadlock on each other's rows


@dataclass(frozen=True, slots=True)
class Imported:
    """How many of each the file held; `stock`: counts of (SKU, store) that changed."""

    categories: int
    products: int
    skus: int
    stock: int

    def body(self) -> dict[str, int]:
        """As the wire shows it."""
        return asdict(self)


async def import_csv(session: AsyncSession, raw: bytes, now: datetime) -> Imported:
    """Import the file. Raises Refusal(ROWS errors=[{row, field, why}]) with the faults of all rows; then nothing is changed."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK})
    stores = {store.code for store in await queries.stores(session)}
    sheet = await asyncio.to_thread(rules.read, raw, stores)  # 2 MiB take some 100 ms: others are served meanwhile
    held = await _lock_stock(session, sheet.rows)
    faults = sheet.faults + await _moved(session, sheet.rows) + _counted_away(sheet.rows, held)
    if not sheet.rows and not faults:
        faults = [Fault(2, "file", "no rows")]
    if faults:
        faults.sort(key=lambda fault: fault.row)
        raise Refusal(Code.ROWS, errors=[fault.body() for fault in faults])
    return await _write(session, sheet.rows, held, now)


Held = dict[tuple[str, str], tuple[int, int]]  # (SKU code, store) → (on hand, allotted)


async def _lock_stock(session: AsyncSession, rows: Sequence[Row]) -> Held:
    """What is there now, locked in id order against shows that would take it meanwhile."""
    codes = [row.texts["sku"] for row in rows]
    cells = [(row.texts["sku"], location) for row in rows for location in row.stock]
    missing = (
        "INSERT INTO stock (sku_id, location, on_hand, allotted) SELECT sku.id, line.location, 0, 0"
        " FROM unnest(CAST(:codes AS text[]), CAST(:locations AS text[])) AS line (code, location) JOIN sku ON sku.code = line.code"
        " ORDER BY sku.id, line.location ON CONFLICT DO NOTHING"
    )  # a row that is not there yet cannot be locked
    await session.execute(text(missing), {"codes": [cell[0] for cell in cells], "locations": [cell[1] for cell in cells]})
    query = (
        select(col(Sku.code), col(Stock.location), col(Stock.on_hand), col(Stock.allotted))
        .join(Sku, col(Sku.id) == col(Stock.sku_id))
        .where(col(Sku.code).in_(codes))
        .order_by(col(Stock.sku_id), col(Stock.location))
        .with_for_update(of=Stock)
    )
    return {(code, location): (on_hand, allotted) for code, location, on_hand, allotted in (await session.execute(query)).all()}


async def _moved(session: AsyncSession, rows: Sequence[Row]) -> list[Fault]:
    """SKUs that the file puts under another product: orders name both, so this is a slip and not a wish."""
    query = select(col(Sku.code), col(Product.code)).join(Product, col(Product.id) == col(Sku.product_id))
    query = query.where(col(Sku.code).in_([row.texts["sku"] for row in rows]))
    owners: dict[str, str] = {code: product for code, product in (await session.execute(query)).all()}
    found = [(row, owners.get(row.texts["sku"], row.texts["product"])) for row in rows]
    return [Fault(row.number, "sku", f"belongs to product {owner}") for row, owner in found if owner != row.texts["product"]]


def _counted_away(rows: Sequence[Row], held: Held) -> list[Fault]:
    faults = []
    for row in rows:
        for location, units in row.stock.items():
            allotted = held.get((row.texts["sku"], location), (0, 0))[1]
            if units < allotted:
                faults.append(Fault(row.number, f"stock:{location}", f"below the {allotted} that shows have taken"))
    return faults


async def _write(session: AsyncSession, rows: Sequence[Row], held: Held, now: datetime) -> Imported:
    texts = [row.texts for row in rows]
    categories = {t["category"]: CategoryLine(t["category"], t["category_zh"], t["category_en"]) for t in texts}
    products = {
        row.texts["product"]: ProductLine(
            row.texts["product"], row.texts["category"], row.texts["product_zh"], row.texts["product_en"], row.picture
        )
        for row in rows
    }
    skus = [SkuLine(row.texts["sku"], row.texts["product"], row.texts["sku_zh"], row.texts["sku_en"], row.fen) for row in rows]
    category_ids = await put_categories(session, list(categories.values()))
    product_ids = await put_products(session, list(products.values()), category_ids)
    sku_ids = await put_skus(session, skus, product_ids)
    counts = []
    for row in rows:
        for location, units in row.stock.items():
            before = held.get((row.texts["sku"], location))
            if before is None or before[0] != units:
                counts.append((sku_ids[row.texts["sku"]], location, units, units - (before or (0, 0))[0]))
    await _count(session, counts, now)
    return Imported(len(categories), len(products), len(skus), len(counts))


async def _count(session: AsyncSession, counts: Sequence[tuple[int, str, int, int]], now: datetime) -> None:
    """Set `on_hand` per (SKU id, store, units, change of units), with a StockChange for each change."""
    if not counts:
        return
    cause = f"import:{uuid.uuid4()}"
    values = {
        "skus": [count[0] for count in counts],
        "locations": [count[1] for count in counts],
        "units": [count[2] for count in counts],
        "changes": [count[3] for count in counts],
    }
    lines = " FROM unnest(CAST(:skus AS bigint[]), CAST(:locations AS text[]), CAST(:units AS bigint[]), CAST(:changes AS bigint[]))"
    lines += " AS line (sku, location, units, change)"
    stock = "INSERT INTO stock (sku_id, location, on_hand, allotted) SELECT sku, location, units, 0" + lines
    stock += " ON CONFLICT (sku_id, location) DO UPDATE SET on_hand = excluded.on_hand"
    why = "INSERT INTO stock_change (sku_id, location, qty, cause, at)"
    why += " SELECT sku, location, change, :cause || ':' || sku || ':' || location, :now" + lines + " WHERE change <> 0"
    await session.execute(text(stock), values)
    await session.execute(text(why), {**values, "cause": cause, "now": now})


def main(path: Path) -> int:
    """`live import FILE`: a summary, or a table of every fault and exit code 1."""
    return asyncio.run(_main(path, Console()))


async def _main(path: Path, console: Console) -> int:
    url = settings().database_url
    if not url:
        console.print("No database: run this while `live up` runs here, or set LIVE_DATABASE_URL.")
        return 1
    raw = await asyncio.to_thread(path.read_bytes)
    db = Database(url, pool=1)
    try:
        async with db.begin() as session:
            made = await import_csv(session, raw, utc_now())
    except Refusal as refusal:
        table = Table("row", "column", "what is wrong", title=f"{path.name}: nothing was imported")
        for error in refusal.facts["errors"]:
            table.add_row(str(error["row"]), error["field"], error["why"])
        console.print(table)
        return 1
    finally:
        await db.close()
    console.print(
        f"{path.name}: {made.categories} categories, {made.products} products, {made.skus} SKUs; {made.stock} stock counts changed."
    )
    return 0
