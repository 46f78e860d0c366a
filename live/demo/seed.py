"""The demo's shop: four shelves, twelve products, 24 SKUs, six stores, staff and one room. Made up; any likeness is chance.

Goods come in by the same CSV import an owner uses. Seeding again changes nothing that is there.
"""

from __future__ import annotations

import asyncio
import csv
import io
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from live.catalog.queries import active_skus
from live.demo.pictures import draw
from live.infra.db import Database
from live.people.queries import staff_by_account
from live.people.staff import actions as staff
from live.people.staff.passwords import passwords
from live.rooms.actions import create_room
from live.rooms.forms import RowForm
from live.rooms.run_sheet.actions import add_all
from live.rooms.tables import Room
from live.settings import Settings, settings
from live.stock.importer import import_csv
from live.stock.rules import COLUMNS
from live.stock.tables import Location

ROOM = "demo"
PASSWORD = "demo-pass-2026"  # noqa: S105 - of accounts that exist only under `live demo`, which binds to loopback
ACCOUNTS = {"owner": "周店主", "host": "小满", "moderator": "阿宁"}  # the account is the role's name

STORES = (  # code, zh, en, address zh, address en, latitude, longitude (degrees), hours
    ("jingan", "静安寺店", "Jing'an", "静安区愚园路 88 号", "88 Yuyuan Rd, Jing'an", 31.2253, 121.4434, "08:00-22:00"),
    ("xuhui", "徐家汇店", "Xujiahui", "徐汇区天平路 215 号", "215 Tianping Rd, Xuhui", 31.1989, 121.4366, "08:00-22:00"),
    ("lujiazui", "陆家嘴店", "Lujiazui", "浦东新区商城路 660 号", "660 Shangcheng Rd, Pudong", 31.2302, 121.5142, "07:30-21:30"),
    ("hongkou", "虹口足球场店", "Hongkou", "虹口区东江湾路 301 号", "301 Dongjiangwan Rd, Hongkou", 31.2706, 121.4794, "08:00-21:30"),
    ("zhongshan", "中山公园店", "Zhongshan Park", "长宁区汇川路 99 号", "99 Huichuan Rd, Changning", 31.2212, 121.4192, "08:00-22:00"),
    ("qibao", "七宝店", "Qibao", "闵行区漕宝路 3366 号", "3366 Caobao Rd, Minhang", 31.1561, 121.3499, "08:00-21:00"),
)
SHELVES = {
    "fruit": ("时令水果", "Seasonal fruit"),
    "fresh": ("海鲜肉禽", "Seafood and meat"),
    "bakery": ("乳品烘焙", "Dairy and bakery"),
    "home": ("居家好物", "Home"),
}
PRODUCTS = (  # shelf, code (also the picture's), zh, en, ((SKU, zh, en, yuan), …)
    (
        "fruit",
        "strawberry",
        "丹东红颜草莓",
        "Dandong strawberries",
        (("500g", "500 克", "500 g", "39.90"), ("1kg", "1 千克礼盒", "1 kg gift box", "75.00")),
    ),
    (
        "fruit",
        "mandarin",
        "象山红美人柑橘",
        "Xiangshan mandarins",
        (("5", "5 个装", "5 pieces", "49.90"), ("10", "10 个礼盒", "box of 10", "92.00")),
    ),
    (
        "fruit",
        "blueberry",
        "云南高山蓝莓",
        "Yunnan blueberries",
        (("2", "125 克 × 2", "2 × 125 g", "29.90"), ("6", "125 克 × 6", "6 × 125 g", "79.00")),
    ),
    ("fresh", "shrimp", "舟山活冻基围虾", "Zhoushan prawns", (("500g", "500 克", "500 g", "58.00"), ("1kg", "1 千克", "1 kg", "109.00"))),
    (
        "fresh",
        "crab",
        "太湖大闸蟹",
        "Taihu hairy crabs",
        (("4", "公 4 两 × 4", "4 males, 200 g", "168.00"), ("8", "公母 4 对", "4 pairs", "298.00")),
    ),
    (
        "fresh",
        "beef",
        "谷饲雪花牛排",
        "Marbled steak",
        (("2", "200 克 × 2", "2 × 200 g", "89.00"), ("5", "200 克 × 5", "5 × 200 g", "199.00")),
    ),
    ("bakery", "yogurt", "希腊酸奶", "Greek yogurt", (("6", "6 杯", "6 cups", "36.00"), ("12", "12 杯", "12 cups", "66.00"))),
    ("bakery", "croissant", "黄油可颂", "Butter croissants", (("4", "4 只", "4 pieces", "32.00"), ("8", "8 只", "8 pieces", "58.00"))),
    ("bakery", "milk", "每日鲜牛乳", "Fresh milk", (("1", "950 毫升", "950 ml", "18.80"), ("3", "950 毫升 × 3", "3 × 950 ml", "52.80"))),
    ("home", "candle", "桂花香薰蜡烛", "Osmanthus candle", (("150g", "150 克", "150 g", "68.00"), ("300g", "300 克", "300 g", "118.00"))),
    (
        "home",
        "mug",
        "手作釉陶杯",
        "Hand-thrown mug",
        (("blue", "湖蓝", "lake blue", "79.00"), ("pair", "对杯礼盒", "pair in a box", "148.00")),
    ),
    (
        "home",
        "towel",
        "新疆长绒棉毛巾",
        "Long-staple cotton towel",
        (("2", "2 条", "set of 2", "45.00"), ("4", "4 条", "set of 4", "85.00")),
    ),
)
PLAN: tuple[dict[str, Any], ...] = (  # the show's run sheet: minute, kind, settings as the console's forms take them, note
    {
        "minute": 0, "kind": "coupon", "settings": {"off": 500, "threshold": 3000, "total": 60, "minutes": 10},
        "note": "先发券，聚一聚人气 / Coupons first, to gather everybody",
    },
    {
        "minute": 5, "kind": "sale",
        "settings": {"sku": "crab-4", "fen": 13800, "per_person": 2, "stock": {"jingan": 12, "xuhui": 12, "qibao": 12}, "minutes": 8},
        "note": "开箱看蟹，报产地和重量 / Open a box, name the lake and the weight",
    },
    {"minute": 6, "kind": "pin", "settings": {"sku": "crab-4"}, "note": ""},
    {
        "minute": 20, "kind": "group",
        "settings": {
            "sku": "mug-pair", "per_person": 1, "stock": {"jingan": 10, "lujiazui": 10}, "size": 20, "minimum": 6,
            "tiers": [{"seats": 0, "fen": 12800}, {"seats": 6, "fen": 10800}, {"seats": 12, "fen": 9800}], "minutes": 10,
        },
        "note": "压轴团购，催满 12 人 / The last one: push for 12",
    },
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DemoShop:
    """What was seeded. `clerks`: store → account; every account has the one password."""

    room: str
    stores: tuple[str, ...]
    skus: tuple[str, ...]
    accounts: tuple[str, ...]
    clerks: dict[str, str]
    password: str


async def seed(db: Database, now: datetime, given: Settings | None = None) -> DemoShop:
    """Put the demo shop in place. Staff accounts are made only when env is `demo`; raises RuntimeError in production."""
    chosen = given or settings()
    if chosen.env == "production":
        raise RuntimeError("The demo shop is not for production.")
    await asyncio.to_thread(draw, chosen.home)
    kept = await passwords.hash(PASSWORD) if chosen.env == "demo" else None
    async with db.begin() as session:
        for values in STORES:
            store = dict(zip(_STORE_FIELDS, values, strict=True))
            await session.execute(insert(Location).values(**store, active=True).on_conflict_do_nothing())
        wanted = _sku_codes()
        if not set(wanted) <= {sku.code for sku in await active_skus(session)}:
            await import_csv(session, csv_text().encode(), now)
        if kept is not None:
            await _accounts(session, kept)
        if await session.get(Room, ROOM) is None:
            title = {"title_zh": "鲜活生活馆 · 周末直播", "title_en": "Fresh & Home, live this weekend"}
            await create_room(session, room_id=ROOM, **title, play_url="/media/show/index.m3u8", poster="/media/poster.svg")
            await add_all(session, ROOM, [RowForm.model_validate(row) for row in PLAN], chosen, now)
    clerks = {code: f"clerk-{code}" for code, *_ in STORES}
    return DemoShop(ROOM, tuple(clerks), wanted, (*ACCOUNTS, *clerks.values()) if kept else (), clerks if kept else {}, PASSWORD)


def logins() -> list[dict[str, str]]:
    """The demo's accounts, as its start page lists them."""
    accounts = [(account, account) for account in ACCOUNTS] + [(f"clerk-{code}", "clerk") for code, *_ in STORES]
    return [{"account": account, "password": PASSWORD, "role": role} for account, role in accounts]


def csv_text() -> str:
    """The goods as an owner would import them."""
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow([*COLUMNS, *(f"stock:{code}" for code, *_ in STORES)])
    number = 0
    for shelf, code, zh, en, sizes in PRODUCTS:
        for size, sku_zh, sku_en, yuan in sizes:
            units = [_units(number, place) for place in range(len(STORES))]
            goods = [shelf, *SHELVES[shelf], code, zh, en, f"{code}-{size}", sku_zh, sku_en, yuan]
            writer.writerow([*goods, f"/media/products/{code}.svg", *units])
            number += 1
    return sheet.getvalue()


_STORE_FIELDS = ("code", "name_zh", "name_en", "address_zh", "address_en", "lat", "lon", "hours")


def _sku_codes() -> tuple[str, ...]:
    return tuple(f"{code}-{size}" for _, code, _, _, sizes in PRODUCTS for size, *_ in sizes)


def _units(sku: int, place: int) -> int:
    """120 to 280 units, the same each time and different everywhere: enough for a crowd of some hundreds."""
    return 120 + (sku * 37 + place * 53) % 9 * 20


async def _accounts(session: AsyncSession, kept: str) -> None:
    people = [(account, name, account, None) for account, name in ACCOUNTS.items()]
    clerks = [(f"clerk-{code}", f"{zh}店员", "clerk", code) for code, zh, *_ in STORES]
    for account, name, role, store in [*people, *clerks]:
        if await staff_by_account(session, account) is None:
            await staff.create(session, account=account, name=name, role=role, store=store, password_hash=kept, one_time=False)
