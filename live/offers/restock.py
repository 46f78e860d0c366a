"""Goods of many refunded orders come back together: when a great group has failed, its ten thousand restocks are a few hundred movements'
transactions and scripts, not ten thousand. Only of offers that have ended: nobody waits for those, and what comes back leaves them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra.db import Database, array
from live.offers.rules import House
from live.offers.seats import Bar
from live.offers.till import ONE, Giver, Move, book_house, give_rest, return_rid, seen


async def book_all(db: Database, room: str, entries: Sequence[House], bar: Bar, now: datetime, giver: Giver) -> list[Move]:
    """Book the entries of one row: restocks of ended offers in one transaction, anything else one by one (`till.book_house`).

    Raises what that raises; entries before the one at fault may be booked then.
    """
    async with db.connection() as connection:
        if len(entries) > 1 and await _only_ended(connection, entries):
            return await _restock(connection, entries, now)
    moves: list[Move] = []
    for entry in entries:
        async with db.connection() as connection:
            moves += await book_house(connection, room, entry, bar, now, giver)
    return moves


async def _only_ended(connection: AsyncConnection, entries: Sequence[House]) -> bool:
    """Whether these are restocks of ended offers, and nothing else. An offer that has ended stays so."""
    if any(entry.kind != "RESTOCK" or entry.seats for entry in entries):
        return False
    offers = {offer for entry in entries for offer, _ in entry.lines}
    return (await connection.execute(_OPEN, {"ids": array(offers)})).first() is None


async def _restock(connection: AsyncConnection, entries: Sequence[House], now: datetime) -> list[Move]:
    """Book them as `till.book_house` would one after the other, each (rid, offer) once; returns a step per place for the turnstile.

    A place where all of them were booked before gets a run of none: the mark the turnstile must have reached (`catchup.abreast`).
    """
    places: dict[tuple[int, str], list[tuple[str, str, int]]] = {}
    for entry in entries:
        for offer, qty in entry.lines:
            places.setdefault((offer, entry.location), []).append((entry.rid, entry.person or "", qty))
    moves: list[Move] = []
    for (offer, place), back in sorted(places.items()):
        about = {"o": offer, "l": place}
        row = (await connection.execute(ONE, about)).mappings().one()
        known = set((await connection.execute(_SEEN, {"o": offer, "rids": array(rid for rid, _, _ in back)})).scalars())
        fresh = [one for one in back if one[0] not in known]
        if not fresh:
            moves.append(Move(offer, place, int(row["move_no"]), 0, run=0))
            continue
        rids, people, units = zip(*fresh, strict=True)
        columns = {"rids": array(rids), "people": array(people), "units": array(units)}
        total, number = sum(units), int(row["move_no"]) + len(fresh)
        await connection.execute(_MOVED, {**about, **columns, "after": row["move_no"], "now": now})
        await connection.execute(_TAKEN, {**about, "q": total, "n": number})
        await connection.execute(_UNUSED, {"o": offer, **columns})
        gifts = tuple((person, -qty) for _, person, qty in fresh if person)
        moves.append(Move(offer, place, number, total, run=len(fresh), gifts=gifts))
        if await seen(connection, return_rid(offer, place), offer, "RETURN") is not None:
            moves.append(await give_rest(connection, f"restock:{rids[0]}", offer, place, row["sku_id"], now))
    return moves


_OPEN = text("SELECT 1 FROM offer WHERE id = ANY(CAST(:ids AS bigint[])) AND phase <> 'ended' LIMIT 1")
_SEEN = text("SELECT rid FROM movement WHERE rid = ANY(CAST(:rids AS text[])) AND offer_id = :o AND kind = 'RESTOCK'")
_MOVED = text(
    "INSERT INTO movement (offer_id, location, move_no, kind, qty, rid, at) SELECT :o, :l, :after + n, 'RESTOCK', -q, r, :now"
    " FROM unnest(CAST(:rids AS text[]), CAST(:units AS bigint[])) WITH ORDINALITY AS t(r, q, n)"
)
_TAKEN = text("UPDATE allotment SET taken = taken - :q, move_no = :n WHERE offer_id = :o AND location = :l")
_UNUSED = text(
    "UPDATE quota SET used = used - t.q FROM (SELECT p, sum(q) AS q FROM unnest(CAST(:people AS text[]), CAST(:units AS bigint[]))"
    " AS u(p, q) GROUP BY p) AS t WHERE quota.offer_id = :o AND quota.person = t.p"
)
