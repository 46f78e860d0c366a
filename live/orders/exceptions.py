"""What the owner decides about payments that contradict the books (`payments.exceptions`), and what becomes of their orders.

Every decision ends the waiting: an order that is CLOSING for it is paid, or gives its units back.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from live.infra.db import Database, epoch_ms
from live.orders.actions import give_up_if_closed, payment_arrived
from live.payments.actions import lock_attempts, settle_asked
from live.payments.exceptions import decided, give_up, send_back, undecided
from live.payments.exceptions import send_again as send_mismatch_again
from live.payments.gateway import Gateway
from live.payments.refunds import approve
from live.payments.tables import PayAttempt, PayException, Refund
from live.protocol.codes import Code, Refusal

PAGE = 100  # open ones first, none of them hidden by old ones
UNBIDDEN = ("late:", "loser:")  # causes of refunds nobody asked for: money that came too late, or twice
NOTE_CHARACTERS = 200  # what was found out and done, for whoever asks next


async def refund(db: Database, gateway: Gateway, exception_id: int, staff: int, now: datetime) -> None:
    """Send back all that was really paid, by the provider's own word of now; one that failed at the provider is sent again.

    Refusal(NOT_FOUND), (GATEWAY), (STATE) as `send_back`, or decided before.
    """
    kept = await _seen(db, exception_id)
    if kept.state == "REFUNDED":
        async with db.begin() as session:
            await send_mismatch_again(session, (await lock_attempts(session, [kept.out_trade_no]))[kept.out_trade_no], now)
        return
    if kept.verdict != "wrong_amount":
        raise Refusal(Code.STATE, state=kept.verdict)
    payment = await gateway.query(kept.out_trade_no)
    async with db.begin() as session:
        attempt = (await lock_attempts(session, [kept.out_trade_no]))[kept.out_trade_no]
        kept = await undecided(session, exception_id)
        await send_back(session, attempt, payment, now)
        await decided(session, kept, "REFUNDED", "", staff, now)
        await give_up_if_closed(session, attempt.order_no, now)


async def accept(db: Database, gateway: Gateway, exception_id: int, staff: int, now: datetime) -> None:
    """The provider's word of now agrees with the books: it counts as if it had been said at once.

    Refusal(NOT_FOUND), (GATEWAY), (STATE): decided before; `state` is what is still wrong, or that nothing was paid.
    """
    kept = await _seen(db, exception_id)
    if kept.order_no is None:
        raise Refusal(Code.STATE, state=kept.verdict)
    payment = await gateway.query(kept.out_trade_no)
    async with db.begin() as session:
        attempts = await lock_attempts(session, [kept.out_trade_no])
        kept = await undecided(session, exception_id)
        await decided(session, kept, "ACCEPTED", "", staff, now)  # before it heals by itself, for who did it
        verdict = await settle_asked(session, kept.out_trade_no, payment, payment_arrived, now)
        if verdict not in ("paid", "loser", "late", "again", "closed"):
            raise Refusal(Code.STATE, state=verdict)
        await give_up_if_closed(session, attempts[kept.out_trade_no].order_no, now)


async def note(db: Database, exception_id: int, words: str, staff: int, now: datetime) -> None:
    """Seen to elsewhere: no money of this number is waited for any more. Refusal(NOT_FOUND), (STATE): decided before."""
    kept = await _seen(db, exception_id)
    async with db.begin() as session:
        attempt: PayAttempt | None = (await lock_attempts(session, [kept.out_trade_no])).get(kept.out_trade_no)
        kept = await undecided(session, exception_id)
        await decided(session, kept, "NOTED", words, staff, now)
        if attempt is not None and kept.order_no is not None:
            give_up(attempt)
            await session.flush()
            await give_up_if_closed(session, attempt.order_no, now)


async def send_again(db: Database, refund_id: int, now: datetime) -> None:
    """Money that came late or twice and did not get back to its payer, once more. Refusal(NOT_FOUND), (STATE): it has not failed."""
    async with db.begin() as session:
        kept = await session.get(Refund, refund_id)
        if kept is None or not kept.cause.startswith(UNBIDDEN):
            raise Refusal(Code.NOT_FOUND, what="refund")
        if kept.state != "FAILED":
            raise Refusal(Code.STATE, state=kept.state)
        await approve(session, refund_id, now)


async def _seen(db: Database, exception_id: int) -> PayException:
    async with db.begin() as session:
        kept = await session.get(PayException, exception_id)
    if kept is None:
        raise Refusal(Code.NOT_FOUND, what="exception")
    if kept.state not in ("OPEN", "REFUNDED"):
        raise Refusal(Code.STATE, state=kept.state)
    return kept


async def exceptions(session: AsyncSession) -> dict[str, Any]:
    """`{open, exceptions: [{id, trade, order, order_state, room, verdict, expected, told, state, times, at, last_at, note, by,
    decided_at, refund, may}], refunds: [{id, order, order_state, room, trade, cause, fen, at}]}`, open ones first, newest first; `refund`:
    {state, fen} of what was sent back; `may`: what can be decided; `refunds`: of money that came `late` or twice (`loser`), which failed
    at the provider. Money in fen, times in epoch ms."""
    rows = (await session.execute(_LIST, {"most": PAGE})).mappings().all()
    failed = (await session.execute(_FAILED, {"most": PAGE})).mappings().all()
    refunds = [dict(row) | {"cause": row["cause"].partition(":")[0], "at": epoch_ms(row["at"])} for row in failed]
    return {"open": rows[0]["open"] if rows else 0, "exceptions": [_shape(row) for row in rows], "refunds": refunds}


def _shape(row: Any) -> dict[str, Any]:
    names = ("id", "trade", "order", "order_state", "room", "verdict", "expected", "told", "state", "times", "note", "by")
    moments = {name: None if row[name] is None else epoch_ms(row[name]) for name in ("at", "last_at", "decided_at")}
    refunded = None if row["refund_state"] is None else {"state": row["refund_state"], "fen": row["refund_fen"]}
    return {name: row[name] for name in names} | moments | {"refund": refunded, "may": _may(row)}


def _may(row: Any) -> list[str]:
    if row["state"] != "OPEN":
        return ["refund"] if row["state"] == "REFUNDED" and row["refund_state"] == "FAILED" else []
    waits = row["attempt_state"] not in (None, "SUCCEEDED")
    refunds = ["refund"] if row["verdict"] == "wrong_amount" and waits else []
    return [*refunds, *(["accept"] if row["order"] else []), "note"]


_LIST = text(
    "SELECT e.id, e.out_trade_no AS trade, e.order_no AS order, o.state AS order_state, o.room_id AS room, e.verdict, e.expected, e.told,"
    " e.state, e.times, e.at, e.last_at, e.note, s.name AS by, e.decided_at, a.state AS attempt_state,"
    " r.state AS refund_state, r.fen AS refund_fen, count(*) FILTER (WHERE e.state = 'OPEN') OVER () AS open"
    " FROM pay_exception e LEFT JOIN orders o ON o.no = e.order_no LEFT JOIN staff s ON s.id = e.by_staff"
    " LEFT JOIN pay_attempt a ON a.out_trade_no = e.out_trade_no"
    " LEFT JOIN refund r ON r.order_no = e.order_no AND r.cause = 'mismatch:' || a.id"
    " ORDER BY e.state <> 'OPEN', e.id DESC LIMIT :most"
)
_FAILED = text(
    "SELECT r.id, r.order_no AS order, o.state AS order_state, o.room_id AS room, r.out_trade_no AS trade, r.cause, r.fen,"
    " r.created_at AS at FROM refund r JOIN orders o ON o.no = r.order_no"
    " WHERE r.state = 'FAILED' AND (r.cause LIKE 'late:%' OR r.cause LIKE 'loser:%') ORDER BY r.id LIMIT :most"
)
