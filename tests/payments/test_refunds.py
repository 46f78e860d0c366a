"""Money that goes back goes back once, whatever is repeated, and never more than was paid."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from live.infra.db import utc_now
from live.payments.actions import approve, decline, open_refund
from live.payments.queries import refunds_of
from live.payments.tables import Refund
from live.protocol.codes import Code, Refusal
from tests.payments.conftest import World
from tests.payments.due import due_refunds, send_refund


async def opened(world: World, cause: str = "buyer", fen: int = 1990, approved: bool = True, order: str = "A1001") -> Refund:
    async with world.db.begin() as session:
        return await open_refund(session, order_no=order, cause=cause, fen=fen, reason="不想要了", approved=approved, now=utc_now())


async def sent(world: World, refund: Refund) -> str:
    return await send_refund(world.db, world.gateway, refund.id or 0, world.on_refunded, utc_now())


async def test_a_refund_goes_out_and_its_notice_ends_it(world: World) -> None:
    await world.paid_order()
    refund = await opened(world)
    assert (refund.state, refund.total, refund.out_refund_no) == ("APPROVED", 1990, "R-A1001-buyer")
    world.simulator.conditions.refund_seconds = 1  # slower than the answer to our own call, which says SENT
    assert await sent(world, refund) == "SENT"
    await world.until(lambda: world.told("refunded", "R-A1001-buyer"), 1)
    (done,) = await world.refunds()
    assert (done.state, done.provider_id) == ("DONE", world.simulator.book.returns["R-A1001-buyer"].refund_id)
    assert done.done_at is not None
    assert await world.notices() == [("TRANSACTION.SUCCESS", "paid"), ("REFUND.SUCCESS", "done")]


async def test_a_refund_sent_sixteen_times_at_once_goes_back_once(world: World) -> None:
    await world.paid_order()
    refund = await opened(world)
    assert set(await asyncio.gather(*(sent(world, refund) for _ in range(16)))) <= {"SENT", "DONE"}
    await world.until(lambda: world.told("refunded"), 1)
    assert [await sent(world, refund) for _ in range(3)] == ["DONE"] * 3
    assert len(world.simulator.book.returns) == 1
    assert world.simulator.book.trades["A1001-1"].refunded == 1990
    assert await world.told("refunded") == 1


async def test_an_unheard_refund_is_found_by_asking_again(world: World) -> None:
    await world.paid_order()
    world.simulator.conditions.notice_waits = ()
    refund = await opened(world)
    world.simulator.conditions.refund_seconds = 0.5  # slower than the answer to our own call, which says SENT
    assert await sent(world, refund) == "SENT"
    await asyncio.sleep(0.8)
    assert await sent(world, refund) == "DONE"
    assert await world.told("refunded") == 1


async def test_opening_a_cause_twice_is_one_refund(world: World) -> None:
    await world.paid_order()
    asked = await opened(world, approved=False)
    assert (asked.state, await world.told("refund")) == ("REQUESTED", 0)
    same = await asyncio.gather(*(opened(world) for _ in range(8)))
    assert {refund.id for refund in same} == {asked.id}
    assert [refund.state for refund in await world.refunds()] == ["APPROVED"]
    assert await world.told("refund", "R-A1001-buyer") == 1
    async with world.db.begin() as session:
        assert [refund.id for refund in await refunds_of(session, ["A1001", "A2"])] == [asked.id]


async def test_causes_together_never_send_back_more_than_was_paid(world: World) -> None:
    await world.paid_order()
    tries = await asyncio.gather(*(opened(world, f"ladder{n}", 600) for n in range(8)), return_exceptions=True)
    refused = [each for each in tries if isinstance(each, Refusal)]
    assert [each.facts for each in refused] == [{"state": "over_refund"}] * 5
    assert sum(refund.fen for refund in await world.refunds()) == 1800
    with pytest.raises(Refusal):
        await opened(world, fen=191)
    assert (await opened(world, fen=190)).state == "APPROVED"


async def test_a_request_binds_nothing_until_it_is_approved(world: World) -> None:
    await world.paid_order()
    asked = await opened(world, approved=False)
    failed = await opened(world, "group_failed")
    assert failed.state == "APPROVED"
    with pytest.raises(Refusal) as refused:
        async with world.db.begin() as session:
            await approve(session, asked.id or 0, utc_now())
    assert refused.value.facts == {"state": "over_refund"}
    assert [refund.state for refund in await world.refunds()] == ["REQUESTED", "APPROVED"]


async def test_an_unpaid_order_has_nothing_to_give_back(world: World) -> None:
    await world.send(await world.attempt())
    with pytest.raises(Refusal) as refused:
        await opened(world)
    assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": "unpaid"})
    assert await world.refunds() == []


async def test_granting_and_declining_are_decided_once(world: World) -> None:
    await world.paid_order()
    asked = await opened(world, approved=False)

    async def decided(verb: object) -> str:
        async with world.db.begin() as session:
            return (await verb(session, asked.id, utc_now())).state  # type: ignore[operator,no-any-return]

    outcomes = await asyncio.gather(*(decided(verb) for verb in (approve, decline) * 8), return_exceptions=True)
    (kept,) = await world.refunds()
    assert kept.state in ("APPROVED", "DECLINED")
    assert all(isinstance(each, Refusal) or each == kept.state for each in outcomes)
    assert sum(isinstance(each, Refusal) for each in outcomes) == 8
    assert await world.told("refund") == int(kept.state == "APPROVED")
    with pytest.raises(Refusal):
        async with world.db.begin() as session:
            await approve(session, 999, utc_now())


async def test_a_refund_the_provider_could_not_carry_out_is_tried_again_under_its_own_number(world: World) -> None:
    await world.paid_order()
    world.simulator.conditions.refund_status = "ABNORMAL"
    refund = await opened(world)
    await sent(world, refund)
    await world.until(lambda: state_of(world), "FAILED")
    assert await world.told("refunded") == 0
    world.simulator.conditions.refund_status = "SUCCESS"
    world.simulator.conditions.refund_seconds = 1  # slower than the answer to our own call, which says SENT
    async with world.db.begin() as session:
        assert (await approve(session, refund.id or 0, utc_now())).state == "APPROVED"
    assert await sent(world, refund) == "SENT"
    await world.until(lambda: state_of(world), "DONE")
    assert (len(world.simulator.book.returns), await world.told("refunded")) == (1, 1)


async def test_no_answer_from_the_provider_leaves_the_refund_due_again(world: World) -> None:
    await world.paid_order()
    refund = await opened(world)
    world.simulator.conditions.refunds_per_second = 0
    with pytest.raises(Refusal) as refused:
        await sent(world, refund)
    assert (refused.value.code, refused.value.facts) == (Code.GATEWAY, {"why": "FREQUENCY_LIMITED"})
    assert await state_of(world) == "SENT"
    async with world.db.begin() as session:
        assert await due_refunds(session, utc_now()) == []
        assert await due_refunds(session, utc_now() + timedelta(seconds=3)) == [refund.id]
    world.simulator.conditions.refunds_per_second = 100
    await sent(world, refund)
    await world.until(lambda: state_of(world), "DONE")


async def test_a_losing_payment_reaches_its_payer_again(world: World) -> None:
    first, second = await world.attempt(), await world.attempt(payer="openid-2")
    prepay_ids = [await world.send(first), await world.send(second)]
    await world.pay(prepay_ids[0])
    await world.until(lambda: world.told("settled"), 1)
    await world.pay(prepay_ids[1])
    await world.until(lambda: world.told("refund"), 1)
    (refund,) = await world.refunds()
    assert (refund.cause, refund.out_trade_no) == (f"loser:{second.id}", second.out_trade_no)
    await sent(world, refund)
    await world.until(lambda: state_of(world), "DONE")
    assert [world.simulator.book.trades[each.out_trade_no].refunded for each in (first, second)] == [0, 1990]


async def state_of(world: World) -> str:
    return (await world.refunds())[0].state
