"""Doors of a buyer's orders and coupons, of taps whose answer was lost, and of the host's refunds and figures."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra import security
from live.infra.db import utc_now
from live.infra.doors import Form, Nothing
from live.infra.doors import json as _json
from live.infra.once import KEY
from live.offers.reservations import record
from live.offers.rules import rid_of
from live.orders import actions, attribution, exceptions, queries
from live.orders.basket import basket_of
from live.orders.progress import refund_progress
from live.orders.refunds import REASON_CHARACTERS
from live.orders.tables import Order
from live.payments.tables import Refund
from live.promotions.coupon import queries as coupons
from live.promotions.coupon.voiding import voids
from live.promotions.red_packet import queries as packets
from live.protocol.codes import Code, Refusal


class PayForm(Form):
    """`coupon`: the id of one that is held; none is null."""

    coupon: Annotated[int, Field(ge=1, lt=2**53)] | None = None


class RefundForm(Form):
    """Why, in the buyer's words; may be empty."""

    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=REASON_CHARACTERS)] = ""


class NoteForm(Form):
    """What was found out and done about a payment."""

    note: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=exceptions.NOTE_CHARACTERS)]


async def my_orders(request: Request) -> Response:
    """GET /v1/me/orders?room= → {orders}, newest first."""
    me = security.known(request)
    async with request.state.db.begin() as session:
        orders = await queries.orders_of(session, me.sub, request.query_params.get("room"))
        return _json({"orders": await queries.shapes(session, orders, request.state.pickup_view)})


async def _mine(session: AsyncSession, person: str, request: Request) -> Order:
    order = await queries.order_of(session, person, request.path_params["no"])
    if order is None:
        raise Refusal(Code.NOT_FOUND, what="order")
    return order


async def my_order(request: Request) -> Response:
    """GET /v1/me/orders/{no} → the order."""
    me = security.known(request)
    async with request.state.db.begin() as session:
        return _json(await _shape(session, request, await _mine(session, me.sub, request)))


async def my_coupons(request: Request) -> Response:
    """GET /v1/me/coupons?room= → {coupons}, newest first."""
    me = security.known(request)
    async with request.state.db.begin() as session:
        held = await coupons.coupons_of(session, me.sub, request.query_params.get("room"))
        void = await voids(session, [grant.offer_id for grant in held])
    return _json({"coupons": [coupons.shape(grant, void) for grant in held]})


async def order_coupons(request: Request) -> Response:
    """GET /v1/me/orders/{no}/coupons → {best, usable, others}: what may be put on it, the best first, and why the others may not."""
    me = security.known(request)
    async with request.state.db.begin() as session:
        basket = await basket_of(session, await _mine(session, me.sub, request))
        return _json(await coupons.choice(session, me.sub, basket, utc_now()))


async def my_intent(request: Request) -> Response:
    """GET /v1/me/intents/{room}/{key} → {order}, {coupon} or {packet} it became, {pending: true}, or {again: true}: resend the same key.

    SQL is asked first and, once Redis knows of no unbooked intent, again: it may have been booked between the two questions.
    """
    me = security.known(request)
    room, key = request.path_params["room"], request.path_params["key"]
    if not KEY.fullmatch(key):
        raise Refusal(Code.BAD_REQUEST, field="key", why="8 to 64 of A-Z a-z 0-9 _ -")
    rid = rid_of(me.sub, room, key)
    booked = await _booked(request, rid)
    if booked is not None:
        return _json(booked)
    kept = await record(request.state.redis, room, rid)
    if kept is not None and kept[0] == "intent":
        async with request.state.db.begin() as session:
            fence = await queries.fence_of(session, room)
        # The record agrees with the fence Redis has; a Redis that was rolled back may have an old one.
        if fence is not None and int(kept[1]) == fence:
            return _json({"pending": True})
    return _json(await _booked(request, rid) or {"again": True})


