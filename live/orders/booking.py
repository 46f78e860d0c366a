"""Books orders for the ledger: at most one order, its lines and one outbox row per intent, in a handful of statements for a whole batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from live.catalog.queries import SkuFacts, skus
from live.infra import outbox
from live.infra.db import epoch_ms
from live.offers.rules import Booked, Intent, OfferFacts
from live.orders import rules
from live.protocol.events import OrderView, view

_KNOWN = text("SELECT rid, intent_id, no, fen, discount, pay_until FROM orders WHERE rid = ANY(CAST(:rids AS text[]))")
_ORDERS = text(
    "INSERT INTO orders (no, rid, intent_id, room_id, person, channel, location, fen, team_id, pay_until, created_at)"
    " SELECT t.no, t.rid, t.intent_id, t.room_id, t.person, t.channel, t.location, t.fen, t.team_id, t.pay_until, :now"
    " FROM unnest(CAST(:nos AS text[]), CAST(:rids AS text[]), CAST(:intents AS text[]), CAST(:rooms AS text[]), CAST(:people AS text[]),"
    " CAST(:channels AS text[]), CAST(:locations AS text[]), CAST(:fens AS bigint[]), CAST(:teams AS bigint[]),"
    " CAST(:ends AS timestamptz[]))"
    " AS t (no, rid, intent_id, room_id, person, channel, location, fen, team_id, pay_until)"
)
_LINES = text(
    "INSERT INTO order_line (order_no, line, offer_id, sku_id, sku, name_zh, name_en, picture, qty, fen, price_version)"
    " SELECT t.order_no, t.line, t.offer_id, t.sku_id, s.sku, s.name_zh, s.name_en, s.picture, t.qty, t.fen, t.version"
    " FROM unnest(CAST(:nos AS text[]), CAST(:lines AS bigint[]), CAST(:offers AS bigint[]), CAST(:skus AS bigint[]),"
    " CAST(:qtys AS bigint[]), CAST(:fens AS bigint[]), CAST(:versions AS bigint[]))"
    " AS t (order_no, line, offer_id, sku_id, qty, fen, version)"
    # A batch is a rush for a few things: their names travel once, not once a line.
    " JOIN unnest(CAST(:ids AS bigint[]), CAST(:codes AS text[]), CAST(:zh AS text[]), CAST(:en AS text[]), CAST(:pictures AS text[]))"
    " AS s (id, sku, name_zh, name_en, picture) ON s.id = t.sku_id"
)
_TELL = text(
    "INSERT INTO outbox (kind, room_id, key, payload)"
    " SELECT 'own', t.room_id, 'order:' || t.no, CAST(t.payload AS jsonb)"
    " FROM unnest(CAST(:rooms AS text[]), CAST(:nos AS text[]), CAST(:payloads AS text[])) AS t (room_id, no, payload)"
)
_NUDGE = text("SELECT pg_notify(:channel, t.room) FROM unnest(CAST(:rooms AS text[])) AS t (room)")


class OrderBooker:
    """Sales and groups. The ledger itself writes allotment, movement, quota and held seats."""

    kinds = frozenset({"sale", "group"})

    async def known(self, connection: AsyncConnection, rids: Sequence[str]) -> dict[str, Booked]:
        """Intents that are already in the books."""
        rows = (await connection.execute(_KNOWN, {"rids": list(rids)})).all()
        return {row.rid: Booked(row.intent_id, _body(row.no, row.fen - row.discount, row.pay_until)) for row in rows}

    async def book(
        self, connection: AsyncConnection, intents: Sequence[Intent], offers: Mapping[int, OfferFacts], now: datetime
    ) -> dict[str, dict[str, Any]]:
        """Write the orders of `intents`, which come in rid order. A rid that is there already breaks the batch: the ledger asked first."""
        if not intents:
            return {}
        nos = [rules.number(intent.rid, now) for intent in intents]
        fens = [sum(line.qty * line.fen for line in intent.lines) for intent in intents]
        ends = [_end(intent, offers, now) for intent in intents]
        rooms = [offers[intent.lines[0].offer].room_id for intent in intents]
        teams = [_team(intent, offers) for intent in intents]
        await connection.execute(
            _ORDERS,
            {
                "now": now,
                "nos": nos,
                "rids": [intent.rid for intent in intents],
                "intents": [intent.id for intent in intents],
                "rooms": rooms,
                "people": [intent.person for intent in intents],
                "channels": ["live" if team is None else "group" for team in teams],
                "locations": [intent.at for intent in intents],
                "fens": fens,
                "teams": teams,
                "ends": ends,
            },
        )
        await connection.execute(_LINES, await _lines(connection, intents, nos, offers))
        payloads = [_news(intent, no, fen, end) for intent, no, fen, end in zip(intents, nos, fens, ends, strict=True)]
        await connection.execute(_TELL, {"rooms": rooms, "nos": nos, "payloads": payloads})
        await connection.execute(_NUDGE, {"channel": outbox.CHANNEL, "rooms": sorted(set(rooms))})
        return {intent.rid: _body(no, fen, end) for intent, no, fen, end in zip(intents, nos, fens, ends, strict=True)}


async def _lines(
    connection: AsyncConnection, intents: Sequence[Intent], nos: Sequence[str], offers: Mapping[int, OfferFacts]
) -> dict[str, list[Any]]:
    """Columns of the lines, and of the things they name: a snapshot, since a product may be renamed tomorrow."""
    flat = [(no, at, line) for intent, no in zip(intents, nos, strict=True) for at, line in enumerate(intent.lines)]
    wanted = sorted({_sku(offers[line.offer]) for _, _, line in flat})
    async with AsyncSession(connection) as session:
        facts = await skus(session, wanted)
    things: list[SkuFacts] = [facts[sku] for sku in wanted]
    titles = [thing.title for thing in things]
    return {
        "nos": [no for no, _, _ in flat],
        "lines": [at for _, at, _ in flat],
        "offers": [line.offer for _, _, line in flat],
        "skus": [_sku(offers[line.offer]) for _, _, line in flat],
        "qtys": [line.qty for _, _, line in flat],
        "fens": [line.fen for _, _, line in flat],
        "versions": [line.version for _, _, line in flat],
        "ids": wanted,
        "codes": [thing.code for thing in things],
        "zh": [title["zh"] for title in titles],
        "en": [title["en"] for title in titles],
        "pictures": [thing.picture for thing in things],
    }


def _sku(offer: OfferFacts) -> int:
    assert offer.sku_id is not None, f"offer {offer.id} is not for sale"
    return offer.sku_id


def _team(intent: Intent, offers: Mapping[int, OfferFacts]) -> int | None:
    return next((team for line in intent.lines if (team := offers[line.offer].team_id) is not None), None)


def _end(intent: Intent, offers: Mapping[int, OfferFacts], now: datetime) -> datetime:
    """The shortest hold of its lines; a team's clock ends it too."""
    facts = [offers[line.offer] for line in intent.lines]
    clocks = [offer.closes_at for offer in facts if offer.team_id is not None and offer.closes_at is not None]
    return rules.pay_until(now, min(offer.hold_seconds for offer in facts), min(clocks, default=None))


def _body(no: str, fen: int, pay_until: datetime) -> dict[str, Any]:
    return {"order": {"no": no, "fen": fen, "pay_until": epoch_ms(pay_until)}}


def _news(intent: Intent, no: str, fen: int, pay_until: datetime) -> str:
    told = OrderView(no=no, version=1, state="AWAIT_PAY", fen=fen, pay_until=epoch_ms(pay_until))
    return orjson.dumps({"who": intent.person, "version": 1, "body": view(told)}).decode()
