"""Money that goes back: opened by a cause, approved, sent under a number derived from it, done when the provider says so.

Locks are taken in the order attempts, order, the order's refund queue (`_queue`), refund row; rows of many refunds in the order of ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime

import structlog
from sqlalchemy import ARRAY, ColumnElement, Text, bindparam, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra import outbox
from live.infra.db import Database
from live.payments import rules
from live.payments.gateway import Gateway, RefundState
from live.payments.tables import PayAttempt, Refund
from live.protocol.codes import Code, Refusal

OnRefunded = Callable[[AsyncSession, Sequence[Refund], datetime], Awaitable[None]]
Turn = Callable[[], Awaitable[None]]
_QUEUES = text(  # in one order, so that two batches cannot wait for each other
    "SELECT pg_advisory_xact_lock(hashtextextended('refund:' || no, 0)) FROM unnest(:orders) WITH ORDINALITY AS t(no, n) ORDER BY n"
).bindparams(bindparam("orders", type_=ARRAY(Text)))
TOPIC = "refund"  # outbox job: {"id": refund id}, key: its out_refund_no
PROMISED = ("APPROVED", "SENT", "DONE", "FAILED")  # money that has gone back or still must; a mere request binds nothing

log = structlog.get_logger(__name__)


async def open_refund(session: AsyncSession, *, order_no: str, cause: str, fen: int, reason: str, approved: bool, now: datetime) -> Refund:
    """A refund of the payment that won, one per (order, cause): a repeat returns the row there is, approved now if that is asked.

    Refusal(STATE) with state `unpaid` (no winner) or `over_refund` (more than was paid would go back).
    """
    await _queue(session, order_no)
    kept = await _by_cause(session, order_no, cause)
    if kept is not None:
        return await approve(session, kept.id or 0, now) if approved and kept.state == "REQUESTED" else kept
    query = select(PayAttempt).where(col(PayAttempt.order_no) == order_no, col(PayAttempt.winner))
    winner = (await session.execute(query)).scalar_one_or_none()
    if winner is None:
        raise Refusal(Code.STATE, state="unpaid")
    return await _insert(session, winner, (cause, fen, reason), approved, now)


async def open_refunds(session: AsyncSession, owed: Mapping[str, int], cause: str, reason: str, now: datetime) -> None:
    """As `open_refund`, approved, for many orders (number -> fen) that have no refund of this cause yet, in a handful of statements.

    Refusal(STATE) as there, and nothing is opened. What was opened for the cause before stays as it is.
    """
    await session.execute(_QUEUES, {"orders": sorted(owed)})
    held = select(col(Refund.order_no)).where(col(Refund.order_no).in_(owed), col(Refund.cause) == cause)
    known = set((await session.execute(held)).scalars())
    query = select(PayAttempt).where(col(PayAttempt.order_no).in_(owed.keys() - known), col(PayAttempt.winner))
    winners = list((await session.execute(query.order_by(col(PayAttempt.id)))).scalars())
    if len(winners) != len(owed.keys() - known):
        raise Refusal(Code.STATE, state="unpaid")
    trades = [attempt.out_trade_no for attempt in winners]
    mine = (col(Refund.out_trade_no).in_(trades), col(Refund.state).in_(PROMISED))
    sums = select(col(Refund.out_trade_no), func.sum(Refund.fen)).where(*mine).group_by(col(Refund.out_trade_no))
    promised = {trade: int(fen) for trade, fen in (await session.execute(sums)).all()}
    if any(promised.get(attempt.out_trade_no, 0) + owed[attempt.order_no] > attempt.fen for attempt in winners):
        raise Refusal(Code.STATE, state="over_refund")
    refunds = [_made(attempt, (cause, owed[attempt.order_no], reason), True, now) for attempt in winners]
    session.add_all(refunds)
    await session.flush()
    await outbox.jobs(session, TOPIC, [(refund.out_refund_no, {"id": refund.id}) for refund in refunds])


async def refund_attempt(session: AsyncSession, attempt: PayAttempt, kind: str, now: datetime) -> Refund:
    """All of one attempt's money back, at once: it came `late`, or for an order paid already (`loser`)."""
    await _queue(session, attempt.order_no)
    cause = rules.cause_of(kind, attempt.id or 0)
    return await _by_cause(session, attempt.order_no, cause) or await _insert(session, attempt, (cause, attempt.fen, ""), True, now)


