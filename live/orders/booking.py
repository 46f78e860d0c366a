"""Books orders for the ledger: at most one order, its lines and one outbox row per intent, in a handful of statements for a whole batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from live.catalog.queries import skus
from live.infra import outbox
from live.infra.db import array, epoch_ms
from live.offers.rules import Booked, Intent, OfferFacts
from live.orders import rules

_KNOWN = text("SELECT rid, intent_id, no, fen, discount, pay_until FROM orders WHERE rid = ANY(CAST(:rids AS text[]))")
# Rows travel as one JSON document: in an array of texts the driver escapes every element by itself, most of the time of a batch.
_ORDERS = text(
    "INSERT INTO orders (no, rid, intent_id, room_id, person, channel, location, fen, team_id, pay_until, created_at)"
    " SELECT t.no, t.rid, t.intent_id, t.room_id, t.person, t.channel, t.location, t.fen, t.team_id, t.pay_until, :now"
    " FROM json_to_recordset(CAST(:orders AS json)) AS t (no text, rid text, intent_id text, room_id text, person text, channel text,"
    " location text, fen bigint, team_id bigint, pay_until timestamptz)"
)
_LINES = text(
    "INSERT INTO order_line (order_no, line, offer_id, sku_id, sku, name_zh, name_en, picture, qty, fen, price_version)"
    " SELECT t.order_no, t.line, t.offer_id, t.sku_id, s.sku, s.name_zh, s.name_en, s.picture, t.qty, t.fen, t.version"
    " FROM json_to_recordset(CAST(:lines AS json))"
    " AS t (order_no text, line bigint, offer_id bigint, sku_id bigint, qty bigint, fen bigint, version bigint)"
    # A batch is a rush for a few things: their names travel once, not once a line.
    " JOIN json_to_recordset(CAST(:things AS json)) AS s (id bigint, sku text, name_zh text, name_en text, picture text) ON s.id = t.sku_id"
)


class OrderBooker:
    """Sales and groups. The ledger itself writes allotment, movement, quota and held seats."""

    kinds = frozenset({"sale", "group"})

    async def known(self, connection: AsyncConnection, rids: Sequence[str]) -> dict[str, Booked]:
        """Intents that are already in the books."""
        rows = (await connection.execute(_KNOWN, {"rids": array(rids)})).all()
        return {row.rid: Booked(row.intent_id, _body(row.no, row.fen - row.discount, row.pay_until)) for row in rows}

    async def book(
        self, connection: AsyncConnection, intents: Sequence[Intent], offers: Mapping[int, OfferFacts], now: datetime
    ) -> dict[str, dict[str, Any]]:
        """Write the orders of `intents`, which come in rid order. A rid that is there already breaks the batch: the ledger asked first."""
        if not intents:
            return {}
        orders = [_order(intent, offers, now) for intent in intents]
        await connection.execute(_ORDERS, {"now": now, "orders": _json(orders)})
        await connection.execute(_LINES, await _lines(connection, intents, orders, offers))
        for room in sorted({order["room_id"] for order in orders}):
            await outbox.own_many(connection, room, [_news(order) for order in orders if order["room_id"] == room])
        return {order["rid"]: _body(order["no"], order["fen"], order["pay_until"]) for order in orders}


def _order(intent: Intent, offers: Mapping[int, OfferFacts], now: datetime) -> dict[str, Any]:
    """The columns of one order."""
    facts = [offers[line.offer] for line in intent.lines]
    team = next((offer.team_id for offer in facts if offer.team_id is not None), None)
    # The shortest hold of its lines; a team's clock ends it too.
    clocks = [offer.closes_at for offer in facts if offer.team_id is not None and offer.closes_at is not None]
    hold = min(offer.holds.get(intent.rid, offer.hold_seconds) for offer in facts)
    return {
        "no": rules.number(intent.rid, now),
        "rid": intent.rid,
        "intent_id": intent.id,
        "room_id": facts[0].room_id,
        "person": intent.person,
        "channel": "live" if team is None else "group",
        "location": intent.at,
        "fen": sum(line.qty * line.fen for line in intent.lines),
        "team_id": team,
        "pay_until": rules.pay_until(now, hold, min(clocks, default=None)),
    }


async def _lines(
    connection: AsyncConnection, intents: Sequence[Intent], orders: Sequence[Mapping[str, Any]], offers: Mapping[int, OfferFacts]
) -> dict[str, str]:
    """The lines, and the things they name: a snapshot, since a product may be renamed tomorrow."""
    lines = [
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
    async with AsyncSession(connection) as session:
        facts = await skus(session, sorted({line["sku_id"] for line in lines}))
    things = [
        {"id": thing.id, "sku": thing.code, "name_zh": thing.title["zh"], "name_en": thing.title["en"], "picture": thing.picture}
        for thing in facts.values()
    ]
    return {"lines": _json(lines), "things": _json(things)}


def _body(no: str, fen: int, pay_until: datetime) -> dict[str, Any]:
    return {"order": {"no": no, "fen": fen, "pay_until": epoch_ms(pay_until)}}


def _news(order: Mapping[str, Any]) -> tuple[str, str, int, dict[str, Any]]:
    """As `view(OrderView(…))` has it, which a batch of hundreds cannot wait for."""
    body = {
        "t": "order", "no": order["no"], "version": 1, "state": "AWAIT_PAY", "fen": order["fen"],
        "pay_until": epoch_ms(order["pay_until"]), "refunded": 0,
    }  # fmt: skip
    return order["person"], f"order:{order['no']}", 1, body


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
