"""Draws, read: who has entered, who won, and what anybody needs to check it.

Comments, mutes and orders are read by name of the table: they are higher nouns and cannot be imported here.
"""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import epoch_ms
from live.promotions.draw.rules import ticket
from live.promotions.draw.tables import Draw, DrawEntry
from live.protocol.codes import Code, Refusal


async def draw(session: AsyncSession, draw_id: int, lock: Literal["", "share", "update"] = "") -> Draw:
    """One draw. `share`: it is neither closed nor drawn until this transaction ends. Refusal(NOT_FOUND)."""
    query = select(Draw).where(col(Draw.id) == draw_id)
    found = (await session.execute(query.with_for_update(read=lock == "share") if lock else query)).scalar_one_or_none()
    if found is None:
        raise Refusal(Code.NOT_FOUND, what="draw")
    return found


async def entrants(session: AsyncSession, found: Draw, person: str | None = None) -> list[str]:
    """Who has entered, once each; only this person when one is named.

    Known people only: a guest could enter with every browser, and nobody could tell them that they won. Staff comment under another kind
    of id. Not in it: who is muted, whose comment was withdrawn, whose order was cancelled or goes back, who follows no more.
    """
    values = {"d": found.id, "r": found.room_id, "opens": found.opens_at, "closes": found.closes_at, "word": found.word, "p": person}
    return [str(who) for who in (await session.execute(text(_ENTERED[found.entry]), values)).scalars()]


async def of_person(session: AsyncSession, draw_id: int, person: str) -> dict[str, Any]:
    """What a person has of a draw: `{id, ticket, entered, place}`; `place` from 1 when they won."""
    found = await draw(session, draw_id)
    mine = ticket(found.commitment, person)
    if found.phase == "open":
        return {"id": draw_id, "ticket": mine, "entered": bool(await entrants(session, found, person)), "place": None}
    entry = await session.get(DrawEntry, (draw_id, mine))
    return {"id": draw_id, "ticket": mine, "entered": entry is not None, "place": entry.place if entry else None}


async def proof(session: AsyncSession, draw_id: int) -> dict[str, Any]:
    """What `rules.proof_fault` checks: `{draw, room, commitment, count, opened, drawn, seed, tickets, winners}`; the last three and
    `drawn` are null while it is open. Refusal(NOT_FOUND)."""
    found = await draw(session, draw_id)
    shown = {
        "draw": draw_id, "room": found.room_id, "commitment": found.commitment, "count": found.winners, "opened": epoch_ms(found.opens_at),
        "drawn": None, "seed": None, "tickets": None, "winners": None,
    }  # fmt: skip
    if found.phase == "open" or found.drawn_at is None:
        return shown
    query = select(col(DrawEntry.ticket), col(DrawEntry.place)).where(col(DrawEntry.draw_id) == draw_id)
    rows = (await session.execute(query)).all()
    placed = sorted((place, one) for one, place in rows if place is not None)
    return shown | {
        "drawn": epoch_ms(found.drawn_at), "seed": found.seed, "tickets": sorted(one for one, _ in rows),
        "winners": [one for _, one in placed],
    }  # fmt: skip


_ALLOWED = """ AND (CAST(:p AS text) IS NULL OR {who} = :p) AND NOT EXISTS (
  SELECT 1 FROM mute m WHERE m.room_id = :r AND m.who = {who} AND (m.until IS NULL OR m.until > now()))"""
_BY_COMMENT = """SELECT DISTINCT c.who FROM comment c WHERE c.room_id = :r AND c.who LIKE 'p:%' AND c.withdrawn_at IS NULL
  AND c.said_at >= :opens AND c.said_at < :closes AND strpos(lower(c.text), lower(:word)) > 0""" + _ALLOWED.format(who="c.who")
_BY_ORDER = """SELECT DISTINCT o.person FROM orders o WHERE o.room_id = :r AND o.paid_at >= :opens AND o.paid_at < :closes
  AND o.state NOT IN ('CLOSING', 'CANCELLED', 'REFUNDING', 'REFUNDED')""" + _ALLOWED.format(who="o.person")
# A press is only written while the draw is open, under its lock: its moment is another machine's clock, and decides nothing.
_BY_FOLLOW = """SELECT e.person FROM draw_press e JOIN follow f ON f.person = e.person AND f.room_id = :r AND f.following
  WHERE e.draw_id = :d""" + _ALLOWED.format(who="e.person")
_ENTERED = {"comment": _BY_COMMENT, "order": _BY_ORDER, "follow": _BY_FOLLOW}
