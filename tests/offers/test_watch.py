"""The audit that never stops: it finds what was planted, says it once, heals what a rebuild can heal, and never cries wolf in a rush."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text
from structlog.testing import capture_logs

from live.infra import outbox
from live.infra.db import Database
from live.infra.keys import room_key
from live.offers import watch as watching
from live.offers.actions import add_stock
from live.offers.catchup import send
from live.offers.ledger import RoomLedger
from live.offers.rebuild import sound
from live.offers.reservations import reserve
from live.offers.rules import House
from live.offers.till import book_house
from live.offers.watch import figures, watch, watch_room, watch_stock
from tests.offers.shop import book_all, books, coupon, make_shop, sale, tap

CAP = 20_000
BEGIN = datetime(2026, 11, 22, 12, tzinfo=UTC)
LEFT = "left:S1"


class Watched:
    """A room of 10 at S1 and 5 at S2, of which 2 + 1 are held, and the watch that looks at it every five seconds."""

    def __init__(self, ledger: RoomLedger) -> None:
        self.ledger, self.db, self.redis, self.now = ledger, ledger.db, ledger.redis, BEGIN
        self.offer = room_key("r1", "offer:1")

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += timedelta(seconds=5)
            assert await watch_room(self.db, self.redis, "r1", self.now)

    async def rows(self, query: str) -> list[Any]:
        async with self.db.connection() as connection:
            return [tuple(row) for row in (await connection.execute(text(query))).all()]

    async def drifts(self) -> list[tuple[str, bool]]:
        """(finding, open) of every row."""
        return await self.rows("SELECT finding, healed_at IS NULL FROM drift ORDER BY id")

    async def plant(self, statement: str) -> None:
        """By hand, with the database's rules switched off."""
        async with self.db.connection() as connection:
            await connection.execute(text("SET LOCAL session_replication_role = replica"))
            await connection.execute(text(statement))


@pytest_asyncio.fixture
async def room(database: Database, redis: Redis) -> Watched:
    await make_shop(database)
    await sale(database, {"S1": 10, "S2": 5}, per_person=4)
    await coupon(database, 3)
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, 1, qty=2), tap(2, 1, at=("S2",))], CAP)
    await book_all(ledger)
    return Watched(ledger)


async def test_a_room_that_balances_is_said_to(room: Watched) -> None:
    await room.look(3)
    assert await room.drifts() == []
    assert await room.rows("SELECT scope, at, balanced, began_at, jsonb_array_length(terms), suspects FROM watched") == [
        ("r1", room.now, True, None, 3, {})
    ]


async def test_a_mismatch_is_written_when_it_is_seen_twice_and_only_once(room: Watched) -> None:
    await room.redis.hincrby(room.offer, LEFT, 1)
    with capture_logs() as logs:
        await room.look()
        assert await room.drifts() == []
        await room.look(3)
    assert await room.drifts() == [("left:1:S1", True)]
    assert [line["log_level"] for line in logs if line["event"] == "drift"] == ["error"]
    [(offer, what, facts)] = await room.rows("SELECT offer_id, what, facts FROM drift")
    assert (offer, what, facts["total"], facts["left"], facts["taken"]) == (1, "left", 10, 9, 2)
    assert await room.rows("SELECT balanced FROM watched") == [(False,)]


async def test_what_was_seen_once_and_is_gone_is_forgotten(room: Watched) -> None:
    for change in (1, -1, 1, -1):
        await room.redis.hincrby(room.offer, LEFT, change)
        await room.look()
    assert await room.drifts() == []


async def test_a_turnstile_that_is_wrong_is_closed_and_rebuilt_and_the_row_heals(room: Watched) -> None:
    await room.redis.hincrby(room.offer, LEFT, 3)
    with capture_logs() as logs:
        await room.look(2)
    assert [line["event"] for line in logs if line["event"] == "rebuild.asked"] == ["rebuild.asked"]
    assert [answer.tag for answer in await reserve(room.redis, "r1", [tap(3, 1)], CAP)] == ["FENCED"]
    assert not await sound(room.redis, room.db, "r1")
    await room.ledger.ensure()
    assert await room.redis.hget(room.offer, LEFT) == b"8"
    assert [answer.tag for answer in await reserve(room.redis, "r1", [tap(3, 1)], CAP)] == ["OK"]
    await room.look()
    assert await room.drifts() == [("left:1:S1", False)]
    assert await room.rows("SELECT balanced FROM watched") == [(True,)]


