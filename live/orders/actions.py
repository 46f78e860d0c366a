"""Verbs on orders: pay, cancel, let expire, take the money, go on at the store. Refunds are in `refunds.py`; their verbs are exported here.

Order of locks: the provider's attempts (payments) -> the order -> its coupon, or its team -> the offer -> the room clock. Nothing here
locks an attempt, and no lock is held while the provider is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

import structlog
from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import Database
from live.orders import rules
from live.orders.attribution import freeze
from live.orders.basket import basket_of
from live.orders.change import Row, hand_over, lines_of, locked, move, return_goods, rows_of, tell, tell_all, units_of, write
from live.orders.queries import refund_open, with_open_attempts
from live.orders.refunds import ask_refund, decline_refund, grant_refund, refunds_done, settle_group, settle_team
from live.orders.tables import Order
from live.payments.actions import Paid, close_attempts, create_attempt, send_attempt
from live.payments.exceptions import quarantined
from live.payments.gateway import Gateway, is_away
from live.payments.rules import OPEN_ATTEMPT
from live.payments.tables import PayAttempt
from live.promotions.coupon import actions as coupons
from live.promotions.group_buy.actions import seats_paid
from live.promotions.team import actions as teams
from live.protocol.codes import Code, Refusal

__all__ = [
    "advance", "ask_refund", "cancel", "decline_refund", "expire_due", "grant_refund", "pay", "payment_arrived", "refunds_done",
    "settle_group", "settle_team",
]  # fmt: skip

AT_ONCE = 5  # orders closed at the provider side by side: half of the pool, so that other work goes on
log = structlog.get_logger(__name__)


class _OpenAttemptError(Exception):
    """An attempt that asks for other money than the order now costs is still open at the provider."""


async def pay(
    db: Database, gateway: Gateway, person: str, no: str, coupon: int | None, payer: str, now: datetime
) -> tuple[Order, dict[str, str]]:
    """Begin to pay, with this coupon or (None) with none; returns the order and what the buyer's client hands to the provider.

    An attempt for another sum is closed at the provider first: two sums for one order are never open together. Refusal(STATE) when the
    order no longer waits for money or that attempt is being paid right now, (COUPON_NOT_USABLE why), (GATEWAY).
    """
    for _ in range(2):
        try:
            async with db.begin() as session:
                order, attempt, about = await _prepare(session, person, no, coupon, payer, now)
        except _OpenAttemptError:
            if await close_attempts(db, gateway, no, payment_arrived, now) != "closed":
                break
        else:
            assert attempt.id is not None
            return order, await send_attempt(db, gateway, attempt.id, about, now)
    async with db.begin() as session:
        raise Refusal(Code.STATE, state=(await locked(session, no, person)).state, why="a payment is under way")


async def _prepare(
    session: AsyncSession, person: str, no: str, coupon: int | None, payer: str, now: datetime
) -> tuple[Order, PayAttempt, str]:
    order = await locked(session, no, person)
    if order.state != "AWAIT_PAY" or order.pay_until <= now:
        raise Refusal(Code.STATE, state=order.state, why="it is too late to pay")
    changed = order.grant_id != coupon
    if changed:
        await _put_coupon(session, order, coupon, now)
    due = rules.payable(order.fen, order.discount)
    query = select(PayAttempt).where(col(PayAttempt.order_no) == no, col(PayAttempt.state).in_(OPEN_ATTEMPT))
    if any((attempt.fen, attempt.payer) != (due, payer) for attempt in (await session.execute(query)).scalars()):
        raise _OpenAttemptError  # rolls the coupon back as well; by now it is known to be usable
    if changed:
        await tell(session, order)
    attempt = await create_attempt(session, order_no=no, fen=due, payer=payer, expires_at=order.pay_until, now=now)
    return order, attempt, (await lines_of(session, no))[0].name_zh


async def _put_coupon(session: AsyncSession, order: Order, coupon: int | None, now: datetime) -> None:
    if coupon is None:
        await coupons.unlock(session, order.no, now)
        order.discount = 0
    else:
        order.discount = await coupons.lock(session, coupon, order.person, await basket_of(session, order), now)
    order.grant_id = coupon


async def payment_arrived(session: AsyncSession, attempts: Sequence[Paid], now: datetime) -> list[bool]:
    """The provider has the money of these attempts, each of another order. Of each: True, it pays the order; False, that is paid, given
    up or costs other money. What many wait for (a team's row, a room's news) is locked and written once for all of them."""
    orders = await rows_of(session, [attempt.order_no for attempt in attempts])
    paid: list[Row] = []
    for attempt in attempts:
        order = orders[attempt.order_no]
        if order.state in rules.UNPAID and attempt.fen == order.fen - order.discount:
            move(order, "PAID")
            order.paid_at = attempt.paid_at or now
            paid.append(order)
    if not paid:
        return [False] * len(attempts)
    await freeze(session, paid)
    if discounted := [order.no for order in paid if order.grant_id is not None]:
        await coupons.use(session, *discounted)
    for order in paid:
        move(order, "ALLOCATED" if order.team_id is None and order.party_id is None else "GROUP_WAIT")
    await tell_all(session, paid)
    await write(session, paid)  # once each
    await hand_over(session, [order for order in paid if order.state == "ALLOCATED"])
    await _take_seats(session, [order for order in paid if order.state == "GROUP_WAIT"], now)
    pays = {order.no for order in paid}
    return [attempt.order_no in pays for attempt in attempts]


async def _take_seats(session: AsyncSession, orders: Sequence[Row], now: datetime) -> None:
    """Teams before small teams, each in the order of their ids, as the till locks them."""
    units = await units_of(session, orders) if orders else {}
    seats: dict[int, list[int]] = {}
    for order in orders:
        for offer_id, qty in units[order.no][0].items():
            seats.setdefault(offer_id, []).append(qty)
    if seats:
        await seats_paid(session, seats, now)
    for party_id in sorted(order.party_id for order in orders if order.party_id is not None):
        await teams.seat_paid(session, party_id, now)


async def cancel(db: Database, gateway: Gateway, person: str, no: str, now: datetime) -> Order:
    """The buyer does not want it. CANCELLED at once, or CLOSING while the provider says that somebody is paying.

    Refusal(STATE) when it was paid, also when the money turns up now; (GATEWAY): it stays CLOSING and the sweep goes on with it.
    """
    async with db.begin() as session:
        order = await locked(session, no, person)
        if await _begin_closing(session, order, no in await with_open_attempts(session, [no]), now):
            return order
    order = await _close(db, gateway, no, now)
    if order.state not in ("CANCELLED", "CLOSING"):
        raise Refusal(Code.STATE, state=order.state)
    return order


async def expire_due(db: Database, gateway: Gateway, now: datetime, limit: int = 100) -> int:
    """Give up orders whose time to pay has passed, and go on with those that are CLOSING. Returns how many were cancelled.

    Asks the provider about every open attempt first: "already paid" wins, "paying" is left for the next time; one that contradicts our
    books is asked about less and less often, and waits for a person. An answer that makes no sense is an ERROR line and keeps nobody else
    waiting. Safe to run twice at once.
    """
    asked: list[str] = []
    done = 0
    async with db.begin() as session:
        late = and_(col(Order.state) == "AWAIT_PAY", col(Order.pay_until) <= now)
        # Of those already closing any: a few that are being paid for long must not keep the others waiting.
        wanted = and_(col(Order.state) == "CLOSING", ~quarantined(col(Order.no), now))
        for which, order_by in ((late, col(Order.pay_until)), (wanted, func.random())):
            query = select(Order).where(which).order_by(order_by).limit(limit).with_for_update(skip_locked=True)
            orders = list((await session.execute(query.execution_options(populate_existing=True))).scalars())
            opened = await with_open_attempts(session, [order.no for order in orders])
            for order in orders:
                if order.no in asked:
                    continue
                if await _begin_closing(session, order, order.no in opened, now):
                    done += 1
                else:
                    asked.append(order.no)
    return done + await _close_all(db, gateway, asked, now)


async def _close_all(db: Database, gateway: Gateway, nos: list[str], now: datetime) -> int:
    slots = asyncio.Semaphore(AT_ONCE)
    away = asyncio.Event()

    async def one(no: str) -> bool:
        async with slots:
            if away.is_set():
                return False  # the provider does not answer: the rest need not wait for its timeout too
            try:
                return (await _close(db, gateway, no, now)).state == "CANCELLED"
            except Refusal as refusal:
                if is_away(refusal):
                    away.set()
                else:  # an answer about this one that makes no sense: the others have theirs
                    log.error("order not closed", order=no, code=refusal.code, **refusal.facts)
                return False

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(no)) for no in nos]
    return sum(task.result() for task in tasks)


async def _begin_closing(session: AsyncSession, order: Order, opened: bool, now: datetime) -> bool:
    """CLOSING: from here no attempt can be made. True when it is given up already, because the provider has none either."""
    fresh = order.state != "CLOSING"
    if fresh:
        move(order, "CLOSING")
    if not opened:
        await _give_up(session, order, now)
        return True
    if fresh:
        await tell(session, order)
    return False


async def give_up_if_closed(session: AsyncSession, no: str, now: datetime) -> Order:
    """A CLOSING order that nobody can pay any more is CANCELLED; any other stays as it is."""
    order = await locked(session, no)
    if order.state == "CLOSING" and no not in await with_open_attempts(session, [no]):
        await _give_up(session, order, now)
    return order


async def _close(db: Database, gateway: Gateway, no: str, now: datetime) -> Order:
    outcome = await close_attempts(db, gateway, no, payment_arrived, now)
    async with db.begin() as session:
        order = await locked(session, no)
        if outcome == "closed" and order.state == "CLOSING":
            await _give_up(session, order, now)
        return order


async def _give_up(session: AsyncSession, order: Order, now: datetime) -> None:
    move(order, "CANCELLED")
    if order.grant_id is not None:
        await coupons.unlock(session, order.no, now)
    if order.party_id is not None:
        await teams.seat_left(session, order.party_id)
    await return_goods(session, [order], "RELEASE")
    await tell(session, order)


async def advance(session: AsyncSession, no: str, to_state: str, now: datetime) -> Order:
    """On at the store: READY, then COLLECTED. Refusal(STATE), or (REFUND_OPEN): nothing is handed over while its money may go back."""
    del now  # every action is given the clock; the moment is kept on the ticket
    order = await locked(session, no)
    move(order, to_state)
    if to_state != "READY" and await refund_open(session, no):
        raise Refusal(Code.REFUND_OPEN)
    await tell(session, order)
    return order
