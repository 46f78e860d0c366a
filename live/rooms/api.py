"""Doors of a room: what viewers read, and what the console does. Each act is one transaction."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra import security
from live.infra.db import utc_now
from live.offers.actions import add_stock
from live.offers.queries import kind_of
from live.offers.tables import Offer
from live.promotions.coupon.actions import end_coupon, open_coupon
from live.promotions.flash_sale.actions import end_sale, open_sale
from live.promotions.group_buy.actions import end_group, open_group
from live.promotions.team.actions import open_teams
from live.protocol.codes import Code, Refusal
from live.rooms import actions, forms, queries
from live.stock.queries import store_view, stores

_CHAT_ID = re.compile(r"c[0-9]+-[0-9]+")

END: dict[str, Callable[[AsyncSession, int, datetime], Awaitable[Offer]]] = {"sale": end_sale, "coupon": end_coupon, "group": end_group}


def _json(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


async def show(request: Request) -> Response:
    """GET /v1/rooms/{room}: what anybody may know of a room."""
    config = request.state.settings
    async with request.state.db.begin() as session:
        room = await queries.room(session, request.path_params["room"])
        places = [store_view(store) for store in await stores(session)]
    facts = {"hub_url": config.hub_url, "demo": config.env == "demo", "stores": places}
    return _json(queries.view(room) | facts)


async def list_rooms(request: Request) -> Response:
    """GET /v1/rooms: every room, for the staff."""
    await security.staff(request, "room.list")
    async with request.state.db.begin() as session:
        return _json({"rooms": [queries.view(room) for room in await queries.rooms(session)]})


async def create(request: Request) -> Response:
    """POST /v1/rooms."""
    await security.staff(request, "room.create")
    form = await security.body(request, forms.NewRoom)
    async with request.state.db.begin() as session:
        room = await actions.create_room(
            session, room_id=form.id, title_zh=form.title_zh, title_en=form.title_en, play_url=form.play_url, poster=form.poster
        )
        return _json(queries.view(room), 201)


async def edit(request: Request) -> Response:
    """POST /v1/rooms/{room}: titles, play URL, poster."""
    await security.staff(request, "room.edit")
    form = await security.body(request, forms.RoomChange)
    async with request.state.db.begin() as session:
        room = await actions.edit_room(session, request.path_params["room"], form.model_dump(exclude_none=True))
        return _json(queries.view(room))


async def start(request: Request) -> Response:
    """POST /v1/rooms/{room}/start."""
    await security.staff(request, "room.start")
    await security.body(request, forms.Nothing)
    async with request.state.db.begin() as session:
        return _json(queries.view(await actions.start_room(session, request.path_params["room"], utc_now())))


async def stop(request: Request) -> Response:
    """POST /v1/rooms/{room}/stop: ends the show and every offer of it, by the rules of its kind."""
    await security.staff(request, "room.stop")
    await security.body(request, forms.Nothing)
    now = utc_now()
    async with request.state.db.begin() as session:
        for offer in await actions.begin_stop(session, request.path_params["room"]):
            await END[offer.kind](session, int(offer.id or 0), now)
        return _json(queries.view(await actions.stop_room(session, request.path_params["room"], now)))


async def pin(request: Request) -> Response:
    """POST /v1/rooms/{room}/pin."""
    await security.staff(request, "pin")
    form = await security.body(request, forms.PinForm)
    async with request.state.db.begin() as session:
        return _json(queries.view(await actions.pin(session, request.path_params["room"], form.offer)))


async def _live(session: AsyncSession, room_id: str) -> str:
    room = await queries.room(session, room_id, lock="share")  # a show that is being stopped ends what was opened before
    if room.phase != "live":
        raise Refusal(Code.ROOM_CLOSED, phase=room.phase)
    return room.id


async def sale(request: Request) -> Response:
    """POST /v1/rooms/{room}/sales."""
    await security.staff(request, "sale.open")
    form = await security.body(request, forms.SaleForm)
    config = request.state.settings
    async with request.state.db.begin() as session:
        room = await _live(session, request.path_params["room"])
        offer = await open_sale(
            session, room_id=room, sku=form.sku, fen=form.fen, per_person=form.per_person, stock=form.stock, minutes=form.minutes,
            hold_seconds=config.flash_hold_seconds, floor_seconds=config.hold_floor_seconds,
            waitlist_seconds=config.waitlist_hold_seconds, now=utc_now(),
        )  # fmt: skip
        return _json({"offer": offer.id}, 201)


async def coupon(request: Request) -> Response:
    """POST /v1/rooms/{room}/coupons."""
    await security.staff(request, "coupon.open")
    form = await security.body(request, forms.CouponForm)
    async with request.state.db.begin() as session:
        room = await _live(session, request.path_params["room"])
        offer = await open_coupon(
            session, room_id=room, off=form.off, threshold=form.threshold, total=form.total, per_person=form.per_person,
            minutes=form.minutes, now=utc_now(),
        )  # fmt: skip
        return _json({"offer": offer.id}, 201)


async def group(request: Request) -> Response:
    """POST /v1/rooms/{room}/groups."""
    await security.staff(request, "group.open")
    form = await security.body(request, forms.GroupForm)
    config = request.state.settings
    tiers = [{"seats": tier.seats, "fen": tier.fen} for tier in form.tiers]
    async with request.state.db.begin() as session:
        room = await _live(session, request.path_params["room"])
        offer = await open_group(
            session, room_id=room, sku=form.sku, per_person=form.per_person, stock=form.stock, size=form.size, minimum=form.minimum,
            tiers=tiers, minutes=form.minutes, hold_seconds=config.hold_seconds, floor_seconds=config.hold_floor_seconds, now=utc_now(),
        )  # fmt: skip
        return _json({"offer": offer.id}, 201)


async def teams(request: Request) -> Response:
    """POST /v1/rooms/{room}/teams."""
    await security.staff(request, "group.open")
    form = await security.body(request, forms.TeamForm)
    async with request.state.db.begin() as session:
        room = await _live(session, request.path_params["room"])
        offer = await open_teams(session, room_id=room, now=utc_now(), **form.model_dump())
        return _json({"offer": offer.id}, 201)


async def offers(request: Request) -> Response:
    """GET /v1/rooms/{room}/offers: every offer with its allotments, newest first."""
    await security.staff(request, "offer.list")
    async with request.state.db.begin() as session:
        room = await queries.room(session, request.path_params["room"])
        return _json({"offers": await queries.offers(session, room.id)})


async def end(request: Request) -> Response:
    """POST /v1/offers/{id}/end."""
    await security.staff(request, "offer.end")
    await security.body(request, forms.Nothing)
    async with request.state.db.begin() as session:
        kind = await kind_of(session, request.path_params["id"])  # not locked yet: its kind's action locks the team first
        ended = await END[kind](session, request.path_params["id"], utc_now())
        return _json({"offer": ended.id, "phase": ended.phase})


async def more_stock(request: Request) -> Response:
    """POST /v1/offers/{id}/stock."""
    await security.staff(request, "stock.add")
    form = await security.body(request, forms.StockAdd)
    async with request.state.db.begin() as session:
        await add_stock(session, request.path_params["id"], form.location, form.qty, utc_now())
        return _json({"offer": request.path_params["id"]})


async def mute(request: Request) -> Response:
    """POST /v1/rooms/{room}/mute."""
    me = await security.staff(request, "mute")
    form = await security.body(request, forms.MuteForm)
    async with request.state.db.begin() as session:
        room = request.path_params["room"]
        if form.on:
            await actions.mute(session, room, form.who, form.minutes, me.id, utc_now())
        else:
            await actions.unmute(session, room, form.who)
        return _json({"who": form.who, "muted": form.on})


async def withdraw(request: Request) -> Response:
    """POST /v1/rooms/{room}/comments/{id}/withdraw."""
    await security.staff(request, "comment.withdraw")
    await security.body(request, forms.Nothing)
    chat_id = request.path_params["id"]
    if not _CHAT_ID.fullmatch(chat_id):
        raise Refusal(Code.NOT_FOUND, what="comment")
    async with request.state.db.begin() as session:
        await actions.withdraw(session, request.path_params["room"], chat_id, utc_now())
        return _json({"id": chat_id})


routes = [
    Route("/v1/rooms", list_rooms, methods=["GET"]),
    Route("/v1/rooms", create, methods=["POST"]),
    Route("/v1/rooms/{room}", show, methods=["GET"]),
    Route("/v1/rooms/{room}", edit, methods=["POST"]),
    Route("/v1/rooms/{room}/start", start, methods=["POST"]),
    Route("/v1/rooms/{room}/stop", stop, methods=["POST"]),
    Route("/v1/rooms/{room}/pin", pin, methods=["POST"]),
    Route("/v1/rooms/{room}/sales", sale, methods=["POST"]),
    Route("/v1/rooms/{room}/coupons", coupon, methods=["POST"]),
    Route("/v1/rooms/{room}/groups", group, methods=["POST"]),
    Route("/v1/rooms/{room}/teams", teams, methods=["POST"]),
    Route("/v1/rooms/{room}/offers", offers, methods=["GET"]),
    Route("/v1/rooms/{room}/mute", mute, methods=["POST"]),
    Route("/v1/rooms/{room}/comments/{id}/withdraw", withdraw, methods=["POST"]),
    Route("/v1/offers/{id:int}/end", end, methods=["POST"]),
    Route("/v1/offers/{id:int}/stock", more_stock, methods=["POST"]),
]