async def test_an_adjust_overtaken_by_a_settle_is_no_drift(room: Watched) -> None:
    """The group's settling finds that movement missing and brings it along."""
    async with room.db.begin() as session:
        await add_stock(session, 1, "S1", 5, BEGIN)
    entry = House.read((await room.rows("SELECT payload FROM outbox WHERE kind = 'house'"))[0][0])
    async with room.db.connection() as connection:
        late = await book_house(connection, "r1", entry, room.ledger.hands.bar, BEGIN)  # another owner, who is held up here
    await reserve(room.redis, "r1", [tap(5, 1)], CAP)
    await room.ledger._book(await room.ledger._read(">"))
    await room.ledger._settled_all()
    assert await room.redis.hget(room.offer, LEFT) == b"12"
    assert [await send(room.redis, "r1", move) for move in late] == [0]
    await room.look(2)
    assert await room.drifts() == []


async def test_a_turnstile_that_knows_more_than_the_books_is_found(room: Watched) -> None:
    """PostgreSQL was set back to an older copy."""
    await room.redis.hincrby(room.offer, "move:S1", 4)
    await room.look(2)
    assert await room.drifts() == [("ahead:1:S1", True)]


async def test_a_movement_that_never_arrives_is_found_after_a_minute(room: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    async with room.db.begin() as session:
        await outbox.house(session, "r1", {"kind": "ADJUST", "rid": "add:1", "location": "S1", "lines": [[1, 5]]})
    monkeypatch.setattr("live.offers.catchup.adjust", lambda *_: asyncio.sleep(0))
    await room.ledger._apply_outbox()
    await room.look(11)
    assert await room.drifts() == []
    await room.look()
    assert await room.drifts() == [("behind:1:S1", True)]
    await room.ledger.ensure()
    await room.look()
    assert (await room.drifts(), await room.redis.hget(room.offer, LEFT)) == ([("behind:1:S1", False)], b"13")


async def test_books_that_contradict_themselves_close_nobodys_turnstile(room: Watched) -> None:
    await room.plant("UPDATE allotment SET taken = taken + 1 WHERE offer_id = 1 AND location = 'S1'")
    await room.look(3)
    found = {name for name, _ in await room.drifts()}
    assert found == {"left:1:S1", "orders:1:S1", "movements:1:S1", "quotas:1:S1", "quotas:1:S2"}
    assert await sound(room.redis, room.db, "r1")
    await room.plant("UPDATE allotment SET taken = taken - 1 WHERE offer_id = 1 AND location = 'S1'")
    await room.look()
    assert {still for _, still in await room.drifts()} == {False}


async def test_a_rebuild_that_does_not_help_is_asked_for_once_a_minute(room: Watched) -> None:
    await room.redis.hincrby(room.offer, LEFT, 1)
    await room.look(2)
    for asked in [False] * 11 + [True]:
        await room.ledger.ensure()
        await room.redis.hincrby(room.offer, LEFT, 1)
        await room.look()
        assert await sound(room.redis, room.db, "r1") is not asked
    assert await room.drifts() == [("left:1:S1", True)]


async def test_a_room_rebuilt_since_it_was_read_is_left_alone(room: Watched) -> None:
    fence = (await room.redis.hget(room_key("r1", "meta"), "fence")).decode()
    assert await watching._doubt(room.redis, [room_key("r1", "meta")], [str(int(fence) - 1)]) == 0
    assert await sound(room.redis, room.db, "r1")


async def test_a_closed_turnstile_neither_heals_nor_adds_a_finding(room: Watched) -> None:
    await room.redis.hincrby(room.offer, LEFT, 1)
    await room.look()
    meta = await room.redis.hgetall(room_key("r1", "meta"))
    await room.redis.delete(room_key("r1", "meta"))
    await room.look(3)
    assert await room.drifts() == []
    await room.redis.hset(room_key("r1", "meta"), mapping=meta)
    await room.look()
    assert await room.drifts() == [("left:1:S1", True)]
    await room.redis.delete(room_key("r1", "meta"))
    await room.look()
    assert await room.drifts() == [("left:1:S1", True)]


async def test_a_look_under_way_is_not_begun_twice_and_one_that_died_is_taken_over(room: Watched) -> None:
    await room.look()
    async with room.db.connection() as connection:
        await connection.execute(text("UPDATE watched SET began_at = :now"), {"now": room.now})
    assert not await watch_room(room.db, room.redis, "r1", room.now + timedelta(seconds=29))
    assert await watch_room(room.db, room.redis, "r1", room.now + timedelta(seconds=31))


async def test_a_room_with_too_much_under_way_is_not_judged(room: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MOST_INTENTS", 2)
    await reserve(room.redis, "r1", [tap(n, 1) for n in range(10, 13)], CAP)
    await room.redis.hincrby(room.offer, LEFT, 1)
    assert not await watch_room(room.db, room.redis, "r1", room.now)
    assert await room.rows("SELECT at, tried_at, began_at, suspects FROM watched") == [(None, room.now, None, {})]


async def test_each_room_has_its_turn_when_it_is_due(room: Watched) -> None:
    async def turns(seconds: float) -> int:
        return await watch(room.db, room.redis, BEGIN + timedelta(seconds=seconds))

    assert await turns(0) == 2  # the room and the stock
    assert await turns(3) == 0
    assert await turns(5) == 1
    await room.plant("UPDATE watched SET millis = 2000 WHERE scope = 'r1'")  # slow: a twentieth of the time
    assert await turns(44) == 0
    assert await turns(46) == 1
    await room.plant("UPDATE room SET phase = 'ended'")
    assert await turns(60) == 1  # the stock
    assert await turns(101) == 1  # the room without a show


async def test_stock_that_shows_do_not_hold_is_found_and_stock_on_its_way_is_not(room: Watched) -> None:
    async with room.db.begin() as session:
        await add_stock(session, 1, "S2", 4, BEGIN)
    for second in (0, 60):  # carved from the store, not booked yet
        assert await watch_stock(room.db, BEGIN + timedelta(seconds=second))
    [row] = await room.rows("SELECT id, room_id, payload FROM outbox WHERE kind = 'house'")
    await room.ledger._apply_outbox()
    async with room.db.begin() as session:  # booked, and its row not deleted yet
        await outbox.house(session, row[1], row[2])
    for second in (120, 180):
        assert await watch_stock(room.db, BEGIN + timedelta(seconds=second))
    assert await room.drifts() == []
    await room.plant("UPDATE stock SET allotted = allotted - 1 WHERE location = 'S2'")
    for second in (240, 300):
        assert await watch_stock(room.db, BEGIN + timedelta(seconds=second))
    assert await room.rows("SELECT room_id, offer_id, what, finding, facts FROM drift") == [
        ("*", None, "stock", "stock:1:S2", {"sku_id": 1, "location": "S2", "allotted": 8, "wanted": 9})
    ]


async def test_a_rush_is_never_mistaken_for_a_fault(room: Watched) -> None:
    """Holds, refusals, releases and more stock, while the watch looks as fast as it can: every look can tell, none is wrong."""
    done = asyncio.Event()

    async def buyers() -> None:
        for n in range(10, 130):
            await reserve(room.redis, "r1", [tap(n, 1, at=("S1", "S2"), key=str(i)) for i in range(3)], CAP)
            if n % 10 == 0:
                async with room.db.begin() as session:
                    await add_stock(session, 1, "S1", 2, BEGIN)
                    await outbox.house(
                        session, "r1",
                        {"kind": "RELEASE", "rid": tap(1, 1).rid, "location": "S1", "person": "p:1", "lines": [[1, 2]], "seats": False},
                    )  # fmt: skip
            await asyncio.sleep(0)
        done.set()

    async def till() -> None:
        while not done.is_set():
            await book_all(room.ledger)
            await asyncio.sleep(0)

    looks = 0

    async def looking() -> None:
        nonlocal looks
        while not done.is_set():
            await room.look()
            looks += 1
            assert await room.rows("SELECT suspects - 'behind:1:S1' - 'behind:1:S2' FROM watched") == [({},)]

    await asyncio.gather(buyers(), till(), looking())
    await book_all(room.ledger)
    await room.look()
    assert looks > 3
    assert await room.drifts() == []
    assert await room.rows("SELECT balanced, suspects FROM watched") == [(True, {})]
    [(moves,)] = await room.rows("SELECT sum(move_no) FROM allotment")
    assert moves > 40


async def test_monitoring_reads_what_the_watch_wrote(room: Watched) -> None:
    await room.redis.hincrby(room.offer, LEFT, 1)
    await room.look(2)
    lines = (await figures(room.db)).decode().splitlines()
    assert 'live_drift_total{what="left"} 1.0' in lines
    assert 'live_drift_open{room="r1"} 1.0' in lines
    assert any(line.startswith('live_audit_age_seconds{room="r1"} ') for line in lines)
    assert any(line.startswith('live_audit_seconds{room="r1"} ') for line in lines)
