"""What comes back goes to who waits, in the transaction that books the movement: first come, first served, and no tapper in between.

The turnstile hears of both at once, the units that came and the holds they became, so what it can sell only rises by what is left over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import structlog
from sqlalchemy import RowMapping, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra.db import array
from live.offers.rules import Intent, IntentLine
from live.offers.till import BAD_BATCH, Booker, Move, give
from live.offers.waitlist import actions, rules
from live.offers.waitlist.queries import Row

log = structlog.get_logger("ledger")

PAGE = 200  # people asked for in one go: a store's delivery may serve hundreds, a cancelled order one
LOCK_NOT_AVAILABLE = "55P03"

Held = tuple[str, int]  # person, units


@dataclass(frozen=True, slots=True)
class Giving:
    """Serves the line of an offer for the ledger (`till.Giver`)."""

    bookers: Sequence[Booker]

    async def __call__(self, connection: AsyncConnection, room: str, cause: str, move: Move, fresh: bool, now: datetime) -> list[Held]:
        """The holds that what came back with `move` has become; of a movement that was booked before, those it became then."""
        if not fresh:
            rows = (await connection.execute(_GIVEN, {"c": cause, "o": move.offer, "l": move.place})).all()
            return [(person, int(qty)) for person, qty in rows]
        about = {"o": move.offer, "now": now}
        if move.left <= 0 or (await connection.execute(text(_LINE), about)).one_or_none() is None:
            return []
        try:
            async with connection.begin_nested():
                await connection.execute(_PATIENCE)
                line = (await connection.execute(text(f"{_LINE} FOR UPDATE OF l"), about)).mappings().one_or_none()
                await connection.execute(_USUAL)
                return [] if line is None else await self._serve(connection, room, cause, move, line, now)
        except BAD_BATCH as error:  # a fault in here must not keep the units from everybody else
            facts = {"cause": cause, "location": move.place, "error": repr(error)[:500]}
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            facts = {"cause": cause, "location": move.place, "error": "the line is held by somebody who does not go on"}
        log.error("waitlist.refused", room=room, offer=move.offer, **facts)
        await connection.execute(_DRIFT, {"r": room, "o": move.offer, "f": orjson.dumps(facts).decode()})
        return []

    async def _serve(self, connection: AsyncConnection, room: str, cause: str, move: Move, line: RowMapping, now: datetime) -> list[Held]:
        units, after, gone = move.left, 0, 0
        held: list[Held] = []
        hold = int(line["terms"].get(rules.HOLD, line["hold_seconds"]))
        while units > 0:
            page = (await connection.execute(_PAGE, {"o": move.offer, "l": move.place, "a": after, "n": PAGE})).mappings().all()
            if not page:
                break
            after = page[-1]["place"]
            why = {one["id"]: reason for one in page if (reason := rules.passed_over(one["fen"], line["fen"])) is not None}
            wishes = {rules.rid(one["id"]): one for one in page if one["id"] not in why}
            bodies: dict[str, dict[str, Any]] = {}
            if wishes:
                intents = [_intent(rid, one, line, move.place) for rid, one in wishes.items()]
                bodies, no = await give(connection, room, intents, units, hold, self.bookers, now)
                why |= {wishes[rid]["id"]: reason for rid, reason in no.items() if reason == "limit"}
            given = [(wishes[rid]["person"], int(wishes[rid]["qty"])) for rid in bodies]
            units -= sum(qty for _, qty in given)
            held += given
            gone += len(given) + len(why)
            await _tell(connection, room, cause, {wishes[rid]["id"]: body["order"] for rid, body in bodies.items()}, why)
        if gone:
            await actions.tell_line(connection, room, move.offer, await actions.move_line(connection, move.offer, -gone))
        return held


async def _tell(
    connection: AsyncConnection, room: str, cause: str, orders: Mapping[int, Mapping[str, Any]], why: Mapping[int, str]
) -> None:
    entries: list[RowMapping] = []
    if orders:
        given = {"i": array(orders), "n": array(order["no"] for order in orders.values()), "c": cause}
        entries += (await connection.execute(_GIVE, given)).mappings().all()
    if why:
        entries += (await connection.execute(_SKIP, {"i": array(why), "w": array(why.values())})).mappings().all()
    await actions.tell_entries(connection, room, entries, {one: order["pay_until"] for one, order in orders.items()})


def _intent(rid: str, entry: Row, line: Row, place: str) -> Intent:
    """As if they had tapped now. The rid makes it happen once."""
    wanted = (IntentLine(entry["offer_id"], entry["qty"], line["fen"], line["price_version"]),)
    return Intent(rid, rid, entry["person"], line["kind"], place, wanted, hub="", fence=0)


_LINE = """SELECT o.kind, o.fen, o.price_version, o.hold_seconds, o.terms FROM waitlist_line l JOIN offer o ON o.id = l.offer_id
  WHERE l.offer_id = :o AND l.waiting > 0 AND o.phase = 'open' AND (o.closes_at IS NULL OR o.closes_at > :now)"""
_PATIENCE = text("SET LOCAL lock_timeout = '500ms'")  # a door that stopped in mid-transaction: the room's buyers wait for this one
_USUAL = text("SET LOCAL lock_timeout TO DEFAULT")
_PAGE = text("""SELECT id, offer_id, person, place, qty, fen FROM waitlist
  WHERE offer_id = :o AND state = 'WAITING' AND place > :a AND jsonb_exists(at, :l) ORDER BY place LIMIT :n""")
_GIVE = text("""UPDATE waitlist w SET state = 'GIVEN', order_no = t.n, cause = :c, version = version + 1
  FROM unnest(CAST(:i AS bigint[]), CAST(:n AS text[])) AS t(i, n) WHERE w.id = t.i RETURNING w.*""")
_SKIP = text("""UPDATE waitlist w SET state = 'SKIPPED', why = t.w, version = version + 1
  FROM unnest(CAST(:i AS bigint[]), CAST(:w AS text[])) AS t(i, w) WHERE w.id = t.i RETURNING w.*""")
_GIVEN = text("""SELECT w.person, m.qty FROM waitlist w JOIN movement m ON m.rid = 'wait:' || w.id AND m.offer_id = w.offer_id
  AND m.kind = 'HOLD' WHERE w.cause = :c AND w.offer_id = :o AND m.location = :l ORDER BY m.move_no""")
_DRIFT = text("INSERT INTO drift (room_id, offer_id, what, facts) VALUES (:r, :o, 'waitlist_refused', CAST(:f AS jsonb))")
