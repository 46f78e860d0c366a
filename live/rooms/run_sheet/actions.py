"""What hosts do to a run sheet. Each locks the sheet first, so of two who start the same row one does, and the other is told who did.

What a row asks for is checked when it is saved by trying it and taking it back, so a kind needs no second set of checks. A refusal of
BAD_REQUEST is then about the settings; any other is about how the world is just now (stock, what is open), which the start asks again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra import security
from live.infra.db import epoch_ms
from live.infra.doors import Form
from live.protocol.codes import Code, Refusal
from live.rooms import actions
from live.rooms import queries as rooms
from live.rooms.acts import ACTS
from live.rooms.forms import RowForm
from live.rooms.run_sheet import queries, rules
from live.rooms.run_sheet.rules import PLANNED, SKIPPED, STARTED, Slot
from live.rooms.run_sheet.tables import RunRow, RunSheet
from live.settings import Settings


async def add(session: AsyncSession, room_id: str, given: RowForm, config: Settings, now: datetime) -> RunRow:
    """A new row, behind those that are not meant for later. Refusal(BAD_REQUEST field why): `settings.<field>` for the act's own."""
    return (await _add(session, room_id, [given], [await _sound(session, room_id, given, config, now)]))[0]


async def add_all(session: AsyncSession, room_id: str, given: Sequence[RowForm], config: Settings, now: datetime) -> list[RunRow]:
    """Rows, all or none. Refusal(ROWS errors: [{row, field, why}]), rows counted from 1."""
    settings, errors = [], []
    for number, form in enumerate(given, 1):
        try:
            settings.append(await _sound(session, room_id, form, config, now))
        except Refusal as refusal:
            if refusal.code is not Code.BAD_REQUEST:
                raise
            errors.append({"row": number, "field": refusal.facts["field"], "why": refusal.facts["why"]})
    if errors:
        raise Refusal(Code.ROWS, errors=errors)
    return await _add(session, room_id, given, settings)


async def copy(session: AsyncSession, room_id: str, source: str, config: Settings, now: datetime) -> list[RunRow]:
    """Every row of another room's sheet, to be started anew. Refusal(NOT_FOUND field room) when there is none, or as `add_all`."""
    found = [RowForm.model_validate(queries.plain(row)) for row in await queries.rows(session, source)]
    if not found:
        raise Refusal(Code.NOT_FOUND, what="run sheet", field="room")
    return await add_all(session, room_id, found, config, now)


async def change(session: AsyncSession, room_id: str, row_id: int, version: int, given: RowForm, config: Settings, now: datetime) -> RunRow:
    """A planned row anew. Refusal(NOT_FOUND), (STATE) as `start`, or (BAD_REQUEST row field why)."""
    try:
        settings = await _sound(session, room_id, given, config, now)
    except Refusal as refusal:
        refusal.facts["row"] = row_id
        raise
    sheet, rows, row = await _row(session, room_id, row_id)
    await _planned(session, row, version)
    row.minute, row.kind, row.settings, row.pins, row.note = given.minute, given.kind, settings, given.pins, given.note
    row.version += 1
    _arrange(sheet, rows, rules.placed(_plan(rows), Slot(row_id, given.minute)))
    return row


async def move(session: AsyncSession, room_id: str, row_id: int, version: int, before: int | None) -> RunRow:
    """To stand before another row (None: last); its minute follows as far as it must. Refusals as `start`."""
    sheet, rows, row = await _row(session, room_id, row_id)
    await _planned(session, row, version)
    if before is not None and before not in {each.id for each in rows}:
        raise Refusal(Code.NOT_FOUND, what="row", field="before")
    if before != row_id:
        row.version += 1
        _arrange(sheet, rows, rules.moved(_plan(rows), row_id, before))
    return row


async def delete(session: AsyncSession, room_id: str, row_id: int, version: int) -> None:
    """Take a planned row off the sheet; what was started or skipped stays. Refusals as `start`."""
    sheet, rows, row = await _row(session, room_id, row_id)
    await _planned(session, row, version)
    _arrange(sheet, rows, rules.without(_plan(rows), row_id))
    await session.delete(row)


async def duplicate(session: AsyncSession, room_id: str, row_id: int) -> RunRow:
    """The same act once more, right behind it, whatever became of the first. Refusal(NOT_FOUND) or (BAD_REQUEST field rows)."""
    sheet, rows, row = await _row(session, room_id, row_id)
    _fits(len(rows) + 1)
    twin = RunRow(room_id=room_id, place=row.place, **queries.plain(row))
    session.add(twin)
    await session.flush()
    at = rows.index(row) + 1
    plan = _plan(rows)
    _arrange(sheet, [*rows, twin], [*plan[:at], Slot(int(twin.id or 0), twin.minute), *plan[at:]])
    return twin


async def start(
    session: AsyncSession, room_id: str, row_id: int, version: int, key: str, staff: int, config: Settings, now: datetime
) -> RunRow:
    """Do what a row asks for, once. The same press sent again finds what it did.

    Refusal(STATE): {state, row, by, at} when somebody started or skipped it, {state: CHANGED} when it is not what was seen;
    (ROOM_CLOSED) when the show is not on; or what its act refuses, with `row`.
    """
    sheet, _, row = await _row(session, room_id, row_id)
    if row.state == STARTED and (row.key, row.by_staff) == (key, staff):
        return row
    await _planned(session, row, version)
    try:
        await rooms.live_room(session, room_id)
        offer = await _do(session, room_id, row.kind, _filled(row.kind, row.settings), config, now)
        if row.pins:
            await actions.pin(session, room_id, offer)
    except Refusal as refusal:
        refusal.facts["row"] = row_id
        raise
    _end(sheet, row, STARTED, staff, now)
    row.offer_id, row.key = offer, key
    return row


