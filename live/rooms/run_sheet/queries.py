"""Run sheets, read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.catalog.queries import SkuFacts, skus_named
from live.infra.db import epoch_ms
from live.people.tables import Staff
from live.rooms import queries as rooms
from live.rooms.run_sheet import rules
from live.rooms.run_sheet.tables import RunRow, RunSheet


async def rows(session: AsyncSession, room_id: str) -> list[RunRow]:
    """A room's rows in the order of its plan."""
    return list((await session.execute(select(RunRow).where(col(RunRow.room_id) == room_id).order_by(col(RunRow.place)))).scalars())


async def names(session: AsyncSession, ids: Sequence[int | None]) -> dict[int, str]:
    """Names of staff."""
    found = await session.execute(select(col(Staff.id), col(Staff.name)).where(col(Staff.id).in_([each for each in ids if each])))
    return {int(number or 0): name for number, name in found.all()}


async def version(session: AsyncSession, room_id: str) -> int:
    """How often a room's run sheet was changed. 0: there is none yet."""
    return (await session.execute(select(col(RunSheet.version)).where(col(RunSheet.room_id) == room_id))).scalar_one_or_none() or 0


def tag(number: int, began: int | None) -> str:
    """What of a sheet a console has seen: its version, and the show its times count from."""
    return f"{number}.{began or 0}"


async def sheet(session: AsyncSession, room_id: str, now: datetime, have: str | None = None) -> dict[str, Any]:
    """A room's run sheet as doors show it; only its tag for a console that `have`s it already. Refusal(NOT_FOUND).

    Times in epoch ms, `length` in minutes, `late` in seconds (early: negative): that of the last row that was started in this show, a
    row's own stands with it. `name`: of the goods it is about.
    """
    room = await rooms.room(session, room_id)
    began = epoch_ms(room.started_at) if room.started_at and room.phase == "live" else None
    seen = tag(await version(session, room_id), began)  # before the rows: it may be older than they are, never newer
    if have == seen:
        return {"tag": seen, "same": True}
    found = await rows(session, room_id)
    people = await names(session, [row.by_staff for row in found])
    goods = await skus_named(session, [str(row.settings["sku"]) for row in found if row.settings.get("sku")])
    shown = [_row(row, people, goods, began) for row in found]
    last = max((row for row in shown if row["late"] is not None), key=lambda row: row["at"], default=None)
    return {
        "tag": seen,
        "phase": room.phase,
        "began": began,
        "now": epoch_ms(now),
        "next": rules.next_row([(int(row.id or 0), row.state) for row in found]),
        "length": rules.length([(row.minute, row.settings) for row in found]),
        "late": last["late"] if last else None,
        "rows": shown,
    }


def _row(row: RunRow, people: Mapping[int, str], goods: Mapping[str, SkuFacts], began: int | None) -> dict[str, Any]:
    at = epoch_ms(row.at) if row.at else None
    about = goods.get(str(row.settings.get("sku")))
    return plain(row) | {
        "id": row.id,
        "name": about.title if about else None,
        "state": row.state,
        "version": row.version,
        "offer": row.offer_id,
        "at": at,
        "by": people.get(row.by_staff or 0),
        "late": rules.late(row.minute, at, began) if at and row.state == rules.STARTED else None,
    }


def plain(row: RunRow) -> dict[str, Any]:
    """What a row asks for: as it is exported, imported and copied."""
    return {"minute": row.minute, "kind": row.kind, "settings": row.settings, "pins": row.pins, "note": row.note}