async def approve(session: AsyncSession, refund_id: int, now: datetime) -> Refund:
    """REQUESTED or FAILED becomes APPROVED and is put on the workers' list; what is on its way already stays as it is."""
    refund = await _found(session, refund_id)
    if refund.state in ("APPROVED", "SENT", "DONE"):
        return refund  # seen without a lock: one that is being sent may be waiting for the caller's order
    await _queue(session, refund.order_no)
    refund = await _found(session, refund_id, lock=True)
    if not rules.refund_may(refund.state, "APPROVED"):
        if refund.state == "DECLINED":
            raise Refusal(Code.STATE, state=refund.state)
        return refund
    if refund.state == "REQUESTED":
        await _within(session, refund.out_trade_no, refund.fen, refund.total)
    _become(refund, "APPROVED")
    refund.due_at = now
    await session.flush()
    await outbox.job(session, TOPIC, refund.out_refund_no, {"id": refund.id})
    return refund


async def decline(session: AsyncSession, refund_id: int, now: datetime) -> Refund:
    """REQUESTED becomes DECLINED; a repeat changes nothing. Refusal(STATE) when money may have moved."""
    refund = await _found(session, refund_id)
    if refund.state == "REQUESTED":
        refund = await _found(session, refund_id, lock=True)
    if refund.state == "DECLINED":
        return refund
    if not rules.refund_may(refund.state, "DECLINED"):
        raise Refusal(Code.STATE, state=refund.state)
    _become(refund, "DECLINED")
    refund.done_at = now
    await session.flush()
    return refund


async def send_refunds(
    db: Database, gateway: Gateway, refund_ids: Collection[int], on_refunded: OnRefunded, now: datetime, turn: Turn | None = None
) -> dict[int, str | Refusal | SQLAlchemyError]:
    """Send these where they are APPROVED, ask what became of them where they are SENT, side by side; returns the state of each.

    Safe to repeat and to run twice at once. `turn` is awaited before money is asked to move: the provider refuses more than so many refunds
    a second. Refusal(GATEWAY) in place of a state: the provider gave no answer. What failed stays SENT and is due again at its `due_at`.
    """
    async with db.begin() as session:
        found = await _rows(session, col(Refund.id).in_(refund_ids))
        outcome: dict[int, str | Refusal | SQLAlchemyError] = dict.fromkeys(refund_ids, Refusal(Code.NOT_FOUND))
        outcome |= {refund.id or 0: refund.state for refund in found}
        going = [refund for refund in found if refund.state in ("APPROVED", "SENT")]
        for refund in going:
            refund.due_at = now + rules.refund_wait(now - refund.created_at)
            if refund.state == "APPROVED":
                _become(refund, "SENT")
    # Committed before the calls: whatever happens now, the rows say that the provider may have them.
    calls = [_called(gateway, refund, outcome[refund.id or 0] == "SENT", turn) for refund in going]
    answers = list(zip(going, await asyncio.gather(*calls), strict=True))
    outcome |= {refund.id or 0: answer for refund, answer in answers if isinstance(answer, Refusal)}
    told = {refund.out_refund_no: (refund.id or 0, answer) for refund, answer in answers if isinstance(answer, RefundState)}
    booked = await _booked(db, [(no, answer) for no, (_, answer) in told.items()], on_refunded, now)
    return outcome | {told[no][0]: state for no, state in booked.items()}


async def _booked(
    db: Database, told: Sequence[tuple[str, RefundState]], on_refunded: OnRefunded, now: datetime
) -> dict[str, str | Refusal | SQLAlchemyError]:
    """`refund_results` in one transaction; when that fails in one each, so that none keeps the others from it."""
    try:
        async with db.begin() as session:
            return {**await refund_results(session, told, on_refunded, now)}
    except (Refusal, SQLAlchemyError) as error:
        if len(told) == 1:
            return {told[0][0]: error}
    alone = [await _booked(db, [each], on_refunded, now) for each in told]
    return {no: state for one in alone for no, state in one.items()}


