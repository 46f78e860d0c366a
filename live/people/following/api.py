"""Doors of following. A guest cannot: nobody could tell two of them apart, or find them again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra import security
from live.infra.admission import admit
from live.infra.db import utc_now
from live.infra.doors import Nothing
from live.infra.doors import json as _json
from live.people.following import actions, queries, rules


def _press(act: Callable[..., Awaitable[bool]], following: bool) -> Callable[[Request], Awaitable[Response]]:
    """The door that does this: POST /v1/rooms/{room}/follow or …/unfollow {} → {following}, and again the same."""

    async def door(request: Request) -> Response:
        me = security.known(request)
        await security.body(request, Nothing)
        await admit(request, "follow", rules.PER_SECOND, rules.BURST, who=me.sub)
        async with request.state.db.begin() as session:
            await act(session, request.path_params["room"], me.sub, utc_now())
        return _json({"following": following})

    return door


async def mine(request: Request) -> Response:
    """GET /v1/rooms/{room}/follow → {following}: do I?"""
    me = security.known(request)
    async with request.state.db.begin() as session:
        return _json({"following": await queries.follows(session, request.path_params["room"], me.sub)})


async def rooms(request: Request) -> Response:
    """GET /v1/me/follows → {rooms: [{room, title, phase, since}]}, newest first."""
    me = security.known(request)
    async with request.state.db.begin() as session:
        return _json({"rooms": await queries.rooms_of(session, me.sub)})


routes = [
    Route("/v1/rooms/{room}/follow", mine, methods=["GET"]),
    Route("/v1/rooms/{room}/follow", _press(actions.follow, True), methods=["POST"]),
    Route("/v1/rooms/{room}/unfollow", _press(actions.unfollow, False), methods=["POST"]),
    Route("/v1/me/follows", rooms),
]
