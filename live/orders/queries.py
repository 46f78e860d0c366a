"""Orders, read. The shape of an order on the wire is described at `shapes`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import epoch_ms
from live.offers.parties.queries import parties
from live.offers.tables import Fence
from live.orders.rules import WHOLE
from live.orders.tables import Order, OrderLine
from live.payments.queries import refunds_of
from live.payments.rules import OPEN_ATTEMPT
from live.payments.tables import PayAttempt, Refund
from live.people.tables import Person
from live.promotions.coupon import queries as coupons
from live.promotions.flash_sale import queries as sales
from live.stock.tables import Location

PAGE = 50  # newest first; whoever wants older ones asks the shop
REFUNDS_PAGE = 200  # undecided ones first, so none is hidden by old ones
GOING_BACK = ("REQUESTED", "APPROVED", "SENT", "FAILED")  # FAILED too: the money is promised, a person must see to it

# What pickup adds to orders: numbers -> {state, code, qr}. Handed down by the composition root, since pickup lies above.
PickupView = Callable[[AsyncSession, Sequence[str]], Awaitable[Mapping[str, dict[str, Any]]]]


async def order_of(session: AsyncSession, person: str, no: str) -> Order | None:
    """One order of a person."""
    return (await session.execute(select(Order).where(col(Order.no) == no, col(Order.person) == person))).scalar_one_or_none()


async def orders_of(session: AsyncSession, person: str, room: str | None = None) -> list[Order]:
    """A person's orders, newest first; `room` narrows them."""
    query = select(Order).where(col(Order.person) == person)
    if room is not None:
        query = query.where(col(Order.room_id) == room)
    return list((await session.execute(query.order_by(col(Order.id).desc()).limit(PAGE))).scalars())


async def by_rid(session: AsyncSession, rid: str) -> Order | None:
    """The order a tap led to."""
    return (await session.execute(select(Order).where(col(Order.rid) == rid))).scalar_one_or_none()


async def shapes(session: AsyncSession, orders: Sequence[Order], pickup: PickupView) -> list[dict[str, Any]]:
    """Orders as the wire shows them: `{no, room, channel, state, version, fen, discount, payable, refunded, pay_until, created, store,
    lines, coupon, refund, pickup, team}`, money in fen, times in epoch ms; `team`: the small team it sits in, as `PartyView`."""
    if not orders:
        return []
    nos = [order.no for order in orders]
    lines = await _lines(session, nos)
    stores = await _stores(session, {order.location for order in orders})
    refunds: dict[str, Refund] = {}
    for refund in await refunds_of(session, nos):
        kept = refunds.get(refund.order_no)
        if kept is None or refund.cause in WHOLE or kept.cause not in WHOLE:
            refunds[refund.order_no] = refund  # the one that ends the order, else the newest
    tickets = await pickup(session, nos)
    teams = await parties(session, (order.party_id for order in orders if order.party_id is not None))
    return [
        {
            "no": order.no,
            "room": order.room_id,
            "channel": order.channel,
            "state": order.state,
            "version": order.version,
            "fen": order.fen,
            "discount": order.discount,
            "payable": order.fen - order.discount,
            "refunded": order.refunded,
            "pay_until": epoch_ms(order.pay_until),
            "created": epoch_ms(order.created_at),
            "store": stores[order.location],
            "lines": lines.get(order.no, []),
            "coupon": order.grant_id,
            "refund": _refund(refunds.get(order.no)),
            "pickup": tickets.get(order.no),
            "team": None if order.party_id is None else teams[order.party_id],
        }
        for order in orders
    ]


def _refund(refund: Refund | None) -> dict[str, Any] | None:
    return None if refund is None else {"state": refund.state, "fen": refund.fen, "reason": refund.reason}


