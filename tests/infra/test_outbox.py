"""The outbox on a real PostgreSQL: numbered without gaps, heard of after the commit, claimed by one worker."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from live.infra import outbox
from live.infra.db import Database, utc_now
from tests.web.doors import holdings


async def rows(db: Database, columns: str = "kind, topic, room_id, key, payload") -> list[tuple[Any, ...]]:
    async with db.connection() as connection:
        return [tuple(row) for row in (await connection.execute(text(f"SELECT {columns} FROM outbox ORDER BY id"))).all()]


async def heard(listener: psycopg.AsyncConnection[Any], seconds: float = 0.3) -> list[str]:
    return [note.payload async for note in listener.notifies(timeout=seconds)]


async def test_acts_of_20_transactions_at_once_are_numbered_without_a_gap(database: Database) -> None:
    async def one(n: int) -> int:
        async with database.begin() as session:
            return await outbox.act(session, "r1" if n % 2 else "r2", events=[["room.opened", {}]])

    numbers = await asyncio.gather(*(one(n) for n in range(20)))
    assert sorted(numbers[0::2]) == sorted(numbers[1::2]) == list(range(1, 11))
    for room in ("r1", "r2"):  # the order of the rows is the order of the numbers: they are applied by id
        async with database.connection() as connection:
            query = text("SELECT (payload->>'no')::int FROM outbox WHERE room_id = :r ORDER BY id")
            assert list((await connection.execute(query, {"r": room})).scalars()) == list(range(1, 11))


async def test_an_act_keeps_its_state_in_sql(database: Database) -> None:
    async with database.begin() as session:
        await outbox.act(session, "r1", state={"room": {"n": 1}, "offer:7": {"id": 7}})
        await outbox.act(session, "r1", state={"room": {"n": 2}, "offer:7": None}, offers={7: {"phase": "ended"}}, muted={"p:1": 0})
        await outbox.act(session, "r2", state={"room": {"n": 3}})
        found = [await outbox.room_state(session, "r1", key) for key in ("room", "offer:7", "none")]
    assert found == [{"n": 2}, None, None]
    assert (await rows(database))[1] == (
        "act", "", "r1", "",
        {"no": 2, "events": [], "state": {"room": {"n": 2}, "offer:7": None}, "offers": {"7": {"phase": "ended"}}, "muted": {"p:1": 0}},
    )  # fmt: skip


async def test_each_kind_is_written_as_its_reader_wants_it(database: Database) -> None:
    async with database.begin() as session:
        await outbox.own(session, "r1", "p:1", "order:A", 3, {"state": "PAID"})
        await outbox.count(session, "r1", "team:7", 4, {"paid": 2})
        await outbox.house(session, "r1", {"kind": "RELEASE", "rid": "x"})
        await outbox.job(session, "handoff", "S1", {"order": "A"})
    assert await rows(database) == [
        ("own", "", "r1", "order:A", {"who": "p:1", "version": 3, "body": {"state": "PAID"}}),
        ("count", "", "r1", "team:7", {"version": 4, "value": {"paid": 2}}),
        ("house", "", "r1", "", {"kind": "RELEASE", "rid": "x"}),
        ("job", "handoff", None, "S1", {"order": "A"}),
    ]


async def test_a_row_is_heard_of_when_it_is_committed_and_not_before(database: Database) -> None:
    listener = await database.raw()
    await listener.execute(f"LISTEN {outbox.CHANNEL}")
    before = await holdings(database)
    async with AsyncSession(database.engine) as session:
        await outbox.act(session, "r1")
        assert await heard(listener, 0.1) == []
        await session.rollback()
    assert await heard(listener, 0.1) == []
    assert await holdings(database) == before
    async with database.begin() as session:
        await outbox.own(session, "r1", "p:1", "order:A", 1, {})
        await outbox.house(session, "r2", {})
        await outbox.job(session, "handoff", "S1")
    assert await heard(listener) == ["r1", "r2", "job:handoff:S1"]
    await listener.close()


def test_of_a_counted_key_the_newest_value_takes_the_place_of_all() -> None:
    told = [("team:7", 4), ("", 0), ("team:8", 1), ("team:7", 6), ("order:A", 2), ("team:7", 5)]
    kinds = {"": "act", "order:A": "own"}
    rows = [SimpleNamespace(id=n, kind=kinds.get(key, "count"), key=key, payload={"version": v}) for n, (key, v) in enumerate(told)]
    kept, passed = outbox.newest(rows)
    assert [row.id for row in kept] == [3, 1, 2, 4]
    assert passed == [0, 5]


async def test_two_workers_never_claim_one_row(database: Database) -> None:
    async with database.begin() as session:
        for n in range(10):
            await outbox.job(session, "handoff", "S1", {"n": n})
    async with database.begin() as first, database.begin() as second:
        mine = await outbox.claim(first, "handoff", limit=4)
        theirs = await outbox.claim(second, "handoff", limit=20)
        assert [row.payload["n"] for row in mine] == [0, 1, 2, 3]
        assert [row.payload["n"] for row in theirs] == [4, 5, 6, 7, 8, 9]
        assert await outbox.claim(second, "handoff", key="S2") == []
    async with database.begin() as session:  # neither said it was done
        assert len(await outbox.claim(session, "handoff")) == 10


async def test_only_undone_rows_that_are_due_are_claimed(database: Database) -> None:
    now = utc_now()
    async with database.begin() as session:
        await outbox.job(session, "refund", "due", due=now - timedelta(minutes=1))
        await outbox.job(session, "refund", "later", due=now + timedelta(minutes=1))
        await outbox.job(session, "refund", "done")
        await outbox.job(session, "handoff", "other topic")
        await outbox.act(session, "r1")
        for row in await outbox.claim(session, "refund", key="done"):
            row.done_at = now
    async with database.begin() as session:
        assert [row.key for row in await outbox.claim(session, "refund")] == ["due"]
        found = {(topic, key) for topic, key, _ in await outbox.waiting(session)}
        assert found == {("refund", "due"), ("handoff", "other topic")}
        assert [(topic, key) for topic, key, _ in await outbox.waiting(session, older_seconds=30)] == [("refund", "due")]


async def test_what_waits_is_told_per_key_with_its_highest_id_and_no_topic_crowds_out_another(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute(text(
            "INSERT INTO outbox (kind, topic, key) SELECT 'job', 'refund', 'k' || i FROM generate_series(1, 300) AS i"
        ))  # fmt: skip
    async with database.begin() as session:
        for key in ("S1", "S2", "S1"):
            await outbox.job(session, "handoff", key)
        found = await outbox.waiting(session)
    assert [entry for entry in found if entry[0] == "handoff"] == [("handoff", "S1", 303), ("handoff", "S2", 302)]
    assert [entry for entry in found if entry[0] == "refund"] == [("refund", f"k{n}", n) for n in range(1, 201)]


@pytest.mark.parametrize("kind", ["act", "own", "count", "house"])
async def test_rows_of_a_room_are_no_workers_business(database: Database, kind: str) -> None:
    async with database.connection() as connection:
        await connection.execute(text("INSERT INTO outbox (kind, room_id, topic) VALUES (:k, 'r1', 'handoff')"), {"k": kind})
    async with database.begin() as session:
        assert await outbox.claim(session, "handoff") == []
        assert await outbox.waiting(session) == []
