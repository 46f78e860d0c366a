"""Verbs of the store desk: ready, verify, collect; and void, for orders whose money goes back. Orders are locked before tickets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import Database
from live.orders.actions import advance
from live.orders.queries import refund_open
from live.orders.tables import Order, OrderLine
from live.pickup import rules
from live.pickup.handoff import handoff
from live.pickup.tables import DeskFailure, Ticket
from live.protocol.codes import Code, Refusal
from live.stock.actions import collected

__all__ = ["Desk", "collect", "handoff", "ready", "verify", "void"]

REFUNDED = frozenset({"REFUNDING", "REFUNDED"})


@dataclass(frozen=True, slots=True)
class Desk:
    """Who asks, with which device, and for which store (None: any, for the owner)."""

    staff: int
    device: str
    store: str | None


async def ready(session: AsyncSession, ticket_id: int, desk: Desk, now: datetime) -> int:
    """The goods are picked: the buyer may come. Returns the ticket's id. Raises Refusal(NOT_FOUND, WRONG_STORE, REFUND_OPEN, STATE)."""
    ticket = await _locked(session, ticket_id)
    _at_this_store(ticket, desk)
    if not rules.may(ticket.state, "READY"):
        raise Refusal(Code.STATE, state=ticket.state)
    await _no_refund(session, ticket.order_no)
    ticket.state, ticket.ready_at = "READY", now
    await session.flush()
    await advance(session, ticket.order_no, "READY", now)
    return ticket_id


async def verify(db: Database, desk: Desk, text: str, now: datetime, *, secret: str) -> int:
    """The id of the ticket a code opens, if it may be handed over now. Nothing changes but the count of wrong codes.

    Raises Refusal(LOCKED_OUT wait, WRONG_CODE, WRONG_STORE store, STATE state, REFUND_OPEN or NOT_READY).
    """
    async with db.begin() as session:
        ticket_id = await _by_code(session, desk, text, now, secret)
        if ticket_id is not None:
            await _may_be_collected(session, await _locked(session, ticket_id), desk)
    if ticket_id is None:  # only now: the failure is committed
        raise Refusal(Code.WRONG_CODE)
    return ticket_id


async def collect(db: Database, desk: Desk, ticket_id: int, text: str, now: datetime, *, secret: str) -> int:
    """Hand over, once: the ticket and its order are COLLECTED and the goods leave the stock. Refuses as `verify` does."""
    async with db.begin() as session:
        found = await _by_code(session, desk, text, now, secret, ticket_id)
        if found is not None:
            await _hand_over(session, await _locked(session, ticket_id), desk, now)
    if found is None:
        raise Refusal(Code.WRONG_CODE)
    return ticket_id


async def void(session: AsyncSession, order_no: str, now: datetime) -> int:
    """Take the tickets of an order whose money goes back out of the queue; how many there were. Collected ones stay."""
    del now  # every action is given the clock; a void ticket keeps no moment
    order = (await session.execute(select(Order).where(col(Order.no) == order_no).with_for_update())).scalar_one_or_none()
    if order is None or order.state not in REFUNDED:
        return 0
    open_states = [state for state in rules.TRANSITIONS if rules.may(state, "VOID")]
    statement = update(Ticket).where(col(Ticket.order_no) == order_no, col(Ticket.state).in_(open_states)).values(state="VOID")
    return len((await session.execute(statement.returning(col(Ticket.id)))).all())


async def _locked(session: AsyncSession, ticket_id: int) -> Ticket:
    """A ticket with its order locked first: the same order of locks as a refund, so desk and refund wait for each other."""
    no = (await session.execute(select(col(Ticket.order_no)).where(col(Ticket.id) == ticket_id))).scalar_one_or_none()
    if no is None:
        raise Refusal(Code.NOT_FOUND)
    await session.execute(select(col(Order.no)).where(col(Order.no) == no).with_for_update())
    return (await session.execute(select(Ticket).where(col(Ticket.id) == ticket_id).with_for_update())).scalar_one()


def _at_this_store(ticket: Ticket, desk: Desk) -> None:
    if desk.store is not None and ticket.location != desk.store:
        raise Refusal(Code.WRONG_STORE, store=ticket.location)


async def _no_refund(session: AsyncSession, order_no: str) -> None:
    """Nothing is handed over while all of its money may go back; a ladder's difference or a second payment stops nobody."""
    state = (await session.execute(select(col(Order.state)).where(col(Order.no) == order_no))).scalar_one()
    if state in REFUNDED or await refund_open(session, order_no):
        raise Refusal(Code.REFUND_OPEN)


async def _may_be_collected(session: AsyncSession, ticket: Ticket, desk: Desk) -> None:
    _at_this_store(ticket, desk)
    if ticket.state in ("COLLECTED", "VOID"):
        raise Refusal(Code.STATE, state=ticket.state)
    await _no_refund(session, ticket.order_no)
    if ticket.state != "READY":
        raise Refusal(Code.NOT_READY)


async def _hand_over(session: AsyncSession, ticket: Ticket, desk: Desk, now: datetime) -> None:
    await _may_be_collected(session, ticket, desk)
    ticket.state, ticket.collected_at, ticket.collected_by = "COLLECTED", now, desk.staff
    await session.flush()
    await advance(session, ticket.order_no, "COLLECTED", now)
    query = select(OrderLine).where(col(OrderLine.order_no) == ticket.order_no).order_by(col(OrderLine.sku_id), col(OrderLine.line))
    for line in (await session.execute(query)).scalars():
        await collected(session, line.sku_id, ticket.location, line.qty, f"collected:{ticket.order_no}:{line.line}")


async def _by_code(session: AsyncSession, desk: Desk, text: str, now: datetime, secret: str, expected: int | None = None) -> int | None:
    """The ticket of a code (the `expected` one, if given). None: wrong, and noted in this transaction, which the caller must commit."""
    # One device's tries one after another: twenty at once would else all be looked at before the first is noted.
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"desk:{desk.staff}", 0))))
    since = now - max(rules.ACCOUNT_WINDOW, rules.LOCKED + rules.WRONG_WINDOW)
    query = select(col(DeskFailure.at), col(DeskFailure.device)).where(col(DeskFailure.staff_id) == desk.staff, col(DeskFailure.at) > since)
    failures = (await session.execute(query)).all()
    wait = rules.locked_seconds([at for at, device in failures if device == desk.device], [at for at, _ in failures], now)
    if wait > 0:
        raise Refusal(Code.LOCKED_OUT, wait=wait)
    code = rules.parse(text)
    if code is not None:
        hashed = rules.keyed_hash(secret, code)
        found = (await session.execute(select(col(Ticket.id)).where(col(Ticket.code_hash) == hashed))).scalar_one_or_none()
        if found is not None and expected in (None, found):
            return found
    session.add(DeskFailure(staff_id=desk.staff, device=desk.device, at=now))
    return None
