"""A small shop on a real database: two stores, two SKUs, a room, five buyers; the ledger's own till books what they take."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, text
from sqlmodel import col

from live.catalog.tables import Category, Product, Sku
from live.infra.db import Database
from live.infra.outbox import news_of
from live.infra.tables import Outbox
from live.offers.rules import House, Intent, IntentLine, rid_of
from live.offers.tables import Offer
from live.offers.till import Booking, book, book_house
from live.orders.actions import pay, payment_arrived
from live.orders.booking import OrderBooker
from live.orders.tables import Order
from live.payments.actions import ask_provider
from live.payments.gateway import Closing, Notice, Payment, RefundState
from live.people.tables import Person
from live.promotions.coupon.actions import open_coupon
from live.promotions.coupon.booking import CouponBooker
from live.promotions.coupon.tables import CouponGrant
from live.promotions.flash_sale.actions import open_sale
from live.promotions.group_buy.actions import open_group
from live.promotions.group_buy.rules import bar
from live.protocol.codes import Code, Refusal
from live.rooms.tables import Room
from live.stock.tables import Location, Stock

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ROOM = "demo"
LADDER = ({"seats": 0, "fen": 3000}, {"seats": 2, "fen": 2500}, {"seats": 4, "fen": 2000})


def after(**length: float) -> datetime:
    """A moment after the show began."""
    return NOW + timedelta(**length)


@dataclass
class Provider:
    """A payment provider in this process: `states` by out_trade_no are for tests to look at and to change."""

    app_id: str = "app"
    merchant: str = "merchant"
    states: dict[str, str] = field(default_factory=dict)
    sums: dict[str, int] = field(default_factory=dict)
    refunds: dict[str, int] = field(default_factory=dict)
    refund_state: Any = "SUCCESS"
    away: bool = False

    async def prepay(self, *, out_trade_no: str, fen: int, description: str, payer: str, expires_at: datetime) -> str:
        self._answer()
        self.states.setdefault(out_trade_no, "NOTPAY")
        self.sums[out_trade_no] = fen
        return f"prepay-{out_trade_no}"

    def pay_params(self, prepay_id: str) -> dict[str, str]:
        return {"package": f"prepay_id={prepay_id}"}

    async def query(self, out_trade_no: str) -> Payment:
        self._answer()
        state: Any = self.states.get(out_trade_no, "NOT_FOUND")
        paid = state == "SUCCESS"
        return Payment(state, f"T{out_trade_no}" if paid else None, self.sums.get(out_trade_no, 0), after(seconds=30) if paid else None)

    async def close(self, out_trade_no: str) -> Closing:
        self._answer()
        state = self.states.get(out_trade_no, "CLOSED")
        if state in ("SUCCESS", "REFUND", "USERPAYING"):
            return "paying" if state == "USERPAYING" else "paid"
        self.states[out_trade_no] = "CLOSED"
        return "closed"

    async def refund(self, *, out_trade_no: str, out_refund_no: str, fen: int, total: int, reason: str) -> RefundState:
        self._answer()
        self.refunds[out_refund_no] = fen
        return RefundState(self.refund_state, f"P{out_refund_no}")

    async def query_refund(self, out_refund_no: str) -> RefundState:
        self._answer()
        return RefundState(self.refund_state if out_refund_no in self.refunds else "NOT_FOUND", f"P{out_refund_no}")

    def open_notice(self, headers: Mapping[str, str], raw: bytes) -> Notice:
        raise NotImplementedError

    async def aclose(self) -> None:
        return None

    def _answer(self) -> None:
        if self.away:
            raise Refusal(Code.GATEWAY)


class Shop:
    """What a show does, in the words of the show."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.provider = Provider()
        self._taps = 0

    async def build(self) -> Shop:
        """Goods, stores and people."""
        async with self.db.begin() as session:
            session.add_all([Location(code="S1", name_zh="一店", name_en="One"), Location(code="S2", name_zh="二店", name_en="Two")])
            session.add(Category(id=1, code="FRUIT", name_zh="水果", name_en="Fruit"))
            session.add_all([Room(id=ROOM, title_zh="水果之夜", title_en="Fruit night", phase="live")])
            session.add_all([Person(id=i, openid=f"openid-{i}", name=f"买家{i}") for i in range(1, 6)])
            await session.flush()
            session.add(Product(id=1, code="BERRY", category_id=1, name_zh="草莓", name_en="Strawberries", picture="/media/berry.svg"))
            await session.flush()
            session.add(Sku(id=1, code="BERRY-500", product_id=1, name_zh="500 克", name_en="500 g", fen=3990))
            session.add(Sku(id=2, code="BERRY-1000", product_id=1, name_zh="1 千克", name_en="1 kg", fen=6990))
            await session.flush()
            session.add_all([Stock(sku_id=sku, location=at, on_hand=1000) for sku in (1, 2) for at in ("S1", "S2")])
            await session.execute(text("INSERT INTO fence (room_id, fence) VALUES (:r, 7)"), {"r": ROOM})
        return self

    async def sale(self, fen: int = 2990, **changed: Any) -> Offer:
        """A flash sale of 10 + 5 units."""
        wanted: dict[str, Any] = {"sku": "BERRY-500", "per_person": 5, "stock": {"S1": 10, "S2": 5}, "minutes": 30, "hold_seconds": 300}
        async with self.db.begin() as session:
            return await open_sale(session, room_id=ROOM, fen=fen, now=NOW, **{**wanted, **changed})

    async def coupon(self, off: int = 500, threshold: int = 2000, **changed: Any) -> Offer:
        """A drop of 10 coupons."""
        wanted: dict[str, Any] = {"total": 10, "per_person": 2, "minutes": 10}
        async with self.db.begin() as session:
            return await open_coupon(session, room_id=ROOM, off=off, threshold=threshold, now=NOW, **{**wanted, **changed})

    async def group(self, **changed: Any) -> Offer:
        """A group of 6 seats that needs 3; 30 yuan falls to 25 at 2 and to 20 at 4 paid seats."""
        wanted: dict[str, Any] = {"per_person": 3, "stock": {"S1": 8}, "size": 6, "minimum": 3, "tiers": LADDER, "minutes": 20}
        async with self.db.begin() as session:
            return await open_group(session, room_id=ROOM, sku="BERRY-500", now=NOW, **{**wanted, **changed})

    def intent(self, offer: Offer, person: str, qty: int = 1, at: str | None = None, fen: int | None = None) -> Intent:
        """A tap that passed the turnstile, at the offer's price as this object knows it."""
        self._taps += 1
        line = IntentLine(int(offer.id or 0), qty, offer.fen if fen is None else fen, offer.price_version or 1)
        rid = rid_of(person, ROOM, f"key-{self._taps:04d}")
        place = at or ("-" if offer.sku_id is None else "S1")
        return Intent(f"{self._taps}-0", rid, person, offer.kind, place, (line,), hub="h", fence=7)

    async def book(self, intents: Sequence[Intent], now: datetime = NOW) -> Booking:
        """What the ledger does with a group of intents."""
        async with self.db.connection() as connection:
            return await book(connection, ROOM, intents, (OrderBooker(), CouponBooker()), bar, now)

    async def take(self, offer: Offer, person: str, qty: int = 1, at: str | None = None, now: datetime = NOW) -> str:
        """Somebody gets it; the order's number, or the coupon's id as text."""
        found = await self.book([self.intent(offer, person, qty, at)], now)
        body = found.verdicts[0].body
        assert body is not None, found.verdicts[0].no
        return str(body["order"]["no"] if "order" in body else body["coupon"]["id"])

    async def paid(self, no: str, person: str, coupon: int | None = None, now: datetime = NOW) -> str:
        """Pay for an order at the provider, and ask it; the order's state."""
        await pay(self.db, self.provider, person, no, coupon, "openid", now)
        self.money(no)
        await ask_provider(self.db, self.provider, no, payment_arrived, now)
        return (await self.order(no)).state

    def money(self, no: str, attempt: int = 1) -> str:
        """The buyer pays at the provider; nobody has told us yet."""
        number = f"{no}-{attempt}"
        assert number in self.states
        self.states[number] = "SUCCESS"
        return number

    @property
    def states(self) -> dict[str, str]:
        """What the provider thinks of each attempt."""
        return self.provider.states

    async def till(self) -> int:
        """Book what the shop asked the ledger for, as the relay does; how many entries."""
        async with self.db.connection() as connection:
            query = select(col(Outbox.id), col(Outbox.payload)).where(col(Outbox.kind) == "house").order_by(col(Outbox.id))
            rows = (await connection.execute(query)).all()
            booked = 0
            for row in rows:
                for entry in row.payload.get("many", [row.payload]):
                    booked += 1
                    await book_house(connection, ROOM, House.read(entry), bar, NOW)
                await connection.execute(text("DELETE FROM outbox WHERE id = :i"), {"i": row.id})
        return booked

    async def order(self, no: str) -> Order:
        """An order as it is now."""
        async with self.db.begin() as session:
            return (await session.execute(select(Order).where(col(Order.no) == no))).scalar_one()

    async def grant(self, grant_id: int | str) -> CouponGrant:
        """A coupon as it is now."""
        async with self.db.begin() as session:
            return await session.get_one(CouponGrant, int(grant_id))

    async def one(self, query: str, **values: Any) -> Any:
        """The single value of a query."""
        async with self.db.connection() as connection:
            return (await connection.execute(text(query), values)).scalar_one()

    async def told(self, key: str) -> list[dict[str, Any]]:
        """What a person was told about an order or a coupon, oldest first; versions must rise without a gap."""
        async with self.db.begin() as session:
            query = select(Outbox).where(col(Outbox.kind) == "own").order_by(col(Outbox.id))
            found = [
                {"version": version, "body": body}
                for row in (await session.execute(query)).scalars()
                for _, thing, version, body in news_of(row.key, row.payload, row.news)
                if thing == key
            ]
        assert [news["version"] for news in found] == [news["body"]["version"] for news in found] == list(range(1, len(found) + 1))
        return [news["body"] for news in found]

    async def jobs(self, topic: str) -> list[tuple[str, dict[str, Any]]]:
        """Undone work of a topic: (key, payload)."""
        async with self.db.begin() as session:
            query = select(col(Outbox.key), col(Outbox.payload)).where(col(Outbox.kind) == "job", col(Outbox.topic) == topic)
            return [(key, payload) for key, payload in (await session.execute(query.order_by(col(Outbox.id)))).all()]

    async def everything(self) -> str:
        """A digest of every row of the books: equal before and after a refusal."""
        tables = (
            "offer flash_sale allotment team quota movement stock orders order_line coupon_grant pay_attempt refund outbox"
            " room_clock room_state"
        )
        parts = [
            str(await self.one(f"SELECT coalesce(string_agg(md5(CAST(x AS text)), ',' ORDER BY md5(CAST(x AS text))), '') FROM {table} x"))
            for table in tables.split()
        ]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()
