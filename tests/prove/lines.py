"""Proof kind `lines`: small teams, waitlists and red packets, which the model does not know, on real servers with two ledgers.

A show is drawn from its seed, one step after the other: people tap for seats, units and shares, pay, give up, stand in line and leave it;
ledgers read, book, look at the outbox and die; teams run out, other offers end, Redis is emptied and the room built anew. After each step
the books are looked at: no team has more people than seats, a team is decided once and made by its last paid seat, who waits is served in
order, and a packet's shares are taken in order, each worth its points once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from live.offers.actions import add_stock
from live.offers.audit import audit_room
from live.offers.ledger import RoomLedger
from live.offers.rebuild import rebuild
from live.offers.reservations import Tap, read_record, reserve, units_left
from live.offers.rules import ANYWHERE, Intent, body_hash
from live.offers.till import Verdict
from live.offers.waitlist.actions import enter, leave
from live.promotions.flash_sale.actions import end_sale, open_sale
from live.promotions.red_packet.actions import open_packet
from live.promotions.team.actions import open_teams, run_out
from live.protocol.codes import Refusal
from live.rooms.actions import create_room, start_room
from tests.prove.compare import RealBooks, read_counters
from tests.prove.history import History
from tests.prove.kinds import Result, shares
from tests.prove.pair import CAP, Pair, Servers
from workers.ledger import facts, hands

NAME = "lines"
BUDGETS = {"tiny": 3, "ci": 10, "release": 200, "planted": 8}
STEPS = 120
SPARE = 3  # offers that are there to be ended
SIZE = 2  # seats of a team: the fewest, so that the last one is fought for
PEOPLE = 40
SHARES, POINTS = 12, 100  # of the red packet
WAYS = {
    "tap": 16, "read": 5, "book": 5, "look": 5, "pay": 4, "give_up": 4, "join": 4, "leave": 1, "run_out": 1, "add": 1, "late": 1, "die": 1,
    "lose": 1, "freeze": 1,
}  # fmt: skip


class Owner(RoomLedger):
    """One of two ledgers of the room: what it read and has not booked yet, and what it says to buyers."""

    show: Show

    def begin(self, show: Show) -> Owner:
        """With nothing in hand."""
        self.show, self.hand, self.seen, self.beside = show, list[Intent](), 0, False
        return self

    async def _read(self, begin: str, block: int | None = None) -> list[Intent]:
        if self.beside and begin == ">":  # its loop reads without the lock, and was faster
            self.beside, self.seen, self.hand = False, self.drains, await super()._read(">")
        return await super()._read(begin, block)

    async def _publish(self, verdicts: Sequence[Verdict]) -> None:
        await self.show.told(verdicts)


@dataclass(slots=True)
class Show:
    """One room."""

    servers: Servers
    room: str
    dice: random.Random
    offers: list[int] = field(default_factory=list)  # teams, a sale with a line, a red packet, then those that end
    owners: list[Owner] = field(default_factory=list)
    history: History = field(default_factory=History)
    taps: dict[str, Tap] = field(default_factory=dict)  # by rid
    steps: list[str] = field(default_factory=list)

    @property
    def db(self) -> Any:
        """The books."""
        return self.servers.db

    @property
    def redis(self) -> Any:
        """The turnstile."""
        return self.servers.redis

    async def open(self) -> None:
        """Everything on sale."""
        now = datetime.now(UTC)
        common: dict[str, Any] = {"room_id": self.room, "sku": "TEA", "fen": 5000, "minutes": None, "hold_seconds": 600, "now": now}
        packet: dict[str, Any] = {"currency": "points", "total": POINTS, "shares": SHARES, "least": 1, "threshold": 0, "word": ""}
        async with self.db.begin() as session:
            await create_room(session, room_id=self.room, title_zh="间", title_en="Room")
            await start_room(session, self.room, now)
            shares = await open_packet(session, room_id=self.room, minutes=None, now=now, seed=self.room, **packet)
            opened = [
                await open_teams(session, stock={"S1": 30}, size=SIZE, team_minutes=60, **common),
                await open_sale(session, stock={"S1": 2}, per_person=1, waitlist_seconds=60, **common),
                shares,
                *[await open_sale(session, stock={"S1": 1}, per_person=1, **common) for _ in range(SPARE)],
            ]
        self.offers = [int(offer.id or 0) for offer in opened]
        await rebuild(self.redis, self.db, self.room, facts)
        self.owners = [self._owner() for _ in range(2)]
        for owner in self.owners:
            await owner._apply_outbox()

    def _owner(self) -> Owner:
        return Owner(self.room, self.db, self.redis, hands()).begin(self)

    async def rows(self, query: str) -> list[Any]:
        """Of this room."""
        async with self.db.connection() as connection:
            return list((await connection.execute(text(query), {"r": self.room, "line": self.offers[1], "packet": self.offers[2]})).all())

    async def told(self, verdicts: Sequence[Verdict]) -> None:
        """Buyers hear what became of their taps."""
        stands = dict(await self.rows(_STANDS))
        for verdict in verdicts:
            code = _booked(verdict.body) if verdict.body else str(verdict.no[0])
            # What a team refuses is final, too; the checker knows the turnstile's words.
            self.hears(verdict.intent.rid, "team_full" if code == "team_closed" else code, stands.get(verdict.intent.rid))

    def hears(self, rid: str, code: str, stands: str | None) -> None:
        """The buyer of this tap."""
        mine = rid.partition(".")[2]  # as the checker reads rids
        if code.startswith("booked:") and self.history.answers[mine][0] == "refused":
            self.history.violations.append(f"refused, then booked: {rid}")
        self.history.told(mine, code, stands)

    # steps

    async def tap(self) -> None:
        """A seat of some team or of a new one, one unit, or a share."""
        who, team, offer = f"{self.room}:{self.dice.randrange(PEOPLE)}", None, self.dice.choice(self.offers[:3])
        if offer == self.offers[0]:
            open_now = await self.rows("SELECT id FROM party WHERE room_id = :r AND state = 'filling' ORDER BY id")
            team = open_now[0][0] if open_now and self.dice.random() < 0.8 else None  # all want the same one
        await self._send(self._tap(who, offer, team))

    def _tap(self, who: str, offer: int, team: int | None = None) -> Tap:
        rid, at = f"{self.room}.{len(self.taps) + 1}", (ANYWHERE,) if offer == self.offers[2] else ("S1",)
        self.taps[rid] = Tap(rid, who, "P", "h1", body_hash([(offer, 1)], at, team), 1, at, ((offer, 1, 1),), team=team)
        return self.taps[rid]

    async def _send(self, tap: Tap) -> None:
        self.history.sent(tap.rid.partition(".")[2])
        answer = (await reserve(self.redis, self.room, [tap], CAP))[0]
        if answer.tag == "NO":
            self.hears(tap.rid, answer.code, None)
        elif answer.tag == "KNOWN" and (body := read_record(answer.record).body):
            self.hears(tap.rid, _booked(body), dict(await self.rows(_STANDS)).get(tap.rid))

    def _waits(self, tap: Tap) -> bool:
        return self.history.answers[tap.rid.partition(".")[2]][0] in ("waiting", "again")

    async def lose(self) -> None:
        """Redis is empty, and the room built anew from the books. Whoever waits for an answer taps again."""
        await self.redis.flushall()
        await rebuild(self.redis, self.db, self.room, facts)
        for tap in self.taps.values():
            if self._waits(tap):
                await self._send(replace(tap, tries=2))

    async def read(self) -> None:
        """As its loop does, without the lock."""
        owner = self.dice.choice(self.owners)
        if not owner.hand:
            owner.seen = owner.drains
            owner.hand = await owner._read(">")

    async def book(self) -> None:
        """What it holds, as its loop does."""
        owner = self.dice.choice(self.owners)
        hand, owner.hand = owner.hand, []
        await owner._book_read(hand, owner.seen)

    async def look(self) -> None:
        """At the outbox."""
        await self.dice.choice(self.owners)._apply_outbox()

    async def die(self) -> None:
        """A ledger is gone; its successor sweeps."""
        self.owners[self.dice.randrange(2)] = owner = self._owner()
        await owner._book_delivered()

    async def pay(self) -> None:
        """Somebody pays."""
        await self._order("pay")

    async def give_up(self) -> None:
        """Somebody does not, in time."""
        await self._order("cancel")

    async def _order(self, how: str) -> None:
        unpaid = await self.rows("SELECT no FROM orders WHERE room_id = :r AND state = 'AWAIT_PAY' ORDER BY id")
        if unpaid:
            async with self.db.begin() as session:
                if how == "cancel":
                    await Pair._order(session, "close", no := self.dice.choice(unpaid)[0], datetime.now(UTC))
                    await Pair._order(session, "cancel", no, datetime.now(UTC))
                else:
                    await Pair._order(session, "pay", self.dice.choice(unpaid)[0], datetime.now(UTC))

    async def join(self) -> None:
        """Stand in line, where there is nothing left. Not while a tap of theirs is on its way: given a unit meanwhile, they are over their
        limit when it is booked, which the till notes as the turnstile's fault."""
        who, line = f"{self.room}:{self.dice.randrange(PEOPLE)}", self.offers[1]
        if any(tap.who == who and tap.lines[0][0] == line and self._waits(tap) for tap in self.taps.values()):
            return
        if await units_left(self.redis, self.room, self.offers[1], ["S1"]) == 0:
            async with self.db.begin() as session:
                await enter(session, person=who, offer_id=self.offers[1], qty=1, at=["S1"], version=1, now=datetime.now(UTC))

    async def leave(self) -> None:
        """Out of it."""
        async with self.db.begin() as session:
            await leave(session, f"{self.room}:{self.dice.randrange(PEOPLE)}", self.offers[1])

    async def run_out(self) -> None:
        """The clocks of all teams that fill."""
        async with self.db.begin() as session:
            await run_out(session, datetime.now(UTC) + timedelta(days=1))

    async def add(self) -> None:
        """One more unit of what people wait for."""
        async with self.db.begin() as session:
            await add_stock(session, self.offers[1], "S1", 1, datetime.now(UTC))

    async def late(self) -> None:
        """Something ends while a group is in hand, or read at that moment, which is booked with all that came in time. Then seats come
        free, and its turn."""
        owner = self.dice.choice(self.owners)
        await self.tap()
        await self.tap()
        for offer in (await self._ending())[:1]:
            await self._send(self._tap(f"{self.room}:late{len(self.taps)}", offer))
        if not owner.hand:
            owner.beside = self.dice.random() < 0.5
            if not owner.beside:
                owner.seen, owner.hand = owner.drains, await owner._read(">")
        await self.end()
        await owner._apply_outbox()
        owner.beside = False  # nothing was left to end
        for _ in range(2):
            await self.give_up()
        hand, owner.hand = owner.hand, []
        await owner._book_read(hand, owner.seen)

    async def freeze(self) -> None:
        """A ledger stands still with what it has read; the other one books it, refuses some, seats come free, and the first one goes on."""
        frozen, other = self.dice.sample(self.owners, 2)
        for _ in range(4):
            await self.tap()
        if not frozen.hand:
            frozen.seen, frozen.hand = frozen.drains, await frozen._read(">")
        await other._drain()
        for _ in range(3):
            await self.give_up()
        await other._apply_outbox()
        hand, frozen.hand = frozen.hand, []
        await frozen._book_read(hand, frozen.seen)

    async def over(self) -> None:
        """Whose tap is in hand gets a unit from the line, so a drain tells them `limit`; they give it up, and the hand is booked."""
        owner, line = self.owners[0], self.offers[1]
        for each in self.owners:
            await each._book_read(each.hand, each.seen)
            each.hand = []
        await self.add()
        await owner._apply_outbox()
        if not await units_left(self.redis, self.room, line, ["S1"]):
            return  # it went to who waits
        await self._send(mine := self._tap(f"{self.room}:over{len(self.taps)}", line))
        owner.seen, owner.hand = owner.drains, await owner._read(">")
        await self._sell_out()
        async with self.db.begin() as session:
            await enter(session, person=mine.who, offer_id=line, qty=1, at=["S1"], version=1, now=datetime.now(UTC))
        given = f"SELECT no FROM orders WHERE room_id = :r AND person = '{mine.who}'"
        while not (orders := await self.rows(given)):  # who stood there before is served before
            await self.add()
            await owner._apply_outbox()
        await owner._drain()
        async with self.db.begin() as session:
            for how in ("close", "cancel"):
                await Pair._order(session, how, orders[0][0], datetime.now(UTC))
            # The till noted it as the turnstile's fault.
            await session.execute(text("DELETE FROM drift WHERE room_id = :r AND facts->>'rid' = :rid"), {"r": self.room, "rid": mine.rid})
        await owner._apply_outbox()
        hand, owner.hand = owner.hand, []
        await owner._book_read(hand, owner.seen)
        await self._sell_out()  # what a refused tap gives back is on sale, though others wait (README, "Not yet")

    async def _sell_out(self) -> None:
        while await units_left(self.redis, self.room, self.offers[1], ["S1"]):
            await self._send(self._tap(f"{self.room}:all{len(self.taps)}", self.offers[1]))

    async def end(self) -> None:
        """Something else ends: whoever was in time is booked first."""
        for offer in (await self._ending())[:1]:
            async with self.db.begin() as session:
                await end_sale(session, offer, datetime.now(UTC))

    async def _ending(self) -> list[int]:
        found = await self.rows("SELECT id FROM offer WHERE room_id = :r AND phase = 'open' AND id > :line ORDER BY id")
        return [row[0] for row in found]

    # the judge

    async def judge(self) -> list[str]:
        """What is wrong in the books at this moment."""
        self.history.look((await RealBooks.read(self)).seen())
        return self.history.violations + [str(row[0]) for row in await self.rows(_WRONG)]

    async def play(self) -> list[str]:
        """Until its end, or the first fault."""
        for _ in range(STEPS):
            step = self.dice.choices(list(WAYS), list(WAYS.values()))[0]
            self.steps.append(step)
            try:
                await getattr(self, step)()
            except Refusal:
                continue  # they stand in it already, or have what they may
            except IntegrityError as error:
                return [f"refused by the books: {error.orig}"]
            if found := await self.judge():
                return found
        await self.over()  # needs a unit on sale and a ledger with nothing in hand: rare if it were drawn
        return await self._quiet()

    async def _quiet(self) -> list[str]:
        for owner in self.owners:
            await owner._book_read(owner.hand, owner.seen)
        for _ in range(4):  # what comes back is given out, and told
            for owner in self.owners:
                await owner._drain()
                await owner._apply_outbox()
        found = await self.judge()
        seen = await RealBooks.read(self)
        self.history.quiet(seen.seen(), await read_counters(self, seen))
        found += [one for one in self.history.violations if one not in found]
        found += [str(row[0]) for row in await self.rows(_LEFT)]
        books = await audit_room(self.db, self.redis, self.room)
        return found + ([] if books.balanced and books.settled else [f"audit: {[terms.faults for terms in books.offers if terms.faults]}"])


