"""The audit that never stops: every live room every 5 seconds, other rooms and the stores' stock each minute. A worker's sweep runs it.

A mismatch seen twice in a row becomes a row of `drift`, once while it lasts, and an ERROR line; when it is gone the row is marked
healed. What a look needs to know of the last one stands in `watched`, so any worker may take the next, and a room whose look is under
way is skipped.

When Redis alone is wrong (SQL's own sums agree) the room's turnstile is closed: `doubt.lua` takes its `run_id` away, so it refuses every
buy as FENCED at once, and the ledger that owns the room rebuilds it within a second. That is safe whatever the watch believed: the
turnstile only decides who may try, the till decides who gets it; intents that wait there are refused as `again` and sent anew by their
pages, as after any loss of Redis; and a room that was rebuilt since it was read is left alone, since its fence is another. A false alarm
costs buyers a second.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra.db import Database, array
from live.infra.keys import room_key
from live.infra.redis import Script
from live.offers.audit import TURNSTILE, Busy, Look, Terms, look, stock_faults

log = structlog.get_logger("watch")
_doubt = Script("live.offers", "doubt")

STOCK = "*"  # the scope of the stores' stock; no room's id has a star
LIVE_SECONDS = 4  # a second below the sweep's five: what its clock may be late by
QUIET_SECONDS = 55  # rooms without a show: holds expire and refunds come for a while yet
SHARE = 20  # a look that took a second is not repeated for 20: the watch never takes more than a twentieth of PostgreSQL's time
ROOMS_AT_ONCE = 50
TURN_SECONDS = 7  # no look begins after this: the sweep ends at 10, and a look that is cut off keeps its room waiting for 30
MOST_INTENTS = 2000  # a script that reads more would hold up the buyers; such a room is looked at when it has caught up
PATIENCE = 3000  # ms a statement: a look that takes longer is given up, and repeated a minute later by its share
GIVEN_UP = timedelta(seconds=30)  # a look whose worker died
BEHIND = "turnstile is behind the books"
IN_A_ROW = {BEHIND: 12}  # looks: a ledger that is away for a minute is slow, not wrong
USUALLY = 2
ASKED = timedelta(seconds=60)  # between two rebuilds asked for: one that did not help is for people to look into
WORDS = {
    "total != left + in flight + taken": "left", "turnstile is ahead of the books": "ahead", BEHIND: "behind",
    "taken != held + sold": "orders", "taken != movements": "movements", "taken outside total": "bounds",
    "movement numbers have gaps": "gaps", "quotas != taken": "quotas", "ring-fenced != carved": "stock",
}  # fmt: skip
OF_TURNSTILE = frozenset({WORDS[fault] for fault in TURNSTILE} | {"behind"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One mismatch of one look. `mark`: what must stay the same for it to be the same mismatch."""

    what: str
    offer: int | None
    place: str
    facts: Mapping[str, Any]
    mark: int = 0

    @property
    def name(self) -> str:
        """What it is called while it lasts."""
        return f"{self.what}:{self.facts.get('sku_id', self.offer)}:{self.place}"


async def watch(db: Database, redis: Redis, now: datetime) -> int:
    """Look at every room that is due, and at the stock. How many looks there were."""
    async with db.connection() as connection:
        values = {"now": now, "live": LIVE_SECONDS, "quiet": QUIET_SECONDS, "share": SHARE, "most": ROOMS_AT_ONCE}
        due = list((await connection.execute(text(_DUE), values)).scalars())
    looks, began = 0, time.monotonic()
    for scope in due:
        if time.monotonic() - began > TURN_SECONDS:
            break  # the longest unseen come first, so the others have their turn at the next sweep
        looks += await watch_stock(db, now) if scope == STOCK else await watch_room(db, redis, scope, now)
    return looks


