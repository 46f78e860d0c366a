"""How an order changes: its row is locked, the move is a legal one, its version rises, its buyer is told."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra import outbox
from live.infra.db import epoch_ms
from live.orders import rules
from live.orders.tables import Order, OrderLine
from live.protocol.codes import Code, Refusal
from live.protocol.events import OrderView, view


async def locked(session: AsyncSession, no: str, person: str | None = None) -> Order:
    """The order's row, locked: the first lock of every action here but `settle`'s. Refusal(NOT_FOUND), also when it is not `person`'s."""
    query = select(Order).where(col(Order.no) == no).with_for_update().execution_options(populate_existing=True)
    order = (await session.execute(query)).scalar_one_or_none()
    if order is None or (person is not None and order.person != person):
        raise Refusal(Code.NOT_FOUND, what="order")
    return order


def move(order: Order, to: str) -> None:
    """The next state. Refusal(STATE) when there is no way from here."""
    if not rules.legal(order.state, to):
        raise Refusal(Code.STATE, state=order.state)
    order.state = to


async def tell(session: AsyncSession, order: Order) -> None:
    """Raise the version and tell the buyer; once per transaction and order, when everything about it has been decided."""
    order.version += 1
    await session.flush()
    told = OrderView(
        no=order.no,
        version=order.version,
        state=order.state,
        fen=order.fen - order.discount,
        pay_until=epoch_ms(order.pay_until) if order.state == "AWAIT_PAY" else None,
        refunded=order.refunded,
    )
    await outbox.own(session, order.room_id, order.person, f"order:{order.no}", order.version, view(told))


async def lines_of(session: AsyncSession, no: str) -> list[OrderLine]:
    """The order's lines, in the buyer's order."""
    query = select(OrderLine).where(col(OrderLine.order_no) == no).order_by(col(OrderLine.line))
    return list((await session.execute(query)).scalars())


async def return_goods(session: AsyncSession, order: Order, kind: str) -> None:
    """Ask the ledger to take the order's units back. `RELEASE`: it was never paid; `RESTOCK`: it was refunded.

    The order's rid is the cause, so each happens once. Held seats go back with a release only: a paid seat stays paid.
    """
    units: dict[int, int] = {}
    for line in await lines_of(session, order.no):
        units[line.offer_id] = units.get(line.offer_id, 0) + line.qty
    entry = {
        "kind": kind,
        "rid": order.rid,
        "location": order.location,
        "person": order.person,
        "lines": [[offer, qty] for offer, qty in sorted(units.items())],
        "seats": kind == "RELEASE" and order.team_id is not None,
    }
    await outbox.house(session, order.room_id, entry)


async def hand_over(session: AsyncSession, order: Order) -> None:
    """Put a paid order on the list of its store."""
    await outbox.job(session, "handoff", order.location, {"order": order.no})
