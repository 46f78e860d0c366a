from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from live.infra import jobs, outbox
from live.infra.db import Database, utc_now
from live.infra.tables import Outbox
from live.payments import rules
from live.payments.gateway import RefundState
from live.payments.tables import PayAttempt, Refund
from live.protocol.codes import Code, Refusal
from tests.pickup.shop import NOW, Shop, open_shop
from tests.workers.crew import worker
from workers.relay import nudge_waiting
from workers.tools import Tools


class Provider:
    """Answers refunds with what it was told, in turn; the last answer stays."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.sent: list[str] = []
        self.asked: list[str] = []

    def _next(self) -> RefundState:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "AWAY":
            raise Refusal(Code.GATEWAY, why="unreachable")
        return RefundState(answer, "P1")  # type: ignore[arg-type]

    async def refund(self, *, out_refund_no: str, **_: Any) -> RefundState:
        self.sent.append(out_refund_no)
        return self._next()

    async def query_refund(self, out_refund_no: str) -> RefundState:
        self.asked.append(out_refund_no)
        return self._next()


async def refunding(shop: Shop) -> str:
    """An order that is REFUNDING, with its approved refund and the row that says so."""
    no = await shop.order(state="REFUNDING", row=False)
    async with shop.db.begin() as session:
        attempt = PayAttempt(
            order_no=no, out_trade_no=f"{no}-1", fen=2000, state="SUCCEEDED", winner=True, transaction_id=no, expires_at=NOW, paid_at=NOW
        )
        refund = Refund(
            order_no=no, cause="buyer", out_trade_no=f"{no}-1", out_refund_no=f"R-{no}", fen=2000, total=2000, state="APPROVED",
            created_at=utc_now(),
        )  # fmt: skip
        session.add_all([attempt, refund])
        await session.flush()
        await outbox.job(session, "refund", refund.out_refund_no, {"id": refund.id})
    return no


async def refund_state(database: Database) -> str:
    async with database.begin() as session:
        return str((await session.execute(text("SELECT state FROM refund"))).scalar_one())


async def job_row(shop: Shop) -> Outbox:
    [row] = await shop.outbox("job")
    return row


async def run(given: Tools) -> int:
    await nudge_waiting(given)
    return await worker(given).run_check()


async def test_a_refund_is_sent_once_and_ends_its_order(given: Tools, database: Database) -> None:
    shop = await open_shop(database)
    no = await refunding(shop)
    given.gateway = provider = Provider("SUCCESS")  # type: ignore[assignment]
    assert await run(given) == 1
    assert await run(given) == 0
    assert (provider.sent, provider.asked) == ([f"R-{no}"], [])
    assert (await refund_state(database), (await shop.state(no))[0]) == ("DONE", "REFUNDED")
    assert (await job_row(shop)).done_at is not None
    [back] = await shop.outbox("house")
    assert (back.payload["kind"], back.payload["location"], back.payload["lines"]) == ("RESTOCK", "S1", [[1, 2]])


async def test_a_refund_under_way_is_asked_about_when_it_is_due(given: Tools, database: Database) -> None:
    shop = await open_shop(database)
    no = await refunding(shop)
    given.gateway = provider = Provider("PROCESSING", "SUCCESS")  # type: ignore[assignment]
    async with database.connection() as connection:  # old enough for a long pause: the job does not wait for it
        await connection.exec_driver_sql("UPDATE refund SET created_at = now() - interval '1 hour'")
    assert await run(given) == 1
    row = await job_row(shop)
    assert row.done_at is None
    assert timedelta(minutes=9) < row.due_at - utc_now() < timedelta(minutes=11)
    assert await run(given) == 0  # not before
    async with database.connection() as connection:
        await connection.exec_driver_sql("UPDATE outbox SET due_at = now()")
    assert await run(given) == 1
    assert (provider.sent, provider.asked) == ([f"R-{no}"], [f"R-{no}"])
    assert await refund_state(database) == "DONE"
    assert (await job_row(shop)).done_at is not None


async def test_what_comes_due_soon_is_asked_about_by_the_same_job(
    given: Tools, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "FIRST_WAIT", timedelta(milliseconds=20))
    shop = await open_shop(database)
    no = await refunding(shop)
    given.gateway = provider = Provider("PROCESSING", "SUCCESS")  # type: ignore[assignment]
    assert await run(given) == 1
    assert (provider.sent, provider.asked) == ([f"R-{no}"], [f"R-{no}"])
    assert (await refund_state(database), (await job_row(shop)).done_at is not None) == ("DONE", True)


async def test_a_provider_that_is_away_is_tried_again_and_the_row_says_so(
    given: Tools, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await open_shop(database)
    await refunding(shop)
    given.gateway = Provider("AWAY", "AWAY", "NOT_FOUND", "SUCCESS")  # type: ignore[assignment]
    monkeypatch.setattr(jobs, "FIRST_RETRY_SECONDS", 0.0)  # due again at once
    assert await run(given) == 1
    row = await job_row(shop)
    assert (row.tries, row.error, row.done_at is not None) == (2, "", True)
    assert await refund_state(database) == "DONE"


async def test_the_tickets_of_a_refunded_order_leave_the_queue(given: Tools, database: Database) -> None:
    shop = await open_shop(database)
    _, no, _ = await shop.ticket()
    async with database.begin() as session:
        (await session.execute(text("UPDATE orders SET state = 'REFUNDING' WHERE no = :no"), {"no": no}))
        await outbox.job(session, "ticket.void", no)
    assert await run(given) == 1
    assert [ticket.state for ticket in await shop.tickets()] == ["VOID"]
    assert all(row.done_at is not None for row in await shop.outbox("job"))
