"""Doors of small teams: those of an offer at a glance, and one by its link."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra.db import utc_now
from live.infra.doors import json as _json
from live.offers.parties import queries
from live.protocol.codes import Code, Refusal


async def teams(request: Request) -> Response:
    """GET /v1/offers/{id}/teams: what the room's state says of them; all zero and empty for an offer without any."""
    async with request.state.db.begin() as session:
        return _json((await queries.board(session, request.path_params["id"]))[1])


async def joinable(request: Request) -> Response:
    """GET /v1/offers/{id}/teams/open?before= → {joinable, teams, next}: every team that can be joined, a page at a time."""
    given = request.query_params.get("before")
    if given is not None and not given.isdecimal():
        raise Refusal(Code.BAD_REQUEST, field="before", why="must be the number of a team")
    async with request.state.db.begin() as session:
        return _json(await queries.joinable(session, request.path_params["id"], int(given) if given else None, utc_now()))


async def team(request: Request) -> Response:
    """GET /v1/teams/{id}: one team, by its link, in any state. Refusal(NOT_FOUND)."""
    asked = request.path_params["id"]
    async with request.state.db.begin() as session:
        found = (await queries.parties(session, [asked])).get(asked)
    if found is None:
        raise Refusal(Code.NOT_FOUND, what="team")
    return _json(found)


routes = [
    Route("/v1/offers/{id:int}/teams", teams, methods=["GET"]),
    Route("/v1/offers/{id:int}/teams/open", joinable, methods=["GET"]),
    Route("/v1/teams/{id:int}", team, methods=["GET"]),
]
