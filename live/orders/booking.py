"""Books orders for the ledger: at most one order, its lines and one outbox row per intent, in one statement for a whole batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from live.catalog.queries import FACTS, SkuFacts
from live.infra import outbox
from live.infra.db import array, driver, epoch_ms
from live.offers.rules import Booked, Intent, OfferFacts
from live.offers.till import Sold
from live.orders import rules
from live.orders.change import body

# One statement, and what orders have in common travels once: a batch is a rush for a few things. Columns go as texts of arrays, which the
# driver would escape element by element. A thing without a name breaks the batch.
_BOOK = """WITH t AS MATERIALIZED (
  SELECT * FROM unnest(CAST(%s AS text[]), CAST(%s AS text[]), CAST(%s AS text[]), CAST(%s AS text[]), CAST(%s AS text[]),
    CAST(%s AS bigint[]), CAST(%s AS bigint[]), CAST(%s AS timestamptz[]))
    AS t (no, rid, intent_id, person, location, basket, party, pay_until)),
  booked AS (
  INSERT INTO orders (no, rid, intent_id, room_id, person, channel, location, fen, team_id, party_id, pay_until, created_at)
  SELECT t.no, t.rid, t.intent_id, b.room, t.person, CASE WHEN b.team IS NULL AND t.party = 0 THEN 'live' ELSE 'group' END, t.location,
    b.fen, b.team, nullif(t.party, 0), t.pay_until, %s
  FROM t JOIN json_to_recordset(CAST(%s AS json)) AS b (basket bigint, room text, fen bigint, team bigint) USING (basket))
INSERT INTO order_line (order_no, line, offer_id, sku_id, sku, name_zh, name_en, picture, qty, fen, price_version)
SELECT t.no, l.line, l.offer, l.sku, s.code, s.name_zh, s.name_en, s.picture, l.qty, l.fen, l.version
FROM t JOIN json_to_recordset(CAST(%s AS json))
    AS l (basket bigint, line bigint, offer bigint, sku bigint, qty bigint, fen bigint, version bigint) USING (basket)
  LEFT JOIN json_to_recordset(CAST(%s AS json)) AS s (sku bigint, code text, name_zh text, name_en text, picture text) ON s.sku = l.sku"""


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
        baskets: dict[_Lines, _Basket] = {}
        orders = [_order(intent, _basket(intent, offers, baskets), offers, now) for intent in intents]
        made = list(baskets.values())
        columns = [array(column) for column in list(zip(*orders, strict=True))[:_SENT]]
        raw = await driver(connection)
        await raw.execute(_BOOK, (*columns, now, _json(_common(made)), _json(_lines(made, offers)), _json(_things(read))))
        told = Sold({}, [])
        for order in orders:
            told.bodies[order.rid] = _body(order.no, order.fen, order.until_ms)
            told.news.append(_news(order))
        return told


_Lines = tuple[tuple[int, int, int, int], ...]  # offer, quantity, price and its version


class _Basket(NamedTuple):
    """What is ordered. `closes`: when its team's clock ends every hold; `untils`: ends of holds by (seconds, when a small team closes)."""

    number: int
    lines: _Lines
    room: str
    fen: int
    team: int | None
    closes: datetime | None
    untils: dict[tuple[int, Any], tuple[str, int]]


def _basket(intent: Intent, offers: Mapping[int, OfferFacts], made: dict[_Lines, _Basket]) -> _Basket:
    lines = tuple([(line.offer, line.qty, line.fen, line.version) for line in intent.lines])
    found = made.get(lines)
    if found is None:
        facts = [offers[line.offer] for line in intent.lines]
        clocks = [offer.closes_at for offer in facts if offer.team_id is not None and offer.closes_at is not None]
        team = next((offer.team_id for offer in facts if offer.team_id is not None), None)
        fen = sum([qty * fen for _, qty, fen, _ in lines])
        found = made[lines] = _Basket(len(made), lines, facts[0].room_id, fen, team, min(clocks, default=None), {})
    return found


class _Order(NamedTuple):
    """The columns of one order, and what its buyer is told. `party`: its small team, or 0."""

    no: str
    rid: str
    intent_id: str
    person: str
    location: str
    basket: int
    party: int
    until: str
    until_ms: int
    fen: int


_SENT = 8  # of these; the others are in its basket or told


def _order(intent: Intent, basket: _Basket, offers: Mapping[int, OfferFacts], now: datetime) -> _Order:
    """The shortest hold of its lines; a team's clock ends it too."""
    rid = intent.rid
    seconds = min([offers[offer].holds.get(rid, offers[offer].hold_seconds) for offer, _, _, _ in basket.lines])
    party, closes = offers[basket.lines[0][0]].parties.get(rid, (0, None))
    until = basket.untils.get((seconds, closes))
    if until is None:
        end = rules.pay_until(now, seconds, min([clock for clock in (basket.closes, closes) if clock is not None], default=None))
        until = basket.untils[(seconds, closes)] = (end.isoformat(), epoch_ms(end))
    return _Order(rules.number(rid, now), rid, intent.id, intent.person, intent.at, basket.number, party, *until, basket.fen)


def _common(baskets: Sequence[_Basket]) -> list[dict[str, Any]]:
    return [{"basket": one.number, "room": one.room, "fen": one.fen, "team": one.team} for one in baskets]


def _lines(baskets: Sequence[_Basket], offers: Mapping[int, OfferFacts]) -> list[dict[str, Any]]:
    return [
        {"basket": one.number, "line": at, "offer": offer, "sku": offers[offer].sku_id, "qty": qty, "fen": fen, "version": version}
        for one in baskets
        for at, (offer, qty, fen, version) in enumerate(one.lines)
    ]


def _things(read: Sequence[Any]) -> list[dict[str, Any]]:
    """An order line is a snapshot: a product may be renamed tomorrow."""
    return [
        {"sku": thing.id, "code": thing.code, "name_zh": thing.title["zh"], "name_en": thing.title["en"], "picture": thing.picture}
        for thing in [SkuFacts(*row) for row in read]
    ]


def _body(no: str, fen: int, until_ms: int) -> dict[str, Any]:
    return {"order": {"no": no, "fen": fen, "pay_until": until_ms}}


def _news(order: _Order) -> outbox.News:
    told = body(order.no, 1, "AWAIT_PAY", order.fen, order.until_ms)
    return order.person, "order:" + order.no, 1, orjson.dumps(told)


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
