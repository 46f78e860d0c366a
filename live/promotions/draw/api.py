"""Doors of draws: am I in it, and its proof. They are opened and closed through the room's doors."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra import security
from live.infra.admission import admit
from live.infra.db import utc_now
from live.infra.doors import Nothing
from live.infra.doors import json as _json
from live.people.following.rules import BURST, PER_SECOND
from live.promotions.draw import actions, queries


async def mine(request: Request) -> Response:
    """GET /v1/me/draws/{id} → {id, ticket, entered, place}. A comment of the last seconds may not count yet; it will."""
    me = security.known(request)
    async with request.state.db.begin() as session:
        return _json(await queries.of_person(session, request.path_params["id"], me.sub))


async def enter(request: Request) -> Response:
    """POST /v1/draws/{id}/enter {} → {id, ticket, entered, place}: follow the room and take part, of a draw that is entered so."""
    me = security.known(request)
    await security.body(request, Nothing)
    await admit(request, "follow", PER_SECOND, BURST, who=me.sub)
    async with request.state.db.begin() as session:
        await actions.enter_by_following(session, request.path_params["id"], me.sub, utc_now())
        return _json(await queries.of_person(session, request.path_params["id"], me.sub))


async def proof(request: Request) -> Response:
    """GET /v1/draws/{id}/proof → what anybody needs to check the winners; see `rules.proof_fault`."""
    async with request.state.db.begin() as session:
        return _json(await queries.proof(session, request.path_params["id"]))


routes = [
    Route("/v1/me/draws/{id:int}", mine),
    Route("/v1/draws/{id:int}/enter", enter, methods=["POST"]),
    Route("/v1/draws/{id:int}/proof", proof),
]