async def _booked(request: Request, rid: str) -> dict[str, Any] | None:
    async with request.state.db.begin() as session:
        order = await queries.by_rid(session, rid)
        if order is not None:
            return {"order": await _shape(session, request, order)}
        share = await packets.by_rid(session, rid)
        if share is not None:
            return {"packet": share}
        grant = await coupons.by_rid(session, rid)
    return None if grant is None else {"coupon": coupons.shape(grant)}


async def pay(request: Request) -> Response:
    """POST /v1/me/orders/{no}/pay {coupon} → {order, pay, cashier}: for `wx.requestPayment`; the demo's cashier page, else null."""
    me = security.known(request)
    form = await security.body(request, PayForm)
    state = request.state
    async with state.db.begin() as session:
        openid = await queries.openid_of(session, me.id)
    if openid is None and state.settings.env == "production":
        raise Refusal(Code.IDENTIFY, why="wechat")  # the provider takes money from its own users; the simulator from anybody
    no = request.path_params["no"]
    order, params = await actions.pay(state.db, state.gateway, me.sub, no, form.coupon, openid or me.sub, utc_now())
    cashier = None
    if state.settings.env == "demo":
        cashier = f"{state.settings.simulator_url}/cashier/{params['package'].removeprefix('prepay_id=')}"
    async with state.db.begin() as session:
        return _json({"order": await _shape(session, request, order), "pay": params, "cashier": cashier})


async def cancel(request: Request) -> Response:
    """POST /v1/me/orders/{no}/cancel {} → the order, CANCELLED, or CLOSING while somebody is paying."""
    me = security.known(request)
    await security.body(request, Nothing)
    state = request.state
    order = await actions.cancel(state.db, state.gateway, me.sub, request.path_params["no"], utc_now())
    async with state.db.begin() as session:
        return _json(await _shape(session, request, order))


async def ask_refund(request: Request) -> Response:
    """POST /v1/me/orders/{no}/refund {reason} → the order, its refund REQUESTED."""
    me = security.known(request)
    form = await security.body(request, RefundForm)
    async with request.state.db.begin() as session:
        order = await actions.ask_refund(session, me.sub, request.path_params["no"], form.reason, utc_now())
        return _json(await _shape(session, request, order))


async def refunds(request: Request) -> Response:
    """GET /v1/rooms/{room}/refunds → {refunds, groups, failed, failed_count}: those asked for, undecided first; then `refund_progress`."""
    await security.staff(request, "refund.decide")
    room = request.path_params["room"]
    async with request.state.db.begin() as session:
        return _json({"refunds": await queries.asked_refunds(session, room), **await refund_progress(session, room)})


async def grant(request: Request) -> Response:
    """POST /v1/refunds/{id}/grant {} → {id, order, fen, state}."""
    await security.staff(request, "refund.decide")
    await security.body(request, Nothing)
    async with request.state.db.begin() as session:
        return _json(_decided(await actions.grant_refund(session, request.path_params["id"], utc_now())))


async def decline(request: Request) -> Response:
    """POST /v1/refunds/{id}/decline {} → {id, order, fen, state}."""
    await security.staff(request, "refund.decide")
    await security.body(request, Nothing)
    async with request.state.db.begin() as session:
        return _json(_decided(await actions.decline_refund(session, request.path_params["id"], utc_now())))


async def pay_exceptions(request: Request) -> Response:
    """GET /v1/payments/exceptions → {open, exceptions}: payments that contradict the books."""
    await security.staff(request, "exception.decide")
    return await _exceptions(request)


async def refund_exception(request: Request) -> Response:
    """POST /v1/payments/exceptions/{id}/refund {} → as above: what was really paid goes back."""
    me = await security.staff(request, "exception.decide")
    await security.body(request, Nothing)
    state = request.state
    await exceptions.refund(state.db, state.gateway, request.path_params["id"], me.id, utc_now())
    return await _exceptions(request)


