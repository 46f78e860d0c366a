"""A great refund's notices, booked in groups: each once, whatever comes with it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from live.payments.notices import Notices
from live.payments.simulator_book import Return
from live.payments.tables import Refund
from live.protocol.codes import Code, Refusal
from tests.payments.conftest import World
from tests.payments.test_notices import letter, signed

MANY = 200
SENT = (
    "INSERT INTO refund (order_no, cause, out_trade_no, out_refund_no, fen, total, state, created_at, due_at)"
    " SELECT 'A' || n, 'group_failed', 'A' || n || '-1', 'R-A' || n, 100, 1990, 'SENT', now(), now() FROM generate_series(1, :n) n"
)


async def sent(world: World, many: int) -> None:
    """So many refunds the provider has."""
    async with world.db.begin() as session:
        await session.execute(text(SENT), {"n": many})


def notice(world: World, n: int, status: str = "SUCCESS", identity: str = "", fen: int = 100) -> tuple[dict[str, str], bytes]:
    made = Return(f"R-A{n}", f"A{n}-1", f"T{n}", f"50{n}", fen, 1990, "", 0.0, status)
    return signed(world, letter(world, made.notice(world.gateway.merchant), f"REFUND.{status}", identity or f"EV-{n}"))


async def states(world: World) -> Counter[str]:
    return Counter(refund.state for refund in await world.refunds())


async def test_two_hundred_refunds_told_twice_at_once_are_each_done_once(world: World) -> None:
    await sent(world, MANY)
    notices = [notice(world, n) for n in range(1, MANY + 1)] * 2
    answers = await asyncio.gather(*(world.knock(*one) for one in notices))
    assert {answer.status_code for answer in answers} == {200}
    assert await states(world) == {"DONE": MANY}
    assert await world.told("refunded") == MANY
    assert Counter(await world.notices()) == {("REFUND.SUCCESS", "done"): MANY}


async def test_each_notice_of_a_group_gets_the_verdict_it_would_have_had_alone(world: World) -> None:
    await sent(world, 3)
    failed, wrong, unknown = notice(world, 1, "ABNORMAL"), notice(world, 2, fen=101), notice(world, 9)
    answers = await asyncio.gather(*(world.knock(*one) for one in (failed, wrong, unknown, notice(world, 3))))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(verdict for _, verdict in await world.notices()) == ["done", "failed", "unknown", "wrong_refund"]
    assert [refund.state for refund in await world.refunds()] == ["FAILED", "SENT", "DONE"]


async def test_two_notices_of_one_refund_in_a_group_are_booked_in_their_order_and_done_once(world: World) -> None:
    await sent(world, 1)
    pair = notice(world, 1, "ABNORMAL", "EV-1"), notice(world, 1, "SUCCESS", "EV-2")
    assert {answer.status_code for answer in await asyncio.gather(*(world.knock(*one) for one in pair))} == {200}
    assert (await states(world), await world.told("refunded")) == ({"DONE": 1}, 1)


async def test_one_that_cannot_be_booked_keeps_no_other_from_it(world: World) -> None:
    async def refusing(session: AsyncSession, refunds: Sequence[Refund], now: datetime) -> None:
        await world.on_refunded(session, refunds, now)
        if any(refund.order_no == "A7" for refund in refunds):
            raise Refusal(Code.STATE, state="planted")

    await sent(world, 20)
    well, world.door = world.door, Notices(world.db, world.gateway, world.on_settled, refusing)
    answers = await asyncio.gather(*(world.knock(*notice(world, n)) for n in range(1, 21)))
    assert [n for n, answer in enumerate(answers, 1) if answer.status_code != 200] == [7]
    assert await states(world) == {"DONE": 19, "SENT": 1}
    assert await world.told("refunded") == 19
    world.door = well  # the provider repeats it
    assert (await world.knock(*notice(world, 7))).status_code == 200
    assert (await states(world), await world.told("refunded")) == ({"DONE": 20}, 20)


async def test_a_repeat_that_comes_late_does_not_fail_a_refund_that_is_sent_again(world: World) -> None:
    await sent(world, 1)
    failed = notice(world, 1, "ABNORMAL")
    await world.knock(*failed)
    assert await states(world) == {"FAILED": 1}
    async with world.db.begin() as session:
        await session.execute(text("UPDATE refund SET state = 'SENT'"))
    assert (await world.knock(*failed)).status_code == 200
    assert (await states(world), await world.notices()) == ({"SENT": 1}, [("REFUND.ABNORMAL", "failed")])
