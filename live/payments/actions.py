"""Money that comes in: attempts, and who wins. Notices are in `notices.py`, refunds in `refunds.py`; their verbs are exported here too.

An attempt is committed before the provider is asked, so every notice finds its row. Payments of one order are settled one at a
time, under the locks of all its attempts: one wins, every other one goes back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import Database, array, by_index
from live.payments import rules
from live.payments.exceptions import drift, heal
from live.payments.gateway import Closing, Gateway, Payment
from live.payments.refunds import OnRefunded, approve, decline, open_refund, open_refunds, refund_attempt, send_refunds
from live.payments.tables import PayAttempt
from live.protocol.codes import Code, Refusal

__all__ = [
    "OnRefunded", "OnSettled", "Paid", "approve", "ask_provider", "close_attempts", "create_attempt", "decline", "open_refund",
    "open_refunds", "send_attempt", "send_refunds", "settle_attempt",
]  # fmt: skip


class Paid(NamedTuple):
    """An attempt whose money the provider has."""

    order_no: str
    fen: int
    paid_at: datetime


# Of each, all of different orders: whether it pays its order.
OnSettled = Callable[[AsyncSession, Sequence[Paid], datetime], Awaitable[Sequence[bool]]]


async def create_attempt(session: AsyncSession, *, order_no: str, fen: int, payer: str, expires_at: datetime, now: datetime) -> PayAttempt:
    """The order's open attempt of the same payer, fen and deadline, or a new one. The caller holds the order's lock.

    Refusal(STATE, state=paid) when an attempt has won. `expires_at` becomes the provider's own deadline.
    """
    query = select(PayAttempt).where(col(PayAttempt.order_no) == order_no).order_by(col(PayAttempt.id).desc())
    attempts = (await session.execute(query.execution_options(populate_existing=True))).scalars().all()
    if any(attempt.winner for attempt in attempts):
        raise Refusal(Code.STATE, state="paid")
    for attempt in attempts:
        same = (attempt.fen, attempt.payer, attempt.expires_at) == (fen, payer, expires_at)
        if same and attempt.state in rules.OPEN_ATTEMPT and attempt.expires_at > now:
            return attempt
    number = rules.out_trade_no(order_no, len(attempts) + 1)
    attempt = PayAttempt(order_no=order_no, out_trade_no=number, payer=payer, fen=fen, expires_at=expires_at, created_at=now)
    session.add(attempt)
    await session.flush()
    return attempt


async def send_attempt(db: Database, gateway: Gateway, attempt_id: int, description: str, now: datetime) -> dict[str, str]:
    """Place a committed attempt at the provider; returns the pay params of the buyer's client. Safe to repeat.

    Refusal(STATE) when it was closed, has expired or is paid; Refusal(GATEWAY) when the provider gives no answer.
    """
    async with db.begin() as session:
        attempt = await session.get(PayAttempt, attempt_id)
        if attempt is None:
            raise Refusal(Code.NOT_FOUND)
        if attempt.state not in rules.OPEN_ATTEMPT or attempt.expires_at <= now:
            raise Refusal(Code.STATE, state=attempt.state if attempt.state not in rules.OPEN_ATTEMPT else "EXPIRED")
    if attempt.state == "SENT":
        return gateway.pay_params(attempt.prepay_id)
    prepay_id = await gateway.prepay(
        out_trade_no=attempt.out_trade_no,
        fen=attempt.fen,
        description=description,
        payer=attempt.payer,
        expires_at=attempt.expires_at,
    )
    async with db.begin() as session:
        mine = update(PayAttempt).where(col(PayAttempt.id) == attempt_id, col(PayAttempt.state) == "NEW")
        await session.execute(mine.values(state="SENT", prepay_id=prepay_id))
        kept = await session.get_one(PayAttempt, attempt_id, populate_existing=True)
    if kept.state == "SENT":
        return gateway.pay_params(kept.prepay_id)
    # It was closed while the provider was making it. Without pay params nobody can pay it; closing it there is good manners.
    with suppress(Refusal):
        await gateway.close(attempt.out_trade_no)
    raise Refusal(Code.STATE, state=kept.state)


async def settle_attempt(session: AsyncSession, out_trade_no: str, payment: Payment, on_settled: OnSettled, now: datetime) -> str:
    """Book what the provider says of an attempt; see `settle_attempts`."""
    await by_index(session)
    return (await settle_attempts(session, [(out_trade_no, payment)], on_settled, now))[0]


async def settle_asked(session: AsyncSession, out_trade_no: str, payment: Payment, on_settled: OnSettled, now: datetime) -> str:
    """As `settle_attempt`, for an answer to our own question: where it agrees with our books, what was open about them is healed."""
    verdict = await settle_attempt(session, out_trade_no, payment, on_settled, now)
    if verdict in ("paid", "loser", "late", "again", "closed"):
        await heal(session, out_trade_no, now)
    return verdict


async def settle_attempts(
    session: AsyncSession, told: Sequence[tuple[str, Payment]], on_settled: OnSettled, now: datetime
) -> list[str]:
    """Book what the provider says of these (out_trade_no, payment), from notices or a query; a repeat changes nothing.

    Each is `paid` (it won), `loser` or `late` (its money goes back), `again`, `closed`, `paying`, `waiting`, or one QUARANTINED.
    Different orders are settled together; several payments of one order one after the other.
    """
    verdicts = ["unknown"] * len(told)
    attempts = await _locked(session, [number for number, _ in told])
    taken = await _taken(session, [payment.transaction_id for _, payment in told])
    rounds: list[dict[str, int]] = []  # of each the orders, and where in `told` their payment stands
    for place, (number, payment) in enumerate(told):
        if number not in attempts:
            await drift(session, "unknown", number, now, told=_said(payment))
            continue
        order = attempts[number].order_no
        free = next((one for one in rounds if order not in one), None)
        if free is None:
            rounds.append(free := {})
        free[order] = place
    winners = {attempt.order_no for attempt in attempts.values() if attempt.winner}
    for one in rounds:
        money: list[tuple[int, _Attempt]] = []
        for place in one.values():
            number, payment = told[place]
            verdict = await _without_money(session, attempts[number], payment, taken, now)
            if verdict is None:
                money.append((place, attempts[number]))
            verdicts[place] = verdict or ""
        for place, verdict in await _settle(session, money, told, winners, on_settled, now):
            verdicts[place] = verdict
    return verdicts


@dataclass(slots=True)
class _Attempt:
    """An attempt's row while it is locked: hundreds are settled together, and objects of the mapper would be most of their time."""

    id: int
    order_no: str
    out_trade_no: str
    fen: int
    state: str
    winner: bool
    transaction_id: str | None


