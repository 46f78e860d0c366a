"""Red packets, read: what somebody got, and how a packet went."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from live.people.rules import masked
from live.people.sharing.queries import names
from live.promotions.red_packet.booking import body
from live.promotions.red_packet.rules import LUCKIEST
from live.protocol.codes import Code, Refusal


async def by_rid(session: AsyncSession, rid: str) -> dict[str, Any] | None:
    """The share a tap led to."""
    row = (await session.execute(text(f"{_SHARE} WHERE s.rid = :rid"), {"rid": rid})).one_or_none()
    return None if row is None else body(*row)["packet"]


async def shares_of(session: AsyncSession, person: str, room: str) -> list[dict[str, Any]]:
    """What a person got from the packets of a room: `{offer, amount, currency, grant}` each, newest first."""
    query = text(f"{_SHARE} WHERE s.person = :p AND o.room_id = :r ORDER BY s.offer_id DESC LIMIT 50")
    return [body(*row)["packet"] for row in (await session.execute(query, {"p": person, "r": room})).all()]


async def report(session: AsyncSession, offer_id: int) -> dict[str, Any]:
    """How a packet went: `{offer, currency, sum, shares, phase, taken, taken_sum, luckiest}`; the last is empty until it is over.

    `luckiest`: [{name, amount}], names masked, the largest share first. Refusal(NOT_FOUND).
    """
    row = (await session.execute(text(_REPORT), {"o": offer_id})).mappings().one_or_none()
    if row is None:
        raise Refusal(Code.NOT_FOUND, what="packet")
    found = dict(row) | {"taken_sum": int(row["taken_sum"]), "luckiest": []}
    if found["phase"] == "ended" or found["taken"] == found["shares"]:
        lucky = (await session.execute(text(_LUCKY), {"o": offer_id, "most": LUCKIEST})).all()
        called = await names(session, [person for person, _ in lucky])
        found["luckiest"] = [{"name": masked(called.get(person, "")), "amount": amount} for person, amount in lucky]
    return found


_SHARE = "SELECT s.offer_id, s.amount, o.terms->>'currency', s.grant_id FROM packet_share s JOIN offer o ON o.id = s.offer_id"
_REPORT = """SELECT o.id AS offer, o.terms->>'currency' AS currency, CAST(o.terms->>'sum' AS bigint) AS sum, o.phase, count(*) AS shares,
  count(s.rid) AS taken, coalesce(sum(s.amount) FILTER (WHERE s.rid IS NOT NULL), 0) AS taken_sum
  FROM offer o JOIN packet_share s ON s.offer_id = o.id WHERE o.id = :o AND o.kind = 'packet' GROUP BY o.id"""
_LUCKY = "SELECT person, amount FROM packet_share WHERE offer_id = :o AND rid IS NOT NULL ORDER BY amount DESC, number LIMIT :most"
