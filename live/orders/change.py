"""How an order changes: its row is locked, the move is a legal one, its version rises, its buyer is told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra import outbox
from live.infra.db import epoch_ms
from live.offers.tables import Team
from live.orders import rules
from live.orders.tables import Order, OrderLine
from live.protocol.codes import Code, Refusal
from live.protocol.events import OrderView, view


async def locked(session: AsyncSession, no: str, person: str | None = None) -> Order:
    """The order's row, locked: the first lock of every action here. Refusal(NOT_FOUND), also when it is not `person`'s."""
    query = select(Order).where(col(Order.no) == no).with_for_update().execution_options(populate_existing=True)
    order = (await session.execute(query)).scalar_one_or_none()
    if order is None or (person is not None and order.person != person):
        raise Refusal(Code.NOT_FOUND, what="order")
    return order


async def locked_all(session: AsyncSession, nos: Collection[str]) -> dict[str, Order]:
    """The rows of these orders by number, locked in the order of their numbers. Refusal(NOT_FOUND)."""
    query = select(Order).where(col(Order.no).in_(nos)).order_by(col(Order.no)).with_for_update()
    found = {order.no: order for order in (await session.execute(query.execution_options(populate_existing=True))).scalars()}
    if not found.keys() >= set(nos):
        raise Refusal(Code.NOT_FOUND, what="order")
    return found


def with_coupons(orders: Iterable[Order]) -> list[Order]:
    """Those that have a coupon, in the order of the coupons' ids, as their rows are locked."""
    return sorted((order for order in orders if order.grant_id is not None), key=lambda order: order.grant_id or 0)


def move(order: Order, to: str) -> None:
    """The next state. Refusal(STATE) when there is no way from here."""
    if not rules.legal(order.state, to):
        raise Refusal(Code.STATE, state=order.state)
    order.state = to


async def tell(session: AsyncSession, order: Order) -> None:
    """Raise the version and tell the buyer; once per transaction and order, when everything about it has been decided."""
    told = _news(order)
    await session.flush()
    await outbox.own(session, order.room_id, order.person, f"order:{order.no}", order.version, view(told))


async def tell_all(session: AsyncSession, orders: Sequence[Order]) -> None:
    """As `tell`, for many orders, in one row for each room."""
    rooms: dict[str, list[tuple[str, str, int, dict[str, Any]]]] = {}
    for order in orders:
        told = _news(order)
        rooms.setdefault(order.room_id, []).append((order.person, f"order:{order.no}", order.version, view(told)))
    await session.flush()
    for room, news in sorted(rooms.items()):
        await outbox.tell_many(session, room, news)


def _news(order: Order) -> OrderView:
    """The order under its next version."""
    order.version += 1
    return OrderView(
        no=order.no,
        version=order.version,
        state=order.state,
        fen=order.fen - order.discount,
        pay_until=epoch_ms(order.pay_until) if order.state == "AWAIT_PAY" else None,
        refunded=order.refunded,
    )


async def lines_of(session: AsyncSession, no: str) -> list[OrderLine]:
    """The order's lines, in the buyer's order."""
    query = select(OrderLine).where(col(OrderLine.order_no) == no).order_by(col(OrderLine.line))
    return list((await session.execute(query)).scalars())


async def units_of(session: AsyncSession, orders: Sequence[Order]) -> dict[str, tuple[dict[int, int], dict[int, int]]]:
    """Units per offer of each order, in the order of offers' ids: those that are seats of a team, and the others. A read, or two."""
    units: dict[str, dict[int, int]] = {order.no: {} for order in orders}
    lines = select(col(OrderLine.order_no), col(OrderLine.offer_id), col(OrderLine.qty)).where(col(OrderLine.order_no).in_(units))
    for no, offer, qty in await session.execute(lines.order_by(col(OrderLine.offer_id))):
        units[no][offer] = units[no].get(offer, 0) + qty
    offers = {offer for order in orders if order.team_id is not None for offer in units[order.no]}
    seated = select(col(Team.offer_id)).where(col(Team.offer_id).in_(offers))
    teams = set((await session.execute(seated)).scalars()) if offers else set()
    found = {}
    for order in orders:
        mine = teams if order.team_id is not None else set()
        seats = {offer: qty for offer, qty in units[order.no].items() if offer in mine}
        found[order.no] = seats, {offer: qty for offer, qty in units[order.no].items() if offer not in mine}
    return found


async def return_goods(session: AsyncSession, orders: Sequence[Order], kind: str) -> None:
    """Ask the ledger to take the orders' units back. `RELEASE`: never paid; `RESTOCK`: refunded.

    An order's rid is the cause, so each happens once. Held seats go back with a release only: a paid seat stays paid.
    """
    units, rooms = await units_of(session, orders), {order.room_id: list[dict[str, Any]]() for order in orders}
    for order in orders:
        seats, others = units[order.no]
        entry = {"kind": kind, "rid": order.rid, "location": order.location, "person": order.person}
        for mine, seated in ((seats, kind == "RELEASE"), (others, False)):
            if mine:
                rooms[order.room_id].append({**entry, "lines": [[offer, qty] for offer, qty in mine.items()], "seats": seated})
    for room, entries in sorted(rooms.items()):
        await outbox.house(session, room, *entries)


async def hand_over(session: AsyncSession, orders: Sequence[Order]) -> None:
    """Put paid orders on the lists of their stores."""
    if orders:
        await outbox.jobs(session, "handoff", [(order.location, {"order": order.no}) for order in orders])