async def skip(session: AsyncSession, room_id: str, row_id: int, version: int, staff: int, now: datetime) -> RunRow:
    """Leave a row out. Refusals as `start`; the show need not be on."""
    sheet, _, row = await _row(session, room_id, row_id)
    await _planned(session, row, version)
    _end(sheet, row, SKIPPED, staff, now)
    return row


def _filled(kind: str, settings: Mapping[str, Any]) -> Form:
    """Settings as the form of their kind, as strictly as by hand. Refusal(BAD_REQUEST field why)."""
    if kind not in ACTS:
        raise Refusal(Code.BAD_REQUEST, field="kind", why="no such kind")
    with _in_settings():
        return security.parse(ACTS[kind].form, json.dumps(settings).encode())


async def _do(session: AsyncSession, room_id: str, kind: str, form: Form, config: Settings, now: datetime) -> int | None:
    with _in_settings():
        return await ACTS[kind].start(session, room_id, form, config, now)


@contextmanager
def _in_settings() -> Iterator[None]:
    """Fields of an act's form are parts of a row's `settings`."""
    try:
        yield
    except Refusal as refusal:
        if "field" in refusal.facts:
            refusal.facts["field"] = f"settings.{refusal.facts['field']}"
        raise


async def _sound(session: AsyncSession, room_id: str, given: RowForm, config: Settings, now: datetime) -> dict[str, Any]:
    """A row's settings as they are kept, after a trial that leaves nothing behind."""
    form = _filled(given.kind, given.settings)
    if given.pins and not ACTS[given.kind].opens:
        raise Refusal(Code.BAD_REQUEST, field="pins", why="opens nothing that could be explained")
    await rooms.room(session, room_id)
    trial = await session.begin_nested()
    try:
        await _do(session, room_id, given.kind, form, config, now)
    except Refusal as refusal:
        if refusal.code is Code.BAD_REQUEST:
            raise
    finally:
        await trial.rollback()
    return form.model_dump(mode="json", exclude_unset=True)


async def _locked(session: AsyncSession, room_id: str) -> tuple[RunSheet, list[RunRow]]:
    await rooms.room(session, room_id)
    await session.execute(insert(RunSheet).values(room_id=room_id).on_conflict_do_nothing())
    sheet = (await session.execute(select(RunSheet).where(col(RunSheet.room_id) == room_id).with_for_update())).scalar_one()
    return sheet, await queries.rows(session, room_id)


async def _row(session: AsyncSession, room_id: str, row_id: int) -> tuple[RunSheet, list[RunRow], RunRow]:
    sheet, rows = await _locked(session, room_id)
    row = next((each for each in rows if each.id == row_id), None)
    if row is None:
        raise Refusal(Code.NOT_FOUND, what="row")
    return sheet, rows, row


async def _planned(session: AsyncSession, row: RunRow, version: int) -> None:
    """A row that waits, and is what was seen."""
    if row.state != PLANNED:
        who = (await queries.names(session, [row.by_staff])).get(row.by_staff or 0)
        raise Refusal(Code.STATE, state=row.state, row=row.id, by=who, at=epoch_ms(row.at) if row.at else None)
    if row.version != version:
        raise Refusal(Code.STATE, state="CHANGED", row=row.id)


async def _add(session: AsyncSession, room_id: str, given: Sequence[RowForm], settings: Sequence[dict[str, Any]]) -> list[RunRow]:
    sheet, rows = await _locked(session, room_id)
    _fits(len(rows) + len(given))
    made = [
        RunRow(room_id=room_id, place=len(rows), minute=form.minute, kind=form.kind, settings=kept, pins=form.pins, note=form.note)
        for form, kept in zip(given, settings, strict=True)
    ]
    session.add_all(made)
    await session.flush()
    plan = _plan(rows)
    for row in made:
        plan = rules.placed(plan, Slot(int(row.id or 0), row.minute))
    _arrange(sheet, [*rows, *made], plan)
    return made


def _fits(rows: int) -> None:
    if rows > rules.MOST_ROWS:
        raise Refusal(Code.BAD_REQUEST, field="rows", why=f"more than {rules.MOST_ROWS} rows")


def _plan(rows: Sequence[RunRow]) -> list[Slot]:
    return [Slot(int(row.id or 0), row.minute) for row in rows]


def _arrange(sheet: RunSheet, rows: Sequence[RunRow], plan: Sequence[Slot]) -> None:
    by_id = {row.id: row for row in rows}
    for place, slot in enumerate(plan):
        by_id[slot.id].place, by_id[slot.id].minute = place, slot.minute
    sheet.version += 1


def _end(sheet: RunSheet, row: RunRow, state: str, staff: int, now: datetime) -> None:
    row.state, row.by_staff, row.at = state, staff, now
    row.version += 1
    sheet.version += 1
