"""The provider's notices: verified, each booked once, and the same answer given to every repeat.

Payments that arrive while others are being booked, or within PACE of them, are booked together next, in one transaction: what a room's
payments all wait for (a team's row, the disk) is then waited for once, however many pay. A payment that arrives alone waits for nobody,
for its buyer looks at the screen. Notices of refunds come by the thousand when a great group fails, and nobody waits for one: what comes
within GATHER_SECONDS is booked together. The provider has 5 s of patience, and repeats.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import orjson
import structlog
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import Database, array, by_index
from live.infra.gather import Gather
from live.payments.actions import OnSettled, settle_attempts
from live.payments.exceptions import drift
from live.payments.gateway import Gateway, Notice, Payment, RefundState
from live.payments.refunds import OnRefunded, refund_results
from live.payments.tables import Refund
from live.payments.wechatpay import payment_of, refund_of
from live.protocol.codes import Code, Refusal

PAID = "TRANSACTION.SUCCESS"
PAYMENTS = 400  # payments a transaction: the rows they lock are held some 100 ms, the team's only at its end
PACE = 0.2  # seconds between groups of payments in a crowd: a transaction costs some 10 ms of CPU, however few are in it
REFUNDS = 64  # refunds' notices a transaction
GATHER_SECONDS = 0.1
TRIES = 5  # of a group whose notices are being booked elsewhere too: the provider repeats what it hears no answer to
LOCKS = ("40", "55")  # SQLSTATE classes of a deadlock and of a row that was not let go: not of a server that is away

log = structlog.get_logger(__name__)

_Told = tuple[Notice, datetime]
_Judge = Callable[[AsyncSession, Sequence[Notice], datetime], Awaitable[list[str]]]


class _Elsewhere(Exception):
    """One of these notices was booked elsewhere meanwhile."""


class Notices:
    """The notice door of one process. `on_settled` and `on_refunded` run in the transaction that books what they are told of."""

    def __init__(self, db: Database, gateway: Gateway, on_settled: OnSettled, on_refunded: OnRefunded) -> None:
        self.db, self.gateway, self.on_settled, self.on_refunded = db, gateway, on_settled, on_refunded
        # A refund's row is locked before its order, an order before its refund is opened: never both kinds in one transaction.
        self._payments: Gather[_Told, str] = Gather(partial(self._book, self._paid), 0.0, PAYMENTS, PACE)
        self._refunds: Gather[_Told, str] = Gather(partial(self._book, self._refunded), GATHER_SECONDS, REFUNDS)

    async def take(self, headers: Mapping[str, str], raw: bytes, now: datetime) -> str:
        """Book a notice as it arrived; returns the verdict that is kept with it, the same one for every repeat.

        Raises Forged, and nothing is kept. What contradicts our own rows is kept, logged as drift, and changes nothing else.
        """
        return await self.book(self.gateway.open_notice(headers, raw), now)

    async def book(self, notice: Notice, now: datetime) -> str:
        """As `take`, once it is known to be the provider's. It is booked although its caller may go."""
        return await (self._refunds if notice.event_type.startswith("REFUND.") else self._payments)((notice, now))

    async def _book(self, judge: _Judge, told: Sequence[_Told]) -> list[str | Exception]:
        """A verdict for each, booked together; where that fails one by one, so that one's fault is nobody else's."""
        try:
            verdicts: list[str | Exception] = [*await self.together(judge, [notice for notice, _ in told], max(at for _, at in told))]
        except Exception as error:  # whatever it is, it is somebody's, who will meet it again alone
            if len(told) == 1 or _away(error):
                return [error] * len(told)
            log.exception("notices booked one by one", notices=len(told))
            return [verdict for one in told for verdict in await self._book(judge, [one])]
        return verdicts

    async def together(self, judge: _Judge, notices: Sequence[Notice], now: datetime) -> list[str]:
        """Their verdicts, in one transaction; run again when one of them was booked elsewhere at the same time."""
        first: dict[str, Notice] = {}
        for notice in notices:
            first.setdefault(notice.id, notice)
        for tries in range(TRIES):
            try:
                async with self.db.begin() as session:
                    verdicts = await self._once(session, judge, first, now)
                return [verdicts[notice.id] for notice in notices]
            except _Elsewhere:
                if tries == TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    async def _once(self, session: AsyncSession, judge: _Judge, notices: Mapping[str, Notice], now: datetime) -> dict[str, str]:
        await by_index(session)
        verdicts = {row[0]: row[1] for row in await session.execute(_KNOWN, {"ids": array(notices)})}
        fresh = [notice for number, notice in notices.items() if number not in verdicts]
        if not fresh:
            return verdicts
        judged = await judge(session, fresh, now)
        # openids are not kept twice
        bodies = [{key: value for key, value in notice.resource.items() if key != "payer"} for notice in fresh]
        rows = {
            "ids": array(notice.id for notice in fresh), "events": array(notice.event_type for notice in fresh),
            "bodies": array(orjson.dumps(body).decode() for body in bodies), "verdicts": array(judged), "now": now,
        }  # fmt: skip
        # Kept last, with its verdict: where a repeat was faster elsewhere, what this one has done is undone with its transaction.
        if len((await session.execute(_KEEP, rows)).all()) < len(fresh):
            raise _Elsewhere
        return verdicts | {notice.id: verdict for notice, verdict in zip(fresh, judged, strict=True)}

    async def _paid(self, session: AsyncSession, notices: Sequence[Notice], now: datetime) -> list[str]:
        """Judge payments, and whatever else the provider may say."""
        found = [await self._payment(session, notice, now) if notice.event_type == PAID else "ignored" for notice in notices]
        payments = [(_number(notices[n], "out_trade_no"), one) for n, one in enumerate(found) if isinstance(one, Payment)]
        settled = iter(await settle_attempts(session, payments, self.on_settled, now) if payments else [])
        return [next(settled) if isinstance(one, Payment) else one for one in found]

    async def _payment(self, session: AsyncSession, notice: Notice, now: datetime) -> Payment | str:
        number = _number(notice, "out_trade_no")
        if (notice.resource.get("mchid"), notice.resource.get("appid")) != (self.gateway.merchant, self.gateway.app_id):
            return await drift(session, "wrong_merchant", number, now, told=_whose(notice))
        try:
            return payment_of(notice.resource)
        except Refusal as refusal:
            return await _malformed(session, refusal, notice, number, now)

    async def _refunded(self, session: AsyncSession, notices: Sequence[Notice], now: datetime) -> list[str]:
        """Judge what is said of refunds."""
        numbers = [_number(notice, "out_refund_no") for notice in notices]
        query = select(Refund.out_refund_no, Refund.fen, Refund.total, Refund.out_trade_no)  # type: ignore[call-overload]
        rows = (await session.execute(query.where(col(Refund.out_refund_no).in_(numbers)))).all()
        ours = {row[0]: tuple(row[1:]) for row in rows}
        found = [
            await self._refund(session, notice, ours.get(number), now) for notice, number in zip(notices, numbers, strict=True)
        ]
        told = [(number, one) for number, one in zip(numbers, found, strict=True) if isinstance(one, RefundState)]
        states = await refund_results(session, told, self.on_refunded, now)
        return [one if isinstance(one, str) else states[number].lower() for number, one in zip(numbers, found, strict=True)]

    async def _refund(self, session: AsyncSession, notice: Notice, ours: tuple[Any, ...] | None, now: datetime) -> RefundState | str:
        trade, amount = _number(notice, "out_trade_no"), notice.resource.get("amount")
        if notice.resource.get("mchid") != self.gateway.merchant:  # a refund's document names no app
            return await drift(session, "wrong_merchant", trade, now, told=_whose(notice))
        try:
            state = refund_of(notice.resource)
        except Refusal as refusal:
            return await _malformed(session, refusal, notice, trade, now)
        if ours is None:
            return await drift(session, "unknown", trade, now, told=_sums(notice))
        if not isinstance(amount, dict) or (amount.get("refund"), amount.get("total"), trade) != ours:
            expected = dict(zip(("fen", "total", "trade"), ours, strict=True))
            return await drift(session, "wrong_refund", trade, now, expected=expected, told=_sums(notice))
        return state


