"""Proof kind `kills`: the real processes under load, killed with SIGKILL on purpose, frozen in mid-batch, and two ledgers on one room.

What buyers were told goes to the checker of `history`, with books read from PostgreSQL several times a second. Victims and moments are
drawn from the seed; where a moment falls in the shop's work is the machine's, but for the ledgers: some are frozen until one is found in
the middle of a batch, and killed there.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from live.offers.actions import add_stock
from live.offers.audit import audit
from live.promotions.coupon.actions import open_coupon
from live.promotions.flash_sale.actions import open_sale
from live.promotions.group_buy.actions import open_group
from live.protocol.codes import Refusal
from live.rooms.actions import create_room, start_room
from tests.offers.shop import make_shop
from tests.prove.bugs import Bug
from tests.prove.buyers import Crowd, Deal, Room
from tests.prove.compare import RealBooks, read_counters
from tests.prove.kinds import Result
from tests.prove.shop import AWAY, HUBS, LEDGERS, Shop

NAME = "kills"
BUDGETS = {"tiny": 5, "ci": 45, "release": 450, "planted": 9}
SHOW = 45  # kills of one shop; a bigger budget is several shops, one after the other
BUYERS = 30
# Of nine kills six are of processes, two of Valkey, one of PostgreSQL; of the first five each is one.
FIRST, THEN = ("ledger", "hub", "worker", "valkey", "postgres"), ("ledger", "ledger", "hub", "valkey")
LOOK_SECONDS = 0.2  # between looks at the books; a look that takes long is followed by a rest of three times its own length
RESOLVED_SECONDS = 30.0  # after the last fault every tap has its answer, and within as long again nothing moves
RECOVERY_SECONDS = 2.0  # how long a kill waits for the one before it to be over; then it falls into it
OPEN_SECONDS = 60.0
AIM_SECONDS = 0.6
AT_WORK_SECONDS = 5.0  # to find one that can be killed
HOLD_SECONDS = 3  # of the scarce sale, so that units come back all the time


@dataclass(frozen=True, slots=True)
class Kill:
    """One of the plan. Seconds: `before` it, `away` until the victim is started again. `aim`: what a ledger is to be killed at."""

    victim: str
    which: int
    before: float
    away: float
    aim: str
    whole: bool
    freeze: str  # what is done to a ledger before: nothing, a `nap`, or `steal` its rooms meanwhile, or `lease`: until it loses them


def plan(seed: int, count: int) -> list[Kill]:
    """Who is killed when."""
    dice = random.Random(seed)
    found: list[Kill] = []
    while len(found) < count:
        for part in (FIRST, THEN):
            for victim in dice.sample(part, len(part)):
                turn, at = divmod(len(found), 9)
                freeze = {1: "nap", 3: "steal", 6: "lease" if turn % 3 == 1 else ""}.get(at, "")
                aim = dice.choice(("", "transaction", "transaction", "pending"))
                away, whole = dice.choice((0.0, 0.2, 0.6)), dice.random() < 0.5
                found.append(Kill(victim, dice.randrange(2), dice.uniform(0.1, 0.6), away, aim, whole, freeze))
    return found[:count]


@dataclass(slots=True)
class Toll:
    """What one show did."""

    kills: Counter[str] = field(default_factory=Counter)
    freezes: Counter[str] = field(default_factory=Counter)
    aimed: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)


class Show:
    """One shop from its opening to its quiet end."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self.shop, self.seed = shop, seed
        self.rooms: list[Room] = []
        self.toll = Toll()
        self.recoveries: list[tuple[str, dict[str, float]]] = []
        self.crowd: Crowd
        self.drifts = 0  # rows of anything the audit or the till wondered about, healed or not

    @property
    def violations(self) -> list[str]:
        """What was found so far, each once."""
        return list(dict.fromkeys([*(one for room in self.rooms for one in room.history.violations), *self.toll.violations]))

    async def open(self, bug: Bug | None) -> None:
        """Servers, programs, stores, two rooms and what is on sale in them."""
        await self.shop.start()
        db, redis, now = self.shop.db, self.shop.redis, datetime.now(UTC)
        await make_shop(db)
        async with db.connection() as connection:
            await connection.execute(text("UPDATE stock SET on_hand = 1000000"))
        async with db.begin() as session:
            await create_room(session, room_id="r2", title_zh="间", title_en="Room")
            await start_room(session, "r2", now)
            # Long enough on sale for a kill to be seen through; and scarce, with a limit, and coming back every few seconds.
            long: dict[str, Any] = {"sku": "TEA", "per_person": 99, "minutes": None, "now": now}
            plenty = [await open_sale(session, room_id=room, fen=5000, stock={"S1": 50_000, "S2": 50_000}, hold_seconds=600, **long)
                      for room in ("r1", "r2")]  # fmt: skip
            scarce = await open_sale(session, room_id="r1", sku="TEA", fen=3000, per_person=2, stock={"S1": 9, "S2": 6}, minutes=None,
                                     hold_seconds=HOLD_SECONDS, now=now)  # fmt: skip
            group = await open_group(session, room_id="r2", sku="TEA", per_person=2, stock={"S1": 30}, size=30, minimum=2, minutes=30,
                                     tiers=[{"seats": 0, "fen": 8000}], hold_seconds=60, now=now)  # fmt: skip
            coupon = await open_coupon(session, room_id="r2", off=500, threshold=3000, total=60, per_person=3, minutes=None, now=now)
        ids = [int(offer.id or 0) for offer in (*plenty, scarce, group, coupon)]
        self.rooms = [
            Room(db, redis, "r1", (Deal(ids[0], False, 3, 0.2, 0.1), Deal(ids[2], False, 5, 0.1, 0.3))),
            Room(db, redis, "r2", (Deal(ids[1], False, 3, 0.2, 0.1), Deal(ids[3], False, 2, 0.3, 0.3), Deal(ids[4], True, 2, 0.0, 0.0))),
        ]
        for statement in bug.sql if bug else ():
            await self._unbound(statement)
        await self.shop.ready()
        self.crowd = Crowd(self.shop, self.rooms, BUYERS, self.seed)

    async def _unbound(self, statement: str) -> None:
        """A statement that no transaction may hold, such as ALTER SYSTEM."""
        async with await self.shop.db.raw() as connection:
            await connection.execute(statement.encode())

    async def play(self, kills: list[Kill]) -> None:
        """The plan, under load and under watch; then quiet. Ends at the first violation."""
        watching = asyncio.create_task(self._watch(), name="watch")
        hosting = asyncio.create_task(self._host(), name="host")
        try:
            self.crowd.start()
            first = self.crowd.mark()
            if not await self._until(lambda: len(first) == len(self.rooms), OPEN_SECONDS):
                self.toll.violations.append(f"never opened: nothing was booked in {OPEN_SECONDS:g} s")
            for kill in kills:
                if self.violations:
                    return
                await asyncio.sleep(kill.before)
                await self._kill(kill)
            hosting.cancel()
            self.crowd.over = True
            if not await self._until(lambda: all(task.done() for task in self.crowd.tasks), RESOLVED_SECONDS):
                self.toll.violations += [f"never resolved: {rid} of {room.room}" for rid, (room, _) in sorted(self.crowd.open.items())]
            if not self.violations:
                await self._quiet()
        finally:
            for task in (watching, hosting):
                task.cancel()
            await asyncio.gather(watching, hosting, return_exceptions=True)
            await self.crowd.stop()
            self._sum_up()

    async def _until(self, fact: Callable[[], bool], seconds: float) -> bool:
        """Whether it comes true within so long; a violation ends the wait."""
        end = time.monotonic() + seconds
        while not fact() and time.monotonic() < end and not self.violations:
            await asyncio.sleep(0.02)
        return fact()

    async def _watch(self) -> None:
        """Look at the books again and again."""
        while True:
            began = time.monotonic()
            with suppress(*AWAY):
                for room in self.rooms:
                    await room.look()
            await asyncio.sleep(max(LOOK_SECONDS, 3 * (time.monotonic() - began)) if not self.violations else LOOK_SECONDS)

    async def _host(self) -> None:
        """More of the scarce goods now and then."""
        while True:
            await asyncio.sleep(2.0)
            with suppress(Refusal, *AWAY):
                async with self.shop.db.begin() as session:
                    await add_stock(session, self.rooms[0].offers[1], "S1", 1, datetime.now(UTC))

    # faults

    async def _kill(self, kill: Kill) -> None:
        if kill.freeze:
            await self._freeze(kill)
        name = await self._victim(kill)
        mark = self.crowd.mark()
        if name == "valkey":
            await self.shop.kill_valkey(kill.away)
        elif name == "postgres":
            await self.shop.kill_postgres(kill.away, kill.whole)
        else:
            if name in LEDGERS:
                self.toll.aimed[await self._aim(name, kill.aim)] += 1
            self.shop.kill(name, kill.away)
        self.toll.kills[kill.victim] += 1
        self.recoveries.append((kill.victim, mark))
        await self._until(lambda: len(mark) == len(self.rooms), RECOVERY_SECONDS)

    async def _victim(self, kill: Kill) -> str:
        """A program that runs and is at work, the one that is meant first; of the ledgers one that holds a room. Or a server."""
        names = {"hub": HUBS, "ledger": LEDGERS, "worker": ("worker",)}.get(kill.victim)
        if names is None:
            return kill.victim
        first = await self.shop.owner(self.rooms[kill.which].room) if kill.victim == "ledger" else ""
        meant = (first, names[kill.which % len(names)])
        ordered = sorted(names, key=lambda name: (name != meant[0], name != meant[1]))
        await self._until(lambda: any(map(self.shop.at_work, ordered)), AT_WORK_SECONDS)
        return next(filter(self.shop.at_work, ordered), ordered[0])

    async def _aim(self, name: str, wanted: str) -> str:
        """Freeze the ledger in the middle of what is wanted; what it was found at."""
        end, found = time.monotonic() + AIM_SECONDS, ""
        while wanted and time.monotonic() < end:
            self.shop.freeze(name)
            await asyncio.sleep(0.003)  # what PostgreSQL was at is done
            at = [await self.shop.booking(name, room.room) for room in self.rooms]
            if wanted in at:
                return wanted
            found = found or max(at)
            self.shop.thaw(name)
            await asyncio.sleep(0.007)
        return found and "missed"

    async def _freeze(self, kill: Kill) -> None:
        """A ledger stands still in mid-batch, goes on as though nothing had been, and may find that its rooms are another's."""
        name = await self._victim(replace(kill, victim="ledger"))
        at = await self._aim(name, "transaction")
        self.toll.freezes[f"{kill.freeze}{' in mid-batch' if at == 'transaction' else ''}"] += 1
        try:
            if kill.freeze == "nap":
                await asyncio.sleep(1.5)  # longer than PostgreSQL leaves a transaction idle
                return
            self.shop.freeze(name)
            if kill.freeze == "steal":
                await self.shop.end_leases(name)
            held = {room.room for room in self.rooms}
            end = time.monotonic() + 8.0
            while held and time.monotonic() < end and not self.violations:
                held = {room for room in held if (await self.shop.owner(room)) in ("", name)}
                await asyncio.sleep(0.05)
            self.toll.freezes["rooms taken over"] += len(self.rooms) - len(held)
        finally:
            self.shop.thaw(name)

    # the end

    async def _quiet(self) -> None:
        """Everything goes on until nothing moves; then the sums are due."""
        end, found = time.monotonic() + RESOLVED_SECONDS, ["nobody could look"]
        while found and time.monotonic() < end:
            await asyncio.sleep(0.3)
            with suppress(*AWAY):
                found = await self._restless()
        self.toll.violations += [f"not quiet after {RESOLVED_SECONDS:g} s: {what}" for what in found]
        for room in self.rooms:
            books = await room.look()
            if room.heard:  # an answer came while the books were read
                books = await room.look()
            room.history.quiet(books.seen(), await read_counters(room, books), found)
            drifts: Any = books.raw["drifts"]
            self.drifts += drifts or 0

    async def _restless(self) -> list[str]:
        """What still moves, or does not balance."""
        async with self.shop.db.connection() as connection:
            found = [str(row[0]) for row in (await connection.execute(text(_RESTLESS), {"hold": HOLD_SECONDS})).all()]
        for room in self.rooms:
            before = await RealBooks.read(room)
            counters = await read_counters(room, before)
            if counters.waiting or (await RealBooks.read(room)).raw != before.raw:
                found.append(f"intents or movements in {room.room}")
        if found:
            return found
        books = await audit(self.shop.db, self.shop.redis)
        return [] if books["balanced"] else [f"audit: {books}"]

    def _sum_up(self) -> None:
        crowd, times = self.crowd, [(victim, max(mark.values())) for victim, mark in self.recoveries if len(mark) == len(self.rooms)]
        slowest: dict[str, float] = {}
        for victim, seconds in times:
            slowest[victim] = max(slowest.get(victim, 0.0), round(seconds, 2))
        self.toll.facts = {
            "taps": crowd.taps, "sends": crowd.sends, "orders": crowd.orders, "paid": crowd.paid, "lost_sockets": crowd.lost,
            "restarts": self.shop.restarts, "looks": sum(room.looks for room in self.rooms), "drifts": self.drifts,
        } | {f"slowest_{victim}": seconds for victim, seconds in slowest.items()} | {"slowest_answer": round(crowd.slowest, 2)}  # fmt: skip


