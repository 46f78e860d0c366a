"""Doors of a room: what viewers read, and what the console does. Each act is one transaction.

What opens an offer or adds to one takes an idempotency key (`infra.once`): the console's second press after a lost answer does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra import security
from live.infra.db import epoch_ms, from_ms, utc_now
from live.infra.doors import Nothing
from live.infra.doors import json as _json
from live.infra.once import once
from live.offers.actions import add_stock
from live.offers.queries import kind_of
from live.promotions.coupon.voiding import void_coupon
from live.promotions.draw.actions import close_draw, close_room
from live.promotions.flash_sale.actions import move_sale, reprice_sale, stop_sale
from live.promotions.flash_sale.queries import states
from live.promotions.group_buy.leader import leaders
from live.protocol.codes import Code, Refusal
from live.rooms import actions, acts, forms, queries
from live.stock.queries import store_view, stores

_CHAT_ID = re.compile(r"c[0-9]+-[0-9]+")

BY_HAND = {**acts.ENDS, "sale": stop_sale}


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
    await security.body(request, Nothing)
    async with request.state.db.begin() as session:
        return _json(queries.view(await actions.start_room(session, request.path_params["room"], utc_now())))


async def stop(request: Request) -> Response:
    """POST /v1/rooms/{room}/stop: ends the show and every offer of it, by the rules of its kind."""
    await security.staff(request, "room.stop")
    await security.body(request, Nothing)
    now = utc_now()
    async with request.state.db.begin() as session:
        offers = await actions.begin_stop(session, request.path_params["room"])
        await close_room(session, request.path_params["room"], now)
        for offer in offers:
            await acts.ENDS[offer.kind](session, int(offer.id or 0), now)
        return _json(queries.view(await actions.stop_room(session, request.path_params["room"], now)))


async def pin(request: Request) -> Response:
    """POST /v1/rooms/{room}/pin."""
    await security.staff(request, "pin")
    form = await security.body(request, forms.PinForm)
    async with request.state.db.begin() as session:
        return _json(queries.view(await actions.pin(session, request.path_params["room"], form.offer)))


def _opening(act: acts.Act, may: str) -> Callable[[Request], Awaitable[Response]]:
    """The door that does this act, for staff who may; answers with the offer it opened."""

    async def door(request: Request) -> Response:
        me = await security.staff(request, may)
        form = await security.body(request, act.form)
        async with request.state.db.begin() as session:

            async def opened() -> dict[str, Any]:
                room = await queries.live_room(session, request.path_params["room"], planned=act.planned(form))
                return {"offer": await act.start(session, room.id, form, request.state.settings, utc_now())}

            return _json(await once(session, request, me, form, opened), 201)

    return door


async def draw(request: Request) -> Response:
    """POST /v1/rooms/{room}/draws."""
    me = await security.staff(request, "draw.open")
    form = await security.body(request, forms.DrawForm)
    async with request.state.db.begin() as session:

        async def opened() -> dict[str, Any]:
            room = await queries.live_room(session, request.path_params["room"])
            found = await acts.start_draw(session, room.id, form, request.state.settings, utc_now())
            return {"draw": found.id, "commitment": found.commitment}

        return _json(await once(session, request, me, form, opened), 201)


async def draw_close(request: Request) -> Response:
    """POST /v1/draws/{id}/close: nobody enters any more, and the winners are drawn."""
    await security.staff(request, "draw.close")
    await security.body(request, Nothing)
    async with request.state.db.begin() as session:
        return _json({"draw": (await close_draw(session, request.path_params["id"], utc_now())).id})


async def offers(request: Request) -> Response:
    """GET /v1/rooms/{room}/offers: every offer with its allotments, newest first; `state` of a flash sale, else None."""
    await security.staff(request, "offer.list")
    async with request.state.db.begin() as session:
        room = await queries.room(session, request.path_params["room"])
        sales = await states(session, room.id, utc_now())
        found = await queries.offers(session, room.id)
        return _json({"offers": [entry | {"state": sales.get(entry["view"]["id"])} for entry in found]})


async def end(request: Request) -> Response:
    """POST /v1/offers/{id}/end."""
    await security.staff(request, "offer.end")
    await security.body(request, Nothing)
    async with request.state.db.begin() as session:
        kind = await kind_of(session, request.path_params["id"])  # not locked yet: its kind's action locks the team first
        ended = await BY_HAND[kind](session, request.path_params["id"], utc_now())
        return _json({"offer": ended.id, "phase": ended.phase})


async def price(request: Request) -> Response:
    """POST /v1/offers/{id}/price: of a flash sale, from now on."""
    await security.staff(request, "sale.price")
    form = await security.body(request, forms.PriceForm)
    async with request.state.db.begin() as session:
        sale = await reprice_sale(session, request.path_params["id"], form.fen, utc_now())
        return _json({"offer": sale.id, "fen": sale.fen, "version": sale.price_version})


async def move(request: Request) -> Response:
    """POST /v1/offers/{id}/time: of a planned sale, before its countdown begins."""
    await security.staff(request, "sale.open")
    form = await security.body(request, forms.SaleTime)
    async with request.state.db.begin() as session:
        sale = await move_sale(session, request.path_params["id"], from_ms(form.opens), form.countdown, utc_now())
        return _json({"offer": sale.id, "opens": epoch_ms(sale.opens_at), "closes": epoch_ms(sale.closes_at) if sale.closes_at else None})


async def void(request: Request) -> Response:
    """POST /v1/offers/{id}/void: take a batch of coupons back; what is claimed and not on an order is void."""
    me = await security.staff(request, "coupon.void")
    form = await security.body(request, forms.VoidForm)
    async with request.state.db.begin() as session:
        offer = await void_coupon(session, request.path_params["id"], form.reason, me.id, utc_now())
        return _json({"offer": offer.id, "phase": offer.phase})


async def more_stock(request: Request) -> Response:
    """POST /v1/offers/{id}/stock."""
    me = await security.staff(request, "stock.add")
    form = await security.body(request, forms.StockAdd)
    offer: int = request.path_params["id"]
    async with request.state.db.begin() as session:

        async def added() -> dict[str, Any]:
            await add_stock(session, offer, form.location, form.qty, utc_now())
            return {"offer": offer}

        return _json(await once(session, request, me, form, added))


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
    await security.body(request, Nothing)
    chat_id = request.path_params["id"]
    if not _CHAT_ID.fullmatch(chat_id):
        raise Refusal(Code.NOT_FOUND, what="comment")
    async with request.state.db.begin() as session:
        await actions.withdraw(session, request.path_params["room"], chat_id, utc_now())
        return _json({"id": chat_id})


async def who_leads(request: Request) -> Response:
    """GET /v1/leaders → {leaders: [{account, name, store}]}: whose group the console can open."""
    await security.staff(request, "group.open")
    async with request.state.db.begin() as session:
        return _json({"leaders": await leaders(session)})


routes = [
    Route("/v1/leaders", who_leads, methods=["GET"]),
    Route("/v1/rooms", list_rooms, methods=["GET"]),
    Route("/v1/rooms", create, methods=["POST"]),
    Route("/v1/rooms/{room}", show, methods=["GET"]),
    Route("/v1/rooms/{room}", edit, methods=["POST"]),
    Route("/v1/rooms/{room}/start", start, methods=["POST"]),
    Route("/v1/rooms/{room}/stop", stop, methods=["POST"]),
    Route("/v1/rooms/{room}/pin", pin, methods=["POST"]),
    Route("/v1/rooms/{room}/sales", _opening(acts.ACTS["sale"], "sale.open"), methods=["POST"]),
    Route("/v1/rooms/{room}/coupons", _opening(acts.ACTS["coupon"], "coupon.open"), methods=["POST"]),
    Route("/v1/rooms/{room}/groups", _opening(acts.ACTS["group"], "group.open"), methods=["POST"]),
    Route("/v1/rooms/{room}/teams", _opening(acts.ACTS["team"], "group.open"), methods=["POST"]),
    Route("/v1/rooms/{room}/leader-groups", _opening(acts.ACTS["leader"], "group.open"), methods=["POST"]),
    Route("/v1/rooms/{room}/packets", _opening(acts.ACTS["packet"], "packet.open"), methods=["POST"]),
    Route("/v1/rooms/{room}/draws", draw, methods=["POST"]),
    Route("/v1/draws/{id:int}/close", draw_close, methods=["POST"]),
    Route("/v1/rooms/{room}/offers", offers, methods=["GET"]),
    Route("/v1/rooms/{room}/mute", mute, methods=["POST"]),
    Route("/v1/rooms/{room}/comments/{id}/withdraw", withdraw, methods=["POST"]),
    Route("/v1/offers/{id:int}/end", end, methods=["POST"]),
    Route("/v1/offers/{id:int}/price", price, methods=["POST"]),
    Route("/v1/offers/{id:int}/time", move, methods=["POST"]),
    Route("/v1/offers/{id:int}/void", void, methods=["POST"]),
    Route("/v1/offers/{id:int}/stock", more_stock, methods=["POST"]),
]
