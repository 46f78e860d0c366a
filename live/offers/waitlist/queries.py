"""Lines before sold-out offers, read. One query serves one's own entries and what one is told: the shape is the own event's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from live.infra.db import array, epoch_ms
from live.offers.waitlist.rules import SHOWN
from live.protocol.codes import Code, Refusal
from live.protocol.events import WaitlistView, WaitView, view

Connected = AsyncConnection | AsyncSession
Row = RowMapping | Mapping[str, Any]
_ENTRY = """SELECT w.*, CASE WHEN w.state = 'WAITING' THEN (SELECT count(*) FROM waitlist b
    WHERE b.offer_id = w.offer_id AND b.state = 'WAITING' AND b.place <= w.place) END AS number FROM waitlist w"""
_FIRST = """SELECT offer_id, array_agg(id ORDER BY place) AS ids FROM (
    SELECT w.offer_id, w.id, w.place, row_number() OVER (PARTITION BY w.offer_id ORDER BY w.place) AS number
    FROM waitlist w WHERE w.offer_id = ANY(CAST(:offers AS bigint[])) AND w.state = 'WAITING') AS line
  WHERE number <= :shown GROUP BY offer_id"""
_NEWEST = "w.id IN (SELECT max(id) FROM waitlist WHERE person = :p GROUP BY offer_id) ORDER BY w.id DESC LIMIT 50"


async def newest(session: AsyncSession, person: str, room: str | None = None) -> list[RowMapping]:
    """A person's last entry of each offer, newest first, with its `number` in the line; `room` narrows them."""
    narrowed = "" if room is None else "w.room_id = :r AND "
    query = text(f"{_ENTRY} WHERE {narrowed}{_NEWEST}")
    return list((await session.execute(query, {"p": person, "r": room} if room else {"p": person})).mappings().all())


async def of_offer(session: AsyncSession, person: str, offer: int) -> RowMapping | None:
    """A person's last entry in the line of one offer."""
    query = text(f"{_ENTRY} WHERE w.person = :p AND w.offer_id = :o ORDER BY w.id DESC LIMIT 1")
    return (await session.execute(query, {"p": person, "o": offer})).mappings().one_or_none()


def shape(entry: Row) -> dict[str, Any]:
    """An entry as the doors show it: the own event's fields and `{room, at, fen, since}`; a deadline stands on its order."""
    more = {"room": entry["room_id"], "at": entry["at"], "fen": entry["fen"], "since": epoch_ms(entry["since"])}
    return {name: value for name, value in told(entry).items() if name not in ("t", "pay_until")} | more


def told(entry: Row, pay_until: int | None = None) -> dict[str, Any]:
    """An entry as its person is told of it."""
    return view(
        WaitView(
            id=entry["id"], version=entry["version"], offer=entry["offer_id"], state=entry["state"], qty=entry["qty"],
            number=entry.get("number"), order=entry["order_no"], pay_until=pay_until, why=entry["why"],
        )
    )  # fmt: skip


async def room_of(session: AsyncSession, offer: int) -> str:
    """The room of an offer. Refusal(NOT_FOUND)."""
    room: str | None = (await session.execute(text("SELECT room_id FROM offer WHERE id = :o"), {"o": offer})).scalar_one_or_none()
    if room is None:
        raise Refusal(Code.NOT_FOUND, what="offer")
    return room


async def first(connection: Connected, offers: Iterable[int]) -> dict[int, list[int]]:
    """The entries at the head of these lines, in their order."""
    rows = (await connection.execute(text(_FIRST), {"offers": array(offers), "shown": SHOWN})).all()
    return {int(offer): list(ids) for offer, ids in rows}


async def lines(connection: AsyncConnection, room_id: str) -> dict[str, tuple[int, dict[str, Any]]]:
    """Every line of a room, state key -> (version, value): what a rebuilt room starts from."""
    query = "SELECT l.offer_id, l.waiting, l.version FROM waitlist_line l JOIN offer o ON o.id = l.offer_id WHERE o.room_id = :r"
    rows = (await connection.execute(text(query), {"r": room_id})).all()
    heads = await first(connection, (row.offer_id for row in rows))
    return {key(row.offer_id): (int(row.version), shown(row.waiting, heads.get(row.offer_id, []))) for row in rows}


def key(offer: int) -> str:
    """The state key of an offer's line."""
    return f"waitlist:{offer}"


def shown(waiting: int, heads: list[int]) -> dict[str, Any]:
    """A line as the room sees it."""
    return view(WaitlistView(waiting=waiting, first=heads))