async def accept_exception(request: Request) -> Response:
    """POST /v1/payments/exceptions/{id}/accept {} → as above: provider and books agree by now."""
    me = await security.staff(request, "exception.decide")
    await security.body(request, Nothing)
    state = request.state
    await exceptions.accept(state.db, state.gateway, request.path_params["id"], me.id, utc_now())
    return await _exceptions(request)


async def note_exception(request: Request) -> Response:
    """POST /v1/payments/exceptions/{id}/note {note} → as above: seen to elsewhere."""
    me = await security.staff(request, "exception.decide")
    form = await security.body(request, NoteForm)
    await exceptions.note(request.state.db, request.path_params["id"], form.note, me.id, utc_now())
    return await _exceptions(request)


async def send_refund_again(request: Request) -> Response:
    """POST /v1/payments/refunds/{id}/again {} → as above: a refund that failed at the provider is sent once more."""
    await security.staff(request, "exception.decide")
    await security.body(request, Nothing)
    await exceptions.send_again(request.state.db, request.path_params["id"], utc_now())
    return await _exceptions(request)


async def _exceptions(request: Request) -> Response:
    async with request.state.db.begin() as session:
        return _json(await exceptions.exceptions(session))


async def figures(request: Request) -> Response:
    """GET /v1/rooms/{room}/figures → the room's figures, from the books."""
    await security.staff(request, "figures")
    async with request.state.db.begin() as session:
        return _json(await queries.figures(session, request.path_params["room"], utc_now()))


async def my_shares(request: Request) -> Response:
    """GET /v1/me/shares?room= → {people, orders, fen}: whom my link to this room brought, and what is credited to me."""
    me = security.known(request)
    async with request.state.db.begin() as session:
        found = await attribution.sharers(session, request.query_params.get("room") or "", me.sub)
    return _json({name: found[0][name] if found else 0 for name in ("people", "orders", "fen")})


async def sharers(request: Request) -> Response:
    """GET /v1/rooms/{room}/sharers → {sharers: [{who, name, people, orders, fen}]}, who brought most first."""
    await security.staff(request, "figures")
    async with request.state.db.begin() as session:
        return _json({"sharers": await attribution.sharers(session, request.path_params["room"])})


def _decided(refund: Refund) -> dict[str, Any]:
    return {"id": refund.id, "order": refund.order_no, "fen": refund.fen, "state": refund.state}


async def _shape(session: AsyncSession, request: Request, order: Order) -> dict[str, Any]:
    return (await queries.shapes(session, [order], request.state.pickup_view))[0]


routes = [
    Route("/v1/me/orders", my_orders),
    Route("/v1/me/orders/{no}", my_order),
    Route("/v1/me/orders/{no}/coupons", order_coupons),
    Route("/v1/me/orders/{no}/pay", pay, methods=["POST"]),
    Route("/v1/me/orders/{no}/cancel", cancel, methods=["POST"]),
    Route("/v1/me/orders/{no}/refund", ask_refund, methods=["POST"]),
    Route("/v1/me/coupons", my_coupons),
    Route("/v1/me/intents/{room}/{key}", my_intent),
    Route("/v1/me/shares", my_shares),
    Route("/v1/rooms/{room}/sharers", sharers),
    Route("/v1/rooms/{room}/figures", figures),
    Route("/v1/rooms/{room}/refunds", refunds),
    Route("/v1/refunds/{id:int}/grant", grant, methods=["POST"]),
    Route("/v1/refunds/{id:int}/decline", decline, methods=["POST"]),
    Route("/v1/payments/exceptions", pay_exceptions),
    Route("/v1/payments/exceptions/{id:int}/refund", refund_exception, methods=["POST"]),
    Route("/v1/payments/exceptions/{id:int}/accept", accept_exception, methods=["POST"]),
    Route("/v1/payments/exceptions/{id:int}/note", note_exception, methods=["POST"]),
    Route("/v1/payments/refunds/{id:int}/again", send_refund_again, methods=["POST"]),
]
