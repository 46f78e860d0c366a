"""A group leader's group: the room-wide group buy with one price, a cut-off and a minimum, sold from and collected at the leader's point.

A leader is one of the staff whose store is flagged as a leader's point: they hand goods out at its desk as a clerk does. Orders of the
group are credited to them (`orders.attribution`). Below the minimum at the cut-off everybody is refunded, as in any group.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.offers.tables import Offer
from live.people.rules import LEADER
from live.people.tables import Staff
from live.promotions.actions import refuse
from live.promotions.group_buy.actions import HOLD_SECONDS, Leader, open_group
from live.promotions.group_buy.rules import leader_fault
from live.protocol.codes import Code, Refusal
from live.stock.tables import Location


async def leaders(session: AsyncSession) -> list[dict[str, Any]]:
    """Who can have a group: `{account, name, store}` by account."""
    query = select(Staff, Location).join(Location, col(Location.code) == col(Staff.store))
    query = query.where(col(Staff.role) == LEADER, ~col(Staff.disabled), col(Location.active), col(Location.leader_point))
    rows = (await session.execute(query.order_by(col(Staff.account)))).all()
    return [{"account": staff.account, "name": staff.name, "store": point.code} for staff, point in rows]


async def open_leader_group(
    session: AsyncSession,
    *,
    room_id: str,
    leader: str,
    sku: str,
    fen: int,
    size: int,
    minimum: int,
    per_person: int,
    minutes: int | None,
    hold_seconds: int = HOLD_SECONDS,
    floor_seconds: int | None = None,
    now: datetime,
) -> Offer:
    """Open a group of `size` units for this leader's account, from the stock at their point.

    Refusal(BAD_REQUEST field why) or (NOT_ENOUGH_STOCK).
    """
    staff, point = await _leader(session, leader)
    refuse(leader_fault(size, minimum, minutes))
    return await open_group(
        session, room_id=room_id, sku=sku, per_person=per_person, stock={point: size}, size=size, minimum=minimum,
        tiers=[{"seats": 0, "fen": fen}], minutes=minutes, hold_seconds=hold_seconds, floor_seconds=floor_seconds,
        leader=Leader(f"s:{staff.id}", staff.name), now=now,
    )  # fmt: skip


async def _leader(session: AsyncSession, account: str) -> tuple[Staff, str]:
    """The leader with this account and the code of their point, both held until the group is open."""
    query = select(Staff).where(col(Staff.account) == account, col(Staff.role) == LEADER, ~col(Staff.disabled))
    staff = (await session.execute(query.with_for_update(read=True))).scalar_one_or_none()
    if staff is None:
        raise Refusal(Code.BAD_REQUEST, field="leader", why="no such group leader")
    point = await session.get_one(Location, staff.store)
    if not (point.active and point.leader_point):
        raise Refusal(Code.BAD_REQUEST, field="leader", why="their store is not an open leader's point")
    return staff, point.code
