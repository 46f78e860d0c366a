"""A group leader's list: their groups and who ordered what. Names are masked: a leader sorts goods, the code names the buyer."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import epoch_ms
from live.offers.tables import Offer, Team
from live.orders.tables import Order, OrderLine
from live.people import rules
from live.people.sharing.queries import names

GROUPS = 30  # newest first; a leader has one or two a day
ORDERS = 500  # of all of them, the newest: more than a leader's point hands out in a week


async def groups(session: AsyncSession, leader: str | None) -> list[dict[str, Any]]:
    """Groups of this leader (None: of all), newest first, as `{offer, room, fen, size, minimum, paid, held, state, closes, orders}`;
    `orders`: `{no, name, qty, sku, title, state}`, without those nobody paid."""
    mine = col(Offer.terms)["leader"].astext
    query = select(Offer, Team).join(Team, col(Team.offer_id) == col(Offer.id)).order_by(col(Offer.id).desc()).limit(GROUPS)
    query = query.where(mine.is_not(None) if leader is None else mine == leader)
    found = (await session.execute(query)).all()
    orders = await _orders(session, {int(team.id or 0): int(offer.id or 0) for offer, team in found})
    return [
        {
            "offer": offer.id, "room": offer.room_id, "fen": offer.fen, "size": team.size, "minimum": team.minimum, "paid": team.paid,
            "held": team.held, "state": team.state, "closes": epoch_ms(offer.closes_at) if offer.closes_at else None,
            "orders": orders.get(int(offer.id or 0), []),
        }
        for offer, team in found
    ]  # fmt: skip


async def _orders(session: AsyncSession, teams: dict[int, int]) -> dict[int, list[dict[str, Any]]]:
    query = select(Order, OrderLine).join(OrderLine, col(OrderLine.order_no) == col(Order.no))
    query = query.where(col(Order.team_id).in_(teams), col(Order.paid_at).is_not(None)).order_by(col(Order.id).desc()).limit(ORDERS)
    rows = (await session.execute(query)).all()
    called = await names(session, sorted({order.person for order, _ in rows}))
    found: dict[int, list[dict[str, Any]]] = {}
    for order, line in rows:
        shown = {"no": order.no, "name": rules.masked(called.get(order.person, "")), "qty": line.qty, "sku": line.sku}
        shown |= {"title": {"zh": line.name_zh, "en": line.name_en}, "state": order.state}
        found.setdefault(teams[order.team_id or 0], []).append(shown)
    return found
