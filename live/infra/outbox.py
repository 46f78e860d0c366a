"""The outbox: written in the transaction that decides, read by whoever must act on it.

Kinds: `act` (ordered change of a room by `act_no`), `own` (one person's news, newest version wins), `count` (a state key with a version
taken under its own row) and `house` (a stock movement the ledger must book) are applied by the ledger that owns the room.
`job` rows are claimed by workers, topic by topic; arq only nudges them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import psycopg
from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlmodel import col

from live.infra.db import array, driver
from live.infra.tables import Outbox, RoomClock, RoomState

CHANNEL = "outbox"  # NOTIFY channel; the payload is the room
News = tuple[str, str, int, bytes]  # person, key, version, body as JSON


async def act(
    session: AsyncSession,
    room_id: str,
    *,
    events: Sequence[list[Any]] = (),
    state: Mapping[str, dict[str, Any] | None] | None = None,
    offers: Mapping[int, Mapping[str, str]] | None = None,
    muted: Mapping[str, int] | None = None,
) -> int:
    """Change a room: critical events, state keys (None removes), turnstile fields of offers, mutes (epoch ms, 0 ends one).

    Returns the act's number. The room's clock row is locked until the transaction ends, so acts reach the room in commit order.
    """
    clock = insert(RoomClock).values(room_id=room_id, act_no=1)
    clock = clock.on_conflict_do_update(index_elements=["room_id"], set_={"act_no": RoomClock.act_no + 1})
    number = int((await session.execute(clock.returning(col(RoomClock.act_no)))).scalar_one())
    for key, value in (state or {}).items():
        if value is None:
            await session.execute(delete(RoomState).where(col(RoomState.room_id) == room_id, col(RoomState.key) == key))
        else:
            row = insert(RoomState).values(room_id=room_id, key=key, value=value)
            await session.execute(row.on_conflict_do_update(index_elements=["room_id", "key"], set_={"value": value}))
    payload = {
        "no": number,
        "events": list(events),
        "state": dict(state or {}),
        "offers": {str(k): dict(v) for k, v in (offers or {}).items()},
        "muted": dict(muted or {}),
    }
    await _put(session, Outbox(kind="act", room_id=room_id, payload=payload))
    return number


async def room_state(session: AsyncSession, room_id: str, key: str) -> dict[str, Any] | None:
    """One state key as the last act left it."""
    query = select(col(RoomState.value)).where(col(RoomState.room_id) == room_id, col(RoomState.key) == key)
    found: dict[str, Any] | None = (await session.execute(query)).scalar_one_or_none()
    return found


async def own(session: AsyncSession, room_id: str, person: str, key: str, version: int, body: Mapping[str, Any]) -> None:
    """Tell one person (all their sockets) about `key` (`order:<no>`, `coupon:<id>`); older versions are ignored."""
    await _put(session, Outbox(kind="own", room_id=room_id, key=key, payload={"who": person, "version": version, "body": dict(body)}))


async def tell_many(
    connection: AsyncConnection | AsyncSession, room_id: str, news: Sequence[tuple[str, str, int, Mapping[str, Any]]]
) -> None:
    """Tell many people, in one row that the relay applies: (person, key, version, body) each."""
    await connection.execute(_TOLD, {"r": room_id, "n": orjson.dumps(news).decode(), "channel": CHANNEL, "said": room_id})


async def own_many(connection: AsyncConnection, room_id: str, news: Sequence[News]) -> psycopg.AsyncCursor[tuple[int]]:
    """Tell many people, in one row: one batch of orders is one thing to be told. Returns the row's id, to be fetched after the pipeline.

    Nobody is notified: only the ledger writes such rows, and tells what is in them itself after its commit. They are for its successor.
    """
    many = [(who, key, version, orjson.Fragment(body)) for who, key, version, body in news]
    raw = await driver(connection)
    return await raw.execute(_MANY, (room_id, orjson.dumps(many).decode()))


def news_of(key: str, payload: Mapping[str, Any], news: str | None) -> list[tuple[str, str, int, Any]]:
    """(person, key, version, body) of each that an `own` row tells."""
    if news is not None:
        told: list[tuple[str, str, int, Any]] = orjson.loads(news)
        return told
    return payload.get("many") or [(payload["who"], key, payload["version"], payload["body"])]  # many: of an older release


_MANY = "INSERT INTO outbox (kind, room_id, news) VALUES ('own', %s, %s) RETURNING id"


async def count(connection: AsyncConnection | AsyncSession, room_id: str, key: str, version: int, value: Mapping[str, Any]) -> None:
    """A state key whose version was taken under its own row (a team's bar); the newest wins."""
    payload = orjson.dumps({"version": version, "value": dict(value)}).decode()
    await connection.execute(_COUNTED, {"r": room_id, "k": key, "p": payload, "channel": CHANNEL, "said": room_id})


async def count_aside(
    raw: psycopg.AsyncConnection[Any], room_id: str, key: str, version: int, value: Mapping[str, Any]
) -> psycopg.AsyncCursor[tuple[int, bool]]:
    """As `count`, for the ledger, which tells it itself after its commit: the row's id, and whether no act of the room stands before it.
    To be fetched after the pipeline."""
    payload = orjson.dumps({"version": version, "value": dict(value)}).decode()
    return await raw.execute(_ASIDE, (room_id, key, payload, room_id))


_ASIDE = """INSERT INTO outbox (kind, topic, room_id, key, payload) VALUES ('count', '', %s, %s, CAST(%s AS jsonb))
  RETURNING id, NOT EXISTS (SELECT FROM outbox act WHERE act.room_id = %s AND act.kind <> 'job' AND act.kind = 'act')"""
_NOTIFIED = "WITH put AS ({}) SELECT pg_notify(:channel, :said)"  # one round trip; the row is written although nothing reads it
_TOLD = text(_NOTIFIED.format("INSERT INTO outbox (kind, room_id, news) VALUES ('own', :r, :n)"))
_COUNTED = text(_NOTIFIED.format("INSERT INTO outbox (kind, room_id, key, payload) VALUES ('count', :r, :k, CAST(:p AS jsonb))"))
_JOBS = text(
    _NOTIFIED.format(
        "INSERT INTO outbox (kind, topic, key, payload) SELECT 'job', :t, k, CAST(p AS jsonb)"
        " FROM unnest(CAST(:keys AS text[]), CAST(:payloads AS text[])) WITH ORDINALITY AS t(k, p, n) ORDER BY n"
    )
)


def newest(rows: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """These rows of the outbox with the newest value of each counted key alone, and the rows it stands for.

    It takes the place of the first of them, so that no act is seen before a bar that its transaction wrote too.
    """
    newest: dict[str, Any] = {}
    for row in rows:
        if row.kind == "count" and (row.key not in newest or newest[row.key].payload["version"] < row.payload["version"]):
            newest[row.key] = row
    left = [newest.pop(row.key, None) if row.kind == "count" else row for row in rows]
    kept = [row for row in left if row is not None]
    ids = {row.id for row in kept}
    return kept, [row.id for row in rows if row.id not in ids]


async def house(session: AsyncSession, room_id: str, *entries: Mapping[str, Any]) -> None:
    """Stock movements for the ledger to book in its next group, in one row; see `offers.rules.House` for the fields."""
    if entries:
        payload = dict(entries[0]) if len(entries) == 1 else {"many": list(entries)}
        await _put(session, Outbox(kind="house", room_id=room_id, payload=payload))


async def apart(connection: AsyncConnection, row_id: int) -> None:
    """Many movements of one row in a row each: one of them cannot be booked, and the others do not wait for it."""
    query = (
        "WITH gone AS (DELETE FROM outbox WHERE id = :id RETURNING room_id, payload) INSERT INTO outbox (kind, room_id, payload)"
        " SELECT 'house', room_id, entry FROM gone, jsonb_array_elements(payload->'many') AS entry"
    )
    await connection.execute(text(query), {"id": row_id})


async def job(
    session: AsyncConnection | AsyncSession, topic: str, key: str, payload: Mapping[str, Any] | None = None, due: datetime | None = None
) -> None:
    """Work for a worker. `key` groups what one job takes together (a store, an order, a team)."""
    values = {"t": topic, "k": key, "p": orjson.dumps(dict(payload or {})).decode(), "due": due}
    await session.execute(_JOB, values)
    await session.execute(select(func.pg_notify(CHANNEL, f"job:{topic}:{key}")))


_JOB = text(
    "INSERT INTO outbox (kind, topic, key, payload, due_at)"
    " VALUES ('job', :t, :k, CAST(:p AS jsonb), coalesce(CAST(:due AS timestamptz), now()))"
)


async def jobs(session: AsyncSession, topic: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Many rows of a topic (key, payload) at once: one notice for all of them."""
    keys, payloads = array(key for key, _ in rows), array(orjson.dumps(dict(payload)).decode() for _, payload in rows)
    await session.execute(_JOBS, {"t": topic, "keys": keys, "payloads": payloads, "channel": CHANNEL, "said": f"job:{topic}:"})


async def claim(session: AsyncSession, topic: str, key: str | None = None, limit: int = 200) -> list[Outbox]:
    """Undone rows of a topic that no other worker holds, oldest first, locked until this transaction ends."""
    query = select(Outbox).where(
        col(Outbox.kind) == "job",
        col(Outbox.topic) == topic,
        col(Outbox.done_at).is_(None),
        col(Outbox.due_at) <= func.now(),
    )
    if key is not None:
        query = query.where(col(Outbox.key) == key)
    query = query.order_by(col(Outbox.id)).limit(limit).with_for_update(skip_locked=True)
    return list((await session.execute(query)).scalars())


async def waiting(session: AsyncSession, older_seconds: float = 0.0) -> list[tuple[str, str, int]]:
    """(topic, key, highest id) of undone job rows that are due: what a nudge or the sweep enqueues.

    The 200 longest waiting keys of each topic, so that a thousand refunds that cannot be sent keep no store waiting.
    """
    query = text(
        "SELECT topic, key, top FROM (SELECT topic, key, max(id) AS top, row_number() OVER (PARTITION BY topic ORDER BY min(id)) AS place"
        " FROM outbox WHERE kind = 'job' AND done_at IS NULL AND due_at <= now() - make_interval(secs => :old) GROUP BY topic, key) AS keys"
        " WHERE place <= 200 ORDER BY place"
    )
    return [(topic, key, int(top)) for topic, key, top in (await session.execute(query, {"old": older_seconds})).all()]


async def _put(session: AsyncSession, row: Outbox) -> None:
    session.add(row)
    await session.flush()
    await session.execute(select(func.pg_notify(CHANNEL, row.room_id)))
