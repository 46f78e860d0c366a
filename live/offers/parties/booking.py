"""Seats of small teams in the till. The turnstile does not count them: a party has at most 50 seats, so a rush for one is at most a few
intents that the till refuses and gives back (decision 0006). Lock: after allotments and teams, before quotas, in id order.

A refusal is written down: an owner that was frozen may hold the same intent, and by the time it books it a seat may be free again. Its
buyer was told that there is none, and its unit went back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra import outbox
from live.infra.db import array, driver
from live.offers.parties.rules import FORM, SHOW, Seats, seat_fault, take_seat
from live.offers.rules import Intent, OfferFacts

KEPT = timedelta(days=1)  # far longer than anybody holds an intent in hand


@dataclass(slots=True)
class Parties:
    """The parties the intents of a group name, under lock. `refused`: by handle, why intents get no seat, now or the first time."""

    rows: dict[int, Seats] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)

    def refuses(self, intent: Intent, now: datetime) -> str | None:
        """Why this intent gets no seat; None too when it names no party."""
        if intent.team is None:
            return None
        why = self.refused.get(intent.handle)
        if why is None and (why := seat_fault(self.rows.get(intent.team), intent.lines[0].offer, now)) is not None:
            self.refused[intent.handle] = why
            self.fresh.append(intent.handle)
        return why

    async def remember(self, connection: AsyncConnection, room: str, now: datetime) -> None:
        """Write down who was refused."""
        if self.fresh:
            raw = await driver(connection)
            await raw.execute(_FORGET, (now - KEPT,))
            await raw.execute(_REFUSE, (room, now, array(self.fresh), array(self.refused[handle] for handle in self.fresh)))

    def take(self, intent: Intent) -> None:
        """The seat is this intent's; the next one finds one less."""
        if intent.team is not None:
            self.rows[intent.team] = take_seat(self.rows[intent.team])


async def lock_parties(connection: AsyncConnection, room: str, intents: Iterable[Intent]) -> Parties:
    """Lock what the intents name, in id order, and read who of them was refused before."""
    mine = [intent for intent in intents if intent.team is not None]
    if not mine:
        return Parties()
    raw = await driver(connection)
    found = await raw.execute(_LOCK, (array(sorted({intent.team for intent in mine if intent.team is not None})),))
    refused = await raw.execute(_REFUSED, (room, array(intent.handle for intent in mine)))
    return Parties({row[0]: Seats(*row[1:]) for row in await found.fetchall()}, dict(await refused.fetchall()))


async def seat(connection: AsyncConnection, room: str, accepted: Iterable[Intent], offers: Mapping[int, OfferFacts], now: datetime) -> None:
    """Hold a seat for each intent of a team offer, in the party it names or in a new one it opens. The bookers find it in the facts."""
    mine = [intent for intent in accepted if offers[intent.lines[0].offer].terms.get("form") == FORM]
    if not mine:
        return
    raw = await driver(connection)
    for intent in mine:
        facts = offers[intent.lines[0].offer]
        if intent.team is not None:
            made = await raw.execute(_JOIN, (intent.team,))
        else:
            fills = bool(facts.terms.get("fills"))
            made = await raw.execute(_OPEN, (facts.id, room, intent.person, facts.terms["size"], fills, now))
        row = await made.fetchone()
        assert row is not None
        facts.parties[intent.rid] = (row[0], row[1])
    for offer in sorted({intent.lines[0].offer for intent in mine}):
        await outbox.job(connection, SHOW, str(offer))


_LOCK = """SELECT id, offer_id, size, held, paid, state, closes_at, fills FROM party WHERE id = ANY(CAST(%s AS bigint[]))
  ORDER BY id FOR UPDATE"""
_REFUSED = "SELECT intent, why FROM seat_refusal WHERE room_id = %s AND intent = ANY(CAST(%s AS text[]))"
_REFUSE = """INSERT INTO seat_refusal (room_id, intent, why, at) SELECT %s, t.i, t.w, %s
  FROM unnest(CAST(%s AS text[]), CAST(%s AS text[])) AS t(i, w) ON CONFLICT DO NOTHING"""
_FORGET = "DELETE FROM seat_refusal WHERE at < %s"
_JOIN = "UPDATE party SET held = held + 1, version = version + 1 WHERE id = %s RETURNING id, closes_at"
_OPEN = """INSERT INTO party (offer_id, room_id, opener, size, held, fills, created_at) VALUES (%s, %s, %s, %s, 1, %s, %s)
  RETURNING id, closes_at"""
