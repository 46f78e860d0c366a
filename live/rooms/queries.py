"""Rooms and their comments, read."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlmodel import col

from live.infra.db import epoch_ms
from live.protocol.codes import Code, Refusal
from live.rooms.rules import FOR_GOOD
from live.rooms.tables import Room


async def room(session: AsyncSession, room_id: str, lock: Literal["", "share", "update"] = "") -> Room:
    """One room. `share`: nobody may change it until this transaction ends. Refusal(NOT_FOUND)."""
    query = select(Room).where(col(Room.id) == room_id)
    found = (await session.execute(query.with_for_update(read=lock == "share") if lock else query)).scalar_one_or_none()
    if found is None:
        raise Refusal(Code.NOT_FOUND, what="room")
    return found


async def live_room(session: AsyncSession, room_id: str, planned: bool = False) -> Room:
    """A room that is live, and stays so until this transaction ends: a stop ends what was opened before it. Refusal(ROOM_CLOSED phase).

    What is `planned` for later may be opened before the show begins.
    """
    found = await room(session, room_id, lock="share")
    if found.phase != "live" and not (planned and found.phase == "draft"):
        raise Refusal(Code.ROOM_CLOSED, phase=found.phase)
    return found


async def rooms(session: AsyncSession) -> list[Room]:
    """Every room: live ones first, then the newest."""
    found = list((await session.execute(select(Room))).scalars())
    return sorted(found, key=lambda r: (r.phase != "live", -r.created_at.timestamp()))


async def muted(connection: AsyncConnection, room_id: str) -> dict[str, int]:
    """Who may not comment now, and until when (epoch ms): what a rebuilt room starts from."""
    query = text("SELECT who, until FROM mute WHERE room_id = :r AND (until IS NULL OR until > now())")
    rows = (await connection.execute(query, {"r": room_id})).all()
    return {who: FOR_GOOD if until is None else epoch_ms(until) for who, until in rows}


def view(found: Room) -> dict[str, Any]:
    """A room as doors show it."""
    title = {"zh": found.title_zh, "en": found.title_en}
    return {"id": found.id, "title": title, "phase": found.phase, "play_url": found.play_url, "poster": found.poster, "pin": found.pin}


async def offers(session: AsyncSession, room_id: str) -> list[dict[str, Any]]:
    """Every offer of a room with its allotments and team, newest first, for the console."""
    states = await session.execute(text("SELECT key, value FROM room_state WHERE room_id = :r AND key LIKE 'offer:%'"), {"r": room_id})
    allotments = await session.execute(
        text("SELECT a.* FROM allotment a JOIN offer o ON o.id = a.offer_id WHERE o.room_id = :r ORDER BY a.location"), {"r": room_id}
    )
    teams = await session.execute(text("SELECT t.* FROM team t JOIN offer o ON o.id = t.offer_id WHERE o.room_id = :r"), {"r": room_id})
    places: dict[int, list[dict[str, Any]]] = {}
    for row in allotments.mappings():
        entry = {"location": row["location"], "total": row["total"], "taken": row["taken"]}
        places.setdefault(int(row["offer_id"]), []).append(entry)
    bars = {int(row["offer_id"]): {name: row[name] for name in ("size", "held", "paid", "minimum", "state")} for row in teams.mappings()}
    found = [{"view": value, "allotments": places.get(value["id"], []), "team": bars.get(value["id"])} for _, value in states.all()]
    return sorted(found, key=lambda entry: -entry["view"]["id"])