async def _lines(session: AsyncSession, nos: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    query = select(OrderLine).where(col(OrderLine.order_no).in_(nos)).order_by(col(OrderLine.order_no), col(OrderLine.line))
    found: dict[str, list[dict[str, Any]]] = {}
    for line in (await session.execute(query)).scalars():
        name = {"zh": line.name_zh, "en": line.name_en}
        shown = {"offer": line.offer_id, "sku": line.sku, "name": name, "picture": line.picture, "qty": line.qty, "fen": line.fen}
        found.setdefault(line.order_no, []).append(shown)
    return found


async def _stores(session: AsyncSession, codes: Collection[str]) -> dict[str, dict[str, Any]]:
    rows = (await session.execute(select(Location).where(col(Location.code).in_(codes)))).scalars()
    return {
        store.code: {
            "code": store.code,
            "name": {"zh": store.name_zh, "en": store.name_en},
            "address": {"zh": store.address_zh, "en": store.address_en},
        }
        for store in rows
    }


async def with_open_attempts(session: AsyncSession, nos: Sequence[str]) -> set[str]:
    """Those of these orders that may still be paid at the provider."""
    query = select(col(PayAttempt.order_no)).where(col(PayAttempt.order_no).in_(nos), col(PayAttempt.state).in_(OPEN_ATTEMPT))
    return set((await session.execute(query)).scalars())


async def refund_open(session: AsyncSession, no: str) -> bool:
    """Whether everything of this order may be about to go back: then nothing is handed over."""
    query = select(func.count()).select_from(Refund)
    query = query.where(col(Refund.order_no) == no, col(Refund.cause).in_(WHOLE), col(Refund.state).in_(GOING_BACK))
    return (await session.execute(query)).scalar_one() > 0


async def openid_of(session: AsyncSession, person_id: int) -> str | None:
    """Who a person is at the payment provider, if they came through it."""
    return (await session.execute(select(col(Person.openid)).where(col(Person.id) == person_id))).scalar_one_or_none()


async def fence_of(session: AsyncSession, room: str) -> int | None:
    """The room's fence as SQL has it: an intent under another one will never be booked."""
    return (await session.execute(select(col(Fence.fence)).where(col(Fence.room_id) == room))).scalar_one_or_none()


async def asked_refunds(session: AsyncSession, room: str) -> list[dict[str, Any]]:
    """What buyers of a room asked for, undecided first, then newest: `{id, order, fen, reason, state, created, lines, person_name}`."""
    query = select(Refund, col(Order.person)).join(Order, col(Order.no) == col(Refund.order_no))
    query = query.where(col(Order.room_id) == room, col(Refund.cause) == "buyer")
    query = query.order_by(col(Refund.state) != "REQUESTED", col(Refund.id).desc()).limit(REFUNDS_PAGE)
    rows = (await session.execute(query)).all()
    lines = await _lines(session, [refund.order_no for refund, _ in rows])
    ids = [int(person[2:]) for _, person in rows if person.startswith("p:")]
    people = select(col(Person.id), col(Person.name)).where(col(Person.id).in_(ids))
    names = {f"p:{person}": name for person, name in (await session.execute(people)).all()}
    return [
        {
            "id": refund.id,
            "order": refund.order_no,
            "fen": refund.fen,
            "reason": refund.reason,
            "state": refund.state,
            "created": epoch_ms(refund.created_at),
            "lines": lines.get(refund.order_no, []),
            "person_name": names.get(person, ""),
        }
        for refund, person in rows
    ]


async def figures(session: AsyncSession, room: str, now: datetime) -> dict[str, Any]:
    """A room's figures, straight from the books: `{orders, paid_orders, paid_fen, refunded_fen, units, held_units, coupons_claimed,
    coupons_used, waiting_pickup, by_offer: [{offer, name: {zh, en}, units, fen, state}]}`. `units` are paid ones,
    refunded or not; `state` is a flash sale's, None for what is none."""
    paid = col(Order.paid_at).is_not(None)
    state = col(Order.state)
    sums = select(
        func.count(),
        func.count().filter(paid),
        func.coalesce(func.sum(col(Order.fen) - col(Order.discount)).filter(paid), 0),
        func.coalesce(func.sum(col(Order.refunded)), 0),
        func.count().filter(state.in_(("ALLOCATED", "READY"))),
    ).where(col(Order.room_id) == room)
    orders, paid_orders, paid_fen, refunded, waiting = (await session.execute(sums)).one()
    held = func.coalesce(func.sum(col(OrderLine.qty)).filter(state.in_(("AWAIT_PAY", "CLOSING"))), 0)
    units = func.coalesce(func.sum(col(OrderLine.qty)).filter(paid), 0)
    fen = func.coalesce(func.sum(col(OrderLine.qty) * col(OrderLine.fen)).filter(paid), 0)
    # A line keeps the name it was sold under; two names of one offer would be a product renamed in mid-show.
    by = select(col(OrderLine.offer_id), func.max(col(OrderLine.name_zh)), func.max(col(OrderLine.name_en)), units, fen, held)
    by = by.join(Order, col(Order.no) == col(OrderLine.order_no)).where(col(Order.room_id) == room)
    rows = (await session.execute(by.group_by(col(OrderLine.offer_id)).order_by(col(OrderLine.offer_id)))).all()
    states = await sales.states(session, room, now)
    named = [(row[0], {"zh": row[1], "en": row[2]}, int(row[3]), int(row[4]), states.get(row[0])) for row in rows]
    return {
        "orders": int(orders),
        "paid_orders": int(paid_orders),
        "paid_fen": int(paid_fen),
        "refunded_fen": int(refunded),
        "units": sum(int(row[3]) for row in rows),
        "held_units": sum(int(row[5]) for row in rows),
        **await coupons.figures(session, room),
        "waiting_pickup": int(waiting),
        "by_offer": [dict(zip(("offer", "name", "units", "fen", "state"), row, strict=True)) for row in named],
    }
