"""The ledger: the books of one room. It books intents in groups and applies outbox rows; its owner may die at any moment (`leases.py`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import psycopg
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from live.infra import outbox, roomlog
from live.infra.db import Database, utc_now
from live.infra.keys import hub_channel, room_key
from live.offers.catchup import abreast, send
from live.offers.course import Course
from live.offers.rebuild import RoomFacts, rebuild, sound
from live.offers.reservations import CLOSED, Behind, Settled, settle, unsettled
from live.offers.restock import book_all
from live.offers.rules import House, Intent
from live.offers.seats import Bar
from live.offers.till import BAD_BATCH, Booker, Booking, Verdict, book
from live.offers.waitlist.giving import Giving

log = structlog.get_logger("ledger")

ROUNDS = 8  # groups booked in one go while more keep coming; then the relay gets its turn
GROUP = 500  # intents a transaction: beyond this the commit is no longer the cost
PACE = 0.03  # seconds between groups that follow each other: each costs some 8 ms of CPU here and there, however small it is
FULL = 150  # intents from which on a group is worth its cost: the next one comes at once
BLOCK = 1000  # ms the books wait for an intent; the socket's timeout is longer by more than a second
POLL = 0.2  # seconds between looks at the outbox when no NOTIFY came
TURN = 0.05  # seconds that what follows a commit makes way for the next group: a full one has sent its writes after some 30 ms
TOLD = 2_000  # news in one call: some 30 ms of a Redis that everybody waits for
HOUSE = 50  # movements of the shop booked in one go, each a transaction; then intents get their turn
PARKED_AFTER = 5  # tries of a movement that no constraint will ever let pass
TROUBLE = (RedisError, OSError, SQLAlchemyError, psycopg.Error)
RERUN = frozenset({"40001", "40P01", "55P03"})  # serialisation failure, deadlock, lock timeout: the same batch again


@dataclass(frozen=True, slots=True)
class Hands:
    """What higher nouns hand to the ledger: bookers, the bar of a team, and what a rebuilt room needs besides stock."""

    bookers: Sequence[Booker]
    bar: Bar
    facts: RoomFacts


class RoomLedger:
    """The books of one room. The loops of intents and outbox share a lock, so movements reach Redis in the order of their numbers."""

    def __init__(self, room: str, db: Database, redis: Redis, hands: Hands, reader: Redis | None = None) -> None:
        self.room, self.db, self.redis, self.hands = room, db, redis, hands
        self.reader = reader or redis  # must not send a read again by itself: what the lost reply held would lie unread
        self.lock = asyncio.Lock()
        self.news = asyncio.Event()  # the outbox may have rows …
        self.bars = asyncio.Event()  # … and bars among them
        self.lost = False  # the turnstile lacks what only a rebuild can bring
        self.owed = True  # outbox rows may be booked but not applied: they go before anything else
        self.closed = False  # beside the cancellation, which redis-py 5 can swallow while it connects
        self.begun, self.size = 0.0, 0  # when the last group's booking began, and its intents
        self.drains = 0  # how often all that was delivered was booked: what the intents' loop had read before may be settled by that
        self.after: asyncio.Task[None] | None = None  # what follows the last group's commit
        self.course = Course()  # of the group at hand: when there is time for what follows the last one
        self.told: list[int] = []  # outbox rows whose news were told right after their commit; deleted with the next look at the outbox
        self.failures: dict[int, int] = {}  # house rows that could not be booked, and how often

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._intents())
            tasks.create_task(self._relay())
            tasks.create_task(self._bars())

    def nudge(self) -> None:
        """Something was committed for this room."""
        self.news.set()
        self.bars.set()

    async def _intents(self) -> None:
        swept = 0.0
        while not self.closed:
            try:
                await self._paced()
                drains = self.drains
                entries = await self._read(">", BLOCK)
                async with self.lock:
                    await self._book_read(entries, drains)
                    if time.monotonic() - swept >= 1.0:
                        await self._book_delivered()
                        swept = time.monotonic()
            except TROUBLE as error:
                swept = 0.0
                await self._trouble("intents", error)

    async def _book_read(self, intents: list[Intent], drains: int) -> None:
        """Book what was read when `self.drains` was `drains`, and what came meanwhile. Under the lock."""
        if self.owed:
            await self._apply_outbox()
        if drains == self.drains:
            await self._book_rounds(intents)
        else:  # some of what was read may be answered already; asked once more, a buyer who was refused could be booked
            await self._book_delivered()

    async def _book_rounds(self, intents: list[Intent]) -> None:
        """Book what was read and what came meanwhile. Under the lock."""
        try:
            for _ in range(ROUNDS):
                if not intents:
                    return
                if self.news.is_set():
                    break  # the relay has its turn after this group: a bar that hundreds pay into would be seen late
                if any(intent.ask for intent in intents):  # they are booked with all that was delivered: nothing may be delivered meanwhile
                    await self._book_new(intents)
                    intents = await self._read(">")
                    continue
                ahead = asyncio.create_task(self._read_ahead())  # while PostgreSQL is at this group
                try:
                    await self._book_new(intents)
                except BaseException:
                    ahead.cancel()  # what a failed group leaves behind is swept, with what was read meanwhile
                    await asyncio.gather(ahead, return_exceptions=True)
                    raise
                intents = await ahead
            if intents:
                await self._book_new(intents)
        finally:
            await self._settled_all()

    async def _book_new(self, intents: list[Intent]) -> None:
        """Book what was delivered for the first time."""
        if any(intent.ask for intent in intents):
            # A question is answered from the books. If the turnstile lost the rid's record, an earlier intent of the same rid may have been
            # delivered to a former owner, or to a group that failed: it is booked first, in the order of the stream.
            await self._book_delivered()
        else:
            await self._book(intents)

    async def _book_delivered(self) -> None:
        """Book everything that was delivered and is not settled: by a former owner, by a read whose reply was lost, by a failed group."""
        await self._settled_all()
        while intents := await self._read("0"):
            try:
                await self._book(intents)
            finally:
                await self._settled_all()  # or they would be read once more

    async def _drain(self) -> None:
        """Book everything the turnstile has let through so far. Under the lock, which the intents' loop does not need to read."""
        try:
            await self._book_delivered()
            while intents := await self._read(">"):
                await self._book_new(intents)
            await self._book_delivered()  # what that loop has read between the two
        finally:
            self.drains += 1  # last: so it counts for whatever was read meanwhile
            await self._settled_all()

    async def _read(self, begin: str, block: int | None = None) -> list[Intent]:
        """The next intents: `0` those delivered and not settled, `>` new ones. `block`: ms to wait for one."""
        key = room_key(self.room, "intents")
        if begin == "0":
            entries = await unsettled(self.reader, self.room, GROUP)
        else:
            # No list of what is pending: that is what the stream still holds, since settling deletes. Keeping one costs a write an intent.
            found = await self.reader.xreadgroup("ledger", "till", {key: begin}, count=GROUP, block=block, noack=True)
            entries = [(stream_id, fields.get(b"j", b"")) for _, each in found or [] for stream_id, fields in each]
        intents = []
        for stream_id, raw in entries:
            try:
                intents.append(Intent.read(stream_id.decode(), orjson.loads(raw)))
            except (KeyError, TypeError, ValueError) as error:
                log.error("intent.unreadable", room=self.room, id=stream_id.decode(), error=repr(error)[:200])
                await self.redis.xdel(key, stream_id)
        return intents

    async def _read_ahead(self) -> list[Intent]:
        await asyncio.sleep(0)  # the group at hand goes first
        await self._turn(self.course.sent)
        await self._paced()
        return await self._read(">")

    async def _paced(self) -> None:
        """Let a group gather: until so long after the last one began. Nobody waits where nothing was booked just now, or very much."""
        if self.size < FULL:
            await asyncio.sleep(max(0.0, self.begun + PACE - time.monotonic()))

    async def _turn(self, reached: asyncio.Event) -> None:
        """Let the group at hand get so far first: while it and PostgreSQL wait for each other, neither works."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TURN):
                await reached.wait()

    async def _book(self, intents: list[Intent]) -> None:
        """Commit a group. What follows the commit runs while PostgreSQL is at the next one: see `_settled_all`."""
        self.begun, self.size = time.monotonic(), len(intents)
        booking = await self._commit(intents)
        await self._settled_all()
        self.after = asyncio.create_task(self._follow(booking))

    async def _settled_all(self) -> None:
        """Nothing that was committed waits to be settled: before the lock is let go, so that movements reach Redis in their order."""
        task, self.after = self.after, None
        if task is not None:
            await task

    async def _follow(self, booking: Booking) -> None:
        """Settle the turnstile and tell the buyers in the first wait of the next group; their other pages in the second."""
        await self._turn(self.course.asked)
        await self._settle(booking)
        await self._publish(booking.verdicts)
        await self._turn(self.course.sent)
        for intent, why in booking.drifts:
            log.warning("till.refused", room=self.room, rid=intent.rid, why=why)
        # News and bars are told from here, not read from the outbox: their rows are for a successor, should this process die before.
        if booking.news and await roomlog.tell(self.redis, self.room, booking.news) >= 0:
            self.told += booking.rows
        for bar in booking.bars:
            if bar.next and await roomlog.count(self.redis, self.room, bar.key, bar.version, bar.value) >= 0:
                self.told.append(bar.row)
            else:
                self.nudge()  # an act goes before it, or the room is not open: the relay will come by it

    async def _settle(self, booking: Booking) -> None:
        settled = [self._settled(verdict) for verdict in booking.verdicts]
        await self._abreast(lambda: settle(self.redis, self.room, settled, booking.moves))

    async def _abreast(self, act: Callable[[], Awaitable[int]]) -> int:
        """Do this at the turnstile, after the movements it lacks. One that cannot be brought up to the books is built anew."""
        try:
            return await abreast(self.db, self.redis, self.room, act)
        except Behind:
            self.lost = True
            raise

    async def _commit(self, intents: list[Intent]) -> Booking:
        """One transaction; halved when a constraint fires, so one bad intent cannot sink the others."""
        for attempt in range(5):
            self.course.begin()
            try:
                async with self.db.connection() as connection:
                    result = await book(connection, self.room, intents, self.hands.bookers, self.hands.bar, utc_now(), self.course)
                    for intent, why in result.drifts:
                        await self._drift(connection, intent, why)
                return result
            except BAD_BATCH as error:
                log.error("till.constraint", room=self.room, intents=len(intents), error=str(error)[:300])
                return await self._halves(intents, error)
            except (DBAPIError, psycopg.Error) as error:
                if getattr(getattr(error, "orig", error), "sqlstate", None) not in RERUN or attempt == 4:
                    raise
            finally:
                self.course.end()
        raise AssertionError("unreachable")

    async def _halves(self, intents: list[Intent], error: Exception) -> Booking:
        if len(intents) == 1:
            diagnosis = getattr(getattr(error, "orig", error), "diag", None)
            why = getattr(diagnosis, "constraint_name", None) or type(error).__name__
            async with self.db.connection() as connection:
                await self._drift(connection, intents[0], why)
            return Booking(verdicts=[Verdict(intents[0], no=("sold_out",), gives_back=not intents[0].ask)])
        middle = len(intents) // 2
        return await self._commit(intents[:middle]) + await self._commit(intents[middle:])

    async def _drift(self, connection: object, intent: Intent, why: str) -> None:
        row = {"r": self.room, "o": intent.lines[0].offer, "f": orjson.dumps({"rid": intent.rid, "why": why}).decode()}
        insert = text("INSERT INTO drift (room_id, offer_id, what, facts) VALUES (:r, :o, 'till_refused', CAST(:f AS jsonb))")
        await connection.execute(insert, row)  # type: ignore[attr-defined]

    def _settled(self, verdict: Verdict) -> Settled:
        intent = verdict.intent
        back = tuple((offer, intent.at, qty, intent.person) for offer, qty in intent.units().items()) if verdict.gives_back else ()
        record = b"D|" + intent.hash.encode() + b"|" + orjson.dumps(verdict.body) if verdict.body is not None else None
        return Settled(intent.id, intent.rid, record, back)

    async def _publish(self, verdicts: Sequence[Verdict]) -> None:
        """Tell the hubs what became of which intent. A message lost here is found by asking: the record has been written."""
        by_hub: dict[str, list[object]] = {}
        for verdict in verdicts:
            by_hub.setdefault(verdict.intent.hub, []).append([verdict.intent.rid, verdict.intent.handle, verdict.body, list(verdict.no)])
        for hub, body in by_hub.items():
            await self.redis.publish(hub_channel(hub), orjson.dumps(body))

    async def _relay(self) -> None:
        checked = 0.0
        while not self.closed:
            try:
                if self.lost or time.monotonic() - checked >= 1.0:
                    await self.ensure()
                    checked = time.monotonic()
                async with self.lock:
                    self.news.clear()  # what is set from here on is not in this look
                    more = await self._apply_outbox()
                if not more:
                    # Not wait_for: Python 3.11's can swallow a cancellation, and the room would never be let go.
                    with suppress(TimeoutError):
                        async with asyncio.timeout(POLL):
                            await self.news.wait()
            except TROUBLE as error:
                checked = 0.0
                await self._trouble("relay", error)

    async def _bars(self) -> None:
        """Show bars as soon as they are committed, beside the lock: versions order them, and a group being booked would make each late."""
        while not self.closed:
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(BLOCK / 1000):
                        await self.bars.wait()
                if self.bars.is_set():
                    self.bars.clear()
                    await self._apply_bars()
            except TROUBLE as error:  # the relay will come by them
                await self._trouble("bars", error)

    async def _apply_bars(self) -> None:
        """Counted keys that no act has to go before."""
        async with self.db.connection() as connection:
            rows, done = outbox.newest((await connection.execute(text(_BARS), {"r": self.room})).all())
        done += [row_id for row_id, kind, key, payload in rows if await self._apply(kind, key, payload)]
        if done:
            async with self.db.connection() as connection:
                await connection.execute(_GONE, {"ids": done})

    async def ensure(self) -> None:
        """Make the room's turnstile sound: rebuild it when Redis lost, forgot or changed anything it stands on."""
        if not self.lost and await sound(self.redis, self.db, self.room):
            return
        async with self.lock:
            if not self.lost and await sound(self.redis, self.db, self.room):
                return
            started = time.monotonic()
            fence = await rebuild(self.redis, self.db, self.room, self.hands.facts)
            self.lost = False
            log.info("room.rebuilt", room=self.room, fence=fence, seconds=round(time.monotonic() - started, 3))

    async def _apply_outbox(self) -> bool:
        """Apply this room's rows, oldest first. True when there may be more. Under the lock."""
        self.owed = True
        told = list(self.told)
        async with self.db.connection() as connection:
            if told:
                await connection.execute(_GONE, {"ids": told})
            rows = (await connection.execute(text(_ROWS), {"r": self.room})).all()
        self.told = self.told[len(told) :]
        full = len(rows) == GROUP
        rows, done = outbox.newest(rows)
        own: list[tuple[str, str, int, bytes]] = []
        own_ids: list[int] = []
        house = 0
        try:
            for row_id, kind, key, payload, news in rows:
                if kind == "own":
                    own += [(who, thing, version, orjson.dumps(body)) for who, thing, version, body in outbox.news_of(key, payload, news)]
                    own_ids.append(row_id)
                    if len(own) >= TOLD:
                        break
                elif kind == "house":
                    if house == HOUSE:
                        break  # buyers wait for this lock too
                    house += 1
                    if await self._house(row_id, payload):
                        done.append(row_id)
                elif await self._apply(kind, key, payload):
                    done.append(row_id)
            if own and await roomlog.tell(self.redis, self.room, own) >= 0:
                done += own_ids
        finally:
            if done:
                async with self.db.connection() as connection:
                    await connection.execute(_GONE, {"ids": done})
        self.owed = False
        return bool(done) and (house == HOUSE or len(own) >= TOLD or full)

    async def _apply(self, kind: str, key: str, payload: dict[str, Any]) -> bool:
        """An act or a count. True when it is done with."""
        if kind == "count":
            return await roomlog.count(self.redis, self.room, key, payload["version"], payload["value"]) >= 0
        for event, body in payload["events"]:
            if event == "comment.withdrawn":  # before it is told: a hub that begins in between would keep it
                await roomlog.withdraw(self.redis, self.room, body["id"])
        applied = await roomlog.apply(self.redis, self.room, payload)
        if applied == roomlog.NOT_NEXT:
            # Rows come in the order of their numbers and go when they are applied: those before it were, at a turnstile that forgot them.
            self.lost = True
        return applied >= 0

    async def _house(self, row_id: int, payload: dict[str, Any]) -> bool:
        """Movements of the shop. One that can never be booked is parked after some tries, with a drift row, and stops nobody else."""
        try:
            entries = [House.read(each) for each in payload.get("many", [payload])]
            if any(entry.kind == "RETURN" for entry in entries):
                await self._drain()  # whoever passed the turnstile before the end is booked before the rest goes back
            moves = await book_all(self.db, self.room, entries, self.hands.bar, utc_now(), Giving(self.hands.bookers))
        except BAD_BATCH as error:
            if "many" in payload:
                async with self.db.connection() as connection:
                    await outbox.apart(connection, row_id)
                return False
            self.failures[row_id] = self.failures.get(row_id, 0) + 1
            log.error("house.refused", room=self.room, row=row_id, tries=self.failures[row_id], error=str(error)[:300])
            if self.failures[row_id] >= PARKED_AFTER:
                await self._park(row_id, payload, error)
            return False
        self.failures.pop(row_id, None)
        # Not open: lost, or another owner is between the snapshot and the last counter of a rebuild. The row stays until it was seen there.
        return CLOSED not in [await self._abreast(partial(send, self.redis, self.room, move)) for move in moves]

    async def _park(self, row_id: int, payload: dict[str, Any], error: Exception) -> None:
        facts = orjson.dumps({"row": row_id, "entry": payload, "error": str(error)[:500]}).decode()
        async with self.db.connection() as connection:
            park = "UPDATE outbox SET kind = 'job', topic = 'parked', due_at = 'infinity', error = :e WHERE id = :id"
            await connection.execute(text(park), {"id": row_id, "e": str(error)[:500]})
            insert = text("INSERT INTO drift (room_id, what, facts) VALUES (:r, 'house_parked', CAST(:f AS jsonb))")
            await connection.execute(insert, {"r": self.room, "f": facts})

    async def _trouble(self, loop: str, error: BaseException) -> None:
        expected = isinstance(error, ResponseError) and "NOGROUP" in str(error)  # until the room is rebuilt, see `sound`
        (log.debug if expected else log.warning)("ledger.trouble", room=self.room, loop=loop, error=repr(error)[:200])
        await asyncio.sleep(0.1)


_GONE = text("DELETE FROM outbox WHERE id = ANY(CAST(:ids AS bigint[]))")
_BARS = (
    "SELECT id, kind, key, payload FROM outbox AS bar WHERE room_id = :r AND kind <> 'job' AND kind = 'count' AND NOT EXISTS"
    " (SELECT FROM outbox AS act WHERE act.room_id = :r AND act.kind <> 'job' AND act.kind = 'act' AND act.id < bar.id)"
    f" ORDER BY id LIMIT {GROUP}"
)
_ROWS = f"SELECT id, kind, key, payload, news FROM outbox WHERE room_id = :r AND kind <> 'job' ORDER BY id LIMIT {GROUP}"
