"""Doors of the store desk. A clerk sees the own store only; who sees all stores may name one with `?store=`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra import security
from live.infra.db import utc_now
from live.infra.doors import Form, Nothing
from live.infra.doors import json as _json
from live.people.rules import LEADER
from live.pickup import actions, leader, queries
from live.pickup.rules import LONGEST_INPUT
from live.protocol.codes import Code, Refusal

DEVICE_HEADER = "x-device"
DEVICE_COOKIE = "live_device"
LONGEST_DEVICE = 64  # characters; a page makes 22 random ones and keeps them


class CodeBody(Form):
    """A code as typed or scanned."""

    code: Annotated[str, Field(min_length=1, max_length=LONGEST_INPUT)]


async def _desk(request: Request) -> actions.Desk:
    """The desk that asks. Raises the refusals of `security.staff`, and FORBIDDEN when a clerk names another store."""
    identity = await security.staff(request, "desk")
    named = request.query_params.get("store")
    if identity.store is not None and named not in (None, "", identity.store):
        raise Refusal(Code.FORBIDDEN, role=identity.role)
    device = request.headers.get(DEVICE_HEADER) or request.cookies.get(DEVICE_COOKIE) or ""
    return actions.Desk(identity.id, device[:LONGEST_DEVICE], identity.store or named or None)


def _secret(request: Request) -> str:
    return security.secret(request.state.settings, "pickup_secret")


def _ticket_id(request: Request) -> int:
    number: int = request.path_params["ticket_id"]
    if number >= 2**63:
        raise Refusal(Code.NOT_FOUND)
    return number


async def queue(request: Request) -> Response:
    """GET /v1/desk/queue: `{tickets, store}`."""
    desk = await _desk(request)
    async with request.state.db.begin() as session:
        return _json({"tickets": await queries.queue(session, desk.store, utc_now()), "store": desk.store})


async def ready(request: Request) -> Response:
    """POST /v1/desk/tickets/{id}/ready: `{ticket}`."""
    desk = await _desk(request)
    await security.body(request, Nothing)
    async with request.state.db.begin() as session:
        ticket_id = await actions.ready(session, _ticket_id(request), desk, utc_now())
        return _json({"ticket": await queries.ticket(session, ticket_id)})


async def verify(request: Request) -> Response:
    """POST /v1/desk/verify {code}: `{ticket}`, a look before handing over."""
    desk = await _desk(request)
    given = await security.body(request, CodeBody)
    return await _shown(request, await actions.verify(request.state.db, desk, given.code, utc_now(), secret=_secret(request)))


async def collect(request: Request) -> Response:
    """POST /v1/desk/tickets/{id}/collect {code}: `{ticket}`, once."""
    desk = await _desk(request)
    given = await security.body(request, CodeBody)
    ticket_id = _ticket_id(request)
    return await _shown(request, await actions.collect(request.state.db, desk, ticket_id, given.code, utc_now(), secret=_secret(request)))


async def _shown(request: Request, ticket_id: int) -> Response:
    async with request.state.db.begin() as session:
        return _json({"ticket": await queries.ticket(session, ticket_id)})


async def my_groups(request: Request) -> Response:
    """GET /v1/leader/groups → {groups}: a leader's own; the owner sees everybody's."""
    me = await security.staff(request, "leader.groups")
    async with request.state.db.begin() as session:
        found = await leader.groups(session, me.sub if me.role == LEADER else None)
    return _json({"groups": found})


routes = [
    Route("/v1/leader/groups", my_groups, methods=["GET"]),
    Route("/v1/desk/queue", queue),
    Route("/v1/desk/verify", verify, methods=["POST"]),
    Route("/v1/desk/tickets/{ticket_id:int}/ready", ready, methods=["POST"]),
    Route("/v1/desk/tickets/{ticket_id:int}/collect", collect, methods=["POST"]),
]
