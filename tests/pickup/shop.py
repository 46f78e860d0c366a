"""A small shop with paid orders, written straight into the tables: how they came to be paid is not the business of these tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.catalog.tables import Category, Product, Sku
from live.infra import outbox
from live.infra.db import Database
from live.infra.tables import Outbox
from live.orders.tables import Order, OrderLine
from live.people.tables import Person, Staff
from live.pickup.handoff import handoff
from live.pickup.rules import derive
from live.pickup.tables import Ticket
from live.stock.tables import Location, Stock

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
SECRET = "a secret of the tests"


@dataclass
class Shop:
    """One SKU in two stores, one buyer, and a clerk in each store."""

    db: Database
    sku: int
    person: str
    clerks: dict[str, int]
    orders: int = 0

    async def order(self, store: str = "S1", state: str = "ALLOCATED", qty: int = 2, row: bool = True) -> str:
        """A paid order of `qty` units and, unless told otherwise, its outbox row."""
        return (await self.order_many(1, store, state, qty, row))[0]

    async def order_many(self, count: int, store: str = "S1", state: str = "ALLOCATED", qty: int = 1, row: bool = True) -> list[str]:
        """`count` paid orders in one transaction."""
        async with self.db.begin() as session:
            return await self.write(session, count, store, state, qty, row)

    async def write(self, session: AsyncSession, count: int, store: str, state: str, qty: int, row: bool) -> list[str]:
        """As `order_many`, in the caller's transaction."""
        nos = [f"T{self.orders + n:06d}" for n in range(count)]
        self.orders += count
        session.add_all([
            Order(
                no=no, rid=no, intent_id="1-0", room_id="demo", person=self.person, location=store, state=state, fen=1000 * qty,
                pay_until=NOW + timedelta(minutes=10), paid_at=NOW,
            )
            for no in nos
        ])  # fmt: skip
        await session.flush()
        session.add_all([
            OrderLine(
                order_no=no, line=1, offer_id=1, sku_id=self.sku, sku="TEA", name_zh="茶", name_en="Tea", qty=qty, fen=1000, price_version=1
            )
            for no in nos
        ])  # fmt: skip
        await session.flush()
        for no in nos if row else []:
            await outbox.job(session, "handoff", store, {"order": no})
        return nos

    async def ticket(self, store: str = "S1", state: str = "READY", qty: int = 2) -> tuple[int, str, str]:
        """(ticket id, order number, code) of an order that was handed off."""
        no = await self.order(store, qty=qty)
        async with self.db.begin() as session:
            await handoff(session, store, NOW, secret=SECRET)
            ticket = (await session.execute(select(Ticket).where(col(Ticket.order_no) == no))).scalar_one()
            order = (await session.execute(select(Order).where(col(Order.no) == no))).scalar_one()
            if state == "READY":
                ticket.state, ticket.ready_at, order.state = "READY", NOW, "READY"
        return int(ticket.id or 0), no, derive(SECRET, no, store)

    async def tickets(self) -> list[Ticket]:
        """Every ticket there is."""
        async with self.db.begin() as session:
            return list((await session.execute(select(Ticket).order_by(col(Ticket.id)))).scalars())

    async def state(self, no: str) -> tuple[str, int]:
        """(state, version) of an order."""
        async with self.db.begin() as session:
            row = (await session.execute(select(col(Order.state), col(Order.version)).where(col(Order.no) == no))).one()
        return row[0], row[1]

    async def outbox(self, kind: str) -> list[Outbox]:
        """Rows of a kind."""
        async with self.db.begin() as session:
            query = select(Outbox).where(col(Outbox.kind) == kind).order_by(col(Outbox.id))
            return list((await session.execute(query)).scalars())

    async def stock(self, store: str = "S1") -> tuple[int, int]:
        """(on hand, allotted) of the SKU."""
        async with self.db.begin() as session:
            row = await session.get_one(Stock, (self.sku, store))
            return row.on_hand, row.allotted


async def open_shop(db: Database) -> Shop:
    """Fill empty tables."""
    async with db.begin() as session:
        category = Category(code="c", name_zh="c", name_en="c")
        session.add(category)
        session.add_all([Location(code=code, name_zh=code, name_en=code) for code in ("S1", "S2")])
        await session.flush()
        product = Product(code="p", category_id=category.id or 0, name_zh="茶", name_en="Tea")
        session.add(product)
        await session.flush()
        sku = Sku(code="TEA", product_id=product.id or 0, name_zh="茶", name_en="Tea", fen=1000)
        person = Person(phone="13800001234", name="小明")
        clerks = [Staff(account=f"clerk-{store}", role="clerk", store=store, password_hash="-") for store in ("S1", "S2")]
        session.add_all([sku, person, *clerks])
        await session.flush()
        session.add_all([Stock(sku_id=sku.id or 0, location=code, on_hand=1000, allotted=500) for code in ("S1", "S2")])
    return Shop(db, int(sku.id or 0), f"p:{person.id}", {str(clerk.store): int(clerk.id or 0) for clerk in clerks})
