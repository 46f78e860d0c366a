"""The provider's notices: each is booked once, and the same answer is given to every repeat.

Payments that arrive while others are being booked are booked together next, in one transaction: what a room's payments all wait for (a
team's row, the disk) is then waited for once, however many pay. A payment that arrives alone waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import structlog
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import Database, array
from live.payments.actions import OnRefunded, OnSettled, drift, settle_attempts
from live.payments.gateway import Gateway, Notice, Payment
from live.payments.refunds import refund_result
from live.payments.tables import PayNotice, Refund
from live.payments.wechatpay import payment_of, refund_of
from live.protocol.codes import Code, Refusal

MOST = 200  # payments a transaction: the rows they lock are held some 50 ms, and buyers wait for the team's
PAID = "TRANSACTION.SUCCESS"

log = structlog.get_logger(__name__)

_KEEP = text(
    "INSERT INTO pay_notice (id, event_type, body, at) SELECT i, e, CAST(b AS jsonb), :now"
    " FROM unnest(CAST(:ids AS text[]), CAST(:events AS text[]), CAST(:bodies AS text[])) AS t(i, e, b) ORDER BY i"
    " ON CONFLICT (id) DO NOTHING RETURNING id"
)
_JUDGED = text(
    "UPDATE pay_notice n SET verdict = t.v FROM unnest(CAST(:ids AS text[]), CAST(:verdicts AS text[])) AS t(i, v) WHERE n.id = t.i"
)


@dataclass(slots=True, eq=False)
class _Waiting:
    notice: Notice
    verdict: str | None = None
    alone: bool = False  # it was in a transaction that failed


class Notices:
    """The notices of one process. `on_settled` and `on_refunded` run in the transaction that books them."""

    def __init__(self, db: Database, gateway: Gateway, on_settled: OnSettled, on_refunded: OnRefunded) -> None:
        self.db, self.gateway, self.on_settled, self.on_refunded = db, gateway, on_settled, on_refunded
        self._turn = asyncio.Lock()
        self._waiting: list[_Waiting] = []

    async def take(self, headers: Mapping[str, str], raw: bytes, now: datetime) -> str:
        """Book a notice as it arrived; returns the verdict that is kept with it, the same one for every repeat.

        Raises Forged, and nothing is kept. What contradicts our own rows is kept, logged as drift, and changes nothing else.
        """
        return await self.book(self.gateway.open_notice(headers, raw), now)

    async def book(self, notice: Notice, now: datetime) -> str:
        """As `take`, once it is known to be the provider's."""
        if notice.event_type != PAID:  # a refund's row is locked before its order: not among payments, which lock orders
            return (await self._together([notice], now))[0]
        mine = _Waiting(notice)
        self._waiting.append(mine)
        try:
            async with self._turn:
                if mine.verdict is None and not mine.alone:
                    await self._next(now)
                if mine.verdict is None:
                    mine.verdict = (await self._together([notice], now))[0]
        finally:
            self._waiting.remove(mine)
        return mine.verdict

    async def _next(self, now: datetime) -> None:
        """Book whoever waits. If that fails each does it alone when its turn comes, so that one's fault is nobody else's."""
        group = [one for one in self._waiting if one.verdict is None and not one.alone][:MOST]
        if len(group) == 1:
            return
        try:
            verdicts = await self._together([one.notice for one in group], now)
        except Exception:  # whatever it is, it is somebody's, who will meet it again alone
            log.exception("notices booked one by one", notices=len(group))
            for one in group:
                one.alone = True
            return
        for one, verdict in zip(group, verdicts, strict=True):
            one.verdict = verdict

    async def _together(self, notices: Sequence[Notice], now: datetime) -> list[str]:
        """In one transaction. Repeats that arrive elsewhere at the same time wait here for the first one's commit."""
        first: dict[str, Notice] = {}
        for notice in notices:
            first.setdefault(notice.id, notice)
        # openids are not kept twice
        bodies = [{key: value for key, value in notice.resource.items() if key != "payer"} for notice in first.values()]
        rows = {
            "ids": array(first), "events": array(notice.event_type for notice in first.values()),
            "bodies": array(orjson.dumps(body).decode() for body in bodies),
        }  # fmt: skip
        async with self.db.begin() as session:
            kept = set((await session.execute(_KEEP, rows | {"now": now})).scalars())
            fresh = [notice for notice in first.values() if notice.id in kept]
            verdicts = dict(zip([notice.id for notice in fresh], await self._judge(session, fresh, now), strict=True))
            if fresh:
                await session.execute(_JUDGED, {"ids": array(verdicts), "verdicts": array(verdicts.values())})
            if known := first.keys() - verdicts.keys():
                query = select(PayNotice.id, PayNotice.verdict).where(col(PayNotice.id).in_(known))  # type: ignore[call-overload]
                verdicts |= {row.id: row.verdict for row in await session.execute(query)}
        return [verdicts[notice.id] for notice in notices]

    async def _judge(self, session: AsyncSession, notices: Sequence[Notice], now: datetime) -> list[str]:
        verdicts = [""] * len(notices)
        payments: list[tuple[int, str, Payment]] = []
        for place, notice in enumerate(notices):
            number = str(notice.resource.get("out_trade_no", ""))[:64]
            found = self._payment(notice, number) if notice.event_type == PAID else await self._other(session, notice, number, now)
            if isinstance(found, Payment):
                payments.append((place, number, found))
            else:
                verdicts[place] = found
        if payments:
            settled = await settle_attempts(session, [(number, one) for _, number, one in payments], self.on_settled, now)
            for (place, _, _), verdict in zip(payments, settled, strict=True):
                verdicts[place] = verdict
        return verdicts

    def _payment(self, notice: Notice, number: str) -> Payment | str:
        resource = notice.resource
        if (resource.get("mchid"), resource.get("appid")) != (self.gateway.merchant, self.gateway.app_id):
            return drift("wrong_merchant", number)
        try:
            return payment_of(resource)
        except Refusal as refusal:
            return _malformed(refusal, number)

    async def _other(self, session: AsyncSession, notice: Notice, number: str, now: datetime) -> str:
        resource = notice.resource
        if not notice.event_type.startswith("REFUND."):
            return "ignored"
        if resource.get("mchid") != self.gateway.merchant:  # a refund's document names no app
            return drift("wrong_merchant", number)
        try:
            state = refund_of(resource)
        except Refusal as refusal:
            return _malformed(refusal, number)
        refund_no = str(resource.get("out_refund_no", ""))[:64]
        amount: Any = resource.get("amount")
        query = select(Refund.fen, Refund.total, Refund.out_trade_no).where(col(Refund.out_refund_no) == refund_no)  # type: ignore[call-overload]
        ours = (await session.execute(query)).first()
        if ours is None:
            return drift("unknown", number, refund=refund_no)
        told = (amount.get("refund"), amount.get("total"), number) if isinstance(amount, dict) else None
        if told != tuple(ours):
            return drift("wrong_refund", number, refund=refund_no)
        return (await refund_result(session, refund_no, state, self.on_refunded, now)).lower()


def _malformed(refusal: Refusal, number: str) -> str:
    if refusal.code is not Code.GATEWAY:
        raise refusal
    return drift("malformed", number)