# Jobs that are due later have been begun; what waits for its payment may wait. A paid order has one ticket, an unpaid one none.
_RESTLESS = """
SELECT 'outbox: ' || kind || ' ' || topic || ' ' || coalesce(room_id, '') FROM outbox WHERE kind <> 'job' OR done_at IS NULL
UNION ALL SELECT 'order ' || state FROM orders WHERE state IN ('CLOSING', 'PAID', 'REFUNDING')
UNION ALL SELECT 'hold of the scarce sale' FROM orders
  WHERE state = 'AWAIT_PAY' AND pay_until < created_at + make_interval(secs => :hold + 1)
UNION ALL SELECT 'order without its ticket' FROM orders o WHERE o.state IN ('ALLOCATED', 'READY', 'COLLECTED')
  AND (SELECT count(*) FROM ticket t WHERE t.order_no = o.no) <> 1
UNION ALL SELECT 'drift ' || what || ' ' || facts::text FROM drift WHERE finding IS NOT NULL AND healed_at IS NULL"""


async def _show(seed: int, count: int, bug: Bug | None) -> tuple[Toll, list[str]]:
    shop = Shop(bug.name if bug and bug.house else "")
    show = Show(shop, seed)
    try:
        await show.open(bug)
        await show.play(plan(seed, count))
        return show.toll, show.violations
    finally:
        await shop.stop()


def run(seed: int, budget: int, bug: Bug | None = None) -> Result:
    """`budget` kills, at most 45 a shop. With a `bug`, of a shop that has it."""
    result = Result(NAME, 0, seed)
    kills, frozen, killed_at, facts = Counter[str](), Counter[str](), Counter[str](), dict[str, float]()
    for number, at in enumerate(range(0, budget, SHOW)):
        toll, violations = asyncio.run(_show(seed + number, min(SHOW, budget - at), bug))
        kills, frozen, killed_at = kills + toll.kills, frozen + toll.freezes, killed_at + toll.aimed
        for name, value in toll.facts.items():
            facts[name] = max(facts.get(name, 0), value) if name.startswith("slowest") else facts.get(name, 0) + value
        result.runs = kills.total()
        result.facts = {"kills": dict(kills), "frozen": dict(frozen), "killed_at": dict(killed_at), **facts}
        result.violations += [f"{violation}; again: python -m tests.prove --kind kills --seed {seed + number}" for violation in violations]
        if violations:
            break
    return result
