"""A room's Redis state made anew from SQL: first start, lost, rolled back, promoted or replaced Redis (DESIGN section 4.2)."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra.db import Database
from live.infra.keys import room_key
from live.infra.redis import Script
from live.offers.actions import turnstile
from live.offers.tables import Offer

_clear, _fill, _rebuild, _sound = (Script("live.offers", name) for name in ("clear", "fill", "rebuild", "sound"))
CHUNK = 1000  # people a command: short enough not to stall the server
FORGOTTEN = ("log", "state", "intents", "own", "ownlast", "ownver", "muted")  # comments, viewers and likes are not stock and stay

# What a higher noun adds to a rebuilt room: who is muted ({who: until epoch ms}) and the bars ({state key: (version, value)}).
RoomFacts = Callable[[AsyncConnection, str], Awaitable[tuple[Mapping[str, int], Mapping[str, tuple[int, Mapping[str, Any]]]]]]


async def sound(redis: Redis, db: Database, room: str) -> bool:
    """Whether the room's turnstile may be trusted: SQL's fence, the server it was built on, its stream, and every open offer's counters."""
    async with db.connection() as connection:
        known = (await connection.execute(text("SELECT fence FROM fence WHERE room_id = :r"), {"r": room})).scalar_one_or_none()
        query = text("SELECT id FROM offer WHERE room_id = :r AND phase = 'open' ORDER BY id")
        offers = [str(offer) for offer in (await connection.execute(query, {"r": room})).scalars()]
    keys = [room_key(room, name) for name in ("meta", "state", "intents", *(f"offer:{offer}" for offer in offers))]
    found: bytes = await _sound(redis, keys, offers)
    return str(known) == found.decode()


async def rebuild(redis: Redis, db: Database, room: str, facts: RoomFacts) -> int:
    """Close the room's turnstile, write every counter from one SQL snapshot, open it under a new fence. Returns the fence.

    Two at once: the one with the higher fence wins, the other's writes are refused by the scripts. So are all of them once another server
    answers: a replica promoted meanwhile, or one restarted, may have lost what was written first. The room stays shut for the next rebuild.
    """
    async with db.connection() as connection:
        # Waits for open bookings (they hold the row FOR SHARE), so nothing of an older fence is booked after this.
        fence = int((await connection.execute(text(_RAISE), {"r": room})).scalar_one())
        offers = (await connection.execute(text("SELECT id FROM offer WHERE room_id = :r"), {"r": room})).scalars().all()
    await _forget(redis, room, fence, offers)
    async with db.connection() as connection:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        act_no, state, hashes, used = await _snapshot(connection, room)
        muted, bars = await facts(connection, room)
    for offer_id, fields in hashes.items():
        await _write(redis, room, fence, f"offer:{offer_id}", _flat(fields))
        if f"offer:{offer_id}" in state:
            state[f"left:{offer_id}"] = {"left": {k[5:]: int(v) for k, v in fields.items() if k.startswith("left:")}}
    for offer_id, people in used:
        await _write(redis, room, fence, f"used:{offer_id}", people)
    if muted:
        await _write(redis, room, fence, "muted", _flat(muted))
    for key, (_, value) in bars.items():
        offer = key.partition(":")[2]
        if not offer or f"offer:{offer}" in state:
            state[key] = dict(value)
    keys = [room_key(room, name) for name in ("meta", "log", "state", "intents", "offers")]
    texts = {key: orjson.dumps(value).decode() for key, value in state.items()}
    counted = {key: str(version) for key, (version, _) in bars.items()}
    args = [room, fence, secrets.token_urlsafe(6), act_no, orjson.dumps(texts), orjson.dumps(counted), *hashes]
    await _rebuild(redis, keys, args)
    return fence


_RAISE = "INSERT INTO fence (room_id, fence) VALUES (:r, 1) ON CONFLICT (room_id) DO UPDATE SET fence = fence.fence + 1 RETURNING fence"


async def _forget(redis: Redis, room: str, fence: int, known: Sequence[int]) -> None:
    """Everything of the room's stock. The turnstile's own list of offers may be gone, or lack what a rebuild wrote that did not end."""
    listed = {int(offer) for offer in await redis.smembers(room_key(room, "offers"))}  # type: ignore[misc]
    offers = sorted(listed.union(known))
    names = ["meta", "offers", *FORGOTTEN, *(f"{kind}:{offer}" for offer in offers for kind in ("offer", "used"))]
    await _clear(redis, [room_key(room, name) for name in names], [fence])


async def _write(redis: Redis, room: str, fence: int, name: str, flat: str) -> None:
    await _fill(redis, [room_key(room, "meta"), room_key(room, name)], [fence, flat])


def _flat(fields: Mapping[str, Any]) -> str:
    """As `fill.lua` takes them."""
    return orjson.dumps([part for name, value in fields.items() for part in (name, str(value))]).decode()


async def _snapshot(
    connection: AsyncConnection, room: str
) -> tuple[int, dict[str, dict[str, Any]], dict[int, dict[str, str]], list[tuple[int, str]]]:
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
    used = [(int(offer), flat) for offer, flat in (await connection.execute(text(_USED), {"r": room, "n": CHUNK})).all()]
    return int(at or 0), state, hashes, used


def _offer(row: Mapping[str, Any]) -> Offer:
    closes: datetime | None = row["closes_at"]
    return Offer(
        id=row["id"], room_id=row["room_id"], kind=row["kind"], phase=row["phase"], fen=row["fen"], price_version=row["price_version"],
        per_person=row["per_person"], opens_at=row["opens_at"], closes_at=closes, terms=row["terms"],
    )  # fmt: skip


# Ended offers stay out of the turnstile unless units of theirs may still move, or their card is still shown: for the turnstile a card
# without its offer is lost stock, and whoever taps it would be told to come back for ever.
_LIVE = """o.room_id = :r AND (o.phase = 'open' OR EXISTS (SELECT 1 FROM allotment a WHERE a.offer_id = o.id AND a.total > 0)
  OR EXISTS (SELECT 1 FROM room_state s WHERE s.room_id = o.room_id AND s.key = 'offer:' || o.id))"""
_OFFERS = f"SELECT o.*, t.size, t.held, t.paid FROM offer o LEFT JOIN team t ON t.offer_id = o.id WHERE {_LIVE} ORDER BY o.id"
_PLACES = f"SELECT a.offer_id, a.location, a.total, a.taken, a.move_no FROM allotment a JOIN offer o ON o.id = a.offer_id WHERE {_LIVE}"
# A hundred thousand people are the most of a rebuild: PostgreSQL writes them as the script takes them, and nothing here looks at each.
_USED = f"""SELECT offer_id, '[' || string_agg(to_json(person) || ',"' || used || '"', ',') || ']' FROM (
  SELECT q.offer_id, q.person, q.used, (row_number() OVER (PARTITION BY q.offer_id) - 1) / :n AS chunk
  FROM quota q JOIN offer o ON o.id = q.offer_id WHERE o.phase = 'open' AND q.used > 0 AND {_LIVE}) t
  GROUP BY offer_id, chunk ORDER BY offer_id, chunk"""
