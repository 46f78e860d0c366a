"""Money that goes back to buyers of orders: asked by a buyer and decided by the host, or owed by a group's close.

Money of an attempt that did not pay its order (late, loser) is the business of `payments` alone and leaves the order as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra import outbox
from live.infra.db import Database
from live.offers.parties.rules import DECIDED
from live.offers.parties.tables import Party
from live.offers.tables import Offer, Team
from live.orders import rules
from live.orders.change import hand_over, locked, locked_all, move, return_goods, tell, tell_all, with_coupons
from live.orders.tables import Order, OrderLine
from live.payments.actions import approve, decline, open_refund, open_refunds
from live.payments.tables import Refund
from live.promotions.coupon import actions as coupons
from live.promotions.group_buy.rules import fen_at, ladder
from live.protocol.codes import Code, Refusal

REASON_CHARACTERS = 200  # a sentence or two; the host reads it on a card


async def ask_refund(session: AsyncSession, person: str, no: str, reason: str, now: datetime) -> Order:
    """The buyer wants everything back, before collecting. The order stays as it is until the host decides; the desk waits.

    Refusal(STATE): nothing paid, team still open, collected, or declined before; (REFUND_OPEN): asked already; (TOO_LONG limit).
    """
    if len(reason) > REASON_CHARACTERS:
        raise Refusal(Code.TOO_LONG, limit=REASON_CHARACTERS)
    order = await locked(session, no, person)
    if order.state not in rules.REFUNDABLE:
        raise Refusal(Code.STATE, state=order.state)
    query = select(col(Refund.state)).where(col(Refund.order_no) == no, col(Refund.cause) == "buyer")
    before = (await session.execute(query)).scalar_one_or_none()
    if before is not None:
        raise Refusal(Code.STATE, state=before) if before == "DECLINED" else Refusal(Code.REFUND_OPEN)
    going = select(func.coalesce(func.sum(Refund.fen), 0)).where(
        col(Refund.order_no) == no, col(Refund.cause).in_(rules.OF_THE_ORDER), col(Refund.state) != "DECLINED"
    )
    fen = rules.refundable(order.fen - order.discount, int((await session.execute(going)).scalar_one()))
    if fen == 0:
        raise Refusal(Code.STATE, state=order.state, why="everything went back")
    await open_refund(session, order_no=no, cause="buyer", fen=fen, reason=reason, approved=False, now=now)
    await tell(session, order)
    return order


async def grant_refund(session: AsyncSession, refund_id: int, now: datetime) -> Refund:
    """The host agrees: REFUNDING, its ticket goes, the money is sent. One the provider could not carry out (FAILED), whoever
    asked for it, is sent again.

    Refusal(NOT_FOUND), (STATE): decided before.
    """
    refund = await _seen(session, refund_id)
    if refund.state == "FAILED" and refund.cause in rules.OF_THE_ORDER:
        return await approve(session, refund_id, now)  # its order has gone on when it was first granted, or owed
    refund = await _asked(session, refund_id)
    order = await locked(session, refund.order_no)
    # Under the order's lock only: a REQUESTED refund is decided under it, and one that is being sent waits for it.
    refund = await _asked(session, refund_id)
    if refund.state != "REQUESTED":
        raise Refusal(Code.STATE, state=refund.state)
    move(order, "REFUNDING")
    granted = await approve(session, refund_id, now)
    await tell(session, order)
    await outbox.job(session, "ticket.void", order.no)
    return granted


async def decline_refund(session: AsyncSession, refund_id: int, now: datetime) -> Refund:
    """The host does not agree: the order goes on. Refusal(NOT_FOUND), (STATE): decided before."""
    refund = await _asked(session, refund_id)
    order = await locked(session, refund.order_no)
    refund = await _asked(session, refund_id)
    if refund.state != "REQUESTED":
        raise Refusal(Code.STATE, state=refund.state)
    declined = await decline(session, refund_id, now)
    await tell(session, order)
    return declined


async def refunds_done(session: AsyncSession, refunds: Sequence[Refund], now: datetime) -> None:
    """The provider has sent the money. What ends an order gives its goods and its coupon back. A repeat changes nothing."""
    causes: dict[str, set[str]] = {}
    for refund in refunds:
        if refund.cause in rules.OF_THE_ORDER:
            causes.setdefault(refund.order_no, set()).add(refund.cause)
    if not causes:
        return
    orders = await locked_all(session, causes)
    mine = or_(col(Refund.state) == "DONE", col(Refund.id).in_([refund.id for refund in refunds]))
    gone = select(col(Refund.order_no), func.sum(Refund.fen)).where(
        col(Refund.order_no).in_(orders), col(Refund.cause).in_(rules.OF_THE_ORDER), mine
    )
    refunded = {no: int(fen) for no, fen in (await session.execute(gone.group_by(col(Refund.order_no)))).all()}
    ended = [order for no, order in orders.items() if order.state == "REFUNDING" and not causes[no].isdisjoint(rules.WHOLE)]
    changed = [order for no, order in orders.items() if order.refunded != refunded[no] or order in ended]
    for order in changed:
        order.refunded = refunded[order.no]
    for order in ended:
        move(order, "REFUNDED")
    for order in with_coupons(ended):
        await coupons.give_back(session, order.no, now)
    await return_goods(session, ended, "RESTOCK")
    await tell_all(session, changed)


async def settle_group(db: Database, offer_id: int, now: datetime, limit: int = 200) -> bool:
    """Go on with orders of a decided team, `limit` in one transaction. True when none waits any more (False too while undecided).

    Succeeded: to the store, and each buyer gets back what they paid above the final price. Failed: everything goes back.
    """
    async with db.begin() as session:
        query = select(Team, col(Offer.terms)).join(Offer, col(Offer.id) == col(Team.offer_id)).where(col(Team.offer_id) == offer_id)
        team, terms = (await session.execute(query)).one()
        if team.state not in ("success", "failed"):
            return False
        mine = col(Order.team_id) == team.id
        found = await _waiting(session, mine, limit)
        if team.state == "failed":
            await _fail(session, found, now)
        else:
            await _succeed(session, found, offer_id, fen_at(ladder(terms), team.paid), now)
        return await _none_waits(session, mine)


async def settle_team(db: Database, party_id: int, now: datetime, limit: int = 200) -> bool:
    """Go on with orders of a decided small team. True when none waits any more (False too while undecided).

    Made, or filled by the shop: to the store at the price paid. Failed: everything goes back.
    """
    async with db.begin() as session:
        state = (await session.execute(select(col(Party.state)).where(col(Party.id) == party_id))).scalar_one()
        if state not in DECIDED:
            return False
        mine = col(Order.party_id) == party_id
        found = await _waiting(session, mine, limit)
        if state == "failed":
            await _fail(session, found, now)
        else:
            for order in found:
                move(order, "ALLOCATED")
            await tell_all(session, found)
            await hand_over(session, found)
        return await _none_waits(session, mine)


async def _waiting(session: AsyncSession, mine: ColumnElement[bool], limit: int) -> list[Order]:
    """Orders of a group that wait for its decision, locked, but for those somebody else is at."""
    query = select(Order).where(mine, col(Order.state) == "GROUP_WAIT").order_by(col(Order.id)).limit(limit)
    query = query.with_for_update(skip_locked=True).execution_options(populate_existing=True)
    return list((await session.execute(query)).scalars())


async def _none_waits(session: AsyncSession, mine: ColumnElement[bool]) -> bool:
    left = select(func.count()).select_from(Order).where(mine, col(Order.state) == "GROUP_WAIT")
    return (await session.execute(left)).scalar_one() == 0


async def _succeed(session: AsyncSession, orders: Sequence[Order], offer_id: int, final: int, now: datetime) -> None:
    paid = {order.no: order.fen - order.discount for order in orders}
    back = dict.fromkeys(paid, 0)
    query = select(OrderLine).where(col(OrderLine.order_no).in_(paid), col(OrderLine.offer_id) == offer_id)
    for line in (await session.execute(query)).scalars():
        back[line.order_no] += rules.difference(line.fen, final, line.qty, paid[line.order_no])
    for order in orders:
        move(order, "ALLOCATED")
    owed = {no: min(fen, paid[no]) for no, fen in back.items() if fen > 0}
    if owed:
        await open_refunds(session, owed, "ladder", "阶梯价差额", now)
    await tell_all(session, orders)
    await hand_over(session, orders)


async def _fail(session: AsyncSession, orders: Sequence[Order], now: datetime) -> None:
    for order in orders:
        move(order, "REFUNDING")
    owed = {order.no: order.fen - order.discount for order in orders}
    await open_refunds(session, owed, "group_failed", "未成团退款", now)
    await tell_all(session, orders)


async def _asked(session: AsyncSession, refund_id: int) -> Refund:
    """A refund a buyer asked for, as it is now, unlocked."""
    refund = await _seen(session, refund_id)
    if refund.cause != "buyer":
        raise Refusal(Code.NOT_FOUND, what="refund")
    return refund


async def _seen(session: AsyncSession, refund_id: int) -> Refund:
    query = select(Refund).where(col(Refund.id) == refund_id).execution_options(populate_existing=True)
    refund = (await session.execute(query)).scalar_one_or_none()
    if refund is None:
        raise Refusal(Code.NOT_FOUND, what="refund")
    return refund
