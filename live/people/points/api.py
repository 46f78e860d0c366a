"""The door of one's own points."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra import security
from live.infra.db import epoch_ms
from live.infra.doors import json as _json
from live.people.points import queries


async def mine(request: Request) -> Response:
    """GET /v1/me/points → {points, entries: [{amount, cause, at}]}: the balance, and the newest entries."""
    me = security.known(request)
    async with request.state.db.begin() as session:
        points, found = await queries.balance(session, me.sub), await queries.entries(session, me.sub)
    listed = [{"amount": entry.amount, "cause": entry.cause, "at": epoch_ms(entry.at)} for entry in found]
    return _json({"points": points, "entries": listed})


routes = [Route("/v1/me/points", mine)]
