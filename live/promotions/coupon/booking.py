"""Books claimed coupons for the ledger: one statement for a whole batch, however large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
import psycopg
from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra import outbox
from live.infra.db import driver
from live.offers.rules import Booked, Intent, OfferFacts
from live.offers.till import Sold
from live.promotions.coupon.terms import read
from live.protocol.events import GrantView, view

# Two JSON documents: in an array of texts the driver escapes every element by itself. Terms that many have in common travel once.
_GRANTS = (
    "INSERT INTO coupon_grant"
    " (rid, intent_id, offer_id, room_id, person, off, threshold, percent, scope, audience, valid_until, created_at)"
    " SELECT t.rid, t.intent_id, b.offer, b.room_id, t.person, b.off, b.threshold, b.percent, b.scope, b.audience, b.valid_until, %s"
    " FROM json_to_recordset(CAST(%s AS json)) AS t (rid text, intent_id text, person text, batch bigint)"
    " JOIN json_to_recordset(CAST(%s AS json)) AS b (n bigint, offer bigint, room_id text, off bigint, threshold bigint, percent bigint,"
    " scope jsonb, audience text, valid_until timestamptz) ON b.n = t.batch RETURNING rid, id"
)


class Batch(NamedTuple):
    """What coupons have in common, in fen. `offer`: 0 when they come from none; the rest as `rules.Terms` has it."""

    offer: int
    room_id: str
    off: int
    threshold: int
    percent: int | None = None
    scope: Mapping[str, Any] = {}
    audience: str = "all"
    valid_until: datetime | None = None


class Grant(NamedTuple):
    """A coupon to write."""

    rid: str
    intent_id: str
    person: str
    batch: Batch


async def write_grants(raw: psycopg.AsyncConnection[tuple[object, ...]], grants: Sequence[Grant], now: datetime) -> dict[str, int]:
    """Write coupons, one statement; rid -> id. psycopg.IntegrityError when one of the rids has a coupon already."""
    batches = list({id(grant.batch): grant.batch for grant in grants}.values())
    numbers = {id(batch): n for n, batch in enumerate(batches)}
    rows = [{"rid": one.rid, "intent_id": one.intent_id, "person": one.person, "batch": numbers[id(one.batch)]} for one in grants]
    terms = [{"n": n, **batch._asdict()} for n, batch in enumerate(batches)]
    found: list[Any] = await (await raw.execute(_GRANTS, (now, orjson.dumps(rows).decode(), orjson.dumps(terms).decode()))).fetchall()
    return dict(found)


class CouponBooker:
    """One grant per claimed coupon. The ledger itself writes allotment, movement, quota and the news."""

    kinds = frozenset({"coupon"})
    reads: str | None = None
    known = "SELECT rid, intent_id, id, offer_id FROM coupon_grant WHERE rid = ANY(CAST(%s AS text[]))"

    def booked(self, row: Any) -> tuple[str, Booked]:
        """A claim that is in the books already."""
        rid, intent_id, grant, offer = row
        return rid, Booked(intent_id, _body(grant, offer))

    async def book(
        self, connection: AsyncConnection, intents: Sequence[Intent], offers: Mapping[int, OfferFacts], now: datetime, read: Sequence[Any]
    ) -> Sold:
        """Write the grants of `intents` (one line, one unit each). A rid that is there already breaks the batch: the ledger asked first."""
        if not intents:
            return Sold({}, [])
        claimed = [(intent, intent.lines[0].offer) for intent in intents]
        batches = {offer: _batch(offers[offer], now) for offer in {offer for _, offer in claimed}}
        grants = [Grant(intent.rid, intent.id, intent.person, batches[offer]) for intent, offer in claimed]
        ids = await write_grants(await driver(connection), grants, now)
        news = [grant_news(intent.person, ids[intent.rid], offer) for intent, offer in claimed]
        return Sold({intent.rid: _body(ids[intent.rid], offer) for intent, offer in claimed}, news)


def _batch(offer: OfferFacts, now: datetime) -> Batch:
    terms = read(offer.terms)
    scope = offer.terms.get("scope", {})
    return Batch(offer.id, offer.room_id, terms.off, terms.threshold, terms.percent, scope, terms.audience, terms.until(now))


def _body(grant: int, offer: int) -> dict[str, Any]:
    return {"coupon": {"id": grant, "offer": offer}}


def grant_news(person: str, grant: int, offer: int) -> outbox.News:
    """What the holder of a new coupon is told."""
    body = view(GrantView(id=grant, version=1, offer=offer, state="CLAIMED"))
    return person, f"coupon:{grant}", 1, orjson.dumps(body)
