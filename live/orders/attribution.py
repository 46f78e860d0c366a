"""Who is credited with an order. Frozen when it is paid, as of the moment it was booked.

Booking is the hot path and leaves it empty: links opened are only ever added to the books, so what held when the order was booked can be
read later, and nobody is credited with an order nobody paid. It is written once and no later link changes it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.offers.tables import Offer, Team
from live.orders.change import Row
from live.orders.tables import Order
from live.people.sharing import queries, rules

TOP = 20  # sharers a host is shown


async def freeze(session: AsyncSession, orders: Sequence[Order | Row]) -> None:
    """Write it, in the payment's transaction; a read for all of them, two if there are orders of groups."""
    new = [order for order in orders if not order.attribution]
    brought = await queries.brought_by(session, [(order.person, order.created_at) for order in new])
    leaders = await _leaders(session, {order.team_id for order in new if order.team_id is not None})
    for order, (first, last) in zip(new, brought, strict=True):
        order.attribution = rules.attribution(first, last, leaders.get(order.team_id))


async def _leaders(session: AsyncSession, teams: Collection[int]) -> dict[int | None, str | None]:
    """Team -> whose group it is."""
    if not teams:
        return {}
    terms = select(col(Team.id), col(Offer.terms)).join(Offer, col(Team.offer_id) == col(Offer.id)).where(col(Team.id).in_(teams))
    return {team: found.get("leader") for team, found in await session.execute(terms)}


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
