"""Books claimed coupons for the ledger: one statement for a whole batch, however large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
import psycopg
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


class Grant(NamedTuple):
    """A coupon to write, in the order of its columns. `offer`: 0 when it comes from none."""

    rid: str
    intent_id: str
    offer: int
    room_id: str
    person: str
    off: int
    threshold: int


async def write_grants(raw: psycopg.AsyncConnection[tuple[object, ...]], grants: Sequence[Grant], now: datetime) -> dict[str, int]:
    """Write coupons, one statement; rid -> id. psycopg.IntegrityError when one of the rids has a coupon already."""
    rows = await raw.execute(_GRANTS, (now, *[array(column) for column in zip(*grants, strict=True)]))
    found: list[Any] = await rows.fetchall()
    return dict(found)


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
            Grant(intent.rid, intent.id, offer.id, offer.room_id, intent.person, int(offer.terms["off"]), int(offer.terms["threshold"]))
            for intent, offer in zip(intents, facts, strict=True)
        ]
        ids = await write_grants(await driver(connection), grants, now)
        news = [grant_news(intent.person, ids[intent.rid], offer.id) for intent, offer in zip(intents, facts, strict=True)]
        return Sold({intent.rid: _body(ids[intent.rid], offer.id) for intent, offer in zip(intents, facts, strict=True)}, news)


def _body(grant: int, offer: int) -> dict[str, Any]:
    return {"coupon": {"id": grant, "offer": offer}}


def grant_news(person: str, grant: int, offer: int) -> outbox.News:
    """What the holder of a new coupon is told."""
    body = view(GrantView(id=grant, version=1, offer=offer, state="CLAIMED"))
    return person, f"coupon:{grant}", 1, orjson.dumps(body)
