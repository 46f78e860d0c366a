"""What the shop sells, read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.catalog.tables import Category, Product, Sku


@dataclass(frozen=True, slots=True)
class SkuFacts:
    """A SKU with its product. `fen`: the shop's own price of one; `category`: its code."""

    id: int
    code: str
    name_zh: str
    name_en: str
    product_code: str
    product_zh: str
    product_en: str
    picture: str
    category: str
    fen: int

    @property
    def name(self) -> dict[str, str]:
        """The SKU's own name as the wire writes it."""
        return {"zh": self.name_zh, "en": self.name_en}

    @property
    def title(self) -> dict[str, str]:
        """Product and SKU in one: what a card, an order line and a pick list show."""
        return {"zh": _joined(self.product_zh, self.name_zh), "en": _joined(self.product_en, self.name_en)}


def _joined(product: str, sku: str) -> str:
    return product if sku in ("", product) else f"{product} {sku}"


def _facts() -> Select[*tuple[Any, ...]]:
    return (
        select(
            col(Sku.id),
            col(Sku.code),
            col(Sku.name_zh),
            col(Sku.name_en),
            col(Product.code),
            col(Product.name_zh),
            col(Product.name_en),
            col(Product.picture),
            col(Category.code),
            col(Sku.fen),
        )
        .join(Product, col(Product.id) == col(Sku.product_id))
        .join(Category, col(Category.id) == col(Product.category_id))
    )


# For the driver itself; rows are `SkuFacts`, and the tables go by their names.
FACTS = str(_facts().compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]


async def sku_by_code(session: AsyncSession, code: str) -> SkuFacts | None:
    """The active SKU with this code."""
    row = (await session.execute(_facts().where(col(Sku.code) == code, col(Sku.active)))).one_or_none()
    return SkuFacts(*row) if row else None


async def active_by_code(session: AsyncSession, codes: Sequence[str]) -> dict[str, SkuFacts]:
    """The active ones of these SKUs, by code."""
    rows = (await session.execute(_facts().where(col(Sku.code).in_(list(codes)), col(Sku.active)))).all()
    return {row[1]: SkuFacts(*row) for row in rows}


async def category_by_code(session: AsyncSession, code: str) -> Category | None:
    """The shelf with this code."""
    return (await session.execute(select(Category).where(col(Category.code) == code))).scalar_one_or_none()


async def skus(session: AsyncSession, ids: Sequence[int]) -> dict[int, SkuFacts]:
    """SKUs by id; inactive ones too, since old orders name them."""
    rows = (await session.execute(_facts().where(col(Sku.id).in_(list(ids))))).all()
    return {row[0]: SkuFacts(*row) for row in rows}


async def skus_named(session: AsyncSession, codes: Sequence[str]) -> dict[str, SkuFacts]:
    """SKUs by code; inactive ones too, since old plans name them."""
    rows = (await session.execute(_facts().where(col(Sku.code).in_(list(codes))))).all()
    return {row[1]: SkuFacts(*row) for row in rows}


async def active_skus(session: AsyncSession) -> list[SkuFacts]:
    """Everything on sale, in the order of the shelves."""
    query = _facts().where(col(Sku.active)).order_by(col(Category.position), col(Product.id), col(Sku.id))
    return [SkuFacts(*row) for row in (await session.execute(query)).all()]