async def _without_money(session: AsyncSession, attempt: _Attempt, payment: Payment, taken: set[str], now: datetime) -> str | None:
    """The verdict where no money is to be booked; None: there is, and its transaction is `taken` from here on."""
    if attempt.state == "SUCCEEDED":
        other = payment.state == "SUCCESS" and payment.transaction_id != attempt.transaction_id
        return await _drift(session, "wrong_transaction", attempt, payment, now) if other else "again"
    if payment.state != "SUCCESS":
        return await _unpaid(session, attempt, payment, now)
    if payment.fen != attempt.fen:
        return await _drift(session, "wrong_amount", attempt, payment, now)
    if payment.transaction_id is None or payment.transaction_id in taken:
        return await _drift(session, "wrong_transaction", attempt, payment, now)
    taken.add(payment.transaction_id)
    return None


async def _settle(
    session: AsyncSession, money: Sequence[tuple[int, _Attempt]], told: Sequence[tuple[str, Payment]], winners: set[str],
    on_settled: OnSettled, now: datetime,
) -> list[tuple[int, str]]:  # fmt: skip
    """Book money that came, one payment an order; `winners`: orders that are paid. Returns places in `told` and their verdicts."""
    if not money:
        return []
    first, moments = list[Paid](), list[str]()
    for place, attempt in money:
        payment = told[place][1]
        attempt.state, attempt.transaction_id, attempt.winner = "SUCCEEDED", payment.transaction_id, attempt.order_no not in winners
        at = payment.paid_at or now
        moments.append(at.isoformat())
        if attempt.winner:
            first.append(Paid(attempt.order_no, attempt.fen, at))
    succeeded = {
        "ids": array(attempt.id for _, attempt in money), "winners": array("t" if attempt.winner else "f" for _, attempt in money),
        "transactions": array(str(attempt.transaction_id) for _, attempt in money), "moments": array(moments),
    }  # fmt: skip
    await session.execute(_SUCCEEDED, succeeded)  # before the orders hear of it: they may open a refund at once
    good = await on_settled(session, first, now) if first else []
    paid = {one.order_no: pays for one, pays in zip(first, good, strict=True)}
    verdicts = []
    for place, attempt in money:
        verdict = "loser" if attempt.order_no not in paid else "paid" if paid[attempt.order_no] else "late"
        verdicts.append((place, verdict))
        if verdict == "paid":
            winners.add(attempt.order_no)
            continue
        attempt.winner = False
        row = await session.get_one(PayAttempt, attempt.id, populate_existing=True)
        row.winner = False
        await session.flush()
        await refund_attempt(session, row, verdict, now)
    return verdicts


_SUCCEEDED = text(
    "UPDATE pay_attempt a SET state = 'SUCCEEDED', winner = t.winner, transaction_id = t.transaction_id, paid_at = t.at"
    " FROM unnest(CAST(:ids AS bigint[]), CAST(:winners AS boolean[]), CAST(:transactions AS text[]), CAST(:moments AS timestamptz[]))"
    " AS t(id, winner, transaction_id, at) WHERE a.id = t.id"
)