async def watch_room(db: Database, redis: Redis, room: str, now: datetime) -> bool:
    """Look at a room once. False when somebody else is at it, or when it is too busy to tell."""
    held = await _claim(db, room, now)
    if held is None:
        return False
    began = time.monotonic()
    found: Look | None = None
    try:
        found = await look(db, redis, room, MOST_INTENTS, PATIENCE)
    except (Busy, RedisError, OSError, SQLAlchemyError) as error:
        log.warning("watch.skipped", room=room, error=repr(error)[:200])
        await _let_go(db, room, now, began)
        return False
    findings = [finding for terms in found.terms for finding in _findings(terms)]
    terms = [asdict(each) for each in found.terms]
    await _record(db, room, now, began, held, findings, terms, closed=not found.fence)
    if found.fence:
        await _heal(db, redis, room, found.fence, findings, now)
    return True


async def watch_stock(db: Database, now: datetime) -> bool:
    """Look at what shows hold of the stores' stock."""
    held = await _claim(db, STOCK, now)
    if held is None:
        return False
    began = time.monotonic()
    try:
        async with db.connection() as connection:
            await connection.execute(text(f"SET LOCAL statement_timeout = {PATIENCE}"))
            faults = await stock_faults(connection)
    except (OSError, SQLAlchemyError) as error:
        log.warning("watch.skipped", room=STOCK, error=repr(error)[:200])
        await _let_go(db, STOCK, now, began)
        return False
    findings = [Finding("stock", None, fault["location"], fault) for fault in faults]
    await _record(db, STOCK, now, began, held, findings, faults, closed=False)
    return True


def _findings(terms: Terms) -> list[Finding]:
    facts = asdict(terms)
    found = [Finding(WORDS[fault], terms.offer, terms.location, facts) for fault in terms.faults]
    if terms.late > 0:
        found.append(Finding("behind", terms.offer, terms.location, facts, mark=terms.applied or 0))
    return found


async def _claim(db: Database, scope: str, now: datetime) -> dict[str, Any] | None:
    """The suspects of the last look, name -> [looks, mark]; None when a look is under way."""
    async with db.connection() as connection:
        row = (await connection.execute(text(_CLAIM), {"s": scope, "now": now, "stale": now - GIVEN_UP})).one_or_none()
    return None if row is None else dict(row[0])


async def _let_go(db: Database, scope: str, now: datetime, began: float) -> None:
    async with db.connection() as connection:
        slow = "UPDATE watched SET began_at = NULL, tried_at = :now, millis = :ms WHERE scope = :s"
        await connection.execute(text(slow), {"s": scope, "now": now, "ms": _millis(began)})


