"""Do the books balance? Redis, read at one moment, against the SQL fold: `total = left + in flight + taken`, `taken = held + sold`.

The two cannot be read at one moment together, so SQL is read after Redis and folded back to the movement that Redis had applied last:
nothing that moves meanwhile can look like a fault. `watch.py` does this all the time, `live audit` once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

import orjson
from redis.asyncio import Redis
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra.db import Database, array
from live.infra.keys import room_key
from live.infra.redis import Script
from live.offers import chain
from live.offers.rules import Intent

_audit = Script("live.offers", "audit")
TRIES = 20  # looks at a room whose last movements have not reached the turnstile; its ledger applies them within milliseconds
LEFT, AHEAD = "total != left + in flight + taken", "turnstile is ahead of the books"
TURNSTILE = frozenset({LEFT, AHEAD})  # faults of Redis, if SQL has none: everything else is SQL against itself


@dataclass(slots=True)
class Terms:
    """The terms of one offer's sum at one place, SQL's as they are now. `left` and `in_flight` are Redis's at `applied`, the number of the
    last movement it knows; None when the room is not open there. `late`: movements that are booked and on their way to it."""

    offer: int
    location: str
    kind: str
    phase: str
    total: int
    taken: int
    held: int
    sold: int
    returned: int
    moved: int
    left: int | None = None
    in_flight: int = 0
    faults: list[str] = field(default_factory=list)
    move_no: int = 0
    applied: int | None = None
    sealed: int = 0

    @property
    def late(self) -> int:
        """Booked movements the turnstile has not applied yet."""
        return 0 if self.applied is None else self.move_no - self.applied


@dataclass(slots=True)
class RoomAudit:
    """A room's verdict."""

    room: str
    balanced: bool
    settled: bool  # False: what was booked before the first look never reached the turnstile, or every look found something else
    offers: list[Terms]


async def audit_room(db: Database, redis: Redis, room: str) -> RoomAudit:
    """Check one room. What is wrong must be wrong in the same way twice."""
    due: dict[tuple[int, str], int] = {}
    before: list[tuple[int, str, list[str]]] = []
    for attempt in range(TRIES):
        if attempt:
            await asyncio.sleep(0.1)
        terms = (await look(db, redis, room)).terms
        faults = [(each.offer, each.location, each.faults) for each in terms if each.faults]
        due = due or {(each.offer, each.location): each.move_no for each in terms}
        arrived = all(each.applied is None or each.applied >= due.get((each.offer, each.location), 0) for each in terms)
        if arrived and (not faults or faults == before):
            return RoomAudit(room, not faults, True, terms)
        before = faults
    return RoomAudit(room, not before, False, terms)


Held = tuple[str, list[Intent], dict[int, dict[str, str]]]


@dataclass(frozen=True, slots=True)
class Look:
    """One reading of a room. `fence`: of the open turnstile that was read, "" when there was none and only SQL was judged."""

    terms: list[Terms]
    fence: str


class Busy(Exception):
    """More intents wait than a look may read."""


async def look(db: Database, redis: Redis, room: str, most: int = 0, patience: int = 0) -> Look:
    """Read a room once and judge it. `most`: intents it may read (0: all), else Busy; `patience`: ms a statement may take (0: any)."""
    async with db.connection() as connection:
        query = text("SELECT id FROM offer WHERE room_id = :r ORDER BY id")
        offers = [int(offer) for offer in (await connection.execute(query, {"r": room})).scalars()]
    held = await _turnstile(redis, room, offers, most)
    async with db.connection() as connection:
        if patience:
            await connection.execute(text(f"SET LOCAL statement_timeout = {int(patience)}"))
            await connection.execute(text("SET LOCAL max_parallel_workers_per_gather = 0"))  # buyers have the other cores
        fence = (await connection.execute(text("SELECT fence FROM fence WHERE room_id = :r"), {"r": room})).scalar_one_or_none()
        if held[0] != str(fence):  # lost, or not rebuilt yet: buyers are refused there, so there is nothing to compare
            held = "", [], {}
        rows = await _fold(connection, room, held)
    return Look([_terms(row, held) for row in rows], held[0])


