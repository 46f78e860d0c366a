"""Doors of who waits for a sold-out sale: stand in line, leave it, see one's number."""

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
from live.offers.reservations import units_left
from live.offers.rules import MAX_LOCATIONS
from live.offers.waitlist import actions, queries
from live.protocol.codes import Code, Refusal
from live.protocol.commands import Place, Seq


class Wish(Form):
    """`at`: acceptable stores; `version`: of the price that was shown."""

    qty: Annotated[int, Field(ge=1, le=99)]
    at: Annotated[list[Place], Field(min_length=1, max_length=MAX_LOCATIONS)]
    version: Seq


async def enter(request: Request) -> Response:
    """POST /v1/offers/{id}/waitlist {qty, at, version} → the entry; 201 when it is new.

    Refused as `on_sale` while the turnstile has units for it: whoever taps has them sooner.
    """
    me = security.known(request)
    form = await security.body(request, Wish)
    offer, at = request.path_params["id"], sorted(set(form.at))
    async with request.state.db.begin() as session:
        room, held = await queries.room_of(session, offer), await queries.of_offer(session, me.sub, offer)
    if held is None or held["state"] != "WAITING":
        left = await units_left(request.state.redis, room, offer, at)
        if left is not None and left >= form.qty:
            raise Refusal(Code.ON_SALE, left=left)
    async with request.state.db.begin() as session:
        found, new = await actions.enter(session, person=me.sub, offer_id=offer, qty=form.qty, at=at, version=form.version, now=utc_now())
    return _json(queries.shape(found), 201 if new else 200)


async def leave(request: Request) -> Response:
    """POST /v1/offers/{id}/waitlist/leave {} → the entry as it is now; LEFT, unless its turn came first."""
    me = security.known(request)
    await security.body(request, Nothing)
    async with request.state.db.begin() as session:
        return _json(queries.shape(await actions.leave(session, me.sub, request.path_params["id"])))


async def mine(request: Request) -> Response:
    """GET /v1/me/waitlist?room= → {waitlist}: the last entry of each offer, newest first."""
    me = security.known(request)
    async with request.state.db.begin() as session:
        found = await queries.newest(session, me.sub, request.query_params.get("room"))
    return _json({"waitlist": [queries.shape(entry) for entry in found]})


routes = [
    Route("/v1/offers/{id:int}/waitlist", enter, methods=["POST"]),
    Route("/v1/offers/{id:int}/waitlist/leave", leave, methods=["POST"]),
    Route("/v1/me/waitlist", mine),
]
