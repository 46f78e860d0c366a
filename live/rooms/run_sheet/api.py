"""Doors of a room's run sheet. Each act is one transaction, and answers with the sheet as it is then."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra import security
from live.infra.db import utc_now
from live.infra.doors import Nothing
from live.infra.doors import json as _json
from live.rooms import forms
from live.rooms import queries as rooms
from live.rooms.run_sheet import actions, queries


async def _sheet(session: AsyncSession, room: str, status: int = 200) -> Response:
    await session.flush()
    return _json(await queries.sheet(session, room, utc_now()), status)


async def show(request: Request) -> Response:
    """GET /v1/rooms/{room}/run-sheet: the sheet; only its tag when the asker `have`s that one."""
    await security.staff(request, "run_sheet")
    async with request.state.db.begin() as session:
        return _json(await queries.sheet(session, request.path_params["room"], utc_now(), request.query_params.get("have")))


async def export(request: Request) -> Response:
    """GET /v1/rooms/{room}/run-sheet/export: the rows as the import door takes them, to be kept as a file."""
    await security.staff(request, "run_sheet")
    async with request.state.db.begin() as session:
        room = await rooms.room(session, request.path_params["room"])
        found = [queries.plain(row) for row in await queries.rows(session, room.id)]
    return _json({"rows": found}, headers={"content-disposition": f'attachment; filename="run-sheet-{room.id}.json"'})


async def take(request: Request) -> Response:
    """POST /v1/rooms/{room}/run-sheet/import: add rows, all or none."""
    await security.staff(request, "run_sheet")
    form = await security.body(request, forms.RowsForm)
    room = request.path_params["room"]
    async with request.state.db.begin() as session:
        await actions.add_all(session, room, form.rows, request.state.settings, utc_now())
        return await _sheet(session, room, 201)


async def copy(request: Request) -> Response:
    """POST /v1/rooms/{room}/run-sheet/copy: add another room's rows."""
    await security.staff(request, "run_sheet")
    form = await security.body(request, forms.CopyForm)
    room = request.path_params["room"]
    async with request.state.db.begin() as session:
        await actions.copy(session, room, form.room, request.state.settings, utc_now())
        return await _sheet(session, room, 201)


async def add(request: Request) -> Response:
    """POST /v1/rooms/{room}/run-sheet/rows."""
    await security.staff(request, "run_sheet")
    form = await security.body(request, forms.RowForm)
    room = request.path_params["room"]
    async with request.state.db.begin() as session:
        await actions.add(session, room, form, request.state.settings, utc_now())
        return await _sheet(session, room, 201)


async def change(request: Request) -> Response:
    """POST /v1/rooms/{room}/run-sheet/rows/{row}: the whole row anew."""
    await security.staff(request, "run_sheet")
    form = await security.body(request, forms.RowChange)
    room, row = request.path_params["room"], request.path_params["row"]
    async with request.state.db.begin() as session:
        await actions.change(session, room, row, form.version, form, request.state.settings, utc_now())
        return await _sheet(session, room)


async def move(request: Request) -> Response:
    """POST /v1/rooms/{room}/run-sheet/rows/{row}/move."""
    await security.staff(request, "run_sheet")
    form = await security.body(request, forms.RowMove)
    room, row = request.path_params["room"], request.path_params["row"]
    async with request.state.db.begin() as session:
        await actions.move(session, room, row, form.version, form.before)
        return await _sheet(session, room)


async def delete(request: Request) -> Response:
    """POST /v1/rooms/{room}/run-sheet/rows/{row}/delete."""
    await security.staff(request, "run_sheet")
    form = await security.body(request, forms.RowSeen)
    room, row = request.path_params["room"], request.path_params["row"]
    async with request.state.db.begin() as session:
        await actions.delete(session, room, row, form.version)
        return await _sheet(session, room)


async def duplicate(request: Request) -> Response:
    """POST /v1/rooms/{room}/run-sheet/rows/{row}/duplicate."""
    await security.staff(request, "run_sheet")
    await security.body(request, Nothing)
    room, row = request.path_params["room"], request.path_params["row"]
    async with request.state.db.begin() as session:
        await actions.duplicate(session, room, row)
        return await _sheet(session, room, 201)


async def start(request: Request) -> Response:
    """POST /v1/rooms/{room}/run-sheet/rows/{row}/start."""
    me = await security.staff(request, "run_sheet")
    form = await security.body(request, forms.RowStart)
    room, row = request.path_params["room"], request.path_params["row"]
    async with request.state.db.begin() as session:
        await actions.start(session, room, row, form.version, form.key, me.id, request.state.settings, utc_now())
        return await _sheet(session, room)


async def skip(request: Request) -> Response:
    """POST /v1/rooms/{room}/run-sheet/rows/{row}/skip."""
    me = await security.staff(request, "run_sheet")
    form = await security.body(request, forms.RowSeen)
    room, row = request.path_params["room"], request.path_params["row"]
    async with request.state.db.begin() as session:
        await actions.skip(session, room, row, form.version, me.id, utc_now())
        return await _sheet(session, room)


_SHEET = "/v1/rooms/{room}/run-sheet"
_ROW = _SHEET + "/rows/{row:int}"
routes = [
    Route(_SHEET, show, methods=["GET"]),
    Route(f"{_SHEET}/export", export, methods=["GET"]),
    Route(f"{_SHEET}/import", take, methods=["POST"]),
    Route(f"{_SHEET}/copy", copy, methods=["POST"]),
    Route(f"{_SHEET}/rows", add, methods=["POST"]),
    Route(_ROW, change, methods=["POST"]),
    Route(f"{_ROW}/move", move, methods=["POST"]),
    Route(f"{_ROW}/delete", delete, methods=["POST"]),
    Route(f"{_ROW}/duplicate", duplicate, methods=["POST"]),
    Route(f"{_ROW}/start", start, methods=["POST"]),
    Route(f"{_ROW}/skip", skip, methods=["POST"]),
]
