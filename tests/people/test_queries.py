from __future__ import annotations

from datetime import UTC, datetime

from live.infra.db import Database
from live.people import queries
from live.rooms.tables import Room
from live.stock.actions import create_store
from live.stock.tables import Location


async def test_a_console_is_offered_rooms_newest_first_and_open_stores(database: Database) -> None:
    async with database.begin() as session:
        for day, phase in ((1, "ended"), (2, "draft")):
            session.add(
                Room(id=f"r{day}", title_zh="周末", title_en="Weekend", phase=phase, created_at=datetime(2026, 11, day, tzinfo=UTC))
            )
        for code, active in (("b", True), ("a", True), ("c", False)):
            await create_store(session, Location(code=code, name_zh="店", name_en="Store", active=active))
    async with database.begin() as session:
        assert await queries.surroundings(session) == {
            "rooms": [
                {"id": "r2", "title": {"zh": "周末", "en": "Weekend"}, "phase": "draft"},
                {"id": "r1", "title": {"zh": "周末", "en": "Weekend"}, "phase": "ended"},
            ],
            "stores": [{"code": "a", "name": {"zh": "店", "en": "Store"}}, {"code": "b", "name": {"zh": "店", "en": "Store"}}],
        }
