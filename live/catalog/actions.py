"""Shelves, products and SKUs are put in place by code: made when new, changed when known. Callers hold the import's lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class CategoryLine:
    """A shelf as it should be."""

    code: str
    name_zh: str
    name_en: str


@dataclass(frozen=True, slots=True)
class ProductLine:
    """A product as it should be. `category`: code of its shelf."""

    code: str
    category: str
    name_zh: str
    name_en: str
    picture: str


@dataclass(frozen=True, slots=True)
class SkuLine:
    """A SKU as it should be. `fen`: the shop's price of one."""

    code: str
    product: str
    name_zh: str
    name_en: str
    fen: int


async def put_categories(session: AsyncSession, lines: Sequence[CategoryLine]) -> dict[str, int]:
    """Code → id. New shelves come after the old ones, in the order given; known ones keep their place."""
    statement = text(
        "INSERT INTO category (code, name_zh, name_en, position)"
        " SELECT code, zh, en, n + (SELECT coalesce(max(position), 0) FROM category)"
        " FROM unnest(CAST(:codes AS text[]), CAST(:zh AS text[]), CAST(:en AS text[])) WITH ORDINALITY AS line (code, zh, en, n)"
        " ORDER BY n ON CONFLICT (code) DO UPDATE SET name_zh = excluded.name_zh, name_en = excluded.name_en RETURNING code, id"
    )
    values = {"codes": [c.code for c in lines], "zh": [c.name_zh for c in lines], "en": [c.name_en for c in lines]}
    return {code: number for code, number in (await session.execute(statement, values)).all()}


async def put_products(session: AsyncSession, lines: Sequence[ProductLine], categories: Mapping[str, int]) -> dict[str, int]:
    """Code → id. `categories`: code → id."""
    statement = text(
        "INSERT INTO product (code, category_id, name_zh, name_en, picture)"
        " SELECT * FROM unnest(CAST(:codes AS text[]), CAST(:categories AS bigint[]), CAST(:zh AS text[]), CAST(:en AS text[]),"
        " CAST(:pictures AS text[]))"
        " ON CONFLICT (code) DO UPDATE SET category_id = excluded.category_id, name_zh = excluded.name_zh,"
        " name_en = excluded.name_en, picture = excluded.picture RETURNING code, id"
    )
    values = {
        "codes": [p.code for p in lines],
        "categories": [categories[p.category] for p in lines],
        "zh": [p.name_zh for p in lines],
        "en": [p.name_en for p in lines],
        "pictures": [p.picture for p in lines],
    }
    return {code: number for code, number in (await session.execute(statement, values)).all()}


async def put_skus(session: AsyncSession, lines: Sequence[SkuLine], products: Mapping[str, int]) -> dict[str, int]:
    """Code → id. `products`: code → id. The price version rises only where the price is another one; a SKU keeps its product."""
    statement = text(
        "INSERT INTO sku (code, product_id, name_zh, name_en, fen, active)"
        " SELECT code, product, zh, en, fen, true FROM unnest(CAST(:codes AS text[]), CAST(:products AS bigint[]), CAST(:zh AS text[]),"
        " CAST(:en AS text[]), CAST(:fens AS bigint[])) AS line (code, product, zh, en, fen)"
        " ON CONFLICT (code) DO UPDATE SET name_zh = excluded.name_zh, name_en = excluded.name_en, fen = excluded.fen, active = true,"
        " price_version = sku.price_version + CASE WHEN sku.fen = excluded.fen THEN 0 ELSE 1 END RETURNING code, id"
    )
    values = {
        "codes": [s.code for s in lines],
        "products": [products[s.product] for s in lines],
        "zh": [s.name_zh for s in lines],
        "en": [s.name_en for s in lines],
        "fens": [s.fen for s in lines],
    }
    return {code: number for code, number in (await session.execute(statement, values)).all()}
