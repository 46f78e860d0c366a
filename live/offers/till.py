"""The till: a group of intents becomes orders and coupons in one transaction. Nothing here knows Redis; what it decides is the truth.

Order of locks, everywhere: fence (shared) -> allotments by (offer, location) -> teams by id -> parties by id -> quotas by (offer, person).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import psycopg
from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra import outbox
from live.infra.db import array, driver
from live.offers.course import Course
from live.offers.parties.booking import Parties, lock_parties, seat
from live.offers.rules import HOLD_FLOOR, PER_ORDER, Booked, Counters, House, Intent, OfferFacts, hold_for, take
from live.offers.seats import TEAMS, Bar, Shown, hold_seats, hold_together, team_of
from live.protocol.codes import Refusal
from live.stock.actions import unallot


class Sold(NamedTuple):
    """What a booker wrote: rid -> what the buyer's tap is told, and the news for all their sockets."""

    bodies: dict[str, dict[str, Any]]
    news: list[outbox.News]


class Booker(Protocol):
    """What a kind of offer writes when it is sold: orders, or coupons."""

    kinds: frozenset[str]

    known: str  # SELECT of what is in the books already; its parameter: rids, as the text of an array
    reads: str | None  # SELECT of what has to be known of the offers it sells; its parameter: their ids, likewise

    def booked(self, row: Any) -> tuple[str, Booked]:
        """A row of `known`: rid, and what it became."""
        ...

    async def book(
        self, connection: AsyncConnection, intents: Sequence[Intent], offers: Mapping[int, OfferFacts], now: datetime, read: Sequence[Any]
    ) -> Sold:
        """Write these, which come sorted by rid. `read`: rows of `reads`. Speaks to the driver only, in a pipeline; raises its errors."""
        ...


# What a bad intent or movement raises; everything else is a server that is away or busy.
BAD_BATCH = (
    Refusal, IntegrityError, DataError, psycopg.IntegrityError, psycopg.DataError, InvalidRequestError, LookupError, TypeError, ValueError,
)  # fmt: skip


@dataclass(slots=True)
class Verdict:
    """What became of one intent. `body` when it is booked, else `no`; `gives_back`: its units return to the turnstile."""

    intent: Intent
    body: dict[str, Any] | None = None
    no: tuple[Any, ...] = ()
    gives_back: bool = False


@dataclass(slots=True)
class Booking:
    """A booked group: a verdict per intent, and per (offer, location) the last move_no before it and the last one of it.

    `news` stands in the outbox too, in `rows`, and so do `bars` in theirs: whoever has told them deletes them.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    moves: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)
    drifts: list[tuple[Intent, str]] = field(default_factory=list)
    news: list[outbox.News] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    bars: list[Shown] = field(default_factory=list)

    def __add__(self, other: Booking) -> Booking:
        """Both halves of a group, booked one after the other."""
        moves = self.moves | other.moves
        for pair, (before, last) in other.moves.items():
            begin, end = self.moves.get(pair, (before, before))
            if end == before:  # else somebody booked in between: the turnstile will say that it lacks the first half, and get both
                moves[pair] = (begin, last)
        return Booking(
            self.verdicts + other.verdicts, moves, self.drifts + other.drifts, self.news + other.news, self.rows + other.rows,
            self.bars + other.bars,
        )  # fmt: skip


async def book(
    connection: AsyncConnection, room: str, intents: Sequence[Intent], bookers: Sequence[Booker], bar: Bar, now: datetime,
    course: Course | None = None,
) -> Booking:  # fmt: skip
    """Book a group in stream order, inside the caller's transaction. A constraint that fires passes through: the caller halves."""
    result, course = Booking(), course or Course()
    fence, locked, known = await _lock(connection, room, intents, bookers, course)
    current = [intent for intent in intents if intent.fence == fence]
    result.verdicts = [Verdict(intent, no=("again",)) for intent in intents if intent.fence != fence]
    if not current:
        return result
    accepted: dict[str, Intent] = {}
    for intent in current:
        result.verdicts.append(_decide(intent, known, accepted, locked, result, now))
    await locked.parties.remember(connection, room, now)
    shorten_holds(accepted.values(), locked.rows, locked.offers)
    before = {pair: row["move_no"] for pair, row in locked.rows.items()}
    if accepted:
        bodies = await _write(connection, room, accepted, bookers, locked, result, bar, now, course)
        for verdict in result.verdicts:
            if verdict.body is None and not verdict.no:
                verdict.body = bodies[verdict.intent.rid]
    result.moves = {pair: (before[pair], row["move_no"]) for pair, row in locked.rows.items()}
    return result


