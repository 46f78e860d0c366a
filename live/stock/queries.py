"""Stores and what lies there, read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.stock.tables import Location, Stock


async def stores(session: AsyncSession, active: bool = True) -> list[Location]:
    """Stores by code; `active=False`: the closed ones as well."""
    query = select(Location).order_by(col(Location.code))
    if active:
        query = query.where(col(Location.active))
    return list((await session.execute(query)).scalars())


def store_view(store: Location) -> dict[str, Any]:
    """A store as the wire shows it: `{code, name, address, lat, lon, hours, leader_point}`."""
    return {
        "code": store.code,
        "name": {"zh": store.name_zh, "en": store.name_en},
        "address": {"zh": store.address_zh, "en": store.address_en},
        "lat": store.lat,
        "lon": store.lon,
        "hours": store.hours,
        "leader_point": store.leader_point,
    }


async def free(session: AsyncSession, sku_id: int) -> dict[str, int]:
    """Units of a SKU no show has taken, per store."""
    query = select(col(Stock.location), col(Stock.on_hand) - col(Stock.allotted)).where(col(Stock.sku_id) == sku_id)
    return {location: units for location, units in (await session.execute(query.order_by(col(Stock.location)))).all()}


async def levels(session: AsyncSession) -> dict[int, dict[str, dict[str, int]]]:
    """All stock: SKU id → store → `{on_hand, allotted, free}`."""
    query = select(col(Stock.sku_id), col(Stock.location), col(Stock.on_hand), col(Stock.allotted)).order_by(col(Stock.location))
    found: dict[int, dict[str, dict[str, int]]] = {}
    for sku_id, location, on_hand, allotted in (await session.execute(query)).all():
        found.setdefault(sku_id, {})[location] = {"on_hand": on_hand, "allotted": allotted, "free": on_hand - allotted}
    return found
