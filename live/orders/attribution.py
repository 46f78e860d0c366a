"""Who is credited with an order. Frozen when it is paid, as of the moment it was booked.

Booking is the hot path and leaves it empty: links opened are only ever added to the books, so what held when the order was booked can be
read later, and nobody is credited with an order nobody paid. It is written once and no later link changes it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.offers.tables import Offer, Team
from live.orders.tables import Order
from live.people.sharing import queries, rules

TOP = 20  # sharers a host is shown


async def freeze(session: AsyncSession, order: Order) -> None:
    """Write it, in the payment's transaction; two reads for an order of a group, one for any other."""
    if order.attribution:
        return
    first, last = await queries.brought_by(session, order.person, order.created_at)
    leader = None if order.team_id is None else await _leader(session, order.team_id)
    order.attribution = rules.attribution(first, last, leader)


async def _leader(session: AsyncSession, team_id: int) -> str | None:
    terms = select(col(Offer.terms)).join(Team, col(Team.offer_id) == col(Offer.id)).where(col(Team.id) == team_id)
    return (await session.execute(terms)).scalar_one().get("leader")  # type: ignore[no-any-return]


async def sharers(session: AsyncSession, room_id: str, sharer: str | None = None) -> list[dict[str, Any]]:
    """`{who, name, people, orders, fen}` of a room's sharers (or of one), most people first: paid orders credited to them, less refunds."""
    people = await queries.people_brought(session, room_id, sharer)
    credit = col(Order.attribution)["credit"].astext
    query = (
        select(credit, func.count(), func.sum(col(Order.fen) - col(Order.discount) - col(Order.refunded)))
        .where(col(Order.room_id) == room_id, col(Order.attribution).has_key("credit"))  # type: ignore[attr-defined]
        .where(col(Order.state).not_in(("REFUNDING", "REFUNDED")))
        .group_by(credit)
    )
    if sharer is not None:
        query = query.where(credit == sharer)
    sold = {who: {"orders": int(count), "fen": int(fen)} for who, count, fen in (await session.execute(query)).all()}
    none = {"orders": 0, "fen": 0}
    found: list[dict[str, Any]] = [{"who": w, "people": people.get(w, 0), **sold.get(w, none)} for w in people.keys() | sold.keys()]
    most = sorted(found, key=lambda one: (-one["people"], -one["orders"], one["who"]))[:TOP]
    names = await queries.names(session, [one["who"] for one in most])
    return [{**one, "name": names.get(one["who"], "")} for one in most]