def _booked(body: Mapping[str, Any]) -> str:
    """What a verdict says, as the checker reads it."""
    return f"booked:{body['order']['no']}" if "order" in body else f"booked:{body['packet']['offer']}/{body['packet']['amount']}"


_STANDS = """SELECT rid, no FROM orders WHERE room_id = :r
UNION ALL SELECT rid, offer_id || '/' || amount FROM packet_share WHERE offer_id = :packet AND rid IS NOT NULL"""
_WRONG = """SELECT 'team ' || p.id || ' says ' || held || ' + ' || paid || ' of ' || size || ', its orders say otherwise' FROM party p
  WHERE p.room_id = :r AND (held + paid > size OR (held, paid) <> (SELECT count(*) FILTER (WHERE o.state IN ('AWAIT_PAY', 'CLOSING')),
    count(*) FILTER (WHERE o.paid_at IS NOT NULL) FROM orders o WHERE o.party_id = p.id))
UNION ALL SELECT 'team ' || id || ' is ' || state || ' with ' || paid || ' paid of ' || size FROM party
  WHERE room_id = :r AND (state = 'success') <> (paid = size)
UNION ALL SELECT 'team ' || p.id || ' is ' || p.state || ' and was decided otherwise than once' FROM party p WHERE p.room_id = :r
  AND (SELECT count(*) FROM outbox x WHERE x.topic = 'team.settle' AND x.key = CAST(p.id AS text))
    <> CASE WHEN p.state IN ('success', 'filled', 'failed') THEN 1 ELSE 0 END
UNION ALL SELECT 'out of turn: place ' || w.place || ' was served, place ' || v.place || ' waits' FROM waitlist w JOIN waitlist v
  ON v.offer_id = w.offer_id AND v.state = 'WAITING' AND v.place < w.place WHERE w.room_id = :r AND w.state = 'GIVEN'
UNION ALL SELECT 'line of ' || l.offer_id || ' counts ' || l.waiting FROM waitlist_line l WHERE l.offer_id = :line
  AND l.waiting <> (SELECT count(*) FROM waitlist w WHERE w.offer_id = l.offer_id AND w.state = 'WAITING')
UNION ALL SELECT 'given and not booked: place ' || place FROM waitlist w WHERE w.room_id = :r AND w.state = 'GIVEN'
  AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.no = w.order_no AND o.rid = 'wait:' || w.id AND o.person = w.person)
UNION ALL SELECT 'shares out of order: the last is ' || max(number) || ' of ' || count(*) FROM packet_share
  WHERE offer_id = :packet AND rid IS NOT NULL HAVING max(number) <> count(*)
UNION ALL SELECT 'points of ' || coalesce(s.rid, p.cause) || ': ' || coalesce(p.amount, 0) || ', its share is ' || coalesce(s.amount, 0)
  FROM (SELECT * FROM packet_share WHERE offer_id = :packet AND rid IS NOT NULL) s
  FULL JOIN (SELECT * FROM points_entry WHERE cause LIKE 'packet:' || :r || '.%') p ON p.cause = 'packet:' || s.rid
  WHERE (s.amount, s.person) IS DISTINCT FROM (p.amount, p.person)
UNION ALL SELECT 'drift: ' || what || ' ' || CAST(facts AS text) FROM drift WHERE room_id = :r"""
_LEFT = """SELECT 'units lie there while people wait' FROM allotment a WHERE a.offer_id = :line AND a.total > a.taken
    AND EXISTS (SELECT 1 FROM waitlist w WHERE w.offer_id = a.offer_id AND w.state = 'WAITING')
UNION ALL SELECT 'left undone: ' || kind FROM outbox WHERE room_id = :r AND kind IN ('act', 'house')"""


async def shows(seed: int, budget: int) -> Result:
    """These many; stops at the first in which something is wrong."""
    result, servers = Result(NAME, 0, seed), await Servers.start()
    taken = 0
    try:
        for each in range(seed, seed + budget):
            show = Show(servers, f"lines{each}", random.Random(each))
            await show.open()
            found = await show.play()
            result.runs, taken = result.runs + 1, taken + len(show.steps)
            if found:
                result.violations.append(f"{found[0]} after {show.steps}; again: python -m tests.prove --kind {NAME} --seed {each}")
                break
    finally:
        await servers.stop()
    result.facts = {"steps": taken}
    return result


def parts(seed: int, budget: int) -> list[tuple[int, int]]:
    """Two pieces with servers of their own; the seeds of their shows follow each other."""
    first, second = shares(budget, 2) if budget > 1 else (budget, 0)
    return [(seed, first), (seed + first, second)] if second else [(seed, first)]


def run(seed: int, budget: int) -> Result:
    """`budget` shows."""
    return asyncio.run(shows(seed, budget))
