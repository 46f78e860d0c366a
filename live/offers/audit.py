"""Do the books balance? Redis, read at one moment, against the SQL fold: `total = left + in flight + taken`, `taken = held + sold`.

The two cannot be read at one moment together. Each is read, SQL is read again, and only an unchanged SQL counts; a busy room is tried anew.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

import orjson
from redis.asyncio import Redis
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra.db import Database
from live.infra.keys import room_key
from live.infra.redis import Script, connect
from live.offers.rules import Intent
from live.settings import settings

_audit = Script("live.offers", "audit")
TRIES = 20  # a busy room is quiet for one read within a second or two


@dataclass(slots=True)
class Terms:
    """The terms of one offer's sum at one place. `left` and `in_flight` are Redis's, None when the room is not open there."""

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


@dataclass(slots=True)
class RoomAudit:
    """A room's verdict."""

    room: str
    balanced: bool
    settled: bool  # False: the room was too busy to be read between two movements
    offers: list[Terms]


async def audit_room(db: Database, redis: Redis, room: str) -> RoomAudit:
    """Check one room."""
    for _ in range(TRIES):
        async with db.connection() as connection:
            before = await _fold(connection, room)
        held = await _turnstile(redis, room, sorted({row["offer_id"] for row in before}))
        async with db.connection() as connection:
            after = await _fold(connection, room)
        if before == after and _caught_up(before, held):
            terms = [_terms(row, held) for row in before]
            return RoomAudit(room, all(not one.faults for one in terms), True, terms)
        await asyncio.sleep(0.1)
    terms = [_terms(row, held) for row in after]
    return RoomAudit(room, all(not one.faults for one in terms), False, terms)


Held = tuple[str, list[Intent], dict[int, dict[str, str]]]


async def _turnstile(redis: Redis, room: str, offers: list[int]) -> Held:
    keys = [room_key(room, "meta"), room_key(room, "intents"), *(room_key(room, f"offer:{offer}") for offer in offers)]
    fence, raw, hashes = await _audit(redis, keys, [])
    intents = [Intent.read("", orjson.loads(one)) for one in raw]
    found = {}
    for offer, pairs in zip(offers, hashes, strict=True):
        found[offer] = {pairs[i].decode(): pairs[i + 1].decode() for i in range(0, len(pairs), 2)}
    return fence.decode(), intents, found


def _caught_up(rows: list[Mapping[str, Any]], held: Held) -> bool:
    """Whether the turnstile has applied every booked movement: else one is on its way and the sum is not due yet."""
    fence, _, hashes = held
    if not fence:
        return True
    for row in rows:
        fields = hashes.get(row["offer_id"]) or {}
        place = row["location"]
        if f"left:{place}" in fields and int(fields.get(f"move:{place}", 0)) != row["move_no"]:
            return False
    return True


def _terms(row: Mapping[str, Any], held: Held) -> Terms:
    fence, intents, hashes = held
    terms = Terms(
        row["offer_id"], row["location"], row["kind"], row["phase"], row["total"], row["taken"], row["held"], row["sold"],
        row["returned"], row["moved"],
    )  # fmt: skip
    for intent in intents:
        if intent.at == terms.location and not intent.ask:
            terms.in_flight += intent.units().get(terms.offer, 0)
    fields = hashes.get(terms.offer) or {}
    if fence and f"left:{terms.location}" in fields:
        terms.left = int(fields[f"left:{terms.location}"])
        if terms.left + terms.in_flight + terms.taken != terms.total:
            terms.faults.append("total != left + in flight + taken")
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


async def _fold(connection: AsyncConnection, room: str) -> list[Mapping[str, Any]]:
    return [_plain(row) for row in (await connection.execute(text(_FOLD), {"r": room})).mappings().all()]


def _plain(row: RowMapping) -> dict[str, Any]:
    """PostgreSQL sums of bigint are numeric, which arrives as Decimal, and JSON has no word for that."""
    return {name: int(value) if isinstance(value, Decimal) else value for name, value in row.items()}


