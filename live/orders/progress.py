"""How far the money that groups owe has gone back: for the host who waits for ten thousand refunds to be done."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from live.orders.rules import OF_THE_ORDER

FAILED_SHOWN = 50  # the oldest; a person looks at each of them


async def refund_progress(session: AsyncSession, room: str) -> dict[str, Any]:
    """`{groups: [{offer, cause, total, done, failed, fen, done_fen}], failed: [{id, order, cause, fen, person_name}], failed_count}`.

    `groups`: what a room's groups owe, by the offer and why (`group_failed`: all of it, `ladder`: differences); orders of a failed group
    whose refund is not opened yet count as well. `failed`: what the provider did not carry out, whoever asked for it: the first of
    `failed_count`. Money in fen.
    """
    groups = (await session.execute(_GROUPS, {"room": room})).mappings().all()
    failed = (await session.execute(_FAILED, {"room": room, "causes": list(OF_THE_ORDER), "most": FAILED_SHOWN})).mappings().all()
    named = ("id", "order", "cause", "fen", "person_name")
    return {
        "groups": [dict(row) for row in groups],
        "failed": [{name: row[name] for name in named} for row in failed],
        "failed_count": failed[0]["count"] if failed else 0,
    }


_GROUPS = text(
    "SELECT coalesce(t.offer_id, p.offer_id) AS offer, coalesce(r.cause, 'group_failed') AS cause, count(*) AS total,"
    " count(*) FILTER (WHERE r.state = 'DONE') AS done, count(*) FILTER (WHERE r.state = 'FAILED') AS failed,"
    " CAST(sum(coalesce(r.fen, o.fen - o.discount)) AS bigint) AS fen,"
    " CAST(coalesce(sum(r.fen) FILTER (WHERE r.state = 'DONE'), 0) AS bigint) AS done_fen"
    " FROM orders o LEFT JOIN team t ON t.id = o.team_id LEFT JOIN party p ON p.id = o.party_id"
    " LEFT JOIN refund r ON r.order_no = o.no AND r.cause IN ('group_failed', 'ladder')"
    " WHERE o.room_id = :room AND coalesce(o.team_id, o.party_id) IS NOT NULL"
    " AND (r.id IS NOT NULL OR (o.state = 'GROUP_WAIT' AND 'failed' IN (t.state, p.state)))"
    " GROUP BY 1, 2 ORDER BY 1 DESC, 2"
)
_FAILED = text(
    "SELECT r.id, r.order_no AS order, r.cause, r.fen, coalesce(w.name, '') AS person_name, count(*) OVER ()"
    " FROM refund r JOIN orders o ON o.no = r.order_no"
    " LEFT JOIN person w ON o.person = 'p:' || w.id WHERE o.room_id = :room AND r.state = 'FAILED' AND r.cause = ANY(:causes)"
    " ORDER BY r.id LIMIT :most"
)
