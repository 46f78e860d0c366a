"""How an order changes: its row is locked, the move is a legal one, its version rises, its buyer is told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra import outbox
from live.infra.db import array, epoch_ms
from live.orders import rules
from live.orders.tables import Order, OrderLine
from live.protocol.codes import Code, Refusal


@dataclass(slots=True)
class Row:
    """An order's row while it is locked, for verbs that hundreds wait for: objects of the mapper would be most of their time.

    It changes as an order does; `write` puts it back.
    """

    no: str
    room_id: str
    person: str
    location: str
    state: str
    version: int
    fen: int
    discount: int
    refunded: int
    grant_id: int | None
    team_id: int | None
    party_id: int | None
    pay_until: datetime
    paid_at: datetime | None
    attribution: dict[str, Any]
    created_at: datetime


_ROWS = text(
    f"SELECT {', '.join(field.name for field in fields(Row))} FROM orders WHERE no = ANY(CAST(:nos AS text[])) ORDER BY no FOR UPDATE"
)
_WRITE = text(
    "UPDATE orders o SET state = t.state, version = t.version, paid_at = t.paid_at, attribution = t.attribution"
    " FROM unnest(CAST(:nos AS text[]), CAST(:states AS text[]), CAST(:versions AS bigint[]), CAST(:moments AS timestamptz[]),"
    " CAST(:attributions AS jsonb[])) AS t(no, state, version, paid_at, attribution) WHERE o.no = t.no"
)


async def rows_of(session: AsyncSession, nos: Collection[str]) -> dict[str, Row]:
    """As `locked_all`, without the mapper."""
    found = {row[0]: Row(*row) for row in (await session.execute(_ROWS, {"nos": array(nos)})).all()}
    if not found.keys() >= set(nos):
        raise Refusal(Code.NOT_FOUND, what="order")
    return found


async def write(session: AsyncSession, paid: Sequence[Row]) -> None:
    """State, version, attribution and the moment of payment, of orders that have one."""
    values = {
        "nos": array([row.no for row in paid]), "states": array([row.state for row in paid]),
        "versions": array([row.version for row in paid]), "moments": array([row.paid_at.isoformat() for row in paid if row.paid_at]),
        "attributions": array([orjson.dumps(row.attribution).decode() if row.attribution else "{}" for row in paid]),
    }  # fmt: skip
    await session.execute(_WRITE, values)


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


def move(order: Order | Row, to: str) -> None:
    """The next state. Refusal(STATE) when there is no way from here."""
    if not rules.legal(order.state, to):
        raise Refusal(Code.STATE, state=order.state)
    order.state = to


async def tell(session: AsyncSession, order: Order) -> None:
    """Raise the version and tell the buyer; once per transaction and order, when everything about it has been decided."""
    told = _news(order)
    await session.flush()
    await outbox.own(session, order.room_id, order.person, f"order:{order.no}", order.version, told)


async def tell_all(session: AsyncSession, orders: Sequence[Order | Row]) -> None:
    """As `tell`, for many orders, in one row for each room."""
    rooms: dict[str, list[tuple[str, str, int, dict[str, Any]]]] = {}
    for order in orders:
        told = _news(order)
        rooms.setdefault(order.room_id, []).append((order.person, f"order:{order.no}", order.version, told))
    await session.flush()
    for room, news in sorted(rooms.items()):
        await outbox.tell_many(session, room, news)


def _news(order: Order | Row) -> dict[str, Any]:
    """The order under its next version."""
    order.version += 1
    until = epoch_ms(order.pay_until) if order.state == "AWAIT_PAY" else None
    return body(order.no, order.version, order.state, order.fen - order.discount, until, order.refunded)


def body(no: str, version: int, state: str, fen: int, until: int | None, refunded: int = 0) -> dict[str, Any]:
    """As `view(OrderView(…))` has it, which a batch of hundreds cannot wait for."""
    return {"t": "order", "no": no, "version": version, "state": state, "fen": fen, "pay_until": until, "refunded": refunded}


async def lines_of(session: AsyncSession, no: str) -> list[OrderLine]:
    """The order's lines, in the buyer's order."""
    query = select(OrderLine).where(col(OrderLine.order_no) == no).order_by(col(OrderLine.line))
    return list((await session.execute(query)).scalars())


async def units_of(session: AsyncSession, orders: Sequence[Order | Row]) -> dict[str, tuple[dict[int, int], dict[int, int]]]:
    """Units per offer of each order, in the order of offers' ids: those that are seats of a team, and the others."""
    found: dict[str, tuple[dict[int, int], dict[int, int]]] = {order.no: ({}, {}) for order in orders}
    joined = {order.no for order in orders if order.team_id is not None}
    for no, offer, qty, team in sorted((await session.execute(_UNITS, {"nos": array(found)})).all(), key=itemgetter(1)):
        units = found[no][0 if team and no in joined else 1]
        units[offer] = units.get(offer, 0) + qty
    return found


_UNITS = text(
    "SELECT order_no, offer_id, qty, EXISTS (SELECT FROM team t WHERE t.offer_id = l.offer_id) FROM order_line l"
    " WHERE order_no = ANY(CAST(:nos AS text[]))"  # sorted by us: by the index of offers the server would read all their lines in turn
)


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


async def hand_over(session: AsyncSession, orders: Sequence[Order | Row]) -> None:
    """Put paid orders on the lists of their stores."""
    if orders:
        await outbox.jobs(session, "handoff", [(order.location, {"order": order.no}) for order in orders])
