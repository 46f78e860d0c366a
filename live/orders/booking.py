"""Books orders for the ledger: at most one order, its lines and one outbox row per intent, in a handful of statements for a whole batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from live.catalog.queries import FACTS, SkuFacts
from live.infra import outbox
from live.infra.db import driver, epoch_ms
from live.offers.rules import Booked, Intent, OfferFacts
from live.offers.till import Sold
from live.orders import rules
from live.orders.change import body

# Rows travel as one JSON document: in an array of texts the driver escapes every element by itself, most of the time of a batch.
_ORDERS = (
    "INSERT INTO orders (no, rid, intent_id, room_id, person, channel, location, fen, team_id, party_id, pay_until, created_at)"
    " SELECT t.no, t.rid, t.intent_id, t.room_id, t.person, t.channel, t.location, t.fen, t.team_id, t.party_id, t.pay_until, %s"
    " FROM json_to_recordset(CAST(%s AS json)) AS t (no text, rid text, intent_id text, room_id text, person text, channel text,"
    " location text, fen bigint, team_id bigint, party_id bigint, pay_until timestamptz)"
)
_LINES = (
    "INSERT INTO order_line (order_no, line, offer_id, sku_id, sku, name_zh, name_en, picture, qty, fen, price_version)"
    " SELECT t.order_no, t.line, t.offer_id, t.sku_id, s.sku, s.name_zh, s.name_en, s.picture, t.qty, t.fen, t.version"
    " FROM json_to_recordset(CAST(%s AS json))"
    " AS t (order_no text, line bigint, offer_id bigint, sku_id bigint, qty bigint, fen bigint, version bigint)"
    # A batch is a rush for a few things: their names travel once, not once a line. A thing without a name breaks the batch.
    " LEFT JOIN json_to_recordset(CAST(%s AS json)) AS s (id bigint, sku text, name_zh text, name_en text, picture text) ON s.id = t.sku_id"
)


class OrderBooker:
    """Sales and groups. The ledger itself writes allotment, movement, quota, held seats and the news."""

    kinds = frozenset({"sale", "group"})
    known = "SELECT rid, intent_id, no, fen - discount, pay_until FROM orders WHERE rid = ANY(CAST(%s AS text[]))"
    reads: str | None = FACTS + " WHERE sku.id IN (SELECT sku_id FROM offer WHERE id = ANY(CAST(%s AS bigint[])))"

    def booked(self, row: Any) -> tuple[str, Booked]:
        """An order that is in the books already."""
        rid, intent_id, no, fen, pay_until = row
        return rid, Booked(intent_id, _body(no, fen, epoch_ms(pay_until)))

    async def book(
        self, connection: AsyncConnection, intents: Sequence[Intent], offers: Mapping[int, OfferFacts], now: datetime, read: Sequence[Any]
    ) -> Sold:
        """Write the orders of `intents`, which come in rid order. A rid that is there already breaks the batch: the ledger asked first."""
        if not intents:
            return Sold({}, [])
        made: dict[_Alike, _Hold] = {}
        holds = [_hold(intent, offers, made, now) for intent in intents]
        orders = [_order(intent, hold, now) for intent, hold in zip(intents, holds, strict=True)]
        raw = await driver(connection)
        await raw.execute(_ORDERS, (now, _json(orders)))
        await raw.execute(_LINES, (_json(_lines(intents, orders, offers)), _json([_thing(SkuFacts(*row)) for row in read])))
        told = Sold({}, [])
        for order, intent, hold in zip(orders, intents, holds, strict=True):
            told.bodies[intent.rid] = _body(order["no"], order["fen"], hold.until_ms)
            told.news.append(_news(order, hold.until_ms))
        return told


_Alike = tuple[tuple[int, ...], int, int | None]  # offers, seconds to pay, small team


class _Hold(NamedTuple):
    """What orders of the same offers in one batch have in common, that have the same time to pay."""

    room: str
    team: int | None
    party: int | None
    until: datetime
    until_ms: int


def _hold(intent: Intent, offers: Mapping[int, OfferFacts], made: dict[_Alike, _Hold], now: datetime) -> _Hold:
    """The shortest hold of its lines; a team's clock ends it too."""
    ids = tuple([line.offer for line in intent.lines])
    seconds = min([offers[offer].holds.get(intent.rid, offers[offer].hold_seconds) for offer in ids])
    party, closes = offers[ids[0]].parties.get(intent.rid, (None, None))
    found = made.get((ids, seconds, party))
    if found is None:
        facts = [offers[offer] for offer in ids]
        team = next((offer.team_id for offer in facts if offer.team_id is not None), None)
        clocks = [offer.closes_at for offer in facts if offer.team_id is not None and offer.closes_at is not None]
        if closes is not None:
            clocks.append(closes)
        until = rules.pay_until(now, seconds, min(clocks, default=None))
        found = made[(ids, seconds, party)] = _Hold(facts[0].room_id, team, party, until, epoch_ms(until))
    return found


def _order(intent: Intent, hold: _Hold, now: datetime) -> dict[str, Any]:
    """The columns of one order."""
    return {
        "no": rules.number(intent.rid, now),
        "rid": intent.rid,
        "intent_id": intent.id,
        "room_id": hold.room,
        "person": intent.person,
        "channel": "live" if hold.team is None and hold.party is None else "group",
        "location": intent.at,
        "fen": sum([line.qty * line.fen for line in intent.lines]),
        "team_id": hold.team,
        "party_id": hold.party,
        "pay_until": hold.until,
    }


def _lines(intents: Sequence[Intent], orders: Sequence[Mapping[str, Any]], offers: Mapping[int, OfferFacts]) -> list[dict[str, Any]]:
    return [
        {
            "order_no": order["no"],
            "line": at,
            "offer_id": line.offer,
            "sku_id": offers[line.offer].sku_id,
            "qty": line.qty,
            "fen": line.fen,
            "version": line.version,
        }
        for intent, order in zip(intents, orders, strict=True)
        for at, line in enumerate(intent.lines)
    ]


def _thing(thing: SkuFacts) -> dict[str, Any]:
    """An order line is a snapshot: a product may be renamed tomorrow."""
    names = {"name_zh": thing.title["zh"], "name_en": thing.title["en"]}
    return {"id": thing.id, "sku": thing.code, "picture": thing.picture} | names


def _body(no: str, fen: int, until_ms: int) -> dict[str, Any]:
    return {"order": {"no": no, "fen": fen, "pay_until": until_ms}}


def _news(order: Mapping[str, Any], until_ms: int) -> outbox.News:
    told = body(order["no"], 1, "AWAIT_PAY", order["fen"], until_ms)
    return order["person"], "order:" + order["no"], 1, orjson.dumps(told)


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
