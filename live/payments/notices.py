"""The provider's notices: verified, booked once each, answered with the verdict that is kept with them.

A payment's notice is a transaction of its own: its buyer looks at the screen. Those of refunds come by the thousand when a great group
fails, and nobody waits for one: what comes within GATHER_SECONDS is booked together. The provider has 5 s of patience, and repeats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import orjson
from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import Database, array, utc_now
from live.infra.gather import Gather
from live.payments.actions import OnSettled, drift, settle_attempt
from live.payments.gateway import Gateway, Notice, RefundState
from live.payments.refunds import OnRefunded, refund_results
from live.payments.tables import PayNotice, Refund
from live.payments.wechatpay import payment_of, refund_of
from live.protocol.codes import Refusal

GATHER_SECONDS = 0.1
TOGETHER = 64  # refunds' notices a transaction


class Notices:
    """The notice door of one process."""

    def __init__(self, db: Database, gateway: Gateway, on_settled: OnSettled, on_refunded: OnRefunded) -> None:
        self._db, self._gateway, self._on_settled = db, gateway, on_settled
        self._refunds: Gather[Notice, str] = Gather(partial(_take_refunds, db, gateway, on_refunded), GATHER_SECONDS, TOGETHER)

    async def take(self, headers: Mapping[str, str], raw: bytes) -> str:
        """Book a notice once; returns the verdict that is kept with it, the same one for every repeat.

        Raises Forged, and nothing is kept. What contradicts our own rows is kept, logged as drift, and changes nothing else.
        """
        notice = self._gateway.open_notice(headers, raw)
        if notice.event_type.startswith("REFUND."):
            return await self._refunds(notice)
        now = utc_now()
        async with self._db.begin() as session:
            # Repeats that arrive together wait here for the first one's commit.
            row = insert(PayNotice).values(id=notice.id, event_type=notice.event_type, body=_body(notice), at=now)
            fresh = await session.execute(row.on_conflict_do_nothing(index_elements=["id"]).returning(col(PayNotice.id)))
            if fresh.scalar_one_or_none() is None:
                return (await session.execute(select(col(PayNotice.verdict)).where(col(PayNotice.id) == notice.id))).scalar_one()
            verdict = await self._paid(session, notice, now) if notice.event_type == "TRANSACTION.SUCCESS" else "ignored"
            await session.execute(update(PayNotice).where(col(PayNotice.id) == notice.id).values(verdict=verdict))
            return verdict

    async def _paid(self, session: AsyncSession, notice: Notice, now: datetime) -> str:
        number = _number(notice, "out_trade_no")
        if (notice.resource.get("mchid"), notice.resource.get("appid")) != (self._gateway.merchant, self._gateway.app_id):
            return drift("wrong_merchant", number)
        try:
            payment = payment_of(notice.resource)
        except Refusal:
            return drift("malformed", number)
        return await settle_attempt(session, number, payment, self._on_settled, now)


async def _take_refunds(db: Database, gateway: Gateway, on_refunded: OnRefunded, notices: Sequence[Notice]) -> list[str | Exception]:
    """A verdict for each, booked together; where that is refused one by one, so that none keeps the others from it."""
    try:
        async with db.begin() as session:
            verdicts = await _together(session, gateway, on_refunded, {notice.id: notice for notice in notices}, utc_now())
            return [verdicts[notice.id] for notice in notices]
    except OperationalError as error:  # the database is away or busy: the provider repeats them all
        return [error] * len(notices)
    except (Refusal, SQLAlchemyError) as error:
        if len(notices) == 1:
            return [error]
    return [verdict for notice in notices for verdict in await _take_refunds(db, gateway, on_refunded, [notice])]


async def _together(
    session: AsyncSession, gateway: Gateway, on_refunded: OnRefunded, notices: Mapping[str, Notice], now: datetime
) -> dict[str, str]:
    ids = sorted(notices)  # in one order, so that two groups with the same repeats cannot wait for each other
    rows = {
        "ids": array(ids),
        "events": array(notices[one].event_type for one in ids),
        "bodies": array(orjson.dumps(_body(notices[one])).decode() for one in ids),
        "now": now,
    }
    fresh = set((await session.execute(_KEEP, rows)).scalars())
    query = select(col(PayNotice.id), col(PayNotice.verdict)).where(col(PayNotice.id).in_(notices.keys() - fresh))
    known = {identity: verdict for identity, verdict in (await session.execute(query)).all()} if len(fresh) < len(ids) else {}
    judged = await _judged(session, gateway, [notice for one, notice in notices.items() if one in fresh], on_refunded, now)
    await session.execute(_VERDICTS, {"ids": array(judged), "verdicts": array(judged.values())})
    return known | judged


async def _judged(
    session: AsyncSession, gateway: Gateway, notices: Sequence[Notice], on_refunded: OnRefunded, now: datetime
) -> dict[str, str]:
    numbers = {notice.id: _number(notice, "out_refund_no") for notice in notices}
    query = select(Refund.out_refund_no, Refund.fen, Refund.total, Refund.out_trade_no)  # type: ignore[call-overload]
    found = (await session.execute(query.where(col(Refund.out_refund_no).in_(numbers.values())))).all()
    ours = {row[0]: tuple(row[1:]) for row in found}
    verdicts: dict[str, str] = {}
    told: list[tuple[str, RefundState]] = []
    for notice in notices:
        refund, trade = numbers[notice.id], _number(notice, "out_trade_no")
        amount: Any = notice.resource.get("amount")
        if notice.resource.get("mchid") != gateway.merchant:  # a refund's document names no app
            verdicts[notice.id] = drift("wrong_merchant", trade)
            continue
        try:
            state = refund_of(notice.resource)
        except Refusal:
            verdicts[notice.id] = drift("malformed", trade)
            continue
        if refund not in ours:
            verdicts[notice.id] = drift("unknown", trade, refund=refund)
        elif not isinstance(amount, dict) or (amount.get("refund"), amount.get("total"), trade) != ours[refund]:
            verdicts[notice.id] = drift("wrong_refund", trade, refund=refund)
        else:
            told.append((refund, state))
    states = await refund_results(session, told, on_refunded, now)
    return {notice.id: verdicts.get(notice.id) or states[numbers[notice.id]].lower() for notice in notices}


def _body(notice: Notice) -> dict[str, Any]:
    """The document but for its payer: openids are not kept twice."""
    return {key: value for key, value in notice.resource.items() if key != "payer"}


def _number(notice: Notice, name: str) -> str:
    return str(notice.resource.get(name, ""))[:64]


_KEEP = text(
    "INSERT INTO pay_notice (id, event_type, body, at) SELECT i, e, CAST(b AS jsonb), :now FROM unnest(CAST(:ids AS text[]),"
    " CAST(:events AS text[]), CAST(:bodies AS text[])) AS t(i, e, b) ON CONFLICT (id) DO NOTHING RETURNING id"
)
_VERDICTS = text(
    "UPDATE pay_notice n SET verdict = t.v FROM unnest(CAST(:ids AS text[]), CAST(:verdicts AS text[])) AS t(i, v) WHERE n.id = t.i"
)
