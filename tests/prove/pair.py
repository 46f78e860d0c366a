"""The model's world and the real shop, hand in hand: each step is done to both, then both are looked at and must be the same.

The real side is `reserve`, `RoomLedger` and the shop's actions on a real Valkey and a real PostgreSQL; only the points at which a process
dies are ours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from live.infra.db import Database
from live.infra.embedded import EmbeddedServers
from live.infra.keys import room_key
from live.infra.redis import connect
from live.migrations.upgrade import upgrade
from live.offers.actions import add_stock, change_price, end_offer
from live.offers.catchup import missing, send
from live.offers.ledger import Hands, RoomLedger
from live.offers.rebuild import rebuild
from live.offers.reservations import CLOSED, Behind, Tap, read_record, record, reserve
from live.offers.rules import House, Intent, body_hash
from live.offers.till import Booking, Move, book, book_house
from live.orders import actions as orders
from live.orders.change import locked, move, return_goods
from live.payments.tables import PayAttempt
from live.promotions.coupon.actions import open_coupon
from live.promotions.flash_sale.actions import open_sale
from live.promotions.group_buy.actions import end_group, open_group
from live.rooms.actions import create_room, start_room
from tests.offers.shop import make_shop
from tests.prove.history import History
from tests.prove.model.world import Step, World
from workers.ledger import facts, hands

CAP = 20_000
PATIENCE = 120  # seconds a busy machine may stand still in the middle of a run without that being a finding


class Crash(Exception):
    """Raised where a process dies or a wire is cut."""


@dataclass(slots=True)
class Servers:
    """Embedded servers of a temporary folder, one shop, and a room per run."""

    folder: tempfile.TemporaryDirectory[str]
    embedded: EmbeddedServers
    db: Database
    redis: Redis
    run_id: str = ""
    rooms: int = 0

    @staticmethod
    async def start() -> Servers:
        """Start both and stock the stores."""
        folder = tempfile.TemporaryDirectory(prefix="prove-")
        embedded = EmbeddedServers(Path(folder.name) / "home", sync=False)
        await embedded.start()
        upgrade(embedded.database_url)
        db = Database(embedded.database_url, pool=5, idle_ms=PATIENCE * 1000)
        found = Servers(folder, embedded, db, connect(embedded.redis_url, timeout=PATIENCE))
        await make_shop(found.db)
        async with found.db.connection() as connection:
            await connection.execute(text("UPDATE stock SET on_hand = 10000000"))
        found.run_id = (await found.redis.info("server"))["run_id"]
        return found

    async def stop(self) -> None:
        """Leave nothing behind."""
        await self.redis.aclose()
        await self.db.close()
        await self.embedded.stop()
        self.folder.cleanup()


@dataclass(slots=True)
class Memory:
    """What a real ledger holds between two steps."""

    books: RoomLedger
    batch: list[Intent] = field(default_factory=list)
    after: list[tuple[Booking, bool]] = field(default_factory=list)


@dataclass(slots=True)
class Pair:
    """One run. `offers`: the real id of each offer of the model."""

    servers: Servers
    world: World
    room: str
    offers: list[int] = field(default_factory=list)
    ledgers: list[Memory] = field(default_factory=list)
    history: History = field(default_factory=History)
    dump: dict[bytes, bytes] | None = None
    acts: int = 0  # acts of the room before the model's first
    steps: list[Step] = field(default_factory=list)
    awaits: dict[str, str] = field(default_factory=dict)  # rid -> handle of the intent its hub waits for

    @property
    def db(self) -> Database:
        """The books."""
        return self.servers.db

    @property
    def redis(self) -> Redis:
        """The turnstile."""
        return self.servers.redis

    async def open(self) -> None:
        """The real room, like the world before its first step."""
        now = datetime.now(UTC)
        async with self.db.begin() as session:
            await create_room(session, room_id=self.room, title_zh="间", title_en="Room")
            await start_room(session, self.room, now)
        for offer, card in sorted(self.world.books.cards.items()):
            stock = {place: total for (each, place), (total, _, _) in self.world.books.allotments.items() if each == offer}
            common: dict[str, Any] = {"room_id": self.room, "per_person": card.k, "now": now}
            async with self.db.begin() as session:
                if card.kind == "coupon":
                    opened = await open_coupon(session, off=500, threshold=3000, total=stock["-"], minutes=None, **common)
                elif card.kind == "group":
                    tiers = [{"seats": 0, "fen": 8000}]
                    size = self.world.books.sizes[offer]
                    opened = await open_group(session, sku="TEA", stock=stock, size=size, minimum=1, tiers=tiers, minutes=30, **common)
                else:
                    opened = await open_sale(session, sku="TEA", fen=5000, stock=stock, minutes=None, hold_seconds=600, **common)
                self.offers.append(int(opened.id or 0))
        await rebuild(self.redis, self.db, self.room, facts)
        self.ledgers = [Memory(RoomLedger(self.room, self.db, self.redis, hands())) for _ in self.world.ledgers]
        for each in self.ledgers:
            await each.books._apply_outbox()
        self.acts = int(await self.redis.hget(room_key(self.room, "meta"), "act_no") or 0) - self.world.books.act_no  # type: ignore[misc]

    async def keys(self) -> list[bytes]:
        """Every key of the room."""
        return [key async for key in self.redis.scan_iter(f"{{{self.room}}}:*", count=1000)]

    # buyers

    async def number(self, rid: str) -> str | None:
        """The order (or coupon) of a rid in the books at this moment."""
        query = "SELECT no FROM orders WHERE rid = :r UNION ALL SELECT id::text FROM coupon_grant WHERE rid = :r"
        async with self.db.connection() as connection:
            found: str | None = (await connection.execute(text(query), {"r": self.rid(rid)})).scalar_one_or_none()
        return found

    def rid(self, rid: str) -> str:
        """A rid of the model, as the real shop knows it: rids are the shop's, not the room's."""
        return f"{self.room}.{rid}"

    async def told(self, rid: str, body: dict[str, Any] | None, code: str = "") -> None:
        """A buyer of the real shop hears something."""
        if body is not None:
            code = f"booked:{body['order']['no'] if 'order' in body else body['coupon']['id']}"
        self.history.told(rid, code, await self.number(rid))

    async def send(self, step: Step) -> None:
        """A tap, or one more try."""
        buyer = self.world.buyers[step[1]]
        at, lines = buyer.bodies[min(buyer.tries, len(buyer.bodies) - 1)]
        wanted = tuple((self.offers[offer - 1], qty, version) for offer, qty, version in lines)
        digest = body_hash([(offer, qty) for offer, qty, _ in wanted], at)
        tap = Tap(self.rid(buyer.rid), buyer.who, "P", "h1", digest, buyer.tries + 1, at, wanted)
        self.world.do(step)
        self.history.sent(buyer.rid)
        answer = (await reserve(self.redis, self.room, [tap], CAP))[0]
        self.awaits[buyer.rid] = ""
        if step[0] == "lose_reply":
            return
        self.awaits[buyer.rid] = answer.intent
        if answer.tag == "KNOWN":
            known = read_record(answer.record)
            self.awaits[buyer.rid] = known.intent
            if known.hash != digest:
                await self.told(buyer.rid, None, "key_reused")
            elif known.body is not None:
                await self.told(buyer.rid, known.body)
        elif answer.tag in ("NO", "FENCED"):
            await self.told(buyer.rid, None, answer.code or "fenced")

    async def ask(self, step: Step) -> None:
        """A look at the record."""
        rid = self.world.buyers[step[1]].rid
        self.world.do(step)
        found = await record(self.redis, self.room, self.rid(rid))
        await self.told(rid, found[1] if found and found[0] == "done" else None, "again" if found is None else "pending")

    # ledgers

    async def read(self, step: Step) -> None:
        """The next group, new or old."""
        self.world.do(step)
        self.ledgers[step[1]].batch = await self.ledgers[step[1]].books._read("0" if step[0] == "sweep" else ">")

    async def booking(self, i: int, end: str) -> None:
        """From BEGIN to `end`: commit, commit_unknown, abort or crash."""
        memory = self.ledgers[i]
        self.world.do(("begin", i))
        self.world.do((end, i))
        if end in ("commit", "commit_unknown"):
            done = await memory.books._commit(memory.batch)
            memory.after += [(done, False)] if end == "commit" else []
        else:
            await self._rolled_back(memory)
        memory.batch = []
        if end == "crash":
            self.lost(i)

    async def _rolled_back(self, memory: Memory) -> None:
        try:
            async with self.db.connection() as connection:
                await book(connection, self.room, memory.batch, memory.books.hands.bookers, memory.books.hands.bar, datetime.now(UTC))
                raise Crash
        except Crash:
            return

    async def settle(self, step: Step) -> None:
        """The first group reaches the turnstile: once, twice, or with its answer lost."""
        memory = self.ledgers[step[1]]
        self.world.do(step)
        model = self.world.ledgers[step[1]]
        lost = step[0] == "settle_lost" and not model.moves
        while model.moves or not (lost or model.after[0][1]):
            self.world.do(("adjust" if model.moves else "settle", step[1]))
        done = memory.after[0][0]
        for _ in range(2 if step[0] == "settle_twice" else 1):
            await memory.books._settle(done)
        if lost:
            memory.after = memory.after[1:]
        else:
            memory.after[0] = (done, True)

    async def publish(self, step: Step) -> None:
        """The first group's verdicts reach their buyers, or are lost."""
        memory = self.ledgers[step[1]]
        (done, _), memory.after = memory.after[0], memory.after[1:]
        before = dict(self.world.history.answers)
        self.world.do(step)
        if step[0] == "publish_lost":
            return
        await memory.books._publish(done.verdicts)
        for verdict in done.verdicts:
            rid = verdict.intent.rid.partition(".")[2]
            mine = verdict.body is not None or verdict.intent.handle == self.awaits.get(rid)
            if mine and before[rid][0] == "waiting":
                await self.told(rid, verdict.body, str(verdict.no[0]) if verdict.no else "")

    def lost(self, i: int) -> None:
        """The process is gone, and its successor begins."""
        self.ledgers[i] = Memory(RoomLedger(self.room, self.db, self.redis, hands()))

    async def crash(self, step: Step) -> None:
        """A ledger dies between two steps."""
        self.world.do(step)
        self.lost(step[1])

    async def outbox(self, i: int) -> None:
        """The real look at the outbox, whole."""
        self.world.do(("rows", i))
        while name := outbox_step(self.world, i, ("row", "adjust", "delete")):
            self.world.do((name, i))
        try:
            await self.ledgers[i].books._apply_outbox()
        except ResponseError:
            if self.world.servers[0].group:
                raise  # without the group a RETURN has to wait, on both sides

    async def outbox_dies(self, i: int, after: int) -> None:
        """A look at the outbox that ends with the process, after so many steps of the model; its transactions stand."""
        world, ledger = self.world, self.ledgers[i].books
        query = "SELECT kind, key, payload FROM outbox WHERE room_id = :r AND kind IN ('act','house') ORDER BY id"
        async with self.db.connection() as connection:
            rows = list((await connection.execute(text(query), {"r": self.room})).all())
        world.do(("rows", i))
        moves: list[Move] = []
        for _ in range(after):
            name = outbox_step(world, i)
            if name is None:
                break
            world.do((name, i))
            if name == "row":
                moves = await self._row(ledger, *rows.pop(0))
            else:
                moves = await self._adjust(moves)
        world.do(("crash", i))
        self.lost(i)

    async def _adjust(self, moves: list[Move]) -> list[Move]:
        """Send the first of these; what is to be sent then. Holds go one by one, as the model has them."""
        try:
            return [] if await send(self.redis, self.room, moves[0]) == CLOSED else moves[1:]
        except Behind as behind:
            async with self.db.connection() as connection:
                before = await missing(connection, *behind.gaps[0])
        return [replace(move, move_no=n, run=1) for move in before for n in range(move.move_no - move.run + 1, move.move_no + 1)] + moves

    async def _row(self, ledger: RoomLedger, kind: str, key: str, payload: dict[str, Any]) -> list[Any]:
        if kind == "act":
            await ledger._apply(kind, key, payload)
            return []
        entry = House.read(payload)
        if entry.kind == "RETURN":
            await ledger._drain()
        async with self.db.connection() as connection:
            return list(await book_house(connection, self.room, entry, ledger.hands.bar, datetime.now(UTC)))

    async def ensure(self, i: int, dies: bool) -> None:
        """The room is built anew; `dies`: between the snapshot and the first counter written."""
        world, ledger = self.world, self.ledgers[i].books
        for name in ("raise", "clear", "snapshot", *(("crash",) if dies else ("fill", "people", "open"))):
            world.do((name, i))
        if not dies:
            await ledger.ensure()
            return

        async def gone(connection: AsyncConnection, room: str) -> Any:
            raise Crash

        ledger.hands = Hands(ledger.hands.bookers, ledger.hands.bar, gone)
        try:
            await ledger.ensure()
        except Crash:
            self.lost(i)

    # the shop

    async def shop(self, step: Step) -> None:
        """Orders go on; the host edits."""
        name, what = step
        no = await self.number(what) if isinstance(what, str) else None
        places = min((at for offer, at in self.world.books.allotments if offer == what), default="")
        self.world.do(step)
        now = datetime.now(UTC)
        async with self.db.begin() as session:
            if no is not None:
                await self._order(session, name, no, now)
            elif name == "add":
                await add_stock(session, self.offers[what - 1], places, 1, now)
            elif name == "end":
                end = end_group if what in self.world.books.teams else end_offer  # a group ended as a sale would never close
                await end(session, self.offers[what - 1], now)
            else:
                await change_price(session, self.offers[what - 1], 4000 + what, now)

    @staticmethod
    async def _order(session: AsyncSession, name: str, no: str, now: datetime) -> None:
        if name == "pay":
            order = await locked(session, no)
            attempt = PayAttempt(order_no=no, out_trade_no=no, fen=order.fen, expires_at=now)
            assert await orders.payment_arrived(session, [attempt], now) == [True]
            return
        order = await locked(session, no)
        if name == "close":
            await orders._begin_closing(session, order, True, now)
        elif name == "cancel":
            await orders._give_up(session, order, now)
        else:
            move(order, "REFUNDING")
            move(order, "REFUNDED")
            await return_goods(session, [order], "RESTOCK")

    # Redis

    async def harm(self, step: Step) -> None:
        """Redis loses, forgets or changes something."""
        self.world.do(step)
        keys = await self.keys()
        name = step[0]
        if name == "save":
            self.dump = {key: await self.redis.dump(key) for key in keys}
        elif name in ("flush", "tail", "restore"):
            await self.redis.delete(*keys, b"-")
            for key, value in (self.dump or {}).items() if name != "flush" else ():
                await self.redis.restore(key, 0, value)
        elif name == "forget":
            await self._forget(step[1], keys)
        model, meta = self.world.servers[-1], room_key(self.room, "meta")
        if await self.redis.hexists(meta, "run_id"):  # type: ignore[misc]
            same = model.run_id == model.server  # another server process is one whose run_id is not the stored one
            await self.redis.hset(meta, "run_id", self.servers.run_id if same else "another")  # type: ignore[misc]

    async def _forget(self, what: str, keys: list[bytes]) -> None:
        prefix = {"records": "rids:", "used": "used:", "cards": "offer:", "left": "offer:"}.get(what, what)
        mine = [key for key in keys if key.startswith(room_key(self.room, prefix).encode())]
        mine = [key for key in mine if what != "meta" or key == room_key(self.room, "meta").encode()]
        if what != "left":
            await self.redis.delete(*mine, b"-")
        for key in mine if what == "left" else ():
            name = key.decode()
            fields = [each for each in await self.redis.hkeys(name) if each.startswith(b"left:")]  # type: ignore[misc]
            if fields:
                await self.redis.hdel(name, *fields)  # type: ignore[misc]

    async def take(self, step: Step) -> None:
        """A step that is one step on both sides."""
        self.steps.append(step)
        await _DO[step[0]](self, step)


def outbox_step(world: World, i: int, names: tuple[str, ...] = ("row", "adjust")) -> str | None:
    """The next step of a look at the outbox, if it is one of these."""
    found = world.ledgers[i].steps(world.books, world.servers[0])
    return found[0] if found and found[0] in names else None


_DO: dict[str, Callable[[Pair, Step], Any]] = {
    **dict.fromkeys(("send", "again", "lose_reply"), Pair.send),
    "ask": Pair.ask,
    **dict.fromkeys(("read", "sweep"), Pair.read),
    **dict.fromkeys(("settle", "settle_twice", "settle_lost"), Pair.settle),
    **dict.fromkeys(("publish", "publish_lost"), Pair.publish),
    "crash": Pair.crash,
    **dict.fromkeys(("pay", "close", "cancel", "refund", "add", "end", "price"), Pair.shop),
    **dict.fromkeys(("save", "flush", "restart", "tail", "restore", "forget"), Pair.harm),
}
