"""Doors of small teams: what may be joined, one team by its link, and how many there are."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra import security
from live.infra.db import utc_now
from live.promotions.team import queries


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


async def teams(request: Request) -> Response:
    """GET /v1/offers/{id}/teams: the newest that can be joined."""
    async with request.state.db.begin() as session:
        return _json({"teams": await queries.joinable(session, request.path_params["id"], utc_now())})


async def team(request: Request) -> Response:
    """GET /v1/teams/{id}: one team, by its link."""
    async with request.state.db.begin() as session:
        return _json(await queries.team(session, request.path_params["id"]))


async def counts(request: Request) -> Response:
    """GET /v1/offers/{id}/teams/counts: teams by state, for the console."""
    await security.staff(request, "offer.list")
    async with request.state.db.begin() as session:
        return _json({"counts": await queries.counts(session, request.path_params["id"])})


routes = [
    Route("/v1/offers/{id:int}/teams", teams, methods=["GET"]),
    Route("/v1/offers/{id:int}/teams/counts", counts, methods=["GET"]),
    Route("/v1/teams/{id:int}", team, methods=["GET"]),
]