async def _turnstile(redis: Redis, room: str, offers: Sequence[int], most: int) -> Held:
    keys = [room_key(room, "meta"), room_key(room, "intents"), *(room_key(room, f"offer:{offer}") for offer in offers)]
    fence, *rest = await _audit(redis, keys, [most])
    if not rest:
        raise Busy(room)
    raw, hashes = rest
    intents = [Intent.read("", orjson.loads(one)) for one in raw]
    found = {}
    for offer, pairs in zip(offers, hashes, strict=True):
        found[offer] = {pairs[i].decode(): pairs[i + 1].decode() for i in range(0, len(pairs), 2)}
    return fence.decode(), intents, found


def _terms(row: Mapping[str, Any], held: Held) -> Terms:
    _, intents, hashes = held
    terms = Terms(
        row["offer_id"], row["location"], row["kind"], row["phase"], row["total"], row["taken"], row["held"], row["sold"],
        row["returned"], row["moved"], move_no=row["move_no"], sealed=row["sealed"],
    )  # fmt: skip
    for intent in intents:
        if intent.at == terms.location and not intent.ask:
            terms.in_flight += intent.units().get(terms.offer, 0)
    fields = hashes.get(terms.offer) or {}
    if f"left:{terms.location}" in fields:
        terms.left, terms.applied = int(fields[f"left:{terms.location}"]), int(fields.get(f"move:{terms.location}", 0))
        total, taken = terms.total - row["late_total"], terms.taken - row["late_taken"]  # as they were at `applied`
        if terms.late < 0:
            terms.faults.append(AHEAD)
        elif terms.left + terms.in_flight + taken != total:
            terms.faults.append(LEFT)
    if terms.taken != terms.held + terms.sold:
        terms.faults.append("taken != held + sold")
    if terms.taken != terms.moved:
        terms.faults.append("taken != movements")
    if not 0 <= terms.taken <= terms.total:
        terms.faults.append("taken outside total")
    if row["gaps"]:
        terms.faults.append("movement numbers have gaps")
    if row["quota"] != row["quota_taken"]:
        terms.faults.append("quotas != taken")
    return terms


async def _fold(connection: AsyncConnection, room: str, held: Held) -> list[Mapping[str, Any]]:
    places = [(offer, name[5:], fields) for offer, fields in held[2].items() for name in fields if name.startswith("left:")]
    applied = [(offer, place, int(fields.get(f"move:{place}", 0))) for offer, place, fields in places]
    columns = {"o": array(o for o, _, _ in applied), "l": array(p for _, p, _ in applied), "m": array(m for _, _, m in applied)}
    return [_plain(row) for row in (await connection.execute(text(_FOLD), {"r": room} | columns)).mappings().all()]


def _plain(row: RowMapping) -> dict[str, Any]:
    """PostgreSQL sums of bigint are numeric, which arrives as Decimal, and JSON has no word for that."""
    return {name: int(value) if isinstance(value, Decimal) else value for name, value in row.items()}