async def ask_provider(db: Database, gateway: Gateway, order_no: str, on_settled: OnSettled, now: datetime) -> str:
    """Query the order's open attempts, because notices are not promised. Returns `paid`, `paying` or `waiting`."""
    verdicts = set()
    for attempt in await _open(db, order_no):
        if attempt.state == "SENT":  # of a NEW one nobody has the pay params
            verdicts.add(await _query(db, gateway, attempt.out_trade_no, on_settled, now))
    if await _won(db, order_no):
        return "paid"
    return "paying" if "paying" in verdicts else "waiting"


async def close_attempts(db: Database, gateway: Gateway, order_no: str, on_settled: OnSettled, now: datetime) -> Closing:
    """Close every open attempt at the provider. After `closed` no payment of this order can arrive any more (the caller has
    made sure that none is created); `paid`: one has won; `paying`: ask again in a few seconds. Raises Refusal(GATEWAY)."""
    paying = False
    for attempt in await _open(db, order_no):
        outcome = await gateway.close(attempt.out_trade_no)
        if outcome == "closed":
            async with db.begin() as session:
                still = update(PayAttempt).where(col(PayAttempt.id) == attempt.id, col(PayAttempt.state).in_(rules.OPEN_ATTEMPT))
                await session.execute(still.values(state="CLOSED"))
                await heal(session, attempt.out_trade_no, now)
        else:
            verdict = await _query(db, gateway, attempt.out_trade_no, on_settled, now)
            # Money that is there but not as it should be (another amount, say) is for a person to look at: not closed either.
            paying = paying or verdict not in ("paid", "loser", "late", "again", "closed")
    if await _won(db, order_no):
        return "paid"
    return "paying" if paying else "closed"


async def lock_attempts(session: AsyncSession, numbers: Sequence[str]) -> dict[str, PayAttempt]:
    """As `_locked`, for whoever decides about one of them."""
    locked = await _locked(session, numbers)
    return {number: await session.get_one(PayAttempt, one.id, populate_existing=True) for number, one in locked.items()}


async def _locked(session: AsyncSession, numbers: Sequence[str]) -> dict[str, _Attempt]:
    """These attempts and all others of their orders, by out_trade_no; locked in id order."""
    rows = (await session.execute(_LOCKED, {"numbers": array(numbers)})).all()
    return {row[2]: _Attempt(*row) for row in rows}


async def _taken(session: AsyncSession, transactions: Sequence[str | None]) -> set[str]:
    """Those that are in the books. Looked at under the locks of the attempts that name them; the unique key is the backstop."""
    return set((await session.execute(_TAKEN, {"transactions": array(one for one in transactions if one)})).scalars())


_LOCKED = text(
    "SELECT id, order_no, out_trade_no, fen, state, winner, transaction_id FROM pay_attempt WHERE order_no = ANY"
    " (ARRAY(SELECT order_no FROM pay_attempt WHERE out_trade_no = ANY(CAST(:numbers AS text[])))) ORDER BY id FOR UPDATE"
)
_TAKEN = text("SELECT transaction_id FROM pay_attempt WHERE transaction_id = ANY(CAST(:transactions AS text[]))")


async def _unpaid(session: AsyncSession, attempt: _Attempt, payment: Payment, now: datetime) -> str:
    if payment.state == "REFUND":  # paid and sent back, and we know of neither
        return await _drift(session, "refunded_elsewhere", attempt, payment, now)
    if payment.state == "USERPAYING":
        return "paying"
    if payment.state in ("NOTPAY", "NOT_FOUND"):
        return "waiting"
    following = "CLOSED" if payment.state == "CLOSED" else "FAILED"
    if rules.attempt_may(attempt.state, following):
        attempt.state = following
        await session.execute(update(PayAttempt).where(col(PayAttempt.id) == attempt.id).values(state=following))
    return "closed"


async def _open(db: Database, order_no: str) -> list[PayAttempt]:
    async with db.begin() as session:
        query = select(PayAttempt).where(col(PayAttempt.order_no) == order_no, col(PayAttempt.state).in_(rules.OPEN_ATTEMPT))
        return list((await session.execute(query.order_by(col(PayAttempt.id)))).scalars())


async def _won(db: Database, order_no: str) -> bool:
    async with db.begin() as session:
        query = select(func.count()).where(col(PayAttempt.order_no) == order_no, col(PayAttempt.winner))
        return (await session.execute(query)).scalar_one() > 0


async def _query(db: Database, gateway: Gateway, out_trade_no: str, on_settled: OnSettled, now: datetime) -> str:
    payment = await gateway.query(out_trade_no)
    async with db.begin() as session:
        return await settle_asked(session, out_trade_no, payment, on_settled, now)


async def _drift(session: AsyncSession, verdict: str, attempt: _Attempt, payment: Payment, now: datetime) -> str:
    expected = {"state": attempt.state, "fen": attempt.fen, "transaction": attempt.transaction_id}
    return await drift(session, verdict, attempt.out_trade_no, now, order_no=attempt.order_no, expected=expected, told=_said(payment))


def _said(payment: Payment) -> dict[str, Any]:
    return {"state": payment.state, "fen": payment.fen, "transaction": payment.transaction_id}