def _decide(intent: Intent, known: Mapping[str, Booked], taken: dict[str, Intent], locked: _Locked, to: Booking, now: datetime) -> Verdict:
    booked = known.get(intent.rid)
    if booked is not None:
        # Booked by this very intent: the settling was lost. By another: this one's units go back.
        return Verdict(intent, body=booked.body, gives_back=booked.intent_id != intent.id and not intent.ask)
    if intent.rid in taken:
        return Verdict(intent, gives_back=not intent.ask)  # twice in one group; its body is the first one's
    if intent.ask:
        return Verdict(intent, no=intent.ask)
    full = locked.parties.refuses(intent, now)  # no drift: the turnstile does not know parties
    why = full or take(intent, locked.counters)
    if why is not None:
        if full is None:
            to.drifts.append((intent, why))  # the turnstile let through what the till does not have
        return Verdict(intent, no=(why,), gives_back=True)
    locked.parties.take(intent)
    taken[intent.rid] = intent
    return Verdict(intent)


def shorten_holds(accepted: Iterable[Intent], rows: Mapping[tuple[int, str], Mapping[str, Any]], offers: Mapping[int, OfferFacts]) -> None:
    """Who comes late to a hot offer has less time to pay (`rules.hold_for`). The rows are those locked for the booking: nothing is read."""
    floors = {offer: floor for offer, facts in offers.items() if (floor := facts.terms.get(HOLD_FLOOR)) is not None}
    if not floors:
        return
    free = {pair: int(row["total"]) - int(row["taken"]) for pair, row in rows.items()}
    for intent in accepted:
        for offer, qty in intent.units().items():
            pair = (offer, intent.at)
            if offer in floors:
                hold = offers[offer].hold_seconds
                offers[offer].holds[intent.rid] = hold_for(hold, floors[offer], int(rows[pair]["total"]), free[pair])
            free[pair] -= qty


Rows = dict[tuple[int, str], dict[str, Any]]


@dataclass(slots=True)
class _Locked:
    """The rows a group needs, held until its transaction ends."""

    counters: Counters
    rows: Rows
    offers: dict[int, OfferFacts]
    teams: dict[int, dict[str, Any]]
    parties: Parties
    reads: dict[Booker, Sequence[Any]]  # what bookers have to know


async def _lock(
    connection: AsyncConnection, room: str, intents: Sequence[Intent], bookers: Sequence[Booker], course: Course
) -> tuple[int | None, _Locked, dict[str, Booked]]:
    """The fence, the rows a group needs, what of it is in the books. In the order of locks; a round trip, two if a small team is named."""
    named = [(line.offer, intent.person, intent.at) for intent in intents for line in intent.lines]
    people, pairs = sorted({(offer, person) for offer, person, _ in named}), sorted({(offer, place) for offer, _, place in named})
    ids = array(sorted({offer for offer, _ in pairs}))
    raw = await driver(connection)
    async with raw.pipeline():
        fences = await raw.execute(_FENCE, (room,))
        allotments = await raw.execute(_ALLOTMENTS, (array(o for o, _ in pairs), array(p for _, p in pairs)))
        facts = await raw.execute(_OFFERS, (ids,))
        seated = await raw.execute(TEAMS, (ids,))
        parties = await lock_parties(connection, room, intents)
        quotas = await raw.execute(_QUOTAS, (array(o for o, _ in people), array(p for _, p in people)))
        rids = array(intent.rid for intent in intents)
        kinds = {intent.kind for intent in intents}
        asked = [booker for booker in bookers if booker.kinds & kinds]  # a rid is for one kind: it stands for what was tapped
        booked = [await raw.execute(booker.known, (rids,)) for booker in asked]
        reading = [(booker, await raw.execute(booker.reads, (ids,))) for booker in asked if booker.reads]
        course.asked.set()
    fence, rows, counters = await fences.fetchone(), Rows(), Counters()
    for offer, place, total, taken, move_no in await allotments.fetchall():
        rows[(offer, place)] = {"total": total, "taken": taken, "move_no": move_no}
        counters.free[(offer, place)] = total - taken
    offers = {row[0]: OfferFacts(*row) for row in await facts.fetchall()}
    counters.per_order = {offer: most for offer, one in offers.items() if (most := one.terms.get(PER_ORDER)) is not None}
    teams = dict([team_of(row) for row in await seated.fetchall()])
    counters.seats = {offer: team["size"] - team["held"] - team["paid"] for offer, team in teams.items()}
    for offer, person in people:
        if offer in offers:
            counters.quota_left[(offer, person)] = offers[offer].per_person
    for offer, person, used in await quotas.fetchall():
        counters.quota_left[(offer, person)] -= used
    known: dict[str, Booked] = {}
    for booker, found in zip(asked, booked, strict=True):
        known |= dict([booker.booked(row) for row in await found.fetchall()])
    reads: dict[Booker, Sequence[Any]] = {booker: await found.fetchall() for booker, found in reading}
    return (fence[0] if fence else None), _Locked(counters, rows, offers, teams, parties, reads), known