# Units an order (coupon, share of a packet) keeps from its allotment: everything that was held and neither released nor restocked.
_FOLD = """
WITH mine AS (SELECT id, kind, phase FROM offer WHERE room_id = :r),
applied AS (SELECT * FROM unnest(CAST(:o AS bigint[]), CAST(:l AS text[]), CAST(:m AS bigint[])) AS t(offer_id, location, no)),
moves AS (
  SELECT m.offer_id, m.location, count(*) AS n, max(m.move_no) AS top,
    coalesce(sum(m.qty) FILTER (WHERE m.kind IN ('HOLD','RELEASE','RESTOCK')), 0) AS moved,
    coalesce(-sum(m.qty) FILTER (WHERE m.kind = 'RESTOCK'), 0) AS returned
  FROM movement m JOIN mine ON mine.id = m.offer_id GROUP BY 1, 2),
back AS (SELECT DISTINCT m.rid, m.offer_id FROM movement m JOIN mine ON mine.id = m.offer_id WHERE m.kind IN ('RELEASE','RESTOCK')),
folds AS (
  SELECT l.offer_id, o.location,
    coalesce(sum(l.qty) FILTER (WHERE o.state IN ('AWAIT_PAY','CLOSING','CANCELLED')), 0) AS held,
    coalesce(sum(l.qty) FILTER (WHERE o.state NOT IN ('AWAIT_PAY','CLOSING','CANCELLED')), 0) AS sold
  FROM order_line l JOIN orders o ON o.no = l.order_no JOIN mine ON mine.id = l.offer_id
  WHERE NOT EXISTS (SELECT 1 FROM back b WHERE b.rid = o.rid AND b.offer_id = l.offer_id) GROUP BY 1, 2
  UNION ALL
  SELECT g.offer_id, '-', 0, count(*) FROM coupon_grant g JOIN mine ON mine.id = g.offer_id AND mine.kind = 'coupon' GROUP BY 1
  UNION ALL
  SELECT s.offer_id, '-', 0, count(*) FROM packet_share s JOIN mine ON mine.id = s.offer_id WHERE s.rid IS NOT NULL GROUP BY 1),
quotas AS (SELECT q.offer_id, sum(q.used) AS used FROM quota q JOIN mine ON mine.id = q.offer_id GROUP BY 1),
sums AS (SELECT a.offer_id, sum(a.taken) AS taken FROM allotment a JOIN mine ON mine.id = a.offer_id GROUP BY 1)
SELECT a.offer_id, a.location, mine.kind, mine.phase, a.total, a.taken, a.move_no,
  coalesce(f.held, 0) AS held, coalesce(f.sold, 0) AS sold,
  coalesce(m.moved, 0) AS moved, coalesce(m.returned, 0) AS returned,
  (coalesce(m.n, 0) <> a.move_no OR coalesce(m.top, 0) <> a.move_no) AS gaps,
  coalesce(q.used, 0) AS quota, s.taken AS quota_taken,
  late.taken AS late_taken, late.total AS late_total,
  coalesce((SELECT max(x.to_no) FROM movement_seal x WHERE x.offer_id = a.offer_id AND x.location = a.location), 0) AS sealed
FROM allotment a JOIN mine ON mine.id = a.offer_id JOIN sums s ON s.offer_id = a.offer_id
LEFT JOIN applied p ON p.offer_id = a.offer_id AND p.location = a.location
CROSS JOIN LATERAL (SELECT coalesce(sum(l.qty) FILTER (WHERE l.kind IN ('HOLD','RELEASE','RESTOCK')), 0) AS taken,
  coalesce(sum(l.qty) FILTER (WHERE l.kind IN ('ADJUST','RETURN')), 0) AS total
  FROM movement l WHERE l.offer_id = a.offer_id AND l.location = a.location
  AND l.move_no > coalesce(p.no, a.move_no) AND l.move_no <= a.move_no) AS late
LEFT JOIN moves m ON m.offer_id = a.offer_id AND m.location = a.location
LEFT JOIN folds f ON f.offer_id = a.offer_id AND f.location = a.location
LEFT JOIN quotas q ON q.offer_id = a.offer_id
ORDER BY 1, 2"""


