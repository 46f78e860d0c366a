"""Group buys: open, end, count paid seats, close the team.

Order of locks: the payments' orders -> teams -> offers -> room clock. The ledger holds the team before it touches the offer too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra import outbox
from live.offers.actions import TeamSpec, change_price, end_offer, lock_offer, open_offer
from live.offers.parties.rules import FORM
from live.offers.rules import HOLD_FLOOR
from live.offers.tables import Allotment, Offer, Team
from live.promotions.actions import goods_card, refuse, sku_named
from live.promotions.group_buy import rules
from live.promotions.rules import closing, limits_fault, price_fault, stock_fault
from live.protocol.codes import Code, Refusal
from live.protocol.events import TeamDone, TeamView, event, view

HOLD_SECONDS = 600  # a live order's 10 min; never longer than the team's own clock (orders see to that)


class Leader(NamedTuple):
    """Whose group it is: the subject that is credited with its orders, and the name its buyers see."""

    who: str
    name: str


async def open_group(
    session: AsyncSession,
    *,
    room_id: str,
    sku: str,
    per_person: int,
    stock: Mapping[str, int],
    size: int,
    minimum: int,
    tiers: Sequence[Mapping[str, int]],
    minutes: int | None,
    hold_seconds: int = HOLD_SECONDS,
    floor_seconds: int | None = None,
    leader: Leader | None = None,
    now: datetime,
) -> Offer:
    """Open a team of `size` seats; `tiers`: [{seats, fen}, …] from 0 seats on; `floor_seconds` as a sale's; `leader`: whose group it is.

    Refusal(BAD_REQUEST field why) or (NOT_ENOUGH_STOCK)."""
    steps = [(step["seats"], step["fen"]) for step in tiers]
    refuse(
        limits_fault(per_person, minutes),
        stock_fault(stock),
        rules.team_fault(size, minimum, sum(stock.values())),
        rules.tiers_fault(steps, size),
        price_fault("tiers.0.fen", steps[0][1]) if steps else None,
    )
    facts = await sku_named(session, sku)

    ladder = [{"seats": seats, "fen": fen} for seats, fen in steps]
    terms = {"tiers": ladder, "minimum": minimum, HOLD_FLOOR: floor_seconds, "leader": leader and leader.who}
    offer = await open_offer(
        session, room_id=room_id, kind="group", sku_id=facts.id, fen=steps[0][1], per_person=per_person, stock=stock,
        terms={name: value for name, value in terms.items() if value is not None},
        view=lambda offer: goods_card(offer, facts, stock, tiers=ladder, minimum=minimum, leader=leader and leader.name),
        closes_at=closing(now, minutes), hold_seconds=hold_seconds, team=TeamSpec(size=size, minimum=minimum), now=now,
    )  # fmt: skip
    assert offer.id is not None
    await _show(session, room_id, await _lock_team(session, offer.id), offer.terms)
    return offer


async def end_group(session: AsyncSession, offer_id: int, now: datetime) -> Offer:
    """Nobody joins any more; the team closes once every held seat is paid or given up. Refusal(NOT_FOUND or STATE).

    A group of many small teams only ends: its teams are closed by their own clock's sweep, which looks at the offer's phase too."""
    form = select(col(Offer.terms)["form"].astext).where(col(Offer.id) == offer_id, col(Offer.kind) == "group")
    if (await session.execute(form)).scalar_one_or_none() == FORM:
        return await end_offer(session, offer_id, now)
    return await _end(session, await _lock_team(session, offer_id), now)


async def seats_paid(session: AsyncSession, paid: Mapping[int, Sequence[int]], now: datetime) -> None:
    """Held seats became paid ones, in the payments' own transaction. `paid`: offer -> units of each payment, in their order.

    A team's row is what all payments of a room wait for: it is locked, and its bar told, once for all of them. What they bring about is
    what they would one after the other: each that reaches a step lowers the price, so no step is passed over; the last seat ends the offer.
    """
    query = select(Team, col(Offer.room_id), col(Offer.terms)).join(Offer, col(Offer.id) == col(Team.offer_id))
    query = query.where(col(Team.offer_id).in_(paid)).order_by(col(Team.id)).with_for_update(of=Team)
    rows = [(team, room, terms) for team, room, terms in await session.execute(query.execution_options(populate_existing=True))]
    if len(rows) != len(paid):
        raise Refusal(Code.NOT_FOUND, what="group")
    falls = {team.offer_id: _count_in(team, rules.ladder(terms), paid[team.offer_id]) for team, _, terms in rows}
    full = {team.offer_id for team, _, _ in rows if team.state == "filling" and team.paid == team.size}
    for offer_id in sorted(falls):
        if falls[offer_id] or offer_id in full:  # every offer before the room's clock: nobody who holds one waits for us
            await lock_offer(session, offer_id)
    for team, room, terms in rows:
        if team.offer_id not in full:
            team.version += 1
            await session.flush()
            await _show(session, room, team, terms)
        for fen in falls[team.offer_id]:
            await change_price(session, team.offer_id, fen, now)
        if team.offer_id in full:
            await _end(session, team, now)


def _count_in(team: Team, tiers: Sequence[rules.Tier], paid: Sequence[int]) -> list[int]:
    """Count these payments in; the prices they reach one after the other. Once nobody can join, the bar alone follows the ladder."""
    seats, falls = team.paid, []
    fen = rules.fen_at(tiers, seats)
    for qty in paid:
        seats += qty
        before, fen = fen, rules.fen_at(tiers, seats)
        if fen != before:
            falls.append(fen)
    team.held -= seats - team.paid
    team.paid = seats
    return falls if team.state == "filling" else []


async def close_team(session: AsyncSession, offer_id: int, now: datetime) -> Literal["waiting", "success", "failed"]:
    """Decide an ended group when nothing can change its paid seats any more; until then "waiting". May be called again."""
    team = await _lock_team(session, offer_id)
    if team.state in ("success", "failed"):
        return "success" if team.state == "success" else "failed"
    # While goods are left, the ledger has not booked the end of the offer, and an intent that passed the turnstile before it may
    # still take a seat. After that nothing is left to take.
    left = select(func.coalesce(func.sum(col(Allotment.total) - col(Allotment.taken)), 0)).where(col(Allotment.offer_id) == offer_id)
    if team.state != "closing" or team.held > 0 or (await session.execute(left)).scalar_one() > 0:
        return "waiting"
    room, terms = await _offer(session, offer_id)
    state: Literal["success", "failed"] = "success" if rules.outcome(team.paid, team.minimum) == "success" else "failed"
    team.state = state
    team.version += 1
    await session.flush()
    done = TeamDone(offer=offer_id, state=state, fen=rules.fen_at(rules.ladder(terms), team.paid))
    await _show(session, room, team, terms)
    await outbox.job(session, "group.settle", str(offer_id))
    await outbox.act(session, room, events=[event("team.done", done)])
    return state


async def _end(session: AsyncSession, team: Team, now: datetime) -> Offer:
    if team.state != "filling":
        raise Refusal(Code.STATE, state=team.state)
    team.state = "closing"
    team.version += 1
    await session.flush()
    offer = await end_offer(session, team.offer_id, now)
    await _show(session, offer.room_id, team, offer.terms)
    await outbox.job(session, "group.close", str(team.offer_id))
    return offer


async def _lock_team(session: AsyncSession, offer_id: int) -> Team:
    query = select(Team).where(col(Team.offer_id) == offer_id).with_for_update().execution_options(populate_existing=True)
    team = (await session.execute(query)).scalar_one_or_none()
    if team is None:
        raise Refusal(Code.NOT_FOUND, what="group")
    return team


async def _offer(session: AsyncSession, offer_id: int) -> tuple[str, dict[str, Any]]:
    room, terms = (await session.execute(select(col(Offer.room_id), col(Offer.terms)).where(col(Offer.id) == offer_id))).one()
    return room, terms


async def _show(session: AsyncSession, room: str, team: Team, terms: Mapping[str, Any]) -> None:
    """The bar, under the version taken with the team's lock: the newest wins."""
    await outbox.count(session, room, f"team:{team.offer_id}", team.version, view(TeamView(**rules.bar(team.model_dump(), terms))))
