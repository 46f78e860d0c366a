"""Reconciliation exceptions: what the provider says of money and our books contradict each other. Kept, said once, decided by a person.

Nothing is concluded from one: no state changes until somebody decides. Locks are taken in the order attempts, exception, order.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
import structlog
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import ColumnElement, exists, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import Database
from live.payments import rules
from live.payments.gateway import Payment
from live.payments.refunds import approve, refund_attempt
from live.payments.tables import PayAttempt, PayException, Refund
from live.protocol.codes import Code, Refusal

QUARANTINED = frozenset(
    {"unknown", "wrong_amount", "wrong_merchant", "wrong_transaction", "wrong_refund", "malformed", "refunded_elsewhere"}
)
MISMATCH = "mismatch"  # cause of a refund of what was really paid

log = structlog.get_logger(__name__)


async def drift(
    session: AsyncSession, verdict: str, out_trade_no: str, now: datetime, *, order_no: str | None = None,
    expected: dict[str, Any] | None = None, told: dict[str, Any] | None = None,
) -> str:  # fmt: skip
    """Keep that the provider and our books disagree about money; returns the verdict. Logged when it is new, else counted."""
    assert verdict in QUARANTINED
    values = {
        "trade": out_trade_no, "order": order_no, "verdict": verdict, "expected": orjson.dumps(expected or {}).decode(),
        "told": orjson.dumps(told or {}).decode(), "now": now, "first": rules.FIRST_WAIT, "longest": rules.LONGEST_WAIT,
    }  # fmt: skip
    if (await session.execute(_KEEP, values)).scalar_one() == 1:
        log.error("drift", what="payment", verdict=verdict, out_trade_no=out_trade_no, expected=expected, told=told)
    return verdict


async def heal(session: AsyncSession, out_trade_no: str, now: datetime) -> None:
    """The provider's word and our books agree by now, without anybody's doing."""
    await session.execute(_HEAL, {"trade": out_trade_no, "now": now})


def quarantined(order_no: Any, now: datetime) -> ColumnElement[bool]:
    """Whether what the provider said of this order contradicts our books and need not be asked again yet."""
    return exists().where(col(PayException.order_no) == order_no, col(PayException.state) == "OPEN", col(PayException.ask_at) > now)


async def undecided(session: AsyncSession, exception_id: int) -> PayException:
    """An open one, locked. Refusal(NOT_FOUND), (STATE): decided before."""
    query = select(PayException).where(col(PayException.id) == exception_id).with_for_update()
    kept = (await session.execute(query.execution_options(populate_existing=True))).scalar_one_or_none()
    if kept is None:
        raise Refusal(Code.NOT_FOUND, what="exception")
    if kept.state != "OPEN":
        raise Refusal(Code.STATE, state=kept.state)
    return kept


async def decided(session: AsyncSession, kept: PayException, state: str, note: str, staff: int, now: datetime) -> None:
    """Write down who decided what, of everything open about the same attempt."""
    about = {"id": kept.id, "trade": kept.out_trade_no, "order": kept.order_no}
    values = about | {"state": state, "note": note, "staff": staff, "now": now}
    await session.execute(_DECIDE, values)
    log.info("payment exception decided", id=kept.id, state=state, staff=staff)


async def send_back(session: AsyncSession, attempt: PayAttempt, payment: Payment, now: datetime) -> Refund:
    """All that was really paid goes back to its payer; the attempt pays nothing. The caller has locked the attempt.

    Refusal(STATE) with `state`: what the provider says when it is no payment, `agrees` when it is the sum asked for, `unknown_amount`, or
    the attempt's own state when it waits for no money any more.
    """
    if payment.state != "SUCCESS" or payment.transaction_id is None:
        raise Refusal(Code.STATE, state=payment.state)
    if attempt.state == "SUCCEEDED":
        raise Refusal(Code.STATE, state=attempt.state)
    if payment.fen == attempt.fen:
        raise Refusal(Code.STATE, state="agrees")
    if payment.fen <= 0:
        raise Refusal(Code.STATE, state="unknown_amount")
    taken = select(func.count()).where(col(PayAttempt.transaction_id) == payment.transaction_id)
    if (await session.execute(taken)).scalar_one():
        raise Refusal(Code.STATE, state="wrong_transaction")
    attempt.state, attempt.fen = "SUCCEEDED", payment.fen
    attempt.transaction_id, attempt.paid_at = payment.transaction_id, payment.paid_at or now
    await session.flush()
    return await refund_attempt(session, attempt, MISMATCH, now)


async def send_again(session: AsyncSession, attempt: PayAttempt, now: datetime) -> Refund:
    """The refund of a mismatch that the provider did not carry out, once more. Refusal(STATE): it is on its way, or done."""
    cause = rules.cause_of(MISMATCH, attempt.id or 0)
    query = select(Refund).where(col(Refund.order_no) == attempt.order_no, col(Refund.cause) == cause)
    refund = (await session.execute(query)).scalar_one_or_none()
    if refund is None or refund.state != "FAILED":
        raise Refusal(Code.STATE, state="REFUNDED")
    return await approve(session, refund.id or 0, now)


def give_up(attempt: PayAttempt) -> None:
    """No money of it is waited for any more. What still comes goes back by itself."""
    if rules.attempt_may(attempt.state, "CLOSED"):
        attempt.state = "CLOSED"


async def figures(db: Database) -> bytes:
    """Open exceptions by verdict, in Prometheus's text form, from SQL."""
    registry = CollectorRegistry()
    gauge = Gauge("live_pay_exceptions_open", "Payments that contradict the books and wait for a person", ["verdict"], registry=registry)
    query = select(col(PayException.verdict), func.count()).where(col(PayException.state) == "OPEN").group_by(col(PayException.verdict))
    async with db.begin() as session:
        for verdict, count in (await session.execute(query)).all():
            gauge.labels(verdict).set(count)
    return generate_latest(registry)


# Said again after a decision it stays decided: somebody has seen it. The pauses are half of its age, as a refund's.
_KEEP = text(
    "INSERT INTO pay_exception AS e (out_trade_no, order_no, verdict, expected, told, at, last_at, ask_at)"
    " VALUES (:trade, :order, :verdict, CAST(:expected AS jsonb), CAST(:told AS jsonb), :now, :now, :now + CAST(:first AS interval))"
    " ON CONFLICT (out_trade_no, verdict, told) DO UPDATE SET times = e.times + 1, last_at = :now,"
    " ask_at = :now + least(greatest((:now - e.at) / 2, CAST(:first AS interval)), CAST(:longest AS interval)) RETURNING times"
)
# Both of what was found about an attempt of ours; what a strange notice said of a number stands by itself.
_HEAL = text(
    "UPDATE pay_exception SET state = 'ACCEPTED', decided_at = :now"
    " WHERE out_trade_no = :trade AND order_no IS NOT NULL AND state = 'OPEN'"
)
_DECIDE = text(
    "UPDATE pay_exception SET state = :state, note = :note, by_staff = :staff, decided_at = :now"
    " WHERE (id = :id OR (out_trade_no = :trade AND order_no = :order)) AND state = 'OPEN'"
)
