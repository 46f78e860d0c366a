"""Doors of small teams: those of an offer at a glance, and one by its link."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra.doors import json as _json
from live.offers.parties.queries import board, parties
from live.protocol.codes import Code, Refusal


async def teams(request: Request) -> Response:
    """GET /v1/offers/{id}/teams: what the room's state says of them; all zero and empty for an offer without any."""
    async with request.state.db.begin() as session:
        return _json((await board(session, request.path_params["id"]))[1])


async def team(request: Request) -> Response:
    """GET /v1/teams/{id}: one team, by its link, in any state. Refusal(NOT_FOUND)."""
    asked = request.path_params["id"]
    async with request.state.db.begin() as session:
        found = (await parties(session, [asked])).get(asked)
    if found is None:
        raise Refusal(Code.NOT_FOUND, what="team")
    return _json(found)


routes = [
    Route("/v1/offers/{id:int}/teams", teams, methods=["GET"]),
    Route("/v1/teams/{id:int}", team, methods=["GET"]),
]