async def _write(
    connection: AsyncConnection, room: str, accepted: Mapping[str, Intent], bookers: Sequence[Booker], locked: _Locked,
    result: Booking, bar: Bar, now: datetime, course: Course,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Everything a group changes. Returns rid -> what its buyer is told."""
    rows, offers = locked.rows, locked.offers
    bodies: dict[str, dict[str, Any]] = {}
    ordered = [accepted[rid] for rid in sorted(accepted)]
    selling = [(booker, [intent for intent in ordered if intent.kind in booker.kinds]) for booker in bookers]
    await seat(connection, room, ordered, offers, now)
    moves, quotas, seats = _numbered(accepted, rows, locked.teams)
    changed, people = sorted(rows.items()), sorted(quotas)
    raw = await driver(connection)
    async with raw.pipeline():
        await raw.execute(_MOVE, (now, *[array(column) for column in zip(*moves, strict=True)]))
        taken = (array(p[0] for p, _ in changed), array(p[1] for p, _ in changed))
        await raw.execute(_TAKE, (*taken, array(r["taken"] for _, r in changed), array(r["move_no"] for _, r in changed)))
        used = (array(o for o, _ in people), array(p for _, p in people), array(quotas[k] for k in people))
        await raw.execute(_USE, (*used, array(offers[o].per_person for o, _ in people)))
        # What is written first is cheap to put together: PostgreSQL is at it while the rest is.
        for booker, mine in selling:
            if mine:
                sold = await booker.book(connection, mine, offers, now, locked.reads.get(booker, ()))
                bodies |= sold.bodies
                result.news += sold.news
        told = [await outbox.own_many(connection, room, result.news)] if result.news else []
        held = [
            await hold_together(raw, room, offer, locked.teams[offer], qty, offers[offer].terms, bar)
            for offer, qty in sorted(seats.items())
        ]
        course.sent.set()
    result.rows += [number for row in told for number, in await row.fetchall()]
    result.bars += [await one.shown() for one in held]
    return bodies


_Numbered = tuple[list[tuple[int, str, int, int, str]], dict[tuple[int, str], int], dict[int, int]]


def _numbered(accepted: Mapping[str, Intent], rows: Rows, teams: Mapping[int, Any]) -> _Numbered:
    """Movements (offer, place, number, units, rid) in stream order, units per (offer, person), seats per offer; `rows` move on."""
    moves: list[tuple[int, str, int, int, str]] = []
    quotas: dict[tuple[int, str], int] = {}
    seats: dict[int, int] = {}
    for intent in accepted.values():
        for offer, qty in intent.units().items():
            row = rows[(offer, intent.at)]
            row["move_no"] += 1
            row["taken"] += qty
            moves.append((offer, intent.at, row["move_no"], qty, intent.rid))
            quotas[(offer, intent.person)] = quotas.get((offer, intent.person), 0) + qty
            if offer in teams:
                seats[offer] = seats.get(offer, 0) + qty
    return moves, quotas, seats


@dataclass(frozen=True, slots=True)
class Move:
    """A booked movement of the shop, as the turnstile must apply it; or a `run` of holds that ends with `move_no`.

    What came back and went to who waits is one step, so that nobody taps in between: `gifts` (person, units) are holds that follow the
    movement, `left` is what they leave of it, and `run` counts them too. Of a run of restocks they are what each buyer gave back, below 0.
    """

    offer: int
    place: str
    move_no: int
    left: int
    person: str | None = None
    used: int = 0
    seats: int = 0
    run: int = 1
    gifts: tuple[tuple[str, int], ...] = ()

    def given(self, gifts: Sequence[tuple[str, int]]) -> Move:
        """This movement and the holds that follow it, as one step."""
        if not gifts:
            return self
        units = sum(qty for _, qty in gifts)
        more, all_of_them = len(gifts), (*self.gifts, *gifts)
        return replace(self, move_no=self.move_no + more, left=self.left - units, run=self.run + more, gifts=all_of_them)


# (connection, room, cause, the movement that brought units back, whether it is fresh, now) -> (person, units) of each hold that these
# became in the same transaction. The holds' numbers follow the movement's.
Giver = Callable[[AsyncConnection, str, str, Move, bool, datetime], Awaitable[list[tuple[str, int]]]]


async def give(
    connection: AsyncConnection, room: str, intents: Sequence[Intent], most: int, hold_seconds: int, bookers: Sequence[Booker],
    now: datetime,
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:  # fmt: skip
    """Book these intents, all for one offer at one place, in their order and as far as `most` units go.

    Returns rid -> what the buyer is told, in the order of the movements, and rid -> why not, for the others. `most` is what has just come
    back there: of what was free before, some may belong to intents that are on their way from the turnstile.
    """
    _, locked, _ = await _lock(connection, room, intents, bookers, Course())
    [pair] = locked.rows
    locked.counters.free[pair] = min(locked.counters.free[pair], most)
    no = {intent.rid: why for intent in intents if (why := take(intent, locked.counters)) is not None}
    accepted = {intent.rid: intent for intent in intents if intent.rid not in no}
    if not accepted:
        return {}, no
    locked.offers = {offer: replace(facts, hold_seconds=min(facts.hold_seconds, hold_seconds)) for offer, facts in locked.offers.items()}
    bodies = await _write(connection, room, accepted, bookers, locked, Booking(), _no_bar, now, Course())
    return {rid: bodies[rid] for rid in accepted}, no


def _no_bar(team: Mapping[str, Any], terms: Mapping[str, Any]) -> dict[str, Any]:
    raise LookupError("seats of a team are not waited for")


async def book_house(
    connection: AsyncConnection, room: str, entry: House, bar: Bar, now: datetime, giver: Giver | None = None
) -> list[Move]:
    """Book one movement of the shop; what it brings goes to who waits (`giver`). Booked before: the same moves again, nothing twice."""
    moves: list[Move] = []
    for offer, qty in sorted(entry.lines):
        place = {"o": offer, "l": entry.location}
        row = (await connection.execute(ONE, place)).mappings().one()
        if entry.kind == "RETURN":
            moves.append(await give_rest(connection, entry.rid, offer, entry.location, row["sku_id"], now))
            continue
        move, fresh = await _move(connection, room, entry, dict(row), qty, bar, now)
        cause = f"{entry.kind.lower()}:{entry.rid}"
        moves.append(move.given(await giver(connection, room, cause, move, fresh, now)) if giver else move)
        if row["phase"] != "ended":
            continue
        # The rest went back already, so what comes now follows it; before that, buyers in time may still be on their way. What was booked
        # before the rest went back went with it; what was booked after has what followed it in the books.
        follows = return_rid(offer, entry.location) if fresh else cause
        if await seen(connection, follows, offer, "RETURN") is not None:
            moves.append(await give_rest(connection, cause, offer, entry.location, row["sku_id"], now))
    return moves


def return_rid(offer: int, location: str) -> str:
    """The cause of the movement that gives back what is left of an ended offer; booked even when nothing is left, as the mark of it."""
    return f"end:{offer}:{location}"


async def _move(
    connection: AsyncConnection, room: str, entry: House, row: Mapping[str, Any], qty: int, bar: Bar, now: datetime
) -> tuple[Move, bool]:
    """The movement, and whether it is fresh: not booked before."""
    offer, place = int(row["offer_id"]), entry.location
    seats = qty if entry.seats else 0
    used = 0 if entry.kind == "ADJUST" or entry.person is None else -qty
    number = await _number(connection, entry.rid, offer, place, entry.kind, qty if entry.kind == "ADJUST" else -qty, now)
    if number.fresh:
        column = "total = total + :q" if entry.kind == "ADJUST" else "taken = taken - :q"
        await connection.execute(
            text(f"UPDATE allotment SET {column}, move_no = :n WHERE offer_id = :o AND location = :l"),
            {"q": qty, "n": number.move_no, "o": offer, "l": place},
        )
        if used:
            quota = text("UPDATE quota SET used = used - :q WHERE offer_id = :o AND person = :p")
            await connection.execute(quota, {"q": qty, "o": offer, "p": entry.person})
        if seats:
            await hold_seats(connection, room, offer, -seats, row["terms"], bar)
    return Move(offer, place, number.move_no, qty, entry.person, used, seats), number.fresh


async def give_rest(connection: AsyncConnection, rid: str, offer: int, place: str, sku_id: int | None, now: datetime) -> Move:
    """What is free of an ended offer leaves it, and stands in the shop again."""
    row = (await connection.execute(ONE, {"o": offer, "l": place})).mappings().one()
    free = int(row["total"]) - int(row["taken"])
    number = await _number(connection, rid, offer, place, "RETURN", -free, now)
    if number.fresh:
        change = text("UPDATE allotment SET total = total - :q, move_no = :n WHERE offer_id = :o AND location = :l")
        await connection.execute(change, {"q": free, "n": number.move_no, "o": offer, "l": place})
        if sku_id is not None and free:
            await unallot(connection, sku_id, place, free)
    return Move(offer, place, number.move_no, number.qty)


@dataclass(frozen=True, slots=True)
class _Number:
    move_no: int
    qty: int
    fresh: bool


async def seen(connection: AsyncConnection, rid: str, offer: int, kind: str) -> _Number | None:
    """The movement of this cause, when it is in the books."""
    row = (await connection.execute(_SEEN, {"r": rid, "o": offer, "k": kind})).one_or_none()
    return None if row is None else _Number(int(row[0]), int(row[1]), False)


async def _number(connection: AsyncConnection, rid: str, offer: int, place: str, kind: str, qty: int, now: datetime) -> _Number:
    """The movement's number under the allotment's lock; an old one when this cause was booked before."""
    found = await seen(connection, rid, offer, kind)
    if found is not None:
        return found
    insert = text(
        "INSERT INTO movement (offer_id, location, move_no, kind, qty, rid, at)"
        " SELECT :o, :l, move_no + 1, :k, :q, :r, :now FROM allotment WHERE offer_id = :o AND location = :l RETURNING move_no"
    )
    row = (await connection.execute(insert, {"o": offer, "l": place, "k": kind, "q": qty, "r": rid, "now": now})).one()
    return _Number(int(row[0]), qty, True)


_ALLOTMENTS = """SELECT a.offer_id, a.location, a.total, a.taken, a.move_no FROM allotment a
  JOIN unnest(CAST(%s AS bigint[]), CAST(%s AS text[])) AS w(o, l) ON a.offer_id = w.o AND a.location = w.l
  ORDER BY a.offer_id, a.location FOR UPDATE OF a"""
ONE = text("""SELECT a.offer_id, a.total, a.taken, a.move_no, o.phase, o.sku_id, o.terms FROM allotment a JOIN offer o ON o.id = a.offer_id
  WHERE a.offer_id = :o AND a.location = :l FOR UPDATE OF a""")
# In the order of OfferFacts' fields.
_OFFERS = """SELECT o.id, o.room_id, o.kind, o.sku_id, o.hold_seconds, o.per_person, o.terms, t.id, o.phase,
  coalesce(t.closes_at, o.closes_at) FROM offer o LEFT JOIN team t ON t.offer_id = o.id WHERE o.id = ANY(CAST(%s AS bigint[]))"""
_QUOTAS = """SELECT q.offer_id, q.person, q.used FROM quota q
  JOIN unnest(CAST(%s AS bigint[]), CAST(%s AS text[])) AS w(o, p) ON q.offer_id = w.o AND q.person = w.p
  ORDER BY q.offer_id, q.person FOR UPDATE OF q"""
_MOVE = """INSERT INTO movement (offer_id, location, move_no, kind, qty, rid, at)
  SELECT o, l, n, 'HOLD', q, r, %s FROM unnest(CAST(%s AS bigint[]), CAST(%s AS text[]), CAST(%s AS bigint[]), CAST(%s AS bigint[]),
  CAST(%s AS text[])) AS t(o, l, n, q, r)"""
_TAKE = """UPDATE allotment a SET taken = t.t, move_no = t.n FROM unnest(CAST(%s AS bigint[]), CAST(%s AS text[]), CAST(%s AS bigint[]),
  CAST(%s AS bigint[])) AS t(o, l, t, n) WHERE a.offer_id = t.o AND a.location = t.l"""
_USE = """INSERT INTO quota (offer_id, person, used, allowed)
  SELECT o, p, u, a FROM unnest(CAST(%s AS bigint[]), CAST(%s AS text[]), CAST(%s AS bigint[]), CAST(%s AS bigint[])) AS t(o, p, u, a)
  ON CONFLICT (offer_id, person) DO UPDATE SET used = quota.used + excluded.used"""
_FENCE = "SELECT fence FROM fence WHERE room_id = %s FOR SHARE"
_SEEN = text("SELECT move_no, qty FROM movement WHERE rid = :r AND offer_id = :o AND kind = :k")