async def _called(gateway: Gateway, refund: Refund, asked_before: bool, turn: Turn | None) -> RefundState | Refusal:
    """What the provider says of it, once it has it."""
    try:
        if asked_before:
            result = await gateway.query_refund(refund.out_refund_no)
            if result.state != "NOT_FOUND":
                return result
        if turn is not None:
            await turn()
        return await gateway.refund(
            out_trade_no=refund.out_trade_no,
            out_refund_no=refund.out_refund_no,
            fen=refund.fen,
            total=refund.total,
            reason=refund.reason,
        )
    except Refusal as refusal:
        return refusal


async def refund_results(
    session: AsyncSession, told: Sequence[tuple[str, RefundState]], on_refunded: OnRefunded, now: datetime
) -> dict[str, str]:
    """Book what the provider says of refunds (out_refund_no, in this order); returns the state of each of ours. DONE happens once."""
    refunds = {refund.out_refund_no: refund for refund in await _rows(session, col(Refund.out_refund_no).in_({no for no, _ in told}))}
    done = []
    for no, result in told:
        refund = refunds.get(no)
        if refund is None or result.state in ("PROCESSING", "NOT_FOUND"):
            continue
        following = "DONE" if result.state == "SUCCESS" else "FAILED"
        if refund.state == following:
            continue
        if not rules.refund_may(refund.state, following):
            log.error("drift", what="refund", refund=no, ours=refund.state, provider=result.state)
            continue
        _become(refund, following)
        refund.provider_id = result.provider_id or refund.provider_id
        if following == "FAILED":  # closed, or the payer's account does not take it: a person must look at the merchant's site
            log.error("refund failed", refund=no, provider=result.state)
        else:
            refund.done_at = now
            done.append(refund)
    await session.flush()
    if done:
        await on_refunded(session, done, now)
    return {no: refund.state for no, refund in refunds.items()}


async def _rows(session: AsyncSession, which: ColumnElement[bool]) -> list[Refund]:
    """Refunds as they are now, locked in the order of their ids."""
    query = select(Refund).where(which).order_by(col(Refund.id)).with_for_update().execution_options(populate_existing=True)
    return list((await session.execute(query)).scalars())


async def _queue(session: AsyncSession, order_no: str) -> None:
    """One at a time per order, so that two causes together never send back more than was paid."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"refund:{order_no}", 0))))


async def _by_cause(session: AsyncSession, order_no: str, cause: str) -> Refund | None:
    query = select(Refund).where(col(Refund.order_no) == order_no, col(Refund.cause) == cause)
    return (await session.execute(query)).scalar_one_or_none()


async def _found(session: AsyncSession, refund_id: int, lock: bool = False) -> Refund:
    query = select(Refund).where(col(Refund.id) == refund_id).execution_options(populate_existing=True)
    refund = (await session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()
    if refund is None:
        raise Refusal(Code.NOT_FOUND)
    return refund


async def _within(session: AsyncSession, out_trade_no: str, fen: int, total: int) -> None:
    query = select(func.coalesce(func.sum(Refund.fen), 0)).where(col(Refund.out_trade_no) == out_trade_no, col(Refund.state).in_(PROMISED))
    if int((await session.execute(query)).scalar_one()) + fen > total:
        raise Refusal(Code.STATE, state="over_refund")


async def _insert(session: AsyncSession, attempt: PayAttempt, what: tuple[str, int, str], approved: bool, now: datetime) -> Refund:
    """`what` is (cause, fen, reason)."""
    await _within(session, attempt.out_trade_no, what[1], attempt.fen)
    refund = _made(attempt, what, approved, now)
    session.add(refund)
    await session.flush()
    if approved:
        await outbox.job(session, TOPIC, refund.out_refund_no, {"id": refund.id})
    return refund


def _made(attempt: PayAttempt, what: tuple[str, int, str], approved: bool, now: datetime) -> Refund:
    cause, fen, reason = what
    return Refund(
        order_no=attempt.order_no,
        cause=cause,
        out_trade_no=attempt.out_trade_no,
        out_refund_no=rules.out_refund_no(attempt.order_no, cause),
        fen=fen,
        total=attempt.fen,
        reason=reason,
        state="APPROVED" if approved else "REQUESTED",
        created_at=now,
        due_at=now,
    )


def _become(refund: Refund, state: str) -> None:
    refund.state = state
    refund.version += 1
