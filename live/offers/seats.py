"""Seats of a group buy that the whole room fills: held with the order, in its transaction, and the bar is told of it.

Lock: after allotments, before small teams. The bar's version is taken under it, so the newest wins wherever two of them meet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import psycopg
from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra import outbox
from live.infra.db import driver

Bar = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]  # (team row, offer's terms) -> state value of the bar
_COLUMNS = "offer_id, size, held, paid, minimum, state, version"
TEAMS = f"SELECT {_COLUMNS} FROM team WHERE offer_id = ANY(CAST(%s AS bigint[])) ORDER BY id FOR UPDATE"
_HOLD = f"UPDATE team SET held = held + %s, version = version + 1 WHERE offer_id = %s RETURNING {_COLUMNS}"


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
    raw: psycopg.AsyncConnection[Any], room: str, offer: int, team: dict[str, Any], seats: int, terms: Mapping[str, Any], bar: Bar
) -> Held:
    """Seats that a group of orders takes of a team that is locked: `team`, its row, moves on with them. In a pipeline."""
    team |= {"held": team["held"] + seats, "version": team["version"] + 1}
    await raw.execute(_HOLD, (seats, offer))
    return await _show(raw, room, offer, team, terms, bar)


async def hold_seats(connection: AsyncConnection, room: str, offer: int, change: int, terms: Mapping[str, Any], bar: Bar) -> None:
    """Seats held of a team change; its bar is told. The CHECK on the team is the backstop."""
    raw = await driver(connection)
    [row] = await (await raw.execute(_HOLD, (change, offer))).fetchall()
    await _show(raw, room, offer, team_of(row)[1], terms, bar)


async def _show(
    raw: psycopg.AsyncConnection[Any], room: str, offer: int, team: Mapping[str, Any], terms: Mapping[str, Any], bar: Bar
) -> Held:
    key, version, value = f"team:{offer}", int(team["version"]), bar(team, terms)
    return Held(await outbox.count_aside(raw, room, key, version, value), key, version, value)
