"""Movements sealed into chains, one per allotment (offer, location), and written to a file that anybody can check.

A worker seals ranges of at most 1,000 movements, outside the transactions that sell. A file is JSON Lines, format `live-movements/1`.
Every line is canonical JSON (keys sorted, no spaces, UTF-8, no escapes but those JSON asks for, integers) and ends with one newline:

1. header  {allotments, at, format}; each allotment, in order of (offer, location): {hash, location, move_no, offer, opened, room, sealed,
           taken, total}: units it was opened with, sums now, last number, last sealed number and that seal's hash (`opening` when none).
2. for each allotment in that order its movements {at, kind, location, move_no, offer, qty, rid} by move_no from 1 without a gap, and
           after the last movement of each range its seal {at, from_no, hash, location, offer, previous, to_no}
3. end     {lines, sha256}: how many lines came before, and the SHA-256 (hex) of all their bytes, newlines included

A movement's qty changes `taken` (HOLD >= 1; RELEASE and RESTOCK <= -1) or `total` (ADJUST; RETURN <= 0). From `opened` and 0 taken on,
0 <= taken <= total holds after every movement, and the last sums are the header's. A (rid, kind) stands once per offer.
opening  = hex SHA-256 of the line {location, offer, opened} without a newline
hash     = hex SHA-256 of `previous` (hex, ASCII), a newline, then the range's movement lines, each with its newline
previous = the `hash` of the seal before, or `opening`; from_no = that seal's to_no + 1, or 1. Times are UTC: 2026-11-22T12:00:00.000000Z

A chain proves that nothing before a known hash was changed; whoever rewrites all of it gets other hashes. So keep the header's hashes
(or an earlier file) where the shop cannot reach them. Movements after a last seal stand on the sums alone: an export seals them first.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra.db import Database
from live.offers.proof import FORMAT, SEAL_MOST, Broken, Proof, canonical, opening, seal

log = structlog.get_logger("chain")

ALLOTMENTS_AT_ONCE = 100  # chains a round: some hundred short reads
FETCH = 2000  # movements an export reads at once


def moment(at: datetime) -> str:
    """A time as the file writes it."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def movement_line(row: RowMapping) -> bytes:
    """A movement as it is hashed and written."""
    fields = {"kind": row["kind"], "location": row["location"], "move_no": row["move_no"], "offer": row["offer_id"]}
    return canonical(fields | {"qty": row["qty"], "rid": row["rid"], "at": moment(row["at"])})


def seal_line(row: RowMapping) -> bytes:
    """The seal that ends at this movement, as it is written."""
    fields = {"at": moment(row["sealed_at"]), "hash": row["hash"], "previous": row["previous"], "offer": row["offer_id"]}
    return canonical(fields | {"location": row["location"], "from_no": row["from_no"], "to_no": row["move_no"]})


async def seal_due(db: Database, now: datetime, seconds: float = math.inf, rest: float = 0.0) -> int:
    """Seal what was moved since the last seals; how many seals. Safe to run twice at once: a range begins once.

    After `seconds` no other range is begun; the next call goes on where the fewest movements are sealed. Until then it rests `rest` times
    as long as a range took, after each.
    """
    made, until = 0, time.monotonic() + seconds
    async with db.connection() as connection:
        due = (await connection.execute(text(_DUE), {"most": ALLOTMENTS_AT_ONCE})).mappings().all()
    for row in due:
        previous = row["hash"] or opening(row["offer_id"], row["location"], int(row["opened"]))
        for start in range(row["sealed"] + 1, row["move_no"] + 1, SEAL_MOST):
            began = time.monotonic()
            follows = await _seal_range(db, row, start, min(start + SEAL_MOST - 1, row["move_no"]), previous, now)
            if follows is None:
                break
            previous, made = follows, made + 1
            ended = time.monotonic()
            await asyncio.sleep(max(0.0, min(rest * (ended - began), until - ended)))
            if time.monotonic() >= until:
                return made
    return made


async def _seal_range(db: Database, row: RowMapping, start: int, end: int, previous: str, now: datetime) -> str | None:
    """The hash of the new seal; None when another worker was faster, or the numbers have a gap (which the audit reports)."""
    where = {"o": row["offer_id"], "l": row["location"], "f": start, "t": end}
    async with db.connection() as connection:
        found = (await connection.execute(text(_RANGE), where)).mappings().all()
        if [each["move_no"] for each in found] != list(range(start, end + 1)):
            log.error("chain.gap", offer=row["offer_id"], location=row["location"], from_no=start, to_no=end)
            return None
        digest = seal(previous, map(movement_line, found))
        made = await connection.execute(text(_SEAL), where | {"p": previous, "h": digest, "now": now})
        return None if made.first() is None else digest


