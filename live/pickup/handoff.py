"""Paid orders become tickets of their store: outbox rows of topic `handoff` are claimed, booked and marked in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import orjson
from sqlalchemy import ARRAY, BigInteger, Text, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra import outbox
from live.infra.db import TIMESTAMP
from live.orders.tables import Order
from live.pickup import rules
from live.pickup.tables import Ticket
from live.protocol.events import OrderView

TOPIC = "handoff"  # outbox rows: key = the store's code, payload = {"order": no}
BATCH = 200  # orders a transaction: some 20 ms of work, so a killed worker loses little and no lock is held for long


async def handoff(session: AsyncSession, location: str, now: datetime, limit: int = BATCH, *, secret: str) -> int:
    """Take up to `limit` undone rows of a store that nobody else holds; how many there were (0: nothing is left to take).

    An order that is no longer ALLOCATED (a refund overtook it, or it has its ticket) makes its row done without a ticket.
    """
    rows = await outbox.claim(session, TOPIC, location, limit)
    if not rows:
        return 0
    orders = await _lock(session, sorted({str(row.payload["order"]) for row in rows}))
    fresh = await _insert(session, [order for order in orders if order.state == "ALLOCATED"], now, secret)
    await _tell(session, fresh)
    done = text("UPDATE outbox SET done_at = :now WHERE id = ANY(:ids)").bindparams(
        bindparam("now", type_=TIMESTAMP), bindparam("ids", type_=ARRAY(BigInteger))
    )
    await session.execute(done, {"now": now, "ids": [row.id for row in rows]})
    return len(rows)


async def _lock(session: AsyncSession, nos: Sequence[str]) -> list[Order]:
    """The orders, locked in the order of their numbers: a refund granted meanwhile waits, and then finds the ticket to void."""
    query = select(Order).where(col(Order.no).in_(nos)).order_by(col(Order.no)).with_for_update(key_share=True)
    return list((await session.execute(query, execution_options={"populate_existing": True})).scalars())


async def _insert(session: AsyncSession, orders: Sequence[Order], now: datetime, secret: str) -> list[Order]:
    """One statement for all tickets; those whose code another ticket has are tried again with the next one derived."""
    query = select(col(Ticket.order_no), col(Ticket.location)).where(col(Ticket.order_no).in_([order.no for order in orders]))
    there = {(no, location) for no, location in (await session.execute(query)).all()}
    missing = [order for order in orders if (order.no, order.location) not in there]
    fresh: list[Order] = []
    for attempt in range(rules.ATTEMPTS):
        if not missing:
            return fresh
        made = await _try(session, missing, now, secret, attempt)
        fresh += [order for order in missing if order.no in made]
        missing = [order for order in missing if order.no not in made]
    raise RuntimeError(f"no free pickup code for order {missing[0].no} after {rules.ATTEMPTS} attempts")


_TICKETS = text(
    "INSERT INTO ticket (order_no, room_id, person, location, code_hash, state, created_at)"
    " SELECT no, room, person, location, code_hash, 'QUEUED', :now"
    " FROM unnest(:nos, :rooms, :persons, :locations, :hashes) AS given(no, room, person, location, code_hash)"
    " ON CONFLICT DO NOTHING RETURNING order_no"
).bindparams(
    bindparam("now", type_=TIMESTAMP),
    *(bindparam(name, type_=ARRAY(Text)) for name in ("nos", "rooms", "persons", "locations", "hashes")),
)


async def _try(session: AsyncSession, orders: Sequence[Order], now: datetime, secret: str, attempt: int) -> set[str]:
    hashes = [rules.keyed_hash(secret, rules.derive(secret, order.no, order.location, attempt)) for order in orders]
    values = {
        "nos": [order.no for order in orders],
        "rooms": [order.room_id for order in orders],
        "persons": [order.person for order in orders],
        "locations": [order.location for order in orders],
        "hashes": hashes,
        "now": now,
    }
    return set((await session.execute(_TICKETS, values)).scalars())


async def _tell(session: AsyncSession, orders: Sequence[Order]) -> None:
    """News for the buyers. The version must rise with it, or sockets would take the news for one they have."""
    if not orders:
        return
    raised = text("UPDATE orders SET version = version + 1 WHERE no = ANY(:nos) RETURNING no, version")
    found = await session.execute(raised.bindparams(bindparam("nos", type_=ARRAY(Text))), {"nos": [order.no for order in orders]})
    versions = {no: version for no, version in found.all()}
    payloads = []
    for order in orders:
        view = OrderView(
            no=order.no, version=versions[order.no], state=order.state, fen=order.fen - order.discount, refunded=order.refunded
        )
        news = {"who": order.person, "version": view.version, "body": view.model_dump(mode="json")}
        payloads.append(orjson.dumps(news).decode())
    own = text(
        "INSERT INTO outbox (kind, room_id, key, payload) SELECT 'own', room, 'order:' || no, CAST(payload AS jsonb)"
        " FROM unnest(:rooms, :nos, :payloads) AS news(room, no, payload)"
    ).bindparams(*(bindparam(name, type_=ARRAY(Text)) for name in ("rooms", "nos", "payloads")))
    rooms = [order.room_id for order in orders]
    await session.execute(own, {"rooms": rooms, "nos": [order.no for order in orders], "payloads": payloads})
    for room in sorted(set(rooms)):
        await session.execute(select(func.pg_notify(outbox.CHANNEL, room)))
