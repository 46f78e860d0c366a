"""Small teams on one offer: open the offer, pay or leave a seat, let clocks run out.

Order of locks: a payment's order -> party. Nothing here locks an order or an offer while it holds a party. Held seats rise in the till
only; they fall here, in the transaction of the order that pays or gives up, so the seat and the order can never disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra import outbox
from live.offers.actions import open_offer
from live.offers.parties import rules
from live.offers.parties.rules import terms_fault
from live.offers.parties.tables import Party
from live.offers.tables import Offer
from live.promotions.actions import goods_card, refuse, sku_named
from live.promotions.rules import closing, limits_fault, price_fault, stock_fault

PER_PERSON = 1  # the quota's CHECK is what makes "one active team per person and offer" true; what failed is given back with the goods
HOLD_SECONDS = 600


async def open_teams(
    session: AsyncSession,
    *,
    room_id: str,
    sku: str,
    fen: int,
    stock: Mapping[str, int],
    size: int,
    team_minutes: int,
    fills: bool = False,
    minutes: int | None,
    hold_seconds: int = HOLD_SECONDS,
    now: datetime,
) -> Offer:
    """Put `stock` on sale to teams of `size` at `fen` a seat. A team has `team_minutes` from its opener's payment, never more than the
    offer's own `minutes`. `fills`: the shop fills a team that ran out. Refusal(BAD_REQUEST field why) or (NOT_ENOUGH_STOCK)."""
    refuse(
        limits_fault(PER_PERSON, minutes), stock_fault(stock), terms_fault(size, team_minutes, sum(stock.values())), price_fault("fen", fen)
    )
    facts = await sku_named(session, sku)
    return await open_offer(
        session, room_id=room_id, kind="group", sku_id=facts.id, fen=fen, per_person=PER_PERSON, stock=stock,
        terms={"form": rules.FORM, "size": size, "team_minutes": team_minutes, "fills": fills},
        view=lambda offer: goods_card(offer, facts, stock, team={"size": size, "minutes": team_minutes}),
        closes_at=closing(now, minutes), hold_seconds=hold_seconds, now=now,
    )  # fmt: skip


async def seat_paid(session: AsyncSession, party_id: int, now: datetime) -> None:
    """An order's seat is paid, in the payment's own transaction; the last one makes the team."""
    party = await _lock(session, party_id)
    query = select(col(Offer.terms), col(Offer.closes_at), col(Offer.phase)).where(col(Offer.id) == party.offer_id)
    terms, until, phase = (await session.execute(query)).one()
    await _become(session, party, lambda seats: rules.pay_seat(seats, now, int(terms["team_minutes"]), until, phase == "ended"))


async def seat_left(session: AsyncSession, party_id: int) -> None:
    """An unpaid order was given up, in the transaction that cancels it; its seat is free, its units come back through the ledger."""
    await _become(session, await _lock(session, party_id), rules.leave_seat)


async def run_out(session: AsyncSession, now: datetime, limit: int = 200) -> int:
    """Teams whose clock is out, or whose offer has ended, let nobody join any more. Returns how many. Safe to run twice at once."""
    over = select(col(Offer.id)).where(col(Offer.phase) == "ended", col(Offer.kind) == "group")
    query = select(Party).where(col(Party.state) == "filling", or_(col(Party.closes_at) <= now, col(Party.offer_id).in_(over)))
    rows = await session.execute(query.order_by(col(Party.id)).limit(limit).with_for_update(skip_locked=True))
    parties = list(rows.scalars())
    for party in parties:
        await _become(session, party, rules.run_out)
    return len(parties)


async def _lock(session: AsyncSession, party_id: int) -> Party:
    query = select(Party).where(col(Party.id) == party_id).with_for_update().execution_options(populate_existing=True)
    return (await session.execute(query)).scalar_one()


async def _become(session: AsyncSession, party: Party, step: Callable[[rules.Seats], rules.Seats]) -> None:
    """Write what a step makes of a locked party, for the room to be shown. A decision is told to the workers once: a decided party never
    decides again."""
    before = rules.Seats(party.offer_id, party.size, party.held, party.paid, party.state, party.closes_at, party.fills)
    after = step(before)
    party.held, party.paid, party.state, party.closes_at = after.held, after.paid, after.state, after.closes_at
    party.version += 1
    await session.flush()
    await outbox.job(session, rules.SHOW, str(party.offer_id))
    if after.state in rules.DECIDED and before.state not in rules.DECIDED:
        await outbox.job(session, "team.settle", str(party.id))