# Units an order (or coupon) keeps from its allotment: everything that was held and neither released nor restocked.
_FOLD = """
WITH mine AS (SELECT id, kind, phase FROM offer WHERE room_id = :r),
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
  SELECT g.offer_id, '-', 0, count(*) FROM coupon_grant g JOIN mine ON mine.id = g.offer_id GROUP BY 1),
quotas AS (SELECT q.offer_id, sum(q.used) AS used FROM quota q JOIN mine ON mine.id = q.offer_id GROUP BY 1),
sums AS (SELECT a.offer_id, sum(a.taken) AS taken FROM allotment a JOIN mine ON mine.id = a.offer_id GROUP BY 1)
SELECT a.offer_id, a.location, mine.kind, mine.phase, a.total, a.taken, a.move_no,
  coalesce(f.held, 0) AS held, coalesce(f.sold, 0) AS sold,
  coalesce(m.moved, 0) AS moved, coalesce(m.returned, 0) AS returned,
  (coalesce(m.n, 0) <> a.move_no OR coalesce(m.top, 0) <> a.move_no) AS gaps,
  coalesce(q.used, 0) AS quota, s.taken AS quota_taken
FROM allotment a JOIN mine ON mine.id = a.offer_id JOIN sums s ON s.offer_id = a.offer_id
LEFT JOIN moves m ON m.offer_id = a.offer_id AND m.location = a.location
LEFT JOIN folds f ON f.offer_id = a.offer_id AND f.location = a.location
LEFT JOIN quotas q ON q.offer_id = a.offer_id
ORDER BY 1, 2"""


async def audit(db: Database, redis: Redis) -> dict[str, Any]:
    """Every room: `{balanced, rooms: [{room, balanced, settled, offers: [terms]}], stock: [fault]}`."""
    async with db.connection() as connection:
        rooms = (await connection.execute(text("SELECT room_id FROM room_clock ORDER BY room_id"))).scalars().all()
        stock = (await connection.execute(text(_STOCK))).mappings().all()
    found = [await audit_room(db, redis, room) for room in rooms]
    faults = [_plain(row) for row in stock]
    balanced = all(one.balanced and one.settled for one in found) and not faults
    return {"balanced": balanced, "rooms": [asdict(one) for one in found], "stock": faults}


# What shows hold of a store's stock is what their allotments say, less what was collected.
_STOCK = """
WITH carved AS (
  SELECT o.sku_id, a.location, sum(a.total) AS total FROM allotment a JOIN offer o ON o.id = a.offer_id
  WHERE o.sku_id IS NOT NULL GROUP BY 1, 2),
gone AS (SELECT sku_id, location, -sum(qty) AS qty FROM stock_change WHERE cause LIKE 'collected:%' GROUP BY 1, 2)
SELECT s.sku_id, s.location, s.allotted, coalesce(c.total, 0) - coalesce(g.qty, 0) AS wanted
FROM stock s LEFT JOIN carved c ON c.sku_id = s.sku_id AND c.location = s.location
LEFT JOIN gone g ON g.sku_id = s.sku_id AND g.location = s.location
WHERE s.allotted <> coalesce(c.total, 0) - coalesce(g.qty, 0)"""


async def _run() -> dict[str, Any]:
    config = settings()
    if config.database_url is None or config.redis_url is None:
        raise SystemExit("LIVE_DATABASE_URL and LIVE_REDIS_URL must be set, or `live up` must run in this folder")
    db, redis = Database(config.database_url, 2), connect(config.redis_url)
    try:
        return await audit(db, redis)
    finally:
        await redis.aclose()
        await db.close()


def main(as_json: bool) -> int:
    """Print the audit; 0 when everything balances."""
    found = asyncio.run(_run())
    if as_json:
        sys.stdout.write(orjson.dumps(found).decode() + "\n")
        return 0 if found["balanced"] else 1
    for room in found["rooms"]:
        sys.stdout.write(f"{room['room']}: {'balanced' if room['balanced'] else 'NOT BALANCED'}\n")
        for terms in room["offers"]:
            names = ("left", "in_flight", "held", "sold")
            sums = f"total {terms['total']} = " + " + ".join(f"{name.replace('_', ' ')} {terms[name]}" for name in names)
            faults = "".join(f"  FAULT {fault}" for fault in terms["faults"])
            sys.stdout.write(f"  offer {terms['offer']} at {terms['location']}: {sums}{faults}\n")
    for fault in found["stock"]:
        where = f"stock of SKU {fault['sku_id']} at {fault['location']}"
        sys.stdout.write(f"{where}: allotted {fault['allotted']}, should be {fault['wanted']}\n")
    sys.stdout.write("balanced\n" if found["balanced"] else "NOT BALANCED\n")
    return 0 if found["balanced"] else 1