def _away(error: Exception) -> bool:
    """Whether the database is away or busy: the provider repeats them all, and one by one each would wait for it."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
    return isinstance(error, PoolTimeoutError) or (isinstance(error, OperationalError) and not state.startswith(LOCKS))


async def _malformed(session: AsyncSession, refusal: Refusal, notice: Notice, number: str, now: datetime) -> str:
    if refusal.code is not Code.GATEWAY:
        raise refusal
    return await drift(session, "malformed", number, now, told={"notice": notice.id, "why": str(refusal.facts.get("why", ""))})


def _whose(notice: Notice) -> dict[str, str]:
    return {name: _number(notice, name) for name in ("mchid", "appid")}


def _sums(notice: Notice) -> dict[str, Any]:
    """What a notice says of a refund, as far as it makes sense."""
    amount = notice.resource.get("amount")
    given = amount if isinstance(amount, dict) else {}
    sums = {"fen": given.get("refund"), "total": given.get("total")}
    return {"refund": _number(notice, "out_refund_no")} | {name: fen for name, fen in sums.items() if type(fen) is int}


def _number(notice: Notice, name: str) -> str:
    return str(notice.resource.get(name, ""))[:64]


_KNOWN = text("SELECT id, verdict FROM pay_notice WHERE id = ANY(CAST(:ids AS text[]))")
# In the order of their ids, so that two groups with the same repeats cannot wait for each other.
_KEEP = text(
    "INSERT INTO pay_notice (id, event_type, body, verdict, at) SELECT i, e, CAST(b AS jsonb), v, :now"
    " FROM unnest(CAST(:ids AS text[]), CAST(:events AS text[]), CAST(:bodies AS text[]), CAST(:verdicts AS text[])) AS t(i, e, b, v)"
    " ORDER BY i ON CONFLICT (id) DO NOTHING RETURNING true"
)
