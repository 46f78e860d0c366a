"""Doors of red packets: how one went, and what one got. They are dropped through the room's doors and opened through the turnstile."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra import security
from live.infra.doors import json as _json
from live.promotions.red_packet import queries


async def report(request: Request) -> Response:
    """GET /v1/offers/{id}/packet → how it went; its luckiest once it is over. For anybody: names are masked."""
    async with request.state.db.begin() as session:
        return _json(await queries.report(session, request.path_params["id"]))


async def mine(request: Request) -> Response:
    """GET /v1/me/packets?room= → {packets}: my shares there, newest first."""
    me = security.known(request)
    async with request.state.db.begin() as session:
        return _json({"packets": await queries.shares_of(session, me.sub, request.query_params.get("room", ""))})


routes = [Route("/v1/offers/{id:int}/packet", report), Route("/v1/me/packets", mine)]
