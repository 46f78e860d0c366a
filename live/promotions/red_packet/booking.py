"""Books opened packets for the ledger: shares, and the points or coupons they are, in two or three statements for a whole batch.

The k-th claim in the books takes the k-th share. A packet's allotment is locked by the ledger while it books, so nobody else counts then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra import outbox
from live.infra.db import array, driver
from live.offers.rules import Booked, Intent, OfferFacts
from live.offers.till import Sold
from live.people.points.actions import credit
from live.promotions.coupon.booking import Batch, Grant, grant_news, write_grants
from live.protocol.events import PacketView, view

_TAKE = """WITH opened AS (
  SELECT offer_id, count(*) AS n FROM packet_share WHERE offer_id = ANY(CAST(%s AS bigint[])) AND rid IS NOT NULL GROUP BY 1),
wanted AS (
  SELECT t.rid, t.intent_id, t.offer_id, t.person, coalesce(o.n, 0) + row_number() OVER (PARTITION BY t.offer_id ORDER BY t.at) AS number
  FROM unnest(CAST(%s AS text[]), CAST(%s AS text[]), CAST(%s AS bigint[]), CAST(%s AS text[])) WITH ORDINALITY
    AS t (rid, intent_id, offer_id, person, at) LEFT JOIN opened o ON o.offer_id = t.offer_id)
UPDATE packet_share s SET rid = w.rid, intent_id = w.intent_id, person = w.person, taken_at = %s
FROM wanted w WHERE s.offer_id = w.offer_id AND s.number = w.number AND s.rid IS NULL RETURNING s.rid, s.number, s.amount"""
_GRANTED = """UPDATE packet_share s SET grant_id = g.id FROM coupon_grant g
  WHERE g.rid = ANY(CAST(%s AS text[])) AND s.rid = g.rid"""


class PacketBooker:
    """One share per claim. The ledger itself writes allotment, movement, quota and the news."""

    kinds = frozenset({"packet"})
    reads: str | None = None
    known = """SELECT s.rid, s.intent_id, s.offer_id, s.amount, o.terms->>'currency', s.grant_id
      FROM packet_share s JOIN offer o ON o.id = s.offer_id WHERE s.rid = ANY(CAST(%s AS text[]))"""

    def booked(self, row: Any) -> tuple[str, Booked]:
        """A claim that is in the books already."""
        rid, intent_id, offer, amount, currency, grant = row
        return rid, Booked(intent_id, body(offer, amount, currency, grant))

    async def book(
        self, connection: AsyncConnection, intents: Sequence[Intent], offers: Mapping[int, OfferFacts], now: datetime, read: Sequence[Any]
    ) -> Sold:
        """Write the shares of `intents` (one line, one unit each). LookupError when there are fewer shares than claims."""
        sold = Sold({}, [])
        if not intents:
            return sold
        queue = sorted(intents, key=lambda intent: [int(part) for part in intent.id.split("-")])  # as the turnstile let them through
        raw = await driver(connection)
        lines = [intent.lines[0].offer for intent in queue]
        columns = ([intent.rid for intent in queue], [intent.id for intent in queue], lines, [intent.person for intent in queue])
        taken = await raw.execute(_TAKE, (array(sorted(set(lines))), *[array(column) for column in columns], now))
        shares: dict[str, tuple[int, int]] = {rid: (number, amount) for rid, number, amount in await taken.fetchall()}
        if len(shares) != len(queue):
            raise LookupError(f"{len(queue)} claims, {len(shares)} shares")
        currency = {offer: str(offers[offer].terms["currency"]) for offer in set(lines)}
        points = [(intent, shares[intent.rid][1]) for intent in queue if currency[intent.lines[0].offer] == "points"]
        if points:
            await credit(raw, [(intent.person, amount, f"packet:{intent.rid}") for intent, amount in points], now)
        coupons = [
            Grant(intent.rid, intent.id, intent.person, _batch(offers[intent.lines[0].offer], shares[intent.rid][1]))
            for intent in queue if currency[intent.lines[0].offer] == "coupon"
        ]  # fmt: skip
        grants: dict[str, int] = {}
        if coupons:
            grants = await write_grants(raw, coupons, now)
            await raw.execute(_GRANTED, (array(sorted(grants)),))
        for intent in queue:
            (number, amount), offer, grant = shares[intent.rid], intent.lines[0].offer, grants.get(intent.rid)
            sold.bodies[intent.rid] = body(offer, amount, currency[offer], grant)
            sold.news.append(_news(intent.person, offer, number, sold.bodies[intent.rid]["packet"]))
            if grant is not None:
                sold.news.append(grant_news(intent.person, grant, offer))
        return sold


def _batch(offer: OfferFacts, amount: int) -> Batch:
    return Batch(offer.id, offer.room_id, amount, int(offer.terms["threshold"]))


def body(offer: int, amount: int, currency: str, grant: int | None) -> dict[str, Any]:
    """What the tap is told: `amount` points, or fen of the coupon `grant`."""
    return {"packet": {"offer": offer, "amount": amount, "currency": currency, "grant": grant}}


def _news(person: str, offer: int, number: int, facts: Mapping[str, Any]) -> outbox.News:
    told = view(PacketView.model_validate({"id": offer, "version": 1, **facts}))
    return person, f"packet:{offer}:{number}", 1, orjson.dumps(told)
