"""A small shop for tests: two stores, one SKU, one room, and offers opened by the real actions."""

from __future__ import annotations

from datetime import UTC, datetime

from redis.asyncio import Redis
from sqlalchemy import text

from live.infra.db import Database
from live.infra.keys import room_key
from live.offers.ledger import RoomLedger
from live.offers.rebuild import rebuild
from live.offers.reservations import Tap
from live.offers.rules import body_hash, rid_of
from live.promotions.coupon.actions import open_coupon
from live.promotions.flash_sale.actions import open_sale
from live.promotions.group_buy.actions import open_group
from live.rooms.actions import create_room, start_room
from workers.ledger import facts, hands

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


async def make_shop(db: Database) -> None:
    """Stores S1 and S2 with 1,000 of TEA each, room r1 live, persons p:1 … p:500."""
    async with db.connection() as connection:
        for statement in (
            "INSERT INTO location (code, name_zh, name_en, active) VALUES ('S1','一店','One',true), ('S2','二店','Two',true)",
            "INSERT INTO category (code, name_zh, name_en) VALUES ('c','茶','Tea')",
            "INSERT INTO product (code, category_id, name_zh, name_en) VALUES ('tea', 1, '茶', 'Tea')",
            "INSERT INTO sku (code, product_id, name_zh, name_en, fen, active) VALUES ('TEA', 1, '盒', 'Box', 9900, true)",
            "INSERT INTO stock (sku_id, location, on_hand) VALUES (1,'S1',1000), (1,'S2',1000)",
            "INSERT INTO person (openid, name) SELECT 'o' || i, 'P' || i FROM generate_series(1, 500) AS i",
        ):
            await connection.execute(text(statement))
    async with db.begin() as session:
        await create_room(session, room_id="r1", title_zh="间", title_en="Room")
        await start_room(session, "r1", NOW)


async def sale(
    db: Database, stock: dict[str, int], per_person: int = 99, fen: int = 5000, waitlist: int | None = None, per_order: int | None = None
) -> int:
    """Open a sale of TEA. `waitlist`: seconds to pay for what came back to somebody who waited."""
    async with db.begin() as session:
        offer = await open_sale(
            session, room_id="r1", sku="TEA", fen=fen, per_person=per_person, stock=stock, minutes=None, hold_seconds=600,
            waitlist_seconds=waitlist, per_order=per_order, now=datetime.now(UTC),
        )  # fmt: skip
        return int(offer.id or 0)


async def coupon(db: Database, total: int, per_person: int = 1) -> int:
    """Drop a coupon of 5 yuan from 30 yuan on."""
    async with db.begin() as session:
        offer = await open_coupon(
            session, room_id="r1", off=500, threshold=3000, total=total, per_person=per_person, minutes=None, now=datetime.now(UTC)
        )
        return int(offer.id or 0)


async def group(db: Database, size: int, minimum: int = 2) -> int:
    """Open a room-wide group buy: 80 yuan, from 2 paid seats on 70, from 4 on 60."""
    tiers = [{"seats": 0, "fen": 8000}, {"seats": 2, "fen": 7000}, {"seats": 4, "fen": 6000}]
    async with db.begin() as session:
        offer = await open_group(
            session, room_id="r1", sku="TEA", per_person=2, stock={"S1": size}, size=size, minimum=minimum, tiers=tiers, minutes=30,
            now=datetime.now(UTC),
        )  # fmt: skip
        return int(offer.id or 0)


async def books(db: Database, redis: Redis) -> RoomLedger:
    """The room's ledger, its turnstile built, every outbox row applied."""
    await rebuild(redis, db, "r1", facts)
    found = RoomLedger("r1", db, redis, hands())
    await found._apply_outbox()
    return found


async def book_all(ledger: RoomLedger) -> None:
    """Book every waiting intent and apply what that wrote."""
    for begin in ("0", ">"):
        while intents := await ledger._read(begin):
            await ledger._book(intents)
    await ledger._settled_all()
    await ledger._apply_outbox()


async def forget(redis: Redis, one: Tap) -> None:
    """Redis loses the record of this tap's rid."""
    for day in (0, 1):
        await redis.hdel(room_key("r1", f"rids:{day}"), one.rid)  # type: ignore[misc]


def tap(
    person: int, offer: int, qty: int = 1, key: str = "k", at: tuple[str, ...] = ("S1",), version: int = 1, tries: int = 1,
    lines: tuple[tuple[int, int, int], ...] | None = None,
) -> Tap:  # fmt: skip
    """One intent of person p:<n>."""
    wanted = lines or ((offer, qty, version),)
    digest = body_hash([(o, q) for o, q, _ in wanted], at)
    return Tap(rid_of(f"p:{person}", "r1", key), f"p:{person}", f"P{person}", "h1", digest, tries, at, wanted)
