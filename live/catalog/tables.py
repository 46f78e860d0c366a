"""What the shop sells: categories, products, SKUs and their shop price."""

from __future__ import annotations

from sqlalchemy import CheckConstraint
from sqlmodel import SQLModel

from live.infra.columns import big, identity, words


class Category(SQLModel, table=True):
    """A shelf of the shop."""

    __tablename__ = "category"

    id: int | None = identity()
    code: str = words(unique=True)
    name_zh: str = words()
    name_en: str = words()
    position: int = big(0)


class Product(SQLModel, table=True):
    """What a customer calls one thing; its SKUs are sizes and colours of it."""

    __tablename__ = "product"

    id: int | None = identity()
    code: str = words(unique=True)
    category_id: int = big(foreign_key="category.id", index=True)
    name_zh: str = words()
    name_en: str = words()
    picture: str = words("")  # path under /media or /static, or empty


class Sku(SQLModel, table=True):
    """What is counted, priced and sold. `fen` is the shop's own price of one."""

    __tablename__ = "sku"
    __table_args__ = (CheckConstraint("fen > 0", name="fen"),)

    id: int | None = identity()
    code: str = words(unique=True)
    product_id: int = big(foreign_key="product.id", index=True)
    name_zh: str = words()
    name_en: str = words()
    fen: int = big()
    price_version: int = big(1)
    active: bool = True
