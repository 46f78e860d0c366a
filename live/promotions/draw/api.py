"""Doors of draws: am I in it, and its proof. They are opened and closed through the room's doors."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra import security
from live.infra.doors import json as _json
from live.promotions.draw import queries


async def mine(request: Request) -> Response:
    """GET /v1/me/draws/{id} → {id, ticket, entered, place}. A comment of the last seconds may not count yet; it will."""
    me = security.known(request)
    async with request.state.db.begin() as session:
        return _json(await queries.of_person(session, request.path_params["id"], me.sub))


async def proof(request: Request) -> Response:
    """GET /v1/draws/{id}/proof → what anybody needs to check the winners; see `rules.proof_fault`."""
    async with request.state.db.begin() as session:
        return _json(await queries.proof(session, request.path_params["id"]))


routes = [Route("/v1/me/draws/{id:int}", mine), Route("/v1/draws/{id:int}/proof", proof)]