def _millis(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


async def _record(
    db: Database, scope: str, now: datetime, began: float, held: Mapping[str, Any], findings: Sequence[Finding],
    terms: Sequence[Mapping[str, Any]], *, closed: bool,
) -> None:  # fmt: skip
    """Write the look down: suspects, what was confirmed, what has healed. `closed`: nothing was learnt of the turnstile."""
    suspects = {name: seen for name, seen in held.items() if closed and name.partition(":")[0] in OF_TURNSTILE}
    async with db.connection() as connection:
        for finding in findings:
            before, mark = held.get(finding.name, (0, finding.mark))
            seen = before + 1 if mark == finding.mark else 1
            suspects[finding.name] = (seen, finding.mark)
            if seen >= (IN_A_ROW[BEHIND] if finding.what == "behind" else USUALLY):
                await _write(connection, scope, finding, now)
        spared = array(OF_TURNSTILE) if closed else "{}"
        gone = await connection.execute(text(_GONE), {"s": scope, "now": now, "names": array(suspects), "spared": spared})
        for name in gone.scalars():
            log.info("drift.healed", room=scope, finding=name)
        values = {"s": scope, "now": now, "ms": _millis(began), "t": orjson.dumps(terms).decode(), "x": orjson.dumps(suspects).decode()}
        await connection.execute(text(_DONE), values)


async def _write(connection: AsyncConnection, scope: str, finding: Finding, now: datetime) -> None:
    values = {"r": scope, "o": finding.offer, "w": finding.what, "f": orjson.dumps(finding.facts).decode(), "n": finding.name, "now": now}
    if (await connection.execute(text(_DRIFT), values)).first() is not None:
        log.error("drift", room=scope, finding=finding.name, **{name: value for name, value in finding.facts.items() if name != "faults"})


async def _heal(db: Database, redis: Redis, room: str, fence: str, findings: Sequence[Finding], now: datetime) -> None:
    """Close a turnstile that is wrong for certain, so that its owner builds it anew. Never while SQL disagrees with itself."""
    if any(finding.what not in OF_TURNSTILE for finding in findings):
        return
    async with db.connection() as connection:
        values = {"s": room, "now": now, "before": now - ASKED, "names": array(finding.name for finding in findings)}
        asks = (await connection.execute(text(_ASK), values)).first() is not None
    if asks and await _doubt(redis, [room_key(room, "meta")], [fence]):
        log.warning("rebuild.asked", room=room, fence=fence)


async def figures(db: Database) -> bytes:
    """What monitoring reads, in Prometheus's text form. From SQL, so that it is the same whichever process is asked."""
    registry = CollectorRegistry()
    drifts = Counter("live_drift", "Mismatches ever written down", ["what"], registry=registry)
    opened = Gauge("live_drift_open", "Mismatches that have not healed", ["room"], registry=registry)
    age = Gauge("live_audit_age_seconds", "Since the last look that could tell", ["room"], registry=registry)
    lasted = Gauge("live_audit_seconds", "How long the last look took", ["room"], registry=registry)
    async with db.connection() as connection:
        for what, count in (await connection.execute(text("SELECT what, count(*) FROM drift GROUP BY what"))).all():
            drifts.labels(what).inc(count)
        for room, seconds, millis, count in (await connection.execute(text(_FIGURES))).all():
            opened.labels(room).set(count)
            lasted.labels(room).set(millis / 1000)
            if seconds is not None:
                age.labels(room).set(float(seconds))
    return generate_latest(registry)


_DUE = f"""SELECT scope FROM (
  SELECT c.room_id AS scope, CASE r.phase WHEN 'live' THEN CAST(:live AS int) ELSE CAST(:quiet AS int) END AS every
  FROM room_clock c LEFT JOIN room r ON r.id = c.room_id UNION ALL SELECT '{STOCK}', CAST(:quiet AS int)) AS all_scopes
  LEFT JOIN watched w USING (scope)
  WHERE w.tried_at IS NULL OR w.tried_at <= :now - make_interval(secs => greatest(every, w.millis * CAST(:share AS int) / 1000.0))
  ORDER BY w.tried_at NULLS FIRST LIMIT :most"""
_CLAIM = """INSERT INTO watched AS w (scope, began_at) VALUES (:s, :now) ON CONFLICT (scope) DO UPDATE SET began_at = :now
  WHERE w.began_at IS NULL OR w.began_at < :stale RETURNING suspects"""
_DRIFT = """INSERT INTO drift (room_id, offer_id, what, facts, at, finding) VALUES (:r, :o, :w, CAST(:f AS jsonb), :now, :n)
  ON CONFLICT (room_id, finding) WHERE healed_at IS NULL DO NOTHING RETURNING id"""
_GONE = """UPDATE drift SET healed_at = :now WHERE room_id = :s AND healed_at IS NULL AND finding IS NOT NULL
  AND finding <> ALL(CAST(:names AS text[])) AND what <> ALL(CAST(:spared AS text[])) RETURNING finding"""
_DONE = """UPDATE watched SET began_at = NULL, at = :now, tried_at = :now, millis = :ms, terms = CAST(:t AS jsonb),
  suspects = CAST(:x AS jsonb), balanced = NOT EXISTS (SELECT 1 FROM drift d WHERE d.room_id = :s AND d.finding IS NOT NULL
  AND d.healed_at IS NULL) WHERE scope = :s"""
_ASK = """UPDATE watched SET asked_at = :now WHERE scope = :s AND (asked_at IS NULL OR asked_at <= :before) AND EXISTS (
  SELECT 1 FROM drift d WHERE d.room_id = :s AND d.healed_at IS NULL AND d.finding = ANY(CAST(:names AS text[]))) RETURNING scope"""
_FIGURES = """SELECT w.scope, extract(epoch FROM now() - w.at), w.millis,
  (SELECT count(*) FROM drift d WHERE d.room_id = w.scope AND d.finding IS NOT NULL AND d.healed_at IS NULL)
  FROM watched w ORDER BY w.scope"""