async def seals(connection: AsyncConnection) -> list[dict[str, Any]]:
    """How far each chain is: `{room, offer, location, move_no, sealed, seals, hash}`; `hash` is what to keep elsewhere."""
    names = ("room", "offer", "location", "move_no", "sealed", "seals", "hash")
    return [{name: row[name] for name in names} for row in await _allotments(connection)]


async def export_lines(connection: AsyncConnection, now: datetime) -> AsyncIterator[bytes]:
    """The file's lines, without newlines, as one moment saw the books."""
    await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    allotments = await _allotments(connection)
    names = ("hash", "location", "move_no", "offer", "opened", "room", "sealed", "taken", "total")
    header = {"format": FORMAT, "at": moment(now), "allotments": [{name: each[name] for name in names} for each in allotments]}
    count, digest = 0, hashlib.sha256()

    def counted(line: bytes) -> bytes:
        nonlocal count
        count += 1
        digest.update(line + b"\n")
        return line

    yield counted(canonical(header))
    for each in allotments:
        last, more = 0, True
        while more:
            where = {"o": each["offer"], "l": each["location"], "after": last, "most": FETCH}
            rows = (await connection.execute(text(_NEXT), where)).mappings().all()
            for row in rows:
                yield counted(movement_line(row))
                if row["hash"] is not None:
                    yield counted(seal_line(row))
                last = row["move_no"]
            more = len(rows) == FETCH
    yield canonical({"lines": count, "sha256": digest.hexdigest()})


async def _allotments(connection: AsyncConnection) -> list[dict[str, Any]]:
    found = []
    for row in (await connection.execute(text(_HEADS))).mappings().all():
        one = dict(row) | {"opened": int(row["opened"])}
        found.append(one | {"hash": row["hash"] or opening(row["offer"], row["location"], one["opened"])})
    return found


async def export(db: Database, path: Path, now: datetime) -> Proof:
    """Seal everything, write the file and check it while it is written. Raises Broken when the books' own chain is broken."""
    while await seal_due(db, now):
        pass
    part, proof = path.with_name(path.name + ".part"), Proof()
    try:
        async with db.connection() as connection:
            with part.open("wb") as file:
                async for line in export_lines(connection, now):
                    proof.read(line)
                    file.write(line + b"\n")
        proof.finish()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return proof


async def sound(db: Database, now: datetime) -> Broken | None:
    """The first fault of the chains as they stand in the database; None when there is none."""
    proof = Proof()
    try:
        async with db.connection() as connection:
            async for line in export_lines(connection, now):
                proof.read(line)
        proof.finish()
    except Broken as broken:
        return broken
    return None


_LAST = """LEFT JOIN LATERAL (SELECT s.to_no, s.hash FROM movement_seal s WHERE s.offer_id = a.offer_id AND s.location = a.location
  ORDER BY s.from_no DESC LIMIT 1) s ON true"""
_OPENED = """a.total - coalesce((SELECT sum(m.qty) FROM movement m WHERE m.offer_id = a.offer_id AND m.location = a.location
  AND m.kind IN ('ADJUST','RETURN')), 0)"""
# What an allotment was opened with is asked only before its first seal.
_DUE = f"""SELECT a.offer_id, a.location, a.move_no, coalesce(s.to_no, 0) AS sealed, s.hash,
  CASE WHEN s.hash IS NULL THEN {_OPENED} ELSE 0 END AS opened
  FROM allotment a {_LAST} WHERE a.move_no > coalesce(s.to_no, 0) ORDER BY coalesce(s.to_no, 0), 1, 2 LIMIT :most"""
_RANGE = """SELECT offer_id, location, move_no, kind, qty, rid, at FROM movement
  WHERE offer_id = :o AND location = :l AND move_no BETWEEN :f AND :t ORDER BY move_no"""
_SEAL = """INSERT INTO movement_seal (offer_id, location, from_no, to_no, previous, hash, at) VALUES (:o, :l, :f, :t, :p, :h, :now)
  ON CONFLICT DO NOTHING RETURNING from_no"""
# Places are compared byte by byte, as every program sorts them.
_HEADS = f"""SELECT o.room_id AS room, a.offer_id AS offer, a.location, a.move_no, a.total, a.taken, coalesce(s.to_no, 0) AS sealed, s.hash,
  (SELECT count(*) FROM movement_seal n WHERE n.offer_id = a.offer_id AND n.location = a.location) AS seals, {_OPENED} AS opened
  FROM allotment a JOIN offer o ON o.id = a.offer_id {_LAST} ORDER BY a.offer_id, a.location COLLATE "C\""""
_NEXT = """SELECT m.offer_id, m.location, m.move_no, m.kind, m.qty, m.rid, m.at, s.from_no, s.previous, s.hash, s.at AS sealed_at
  FROM movement m LEFT JOIN movement_seal s ON s.offer_id = m.offer_id AND s.location = m.location AND s.to_no = m.move_no
  WHERE m.offer_id = :o AND m.location = :l AND m.move_no > :after ORDER BY m.move_no LIMIT :most"""
