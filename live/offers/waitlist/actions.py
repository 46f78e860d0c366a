"""Verbs of who waits: stand in line, leave it, close it. Rows of SQL only: what comes back is given out by the ledger (`giving.py`).

Order of locks: the offer's row, or (the ledger's) its allotment -> the line -> its entries -> quotas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from live.infra import outbox
from live.offers.rules import PER_ORDER
from live.offers.tables import Offer
from live.offers.waitlist import queries, rules
from live.offers.waitlist.queries import Connected, Row
from live.offers.waitlist.tables import Waitlist, WaitlistLine
from live.protocol.codes import Code, Refusal


async def open_line(session: AsyncSession, offer: Offer) -> None:
    """An offer that was just opened may be waited for once it is sold out."""
    assert offer.id is not None
    session.add(WaitlistLine(offer_id=offer.id))
    await session.flush()
    await outbox.count(session, offer.room_id, queries.key(offer.id), 1, queries.shown(0, []))


async def enter(
    session: AsyncSession, *, person: str, offer_id: int, qty: int, at: Sequence[str], version: int, now: datetime
) -> tuple[RowMapping, bool]:
    """Stand in line for `qty` units at the first of the stores `at` to which any come back. Returns the entry, and whether it is new.

    Whoever stands there with the same wish has the place they have. `version`: of the price the buyer was shown. Refusal(NOT_FOUND),
    (NO_WAITLIST), (ENDED), (PRICE_CHANGED), (BAD_REQUEST field at), (LIMIT), (ORDER_LIMIT), or (STATE): they wait for something else of it.
    """
    line = await _locked(session, offer_id)
    offer = await session.get_one(Offer, offer_id, populate_existing=True)
    held = await queries.of_offer(session, person, offer_id)
    if held is not None and held["state"] == "WAITING":
        if (held["qty"], list(held["at"])) != (qty, list(at)):
            raise Refusal(Code.STATE, state="WAITING", why="leave the line to wait for something else")
        return held, False
    await _check(session, offer, person, qty, at, version, now)
    if line["waiting"] >= rules.MOST:
        raise Refusal(Code.NO_WAITLIST, why="full")
    entry = Waitlist(
        offer_id=offer_id, room_id=offer.room_id, person=person, place=line["last"] + 1, qty=qty, at=list(at), fen=offer.fen,
        price_version=offer.price_version, since=now,
    )  # fmt: skip
    session.add(entry)
    await session.flush()
    grown = await move_line(session, offer_id, 1)
    if rules.worth_telling(grown["waiting"]):
        await tell_line(session, offer.room_id, offer_id, grown)
    return await _tell(session, person, offer_id), True


async def leave(session: AsyncSession, person: str, offer_id: int) -> RowMapping:
    """Out of the line, if they stand in it; their last entry. Refusal(NOT_FOUND): they never did."""
    await _locked(session, offer_id)
    entry = await queries.of_offer(session, person, offer_id)
    if entry is None:
        raise Refusal(Code.NOT_FOUND, what="waitlist")
    if entry["state"] != "WAITING":
        return entry
    await session.execute(text("UPDATE waitlist SET state = 'LEFT', version = version + 1 WHERE id = :i"), {"i": entry["id"]})
    await tell_line(session, entry["room_id"], offer_id, await move_line(session, offer_id, -1))
    return await _tell(session, person, offer_id)


async def close_line(session: AsyncSession, offer: Offer) -> None:
    """The offer ends: nobody waits for it any more, and each who did is told."""
    query = text("UPDATE waitlist_line SET waiting = 0, version = version + 1 WHERE offer_id = :o RETURNING waiting, version")
    closed = (await session.execute(query, {"o": offer.id})).mappings().one_or_none()
    if closed is None or offer.id is None:
        return
    gone = text("UPDATE waitlist SET state = 'CLOSED', version = version + 1 WHERE offer_id = :o AND state = 'WAITING' RETURNING *")
    entries = (await session.execute(gone, {"o": offer.id})).mappings().all()
    await tell_line(session, offer.room_id, offer.id, closed)
    await tell_entries(session, offer.room_id, entries)


async def move_line(connection: Connected, offer_id: int, change: int) -> RowMapping:
    """The line grows at its end by one, or is shorter by so many. Its row as it is then."""
    change_it = "SET waiting = waiting + :n, last = last + greatest(:n, 0), version = version + 1"
    query = text(f"UPDATE waitlist_line {change_it} WHERE offer_id = :o RETURNING *")
    return (await connection.execute(query, {"n": change, "o": offer_id})).mappings().one()


async def tell_line(connection: Connected, room_id: str, offer_id: int, line: Row) -> None:
    """Show the room how long the line is and who stands at its head."""
    heads = (await queries.first(connection, [offer_id])).get(offer_id, []) if line["waiting"] else []
    await outbox.count(connection, room_id, queries.key(offer_id), line["version"], queries.shown(line["waiting"], heads))


async def tell_entries(
    connection: Connected, room_id: str, entries: Sequence[Row], pay_until: Mapping[int, int] | None = None
) -> None:
    """Tell each what became of their entry; `pay_until`: entry -> deadline of what they were given."""
    if entries:
        ends = pay_until or {}
        news = [(one["person"], f"waitlist:{one['id']}", one["version"], queries.told(one, ends.get(one["id"]))) for one in entries]
        await outbox.tell_many(connection, room_id, news)


async def _tell(session: AsyncSession, person: str, offer_id: int) -> RowMapping:
    entry = await queries.of_offer(session, person, offer_id)
    assert entry is not None
    await tell_entries(session, entry["room_id"], [entry])
    return entry


async def _locked(session: AsyncSession, offer_id: int) -> RowMapping:
    """The line's row, locked. Refusal(NOT_FOUND or NO_WAITLIST)."""
    query = text("SELECT l.* FROM waitlist_line l WHERE l.offer_id = :o FOR UPDATE")
    line = (await session.execute(query, {"o": offer_id})).mappings().one_or_none()
    if line is None:
        await queries.room_of(session, offer_id)
        raise Refusal(Code.NO_WAITLIST, why="kind")
    return line


async def _check(session: AsyncSession, offer: Offer, person: str, qty: int, at: Sequence[str], version: int, now: datetime) -> None:
    if offer.phase != "open" or (offer.closes_at is not None and offer.closes_at <= now):
        raise Refusal(Code.ENDED)
    if offer.price_version != version:
        raise Refusal(Code.PRICE_CHANGED, fen=offer.fen, version=offer.price_version)
    places = (await session.execute(text("SELECT location FROM allotment WHERE offer_id = :o"), {"o": offer.id})).scalars().all()
    if not set(at) <= set(places):
        raise Refusal(Code.BAD_REQUEST, field="at", why="this offer is not sold there")
    used = await session.execute(text("SELECT used FROM quota WHERE offer_id = :o AND person = :p"), {"o": offer.id, "p": person})
    per_order = offer.terms.get(PER_ORDER, qty)
    if qty > per_order:
        raise Refusal(Code.ORDER_LIMIT, allowed=per_order)
    if int(used.scalar_one_or_none() or 0) + qty > offer.per_person:
        raise Refusal(Code.LIMIT, allowed=offer.per_person)
