"""Doors of shared links. What a sharer and the host read of them is orders' (`/v1/me/shares`, `/v1/rooms/{room}/sharers`)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra import security
from live.infra.db import utc_now
from live.infra.doors import Nothing
from live.infra.doors import json as _json
from live.people.sharing import actions, queries


async def share(request: Request) -> Response:
    """POST /v1/rooms/{room}/share {} → {token, path, scene}: my own link to this room, the same one every time."""
    return await _link(request, security.known(request).sub)


async def share_staff(request: Request) -> Response:
    """POST /v1/rooms/{room}/share/staff {} → {token, path, scene}: a guide's."""
    return await _link(request, (await security.staff(request, "share")).sub)


async def _link(request: Request, sharer: str) -> Response:
    await security.body(request, Nothing)
    room = request.path_params["room"]
    async with request.state.db.begin() as session:
        token = await actions.link(session, room, sharer)
    return _json({"token": token, "path": f"/room/{room}?s={token}", "scene": token})


async def where(request: Request) -> Response:
    """GET /v1/shares/{token} → {room}: what a mini-program asks that was opened by a code (its scene is the token alone)."""
    async with request.state.db.begin() as session:
        return _json({"room": await queries.room_of(session, request.path_params["token"])})


async def opened(request: Request) -> Response:
    """POST /v1/shares/{token}/open {} → {room}: I came by this link. Guests are nobody yet: their page asks once they have logged in."""
    me = security.known(request)
    await security.body(request, Nothing)
    async with request.state.db.begin() as session:
        touch = await actions.open_link(session, request.path_params["token"], me.id, utc_now())
        return _json({"room": touch.room_id})


routes = [
    Route("/v1/rooms/{room}/share", share, methods=["POST"]),
    Route("/v1/rooms/{room}/share/staff", share_staff, methods=["POST"]),
    Route("/v1/shares/{token}", where, methods=["GET"]),
    Route("/v1/shares/{token}/open", opened, methods=["POST"]),
]
