"""Crowds before a flash sale, on real servers, with the room's ledger running: the opening second, a price edit and a stop in mid-rush."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import text

from live.infra.db import Database, epoch_ms, utc_now
from live.infra.keys import room_key
from live.offers.audit import audit_room
from live.offers.leases import Ledger
from live.offers.reservations import Answer, reserve
from live.promotions.flash_sale.actions import open_sale, reprice_sale, stop_sale
from tests.offers.shop import books, make_shop, tap
from workers.ledger import hands

CAP = 20_000
BUYERS = 200
HANDS = 8  # taps under way at a time


class Rush:
    """A sale of TEA with the ledger of its room, and what its buyers were answered."""

    def __init__(self, db: Database, redis: Redis) -> None:
        self.db, self.redis = db, redis
        self.answers: list[tuple[int, int, Answer]] = []  # person, price version tapped at, what was said
        self.got: set[int] = set()

    async def open(self, units: int, wait: float = 0.0, **terms: Any) -> None:
        await make_shop(self.db)
        now = utc_now()
        opens = now + timedelta(seconds=wait) if wait else None
        async with self.db.begin() as session:
            offer = await open_sale(
                session, room_id="r1", sku="TEA", fen=5000, per_person=terms.pop("per_person", 1), stock={"S1": units}, minutes=5,
                hold_seconds=300, opens_at=opens, now=now, **terms,
            )  # fmt: skip
            self.offer = int(offer.id or 0)
            self.opens = epoch_ms(offer.opens_at)
        await books(self.db, self.redis)

    @asynccontextmanager
    async def booking(self) -> AsyncIterator[None]:
        """The ledger runs; at the end everything is in the books, and they balance."""
        stop = asyncio.Event()
        running = asyncio.create_task(Ledger(self.db, self.redis, hands()).run(stop))
        try:
            yield
            await until(self.quiet)
        finally:
            stop.set()
            await running
        found = await audit_room(self.db, self.redis, "r1")
        assert (found.balanced, found.settled) == (True, True), found

    async def quiet(self) -> bool:
        return await self.redis.xlen(room_key("r1", "intents")) == 0 and await self.one("SELECT count(*) FROM outbox") == 0

    async def tap(self, person: int, version: int, key: str, **wish: Any) -> Answer:
        found = (await reserve(self.redis, "r1", [tap(person, self.offer, key=key, version=version, **wish)], CAP))[0]
        self.answers.append((person, version, found))
        if found.tag == "OK":
            self.got.add(person)
        return found

    def codes(self) -> Counter[str]:
        return Counter(found.code or found.tag for _, _, found in self.answers)

    def first_ms(self) -> int:
        """When the turnstile let the first one in, by its own clock: the number of its intent."""
        return min(int(found.intent.partition("/")[2].partition("-")[0]) for _, _, found in self.answers if found.tag == "OK")

    async def one(self, query: str) -> Any:
        async with self.db.connection() as connection:
            return (await connection.execute(text(query))).scalar_one()

    async def orders(self) -> list[tuple[int, int, int]]:
        """Person, price version and fen of every order."""
        query = "SELECT o.person, l.price_version, l.fen FROM orders o JOIN order_line l ON l.order_no = o.no ORDER BY o.id"
        async with self.db.connection() as connection:
            return [(int(who[2:]), version, fen) for who, version, fen in (await connection.execute(text(query))).all()]


async def until(met: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await met():
            await asyncio.sleep(0.01)


async def crowd(people: range, buyer: Callable[[int], Awaitable[None]]) -> None:
    """Each of them does it, some at a time."""
    hands_free = asyncio.Semaphore(HANDS)

    async def one(person: int) -> None:
        async with hands_free:
            await buyer(person)

    await asyncio.gather(*(one(person) for person in people))


async def test_200_buyers_race_the_opening_second_nobody_before_it_and_all_goods_after_it(database: Database, redis: Redis) -> None:
    rush = Rush(database, redis)
    await rush.open(units=120, wait=1.2, countdown=10)
    tries: Counter[int] = Counter()

    async def again_and_again(person: int) -> None:
        tries[person] += 1
        await rush.tap(person, 1, f"k{tries[person]}")

    async with rush.booking():
        async with asyncio.timeout(20):
            while not rush.codes()["sold_out"]:
                await crowd(range(1, BUYERS + 1), again_and_again)
    assert rush.codes()["not_started"] >= BUYERS  # a whole round of the crowd at least was early
    assert {found.facts for _, _, found in rush.answers if found.code == "not_started"} == {(rush.opens,)}
    assert rush.first_ms() >= rush.opens
    assert len(rush.got) == 120
    assert sorted(who for who, _, _ in await rush.orders()) == sorted(rush.got)
    assert await rush.one("SELECT taken FROM allotment") == 120


async def test_a_price_edit_and_a_stop_race_300_buyers_and_each_pays_what_they_were_shown(database: Database, redis: Redis) -> None:
    rush = Rush(database, redis)
    await rush.open(units=400)
    prices = {1: 5000, 2: 4500}
    shown = 1  # what the pages of who taps now say

    async def buyer(person: int) -> None:
        found = await rush.tap(person, shown, "k1")
        if found.code == "price_changed":
            assert found.facts == (str(prices[2]), 2)
            await rush.tap(person, int(found.facts[1]), "k2")

    async def when(got: int, act: Callable[..., Awaitable[Any]], *more: Any) -> None:
        """The host does it as soon as so many have one."""

        async def reached() -> bool:
            return len(rush.got) >= got

        await until(reached)
        async with database.begin() as session:
            await act(session, rush.offer, *more, utc_now())

    async with rush.booking():
        await asyncio.gather(crowd(range(1, 151), buyer), when(60, reprice_sale, prices[2]))
        await until(lambda: applied(redis, rush.offer, b"version", b"2"))
        late = rush.codes()["price_changed"]
        await asyncio.gather(crowd(range(151, 301), buyer), when(len(rush.got) + 60, stop_sale))
        await until(lambda: applied(redis, rush.offer, b"phase", b"ended"))
        assert (await rush.tap(301, 2, "k1")).code == "ended"
        before = len(rush.got)
        await crowd(range(302, 312), buyer)
        assert len(rush.got) == before
    assert rush.codes()["price_changed"] > late  # everybody of the second crowd came with the old price
    orders = await rush.orders()
    assert sorted(who for who, _, _ in orders) == sorted(rush.got)
    assert {(version, fen) for _, version, fen in orders} == set(prices.items())
    # What was promised is what the turnstile said yes to, and the books keep it.
    assert {who: version for who, version, _ in orders} == {who: version for who, version, found in rush.answers if found.tag == "OK"}
    assert await rush.one("SELECT total - taken FROM allotment") == 0  # the rest went back to the store
    assert await rush.one("SELECT sum(allotted) FROM stock") == len(rush.got)


async def applied(redis: Redis, offer: int, field: bytes, value: bytes) -> bool:
    return bool(await redis.hget(room_key("r1", f"offer:{offer}"), field) == value)  # type: ignore[misc, arg-type]


async def test_200_orders_above_the_limit_of_one_order_get_nothing_split_over_lines_neither(database: Database, redis: Redis) -> None:
    rush = Rush(database, redis)
    await rush.open(units=150, per_person=5, per_order=2)

    async def greedy(person: int) -> None:
        for key, wish in (("k1", {"qty": 3}), ("k2", {"lines": ((rush.offer, 2, 1), (rush.offer, 1, 1))})):
            found = await rush.tap(person, 1, key, **wish)
            assert (found.code, found.facts) == ("order_limit", (2,))
        await rush.tap(person, 1, "k3", qty=2)

    async with rush.booking():
        await crowd(range(1, BUYERS + 1), greedy)
    await books(database, redis)  # a turnstile built anew knows the limit too
    assert (await rush.tap(201, 1, "k1", qty=3)).code == "order_limit"
    assert len(rush.got) == 75
    assert await rush.one("SELECT max(units) FROM (SELECT sum(qty) AS units FROM order_line GROUP BY order_no) AS each") == 2
