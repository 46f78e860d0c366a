"""Books claimed coupons for the ledger: one statement for a whole batch, however large."""

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
from live.protocol.events import GrantView, view

_GRANTS = (
    "INSERT INTO coupon_grant (rid, intent_id, offer_id, room_id, person, off, threshold, created_at)"
    " SELECT t.rid, t.intent_id, t.offer_id, t.room_id, t.person, t.off, t.threshold, %s"
    " FROM unnest(CAST(%s AS text[]), CAST(%s AS text[]), CAST(%s AS bigint[]), CAST(%s AS text[]),"
    " CAST(%s AS text[]), CAST(%s AS bigint[]), CAST(%s AS bigint[]))"
    " AS t (rid, intent_id, offer_id, room_id, person, off, threshold) RETURNING rid, id"
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
        columns = (
            [intent.rid for intent in intents],
            [intent.id for intent in intents],
            [offer.id for offer in facts],
            [offer.room_id for offer in facts],
            [intent.person for intent in intents],
            [int(offer.terms["off"]) for offer in facts],
            [int(offer.terms["threshold"]) for offer in facts],
        )
        rows = await (await driver(connection)).execute(_GRANTS, (now, *[array(column) for column in columns]))
        ids: dict[str, int] = dict(await rows.fetchall())
        news = [_news(intent, ids[intent.rid], offer) for intent, offer in zip(intents, facts, strict=True)]
        return Sold({intent.rid: _body(ids[intent.rid], offer.id) for intent, offer in zip(intents, facts, strict=True)}, news)


def _body(grant: int, offer: int) -> dict[str, Any]:
    return {"coupon": {"id": grant, "offer": offer}}


def _news(intent: Intent, grant: int, offer: OfferFacts) -> outbox.News:
    body = view(GrantView(id=grant, version=1, offer=offer.id, state="CLAIMED"))
    return intent.person, f"coupon:{grant}", 1, orjson.dumps(body)
