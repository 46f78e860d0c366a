"""Packets of the small shop of `tests.offers.shop`, and what the database holds of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from live.infra.db import Database
from live.offers.reservations import Tap
from live.offers.rules import word_hash
from live.promotions.red_packet.actions import open_packet
from tests.offers.shop import tap

PACKET: dict[str, Any] = {"currency": "points", "total": 5_000, "shares": 50, "least": 10, "threshold": 0, "word": "", "minutes": None}


async def packet(db: Database, **changed: Any) -> int:
    """Drop one of 5,000 points in 50 shares."""
    async with db.begin() as session:
        offer = await open_packet(session, room_id="r1", now=datetime.now(UTC), seed="seed", **PACKET | changed)
        return int(offer.id or 0)


def claim(person: int, offer: int, key: str = "k", word: str = "", tries: int = 1) -> Tap:
    """A claim of person p:<n>; each `key` is another tap, as from another device."""
    return replace(tap(person, offer, key=key, at=("-",), tries=tries), word=word_hash(word))


async def rows(db: Database, query: str, **values: Any) -> list[Any]:
    """Rows of a query, as tuples."""
    async with db.connection() as connection:
        return [tuple(row) for row in (await connection.execute(text(query), values)).all()]


async def one(db: Database, query: str, **values: Any) -> Any:
    """The only value of a query."""
    return (await rows(db, query, **values))[0][0]
