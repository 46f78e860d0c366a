"""A show on bad lines: one room, its offers, its buyers, its host, and the judge who looks at the books all the time."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from live.hub.server import Hub
from live.infra.db import Database, utc_now
from live.infra.keys import room_key
from live.offers.actions import add_stock
from live.offers.audit import audit_room, look
from live.offers.rebuild import sound
from live.orders.actions import payment_arrived
from live.payments.actions import ask_provider
from live.promotions.coupon.actions import open_coupon
from live.promotions.flash_sale.actions import open_sale
from live.promotions.group_buy.actions import open_group
from live.protocol.codes import Refusal
from live.rooms.actions import create_room, start_room
from tests.prove.compare import RealBooks, real_offers
from tests.prove.history import Counters, History
from tests.prove.lossy.buyer import Buyer
from tests.prove.lossy.cashier import Cashier
from tests.prove.lossy.house import House
from tests.prove.lossy.owner import ended
from workers import sweeps

BUYERS = 24
PLENTY = 100_000  # units nobody can buy out in a show
RESOLVED_SECONDS = 30.0  # after the last fault: everybody has an answer, and the room is sound
LOOKS = 0.2  # seconds between two looks at the books
IN_A_ROW = 4  # looks at the turnstile that must find the same, at the same movement: what was on its way has arrived by then


class Show:
    """One room from its opening until nothing moves any more."""

    def __init__(self, house: House, number: int, seed: int) -> None:
        self.house, self.room = house, f"lossy{number}"
        self.dice = random.Random(f"{seed} show {number}")
        self.history = History()
        self.cashier = Cashier(self.dice)
        self.offers: list[int] = []
        self.shelf: dict[str, int] = {}
        self.versions: dict[int, int] = {}
        self.hold = 2
        self.closing = False
        self.troubles: Counter[str] = Counter()
        self.tampered = 0  # the fence under which something was lost that no owner can notice: until the next its sums are not due
        self.leap = timedelta()  # by how much the clock of the sweeps is wrong
        self.buyers = [Buyer(f"p:{n}", self, random.Random(f"{seed} show {number} buyer {n}")) for n in range(1, BUYERS + 1)]
        self._judge = asyncio.Lock()  # what is told and what is seen keep their order
        self._told: list[tuple[str, str]] = []  # and not yet judged

    @property
    def db(self) -> Database:
        """The books."""
        return self.house.db

    @property
    def hubs(self) -> list[Hub]:
        """Where buyers come in."""
        return self.house.hubs

    @property
    def web(self) -> dict[str, Any]:
        """What a web process has at hand."""
        return {"db": self.db, "redis": self.house.web, "tokens": Buyer.tokens}

    # the shop

    async def open(self) -> None:
        """Room and offers, and wait until the room is sold in."""
        now = utc_now()
        async with self.db.begin() as session:
            await create_room(session, room_id=self.room, title_zh="间", title_en="Room")
            await start_room(session, self.room, now)
        for name in ("plenty", "limited", "scarce", "group", "coupon", "window"):
            await self._open(name)
        if not await self.reopened():
            self.fail("never opened: the room was not built")

    async def _open(self, name: str) -> None:
        now, dice = utc_now(), self.dice
        common: dict[str, Any] = {"room_id": self.room, "now": now}
        hold: dict[str, Any] = {"hold_seconds": self.hold, "sku": "TEA"}
        async with self.db.begin() as session:
            if name in ("plenty", "limited"):
                stock, k = {"S1": PLENTY, "S2": PLENTY}, 99 if name == "plenty" else 1
                offer = await open_sale(session, fen=5000, per_person=k, stock=stock, minutes=None, **hold, **common)
            elif name == "scarce":
                stock = {"S1": dice.randint(3, 12), "S2": dice.randint(2, 8)}
                offer = await open_sale(session, fen=900, per_person=dice.randint(1, 3), stock=stock, minutes=None, **hold, **common)
            elif name == "window":  # opens in a moment, closes a minute later: so of one minute nearly all is over
                common["now"] = now - timedelta(seconds=60 - dice.uniform(2, 8)) if dice.random() < 0.6 else now + timedelta(seconds=1)
                stock = {"S1": 20, "S2": 20}
                offer = await open_sale(session, fen=700, per_person=3, stock=stock, minutes=1, **hold, **common)
            elif name == "group":
                tiers = [{"seats": 0, "fen": 8000}, {"seats": 3, "fen": 7000}]
                size = dice.randint(4, 10)
                offer = await open_group(
                    session, per_person=2, stock={"S1": size}, size=size, minimum=2, tiers=tiers, minutes=30, **hold, **common
                )
            else:
                offer = await open_coupon(
                    session, off=500, threshold=3000, total=dice.randint(10, 30), per_person=1, minutes=None, **common
                )
        self.offers.append(int(offer.id or 0))
        self.shelf[name] = self.offers[-1]

    async def host(self) -> None:
        """Adds stock, ends offers and opens others, until the show closes."""
        while not self.closing:
            await asyncio.sleep(self.dice.uniform(0.2, 0.8))
            name = self.dice.choice(("scarce", "scarce", "group", "coupon", "window"))
            try:
                if self.dice.random() < 0.35:
                    if self.dice.random() < 0.7:
                        await self._end(name)
                    await self._open(name)
                else:
                    place = {"coupon": "-", "group": "S1"}.get(name) or self.dice.choice(("S1", "S2"))
                    async with self.db.begin() as session:
                        await add_stock(session, self.shelf[name], place, self.dice.randint(1, 4), utc_now())
            except Refusal:
                pass  # the clock was faster

    async def _end(self, name: str) -> None:
        kind = {"group": "group", "coupon": "coupon"}.get(name, "sale")
        async with self.db.begin() as session:
            await sweeps.ENDS[kind](session, self.shelf[name], utc_now())

    async def sweep(self) -> None:
        """What workers do all the time: holds expire, offers end by the clock, teams are decided."""
        tools: Any = SimpleNamespace(db=self.db, gateway=self.cashier)
        while True:
            await asyncio.sleep(0.3)
            for act in (sweeps.expire, sweeps.end_due, sweeps.close_teams):
                with suppress(SQLAlchemyError, Refusal):
                    await act(tools, utc_now() + self.leap)

    # the judge

    def fail(self, violation: str) -> None:
        """Something is wrong."""
        self.history.violations.append(violation)

    async def told(self, rid: str, code: str) -> None:
        """A buyer hears something."""
        self._told.append((rid, code))
        async with self._judge:  # whoever comes first asks for all who wait
            waiting, self._told = self._told, []
            if waiting:
                async with self.db.connection() as connection:
                    rows = await connection.execute(text(_STANDS), {"rids": [rid for rid, _ in waiting]})
                    stands = {rid: number for rid, number in rows.all()}
                for rid, code in waiting:
                    self.history.told(rid, code, stands.get(rid))

    async def look(self) -> RealBooks:
        """The books, at one moment."""
        async with self._judge:
            books = await RealBooks.read(self)  # type: ignore[arg-type]
            self.history.look(books.seen())
        return books

    async def watch(self) -> None:
        """Look all the time; at the turnstile too, for what is wrong there heals with the next rebuild."""
        before: list[tuple[str, list[Any]]] = []
        while True:
            await asyncio.sleep(LOOKS)
            await self.look()
            before = [*before[1 - IN_A_ROW :], await self._sums()]
            if before[0][1] and before.count(before[0]) == IN_A_ROW:
                self.fail(f"sum: under fence {before[0][0]} the turnstile has {before[0][1]}")

    async def _sums(self) -> tuple[str, list[Any]]:
        """The fence of an open turnstile that is to be trusted, and where its sums are not the books'."""
        try:  # one that was put back to an older copy has the right fence, and is none of the right servers
            if not await sound(self.house.master.redis, self.db, self.room):
                return "", []
            found = await look(self.db, self.house.master.redis, self.room)
        except (RedisError, OSError, SQLAlchemyError):  # it is down, or on its way there
            return "", []
        if found.fence in ("", str(self.tampered)):
            return "", []
        return found.fence, [(each.offer, each.location, each.applied, each.faults) for each in found.terms if each.faults]

    @property
    def violations(self) -> list[str]:
        """Each once: what is wrong in the books is wrong at every look."""
        return list(dict.fromkeys(self.history.violations))

    async def fence(self) -> int:
        """The books' fence of this room."""
        async with self.db.connection() as connection:
            found = await connection.execute(text("SELECT fence FROM fence WHERE room_id = :r"), {"r": self.room})
            return int(found.scalar_one_or_none() or 0)

    async def reopened(self) -> bool:
        """Wait until the room is sound; False when it never is."""
        deadline = time.monotonic() + RESOLVED_SECONDS
        while time.monotonic() < deadline:
            with suppress(RedisError, OSError):
                if await sound(self.house.master.redis, self.db, self.room):
                    return True
            await asyncio.sleep(0.02)
        return False

    # the end

    async def close(self, tasks: list[asyncio.Task[None]]) -> None:
        """No faults any more: everybody gets an answer, every hold ends, and then the sums are due. `tasks`: the buyers'."""
        self.closing = True
        if not await self.reopened():
            self.fail(f"never reopened: the room was not sound {RESOLVED_SECONDS:g} s after the last fault")
        _, late = await asyncio.wait(tasks, timeout=RESOLVED_SECONDS)
        for buyer in self.buyers:
            if buyer.now is not None:
                tap = buyer.now
                self.fail(f"never resolved: {tap.rid} of {buyer.who} hears {tap.told!r} {RESOLVED_SECONDS:g} s after the last fault")
        await ended(late)
        for buyer in self.buyers:
            await asyncio.gather(*buyer.after)
        await self._settle_money()
        self.leap = timedelta(hours=1)  # every hold that is left ends
        await self._calm()
        await self._quiet()

    async def _settle_money(self) -> None:
        """The notices that were lost: the provider is asked about every order."""
        async with self.db.connection() as connection:
            numbers = (await connection.execute(text(_SILENT), {"r": self.room})).scalars().all()
        for no in numbers:
            await ask_provider(self.db, self.cashier, no, payment_arrived, utc_now())

    async def _calm(self) -> None:
        """Until nothing waits, or for as long as it may take."""
        deadline, still = time.monotonic() + RESOLVED_SECONDS, 0
        while time.monotonic() < deadline and still < 3:
            await asyncio.sleep(0.1)
            async with self.db.connection() as connection:
                waiting = (await connection.execute(text(_WAITING), {"r": self.room})).scalar_one()
            intents = await self.house.master.redis.xlen(room_key(self.room, "intents"))
            still = 0 if waiting or intents else still + 1

    async def _quiet(self) -> None:
        books = await self.look()
        trusted = await self.fence() != self.tampered
        counters = await self._counters(books) if trusted else None
        self.history.quiet(books.seen(), counters, [f"{kind} {what}" for kind, what in books.raw["outbox"]])
        if trusted:
            audit = await audit_room(self.db, self.house.master.redis, self.room)
            if not (audit.balanced and audit.settled):
                self.fail(f"audit: {[(terms.offer, terms.location, terms.faults) for terms in audit.offers if terms.faults]}")
        async with self.db.connection() as connection:
            for no, why in (await connection.execute(text(_MONEY), {"r": self.room})).all():
                self.fail(f"money: {no} {why}")

    async def _counters(self, books: RealBooks) -> Counters:
        found, stream = await real_offers(self.house.master.redis, self.room, self.offers)
        if stream:
            self.fail(f"left undone: {len(stream)} intents")
        on_sale = frozenset(books.offers[offer] for offer, _, phase, _ in books.raw["offers"] if phase == "open")
        return Counters(found.left, found.used, found.seats, {}, on_sale, found.move)