async def audit(db: Database, redis: Redis) -> dict[str, Any]:
    """Every room: `{balanced, rooms: [{room, balanced, settled, offers: [terms]}], stock: [fault], points: [fault], chains}`; the last is
    the state of the seals."""
    async with db.connection() as connection:
        rooms = (await connection.execute(text("SELECT room_id FROM room_clock ORDER BY room_id"))).scalars().all()
        faults, points = await stock_faults(connection), await points_faults(connection)
        chains = await chain.seals(connection)
    found = [await audit_room(db, redis, room) for room in rooms]
    balanced = all(one.balanced and one.settled for one in found) and not faults and not points
    return {"balanced": balanced, "rooms": [asdict(one) for one in found], "stock": faults, "points": points, "chains": chains}


async def stock_faults(connection: AsyncConnection) -> list[dict[str, Any]]:
    """(SKU, store) whose ring-fenced units are not what shows hold: `{sku_id, location, allotted, wanted}`."""
    return [_plain(row) for row in (await connection.execute(text(_STOCK))).mappings().all()]


# What shows hold of a store's stock is what their allotments say, and what was carved for one and is not booked yet (a row may outlive its
# booking by a moment), less what was collected.
_STOCK = """
WITH carved AS (
  SELECT o.sku_id, a.location, sum(a.total) AS total FROM allotment a JOIN offer o ON o.id = a.offer_id
  WHERE o.sku_id IS NOT NULL GROUP BY 1, 2),
coming AS (
  SELECT o.sku_id, w.payload->>'location' AS location, sum(CAST(line->>1 AS bigint)) AS qty
  FROM outbox w CROSS JOIN LATERAL jsonb_array_elements(w.payload->'lines') AS line JOIN offer o ON o.id = CAST(line->>0 AS bigint)
  WHERE w.kind = 'house' AND w.payload->>'kind' = 'ADJUST' AND o.sku_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM movement m WHERE m.rid = w.payload->>'rid' AND m.offer_id = o.id AND m.kind = 'ADJUST') GROUP BY 1, 2),
gone AS (SELECT sku_id, location, -sum(qty) AS qty FROM stock_change WHERE cause LIKE 'collected:%' GROUP BY 1, 2)
SELECT s.sku_id, s.location, s.allotted, coalesce(c.total, 0) + coalesce(w.qty, 0) - coalesce(g.qty, 0) AS wanted
FROM stock s LEFT JOIN carved c ON c.sku_id = s.sku_id AND c.location = s.location
LEFT JOIN coming w ON w.sku_id = s.sku_id AND w.location = s.location
LEFT JOIN gone g ON g.sku_id = s.sku_id AND g.location = s.location
WHERE s.allotted <> coalesce(c.total, 0) + coalesce(w.qty, 0) - coalesce(g.qty, 0) ORDER BY 1, 2"""


async def points_faults(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Points of packets and draws that their book has otherwise, the first 100: `{cause, person, wanted, found}` (None: nothing)."""
    return [_plain(row) for row in (await connection.execute(text(_POINTS))).mappings().all()]


# Every opened share of a packet of points, and every winner of a draw of points, stands in the book once, with its amount; nothing else
# names a packet or a draw as its cause.
_POINTS = """
WITH wanted AS (
  SELECT 'packet:' || s.rid AS cause, s.person, s.amount FROM packet_share s JOIN offer o ON o.id = s.offer_id
  WHERE s.rid IS NOT NULL AND o.terms->>'currency' = 'points'
  UNION ALL SELECT 'draw:' || d.id || ':' || e.person, e.person, d.points FROM draw_entry e JOIN draw d ON d.id = e.draw_id
  WHERE e.place IS NOT NULL AND d.points > 0),
given AS (SELECT cause, person, amount FROM points_entry WHERE cause LIKE 'packet:%' OR cause LIKE 'draw:%')
SELECT coalesce(w.cause, g.cause) AS cause, coalesce(w.person, g.person) AS person, w.amount AS wanted, g.amount AS found
FROM wanted w FULL JOIN given g ON g.cause = w.cause AND g.person = w.person
WHERE w.amount IS DISTINCT FROM g.amount ORDER BY 1, 2 LIMIT 100"""
