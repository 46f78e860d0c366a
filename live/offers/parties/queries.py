"""Small teams, read. Names of members are nobody's business: a team shows its seats and its clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from live.offers.parties.rules import FORM
from live.protocol.events import PartiesView, PartyView
from live.protocol.events import view as on_the_wire

SHOWN = 6  # every viewer is sent them with every change; a buyer looks at five, others are found by their link
PAGE = 20  # teams in the list of all
Board = tuple[int, dict[str, Any]]  # version and value of the state key `teams:<offer>`


async def parties(session: AsyncSession | AsyncConnection, ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """These teams, in any state, by id; with the offer and the room they belong to."""
    rows = (await session.execute(_PARTIES, {"ids": sorted(set(ids))})).mappings().all()
    return {row["id"]: on_the_wire(_view(dict(row))) | {"offer": row["offer_id"], "room": row["room_id"]} for row in rows}


async def board(session: AsyncSession | AsyncConnection, offer_id: int) -> Board:
    """The teams of an offer at a glance, from one snapshot. The version is the sum of theirs: of two pictures the one with the higher
    has seen all that the other has."""
    row = (await session.execute(_BOARD, {"o": offer_id, "n": SHOWN})).mappings().one()
    sums = {name: row[name] for name in ("filling", "full", "made", "failed", "paid", "held")}
    return int(row["version"]), on_the_wire(PartiesView(**sums, open=[_view(one) for one in row["open"]]))


async def joinable(session: AsyncSession, offer_id: int, before: int | None, now: datetime) -> dict[str, Any]:
    """Teams of an offer with a seat and time left, newest first: `{joinable: how many, teams: [a page of them], next}`. `before`: the page
    of those with a lower id; `next`: what to give for the following page, None after the last."""
    values = {"o": offer_id, "now": now, "before": before, "n": PAGE + 1}
    total, rows = (await session.execute(_JOINABLE, values)).one()
    teams = [on_the_wire(_view(row)) for row in rows[:PAGE]]
    return {"joinable": total, "teams": teams, "next": teams[-1]["id"] if len(rows) > PAGE else None}


async def boards(connection: AsyncConnection, room_id: str) -> dict[str, Board]:
    """Every board of a room, state key -> (version, value): what a rebuilt room starts from."""
    found = await connection.execute(_OFFERS, {"r": room_id, "f": FORM})
    return {f"teams:{offer}": await board(connection, offer) for offer in found.scalars().all()}


def _view(row: Mapping[str, Any]) -> PartyView:
    left = row["size"] - row["paid"] - row["held"]
    return PartyView(left=left, **{name: row[name] for name in ("id", "size", "paid", "held", "state", "closes")})


_PARTY = """SELECT id, offer_id, room_id, size, paid, held, state, (extract(epoch FROM closes_at) * 1000)::bigint AS closes FROM party"""
_PARTIES = text(f"{_PARTY} WHERE id = ANY(CAST(:ids AS bigint[]))")
_OFFERS = text("SELECT id FROM offer WHERE room_id = :r AND terms->>'form' = :f ORDER BY id")
_BOARD = text(f"""SELECT count(*) FILTER (WHERE state IN ('filling','closing')) AS filling,
  count(*) FILTER (WHERE state IN ('filling','closing') AND held + paid = size) AS full,
  count(*) FILTER (WHERE state IN ('success','filled')) AS made, count(*) FILTER (WHERE state = 'failed' AND paid > 0) AS failed,
  coalesce(sum(paid) FILTER (WHERE state <> 'failed'), 0)::bigint AS paid, coalesce(sum(held), 0)::bigint AS held,
  coalesce(sum(version), 0)::bigint AS version,
  (SELECT coalesce(json_agg(p), '[]') FROM ({_PARTY} WHERE offer_id = :o AND state IN ('filling','closing')
  ORDER BY state = 'filling' AND held + paid < size DESC, id DESC LIMIT :n) p) AS open FROM party WHERE offer_id = :o""")
_JOINABLE = text(f"""WITH found AS (SELECT id FROM party
  WHERE offer_id = :o AND state = 'filling' AND held + paid < size AND closes_at > :now)
  SELECT (SELECT count(*) FROM found), (SELECT coalesce(json_agg(p ORDER BY p.id DESC), '[]') FROM ({_PARTY} WHERE id IN (
    SELECT id FROM found WHERE CAST(:before AS bigint) IS NULL OR id < :before ORDER BY id DESC LIMIT :n)) p)""")
