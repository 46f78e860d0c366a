"""Seats of a group buy that the whole room fills: held with the order, in its transaction, and the bar is told of it.

Lock: after allotments, before small teams. The bar's version is taken under it, so the newest wins wherever two of them meet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import psycopg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra import outbox

Bar = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]  # (team row, offer's terms) -> state value of the bar
TEAMS = """SELECT offer_id, size, held, paid, minimum, state, version FROM team WHERE offer_id = ANY(CAST(%s AS bigint[]))
  ORDER BY id FOR UPDATE"""


class Shown(NamedTuple):
    """A bar as it stands in outbox row `row`. `next`: no act of the room is in front of it, so whoever wrote it may tell it at once."""

    row: int
    next: bool
    key: str
    version: int
    value: dict[str, Any]


class Held(NamedTuple):
    """A bar on its way into the outbox: `shown` can be asked after the pipeline."""

    cursor: psycopg.AsyncCursor[tuple[int, bool]]
    key: str
    version: int
    value: dict[str, Any]

    async def shown(self) -> Shown:
        """Where it stands."""
        [(row, first)] = await self.cursor.fetchall()
        return Shown(row, first, self.key, self.version, self.value)


def team_of(row: Sequence[Any]) -> tuple[int, dict[str, Any]]:
    """A row of TEAMS: offer, and its team as far as a bar shows it."""
    offer, size, held, paid, minimum, state, version = row
    return offer, {"size": size, "held": held, "paid": paid, "minimum": minimum, "state": state, "version": version}


async def hold_together(
    raw: psycopg.AsyncConnection[Any], room: str, offer: int, team: dict[str, Any], seats: int, value: dict[str, Any]
) -> Held:
    """Seats that a group of orders takes of a team that is locked (`team`, which moves on with them); the bar is `value`. In a pipeline."""
    await raw.execute(_HOLD, (seats, offer))
    key, version = f"team:{offer}", int(team["version"])
    return Held(await outbox.count_aside(raw, room, key, version, value), key, version, value)


async def hold_seats(connection: AsyncConnection, room: str, offer: int, change: int, terms: Mapping[str, Any], bar: Bar) -> None:
    """Seats held of a team change; its bar is told. The CHECK on the team is the backstop."""
    team = (await connection.execute(_CHANGE, {"q": change, "o": offer})).mappings().one()
    payload = {"version": int(team["version"]), "value": bar(dict(team), terms)}
    insert = text("INSERT INTO outbox (kind, topic, room_id, key, payload) VALUES ('count', '', :r, :k, CAST(:p AS jsonb))")
    await connection.execute(insert, {"r": room, "k": f"team:{offer}", "p": orjson.dumps(payload).decode()})


_HOLD = "UPDATE team SET held = held + %s, version = version + 1 WHERE offer_id = %s"
_CHANGE = text("UPDATE team SET held = held + :q, version = version + 1 WHERE offer_id = :o RETURNING *")