_STANDS = "SELECT rid, no FROM orders WHERE rid = ANY(:rids) UNION ALL SELECT rid, id::text FROM coupon_grant WHERE rid = ANY(:rids)"
_SILENT = "SELECT DISTINCT a.order_no FROM pay_attempt a JOIN orders o ON o.no = a.order_no WHERE o.room_id = :r AND a.state = 'SENT'"
_WAITING = """SELECT (SELECT count(*) FROM outbox WHERE room_id = :r AND kind <> 'job')
  + (SELECT count(*) FROM orders WHERE room_id = :r AND state IN ('AWAIT_PAY', 'CLOSING'))
  + (SELECT count(*) FROM offer WHERE room_id = :r AND phase = 'open' AND closes_at < now() + interval '1 hour')
  + (SELECT count(*) FROM team t JOIN offer o ON o.id = t.offer_id WHERE o.room_id = :r AND t.state = 'closing')"""
# What was paid keeps its order or goes back, and once: one winner an order, and none for an order that was given up.
_MONEY = """SELECT o.no, 'was given up with the money of ' || a.out_trade_no FROM orders o JOIN pay_attempt a ON a.order_no = o.no
  WHERE o.room_id = :r AND a.state = 'SUCCEEDED' AND NOT a.winner
    AND NOT EXISTS (SELECT 1 FROM refund f WHERE f.out_trade_no = a.out_trade_no)
  UNION ALL SELECT o.no, 'is ' || o.state || ' and has a winner' FROM orders o JOIN pay_attempt a ON a.order_no = o.no AND a.winner
  WHERE o.room_id = :r AND o.state IN ('AWAIT_PAY', 'CLOSING', 'CANCELLED')
  UNION ALL SELECT o.no, 'is ' || o.state || ' without a winner' FROM orders o
  WHERE o.room_id = :r AND o.state NOT IN ('AWAIT_PAY', 'CLOSING', 'CANCELLED')
    AND NOT EXISTS (SELECT 1 FROM pay_attempt a WHERE a.order_no = o.no AND a.winner)"""
