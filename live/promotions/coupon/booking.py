"""Books claimed coupons for the ledger: one statement for a whole batch, however large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra import outbox
from live.infra.db import driver
from live.offers.rules import Booked, Intent, OfferFacts
from live.offers.till import Sold
from live.promotions.coupon.terms import read
from live.protocol.events import GrantView, view

# One JSON document: in an array of texts the driver escapes every element by itself. A batch's terms travel once, not once a grant.
_GRANTS = (
    "INSERT INTO coupon_grant"
    " (rid, intent_id, offer_id, room_id, person, off, threshold, percent, scope, audience, valid_until, created_at)"
    " SELECT t.rid, t.intent_id, t.offer_id, o.room_id, t.person, o.off, o.threshold, o.percent, o.scope, o.audience, o.valid_until, %s"
    " FROM json_to_recordset(CAST(%s AS json)) AS t (rid text, intent_id text, offer_id bigint, person text)"
    " JOIN json_to_recordset(CAST(%s AS json)) AS o (id bigint, room_id text, off bigint, threshold bigint, percent bigint, scope jsonb,"
    " audience text, valid_until timestamptz) ON o.id = t.offer_id RETURNING rid, id"
)


class CouponBooker:
    """One grant per claimed coupon. The ledger itself writes allotment, movement, quota and the news."""

    kinds = frozenset({"coupon"})
    known = "SELECT rid, intent_id, id, offer_id FROM coupon_grant WHERE rid = ANY(CAST(%s AS text[]))"

    def booked(self, row: Any) -> tuple[str, Booked]:
        """A claim that is in the books already."""
        rid, intent_id, grant, offer = row
        return rid, Booked(intent_id, _body(grant, offer))

    async def ahead(self, connection: AsyncConnection, offers: Mapping[int, OfferFacts]) -> None:
        """Nothing."""

    async def book(
        self, connection: AsyncConnection, intents: Sequence[Intent], offers: Mapping[int, OfferFacts], now: datetime, ahead: None = None
    ) -> Sold:
        """Write the grants of `intents` (one line, one unit each). A rid that is there already breaks the batch: the ledger asked first."""
        if not intents:
            return Sold({}, [])
        facts = [offers[intent.lines[0].offer] for intent in intents]
        grants = [
            {"rid": intent.rid, "intent_id": intent.id, "offer_id": offer.id, "person": intent.person}
            for intent, offer in zip(intents, facts, strict=True)
        ]
        batches = [_batch(offer, now) for offer in {offer.id: offer for offer in facts}.values()]
        rows = await (await driver(connection)).execute(_GRANTS, (now, orjson.dumps(grants).decode(), orjson.dumps(batches).decode()))
        ids: dict[str, int] = dict(await rows.fetchall())
        news = [_news(intent, ids[intent.rid], offer) for intent, offer in zip(intents, facts, strict=True)]
        return Sold({intent.rid: _body(ids[intent.rid], offer.id) for intent, offer in zip(intents, facts, strict=True)}, news)


def _batch(offer: OfferFacts, now: datetime) -> dict[str, Any]:
    terms = read(offer.terms)
    return {
        "id": offer.id,
        "room_id": offer.room_id,
        "off": terms.off,
        "threshold": terms.threshold,
        "percent": terms.percent,
        "scope": offer.terms.get("scope", {}),
        "audience": terms.audience,
        "valid_until": terms.until(now),
    }


def _body(grant: int, offer: int) -> dict[str, Any]:
    return {"coupon": {"id": grant, "offer": offer}}


def _news(intent: Intent, grant: int, offer: OfferFacts) -> outbox.News:
    body = view(GrantView(id=grant, version=1, offer=offer.id, state="CLAIMED"))
    return intent.person, f"coupon:{grant}", 1, orjson.dumps(body)
