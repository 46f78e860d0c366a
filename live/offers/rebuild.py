"""A room's Redis state made anew from SQL: first start, lost, rolled back, promoted or replaced Redis (DESIGN section 4.2)."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import orjson
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra.db import Database
from live.infra.keys import ROOMS, room_key
from live.infra.redis import Script
from live.offers.actions import turnstile
from live.offers.tables import Offer

_rebuild = Script("live.offers", "rebuild")
CHUNK = 1000  # persons a command: short enough not to stall the server

# What a higher noun adds to a rebuilt room: who is muted ({who: until epoch ms}) and the bars ({state key: (version, value)}).
RoomFacts = Callable[[AsyncConnection, str], Awaitable[tuple[Mapping[str, int], Mapping[str, tuple[int, Mapping[str, Any]]]]]]


async def sound(redis: Redis, db: Database, room: str) -> bool:
    """Whether the room's turnstile may be trusted: its fence is SQL's and the server is the one it was built on."""
    fence, run_id = await redis.hmget(room_key(room, "meta"), ["fence", "run_id"])  # type: ignore[misc]
    if fence is None or run_id is None:
        return False
    info = await redis.info("server")
    if info["run_id"] != run_id.decode():
        return False
    async with db.connection() as connection:
        known = (await connection.execute(text("SELECT fence FROM fence WHERE room_id = :r"), {"r": room})).scalar_one_or_none()
    return known is not None and int(known) == int(fence)


async def rebuild(redis: Redis, db: Database, room: str, facts: RoomFacts) -> int:
    """Close the room's turnstile, write every counter from one SQL snapshot, open it under a new fence. Returns the fence."""
    async with db.connection() as connection:
        # Waits for open bookings (they hold the row FOR SHARE), so nothing of an older fence is booked after this.
        fence = int((await connection.execute(text(_RAISE), {"r": room})).scalar_one())
    await _forget(redis, room)
    async with db.connection() as connection:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        act_no, state, hashes, used = await _snapshot(connection, room)
        muted, bars = await facts(connection, room)
    pipe = redis.pipeline(transaction=False)
    for offer_id, fields in hashes.items():
        pipe.hset(room_key(room, f"offer:{offer_id}"), mapping=fields)
        if f"offer:{offer_id}" in state:
            state[f"left:{offer_id}"] = {"left": {k[5:]: int(v) for k, v in fields.items() if k.startswith("left:")}}
    for offer_id, people in used.items():
        for start in range(0, len(people), CHUNK):
            pipe.hset(room_key(room, f"used:{offer_id}"), mapping=dict(people[start : start + CHUNK]))
    if muted:
        pipe.hset(room_key(room, "muted"), mapping={who: str(until) for who, until in muted.items()})
    for key, (version, value) in bars.items():
        if f"offer:{key.partition(':')[2]}" in state:
            state[key] = dict(value)
        pipe.hset(room_key(room, "meta"), f"count:{key}", str(version))
    pipe.sadd(ROOMS, room)
    await pipe.execute()
    keys = [room_key(room, name) for name in ("meta", "log", "state", "intents", "own")]
    texts = {key: orjson.dumps(value).decode() for key, value in state.items()}
    await _rebuild(redis, keys, [room, fence, secrets.token_urlsafe(6), act_no, orjson.dumps(texts)])
    return fence


_RAISE = "INSERT INTO fence (room_id, fence) VALUES (:r, 1) ON CONFLICT (room_id) DO UPDATE SET fence = fence.fence + 1 RETURNING fence"


async def _forget(redis: Redis, room: str) -> None:
    # meta goes first: from here on every buy is refused as FENCED. Comments, viewers and likes are not stock and stay.
    await redis.delete(room_key(room, "meta"))
    for name in ("log", "state", "intents", "own", "ownlast", "ownver", "muted"):
        await redis.delete(room_key(room, name))
    for pattern in ("offer:*", "used:*"):
        async for key in redis.scan_iter(match=_escape(room_key(room, "")) + pattern, count=500):
            await redis.unlink(key)


def _escape(text_: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in text_)


async def _snapshot(
    connection: AsyncConnection, room: str
) -> tuple[int, dict[str, dict[str, Any]], dict[int, dict[str, str]], dict[int, list[tuple[str, int]]]]:
    at = (await connection.execute(text("SELECT act_no FROM room_clock WHERE room_id = :r"), {"r": room})).scalar_one_or_none()
    rows = await connection.execute(text("SELECT key, value FROM room_state WHERE room_id = :r"), {"r": room})
    state: dict[str, dict[str, Any]] = {key: value for key, value in rows.all()}
    offers = (await connection.execute(text(_OFFERS), {"r": room})).mappings().all()
    places = (await connection.execute(text(_PLACES), {"r": room})).all()
    hashes: dict[int, dict[str, str]] = {}
    for row in offers:
        seats = None if row["size"] is None else int(row["size"]) - int(row["held"]) - int(row["paid"])
        left = {place: int(total) - int(taken) for offer, place, total, taken, _ in places if offer == row["id"]}
        hashes[int(row["id"])] = turnstile(_offer(dict(row)), left, seats)
        hashes[int(row["id"])] |= {f"move:{place}": str(no) for offer, place, _, _, no in places if offer == row["id"]}
        hashes[int(row["id"])] |= {"out": "1" if sum(left.values()) <= 0 else "0"}
    used: dict[int, list[tuple[str, int]]] = {}
    for offer, person, units in (await connection.execute(text(_USED), {"r": room})).all():
        used.setdefault(int(offer), []).append((person, int(units)))
    return int(at or 0), state, hashes, used


def _offer(row: Mapping[str, Any]) -> Offer:
    closes: datetime | None = row["closes_at"]
    return Offer(
        id=row["id"], room_id=row["room_id"], kind=row["kind"], phase=row["phase"], fen=row["fen"], price_version=row["price_version"],
        per_person=row["per_person"], opens_at=row["opens_at"], closes_at=closes,
    )  # fmt: skip


# Ended offers stay out of the turnstile unless units of theirs may still move.
_LIVE = "o.room_id = :r AND (o.phase = 'open' OR EXISTS (SELECT 1 FROM allotment a WHERE a.offer_id = o.id AND a.total > 0))"
_OFFERS = f"SELECT o.*, t.size, t.held, t.paid FROM offer o LEFT JOIN team t ON t.offer_id = o.id WHERE {_LIVE} ORDER BY o.id"
_PLACES = f"SELECT a.offer_id, a.location, a.total, a.taken, a.move_no FROM allotment a JOIN offer o ON o.id = a.offer_id WHERE {_LIVE}"
_USED = f"""SELECT q.offer_id, q.person, q.used FROM quota q JOIN offer o ON o.id = q.offer_id
  WHERE o.phase = 'open' AND q.used > 0 AND {_LIVE}"""
