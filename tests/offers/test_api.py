"""The owner's page of the watch."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra.db import Database, epoch_ms, utc_now
from live.infra.keys import room_key
from live.offers.chain import seal_due
from live.offers.reservations import reserve
from live.offers.watch import watch_room, watch_stock
from live.settings import Settings
from tests.offers.shop import book_all, books, make_shop, sale, tap
from tests.web.doors import Doors, holdings, open_doors


@pytest_asyncio.fixture
async def doors(settings: Settings, database: Database, redis: Redis) -> AsyncIterator[Doors]:
    async with open_doors(settings, database) as found:
        yield found


async def test_an_owner_reads_what_the_watch_found(doors: Doors, redis: Redis) -> None:
    await make_shop(doors.db)
    await sale(doors.db, {"S1": 10})
    ledger = await books(doors.db, redis)
    await reserve(redis, "r1", [tap(1, 1, qty=2), tap(2, 1)], 100)
    await book_all(ledger)
    await seal_due(doors.db, utc_now())
    owner, now = await doors.hire("owner"), utc_now()
    assert await doors.ask("GET", "/v1/audit/watch", cookie=owner) == (200, {"rooms": [], "stock": None, "drifts": [], "open": 0})
    await redis.hincrby(room_key("r1", "offer:1"), "left:S1", 1)
    for _ in range(2):
        assert await watch_room(doors.db, redis, "r1", now)
    assert await watch_stock(doors.db, now)
    async with doors.db.connection() as connection:
        await connection.execute(text("INSERT INTO drift (room_id, offer_id, what) VALUES ('r1', 1, 'till_refused')"))
    status, page = await doors.ask("GET", "/v1/audit/watch", cookie=owner)
    assert status == 200
    [room] = page["rooms"]
    assert isinstance(room.pop("millis"), int)
    terms = {
        "offer": 1, "location": "S1", "kind": "sale", "phase": "open", "total": 10, "left": 8, "in_flight": 0, "held": 3, "sold": 0,
        "taken": 3, "move_no": 2, "applied": 2, "sealed": 2, "faults": ["total != left + in flight + taken"],
    }  # fmt: skip
    title = {"zh": "间", "en": "Room"}
    assert room == {"room": "r1", "title": title, "phase": "live", "at": epoch_ms(now), "balanced": False, "offers": [terms]}
    assert (page["stock"]["balanced"], page["stock"]["faults"], page["open"]) == (True, [], 1)
    shown = [(row["room"], row["offer"], row["what"], row["place"], row["lasts"], row["healed"]) for row in page["drifts"]]
    assert shown == [("r1", 1, "left", "S1", True, None), ("r1", 1, "till_refused", None, False, None)]


@pytest.mark.parametrize("role", ["host", "moderator", "clerk", ""])
async def test_nobody_else_does(doors: Doors, role: str) -> None:
    await make_shop(doors.db)
    cookie = await doors.hire(role, store="S1" if role == "clerk" else None) if role else ""
    before = await holdings(doors.db)
    status, answer = await doors.ask("GET", "/v1/audit/watch", cookie=cookie)
    assert (status, answer["no"]["code"]) == ((403, "forbidden") if role else (401, "unauthorised"))
    assert await holdings(doors.db) == before
