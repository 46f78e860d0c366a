"""Group buys, read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from live.promotions.group_buy.rules import bar


async def bars(connection: AsyncConnection, room_id: str) -> dict[str, tuple[int, dict[str, Any]]]:
    """Every bar of a room, state key -> (version, value): what a rebuilt room starts from."""
    query = text("SELECT t.*, o.terms FROM team t JOIN offer o ON o.id = t.offer_id WHERE o.room_id = :r")
    rows = (await connection.execute(query, {"r": room_id})).mappings().all()
    return {f"team:{row['offer_id']}": (int(row["version"]), bar(dict(row), row["terms"])) for row in rows}
