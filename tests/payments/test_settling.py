"""Who wins: attempts sent, closed and paid at the same moment, twice, too late, or unheard."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest

from live.infra.db import utc_now
from live.payments.actions import ask_provider, close_attempts, send_attempt, settle_attempt
from live.payments.gateway import Payment
from live.protocol.codes import Code, Refusal
from tests.payments.conftest import World


def deaf(world: World) -> None:
    """No notice ever arrives."""
    world.simulator.conditions.notice_waits = ()


async def close(world: World, order: str = "A1001") -> str:
    return await close_attempts(world.db, world.gateway, order, world.on_settled, utc_now())


async def test_the_same_wish_to_pay_is_the_same_attempt(world: World) -> None:
    until = utc_now() + timedelta(minutes=10)
    first = await world.attempt(expires_at=until)
    assert first.out_trade_no == "A1001-1"
    assert (await world.attempt(expires_at=until)).id == first.id
    prepay_ids = {await world.send(first) for _ in range(3)}
    assert len(prepay_ids) == 1
    assert (await world.attempt(expires_at=until)).id == first.id
    dearer = await world.attempt(fen=2000, expires_at=until)
    assert (dearer.id != first.id, dearer.out_trade_no) == (True, "A1001-2")
    assert (await world.attempt(expires_at=until, payer="openid-2")).out_trade_no == "A1001-3"


async def test_sixteen_taps_on_pay_give_one_order_at_the_provider(world: World) -> None:
    attempt = await world.attempt()
    assert len(set(await asyncio.gather(*(world.send(attempt) for _ in range(16))))) == 1
    assert len(world.simulator.book.trades) == 1
    kept = await world.seen(attempt)
    assert kept.state == "SENT"
    assert kept.prepay_id != ""


async def test_a_paid_order_takes_no_further_attempt(world: World) -> None:
    await world.paid_order()
    with pytest.raises(Refusal) as refused:
        await world.attempt()
    assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": "paid"})


async def test_an_expired_or_closed_attempt_is_not_sent(world: World) -> None:
    old = await world.attempt(seconds=-1)
    with pytest.raises(Refusal) as refused:
        await world.send(old)
    assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": "EXPIRED"})
    assert await close(world) == "closed"
    with pytest.raises(Refusal) as refused:
        await world.send(old)
    assert refused.value.facts == {"state": "CLOSED"}
    assert world.simulator.book.trades == {}


async def test_closing_while_the_provider_makes_the_order_hands_out_no_pay_params(world: World) -> None:
    attempt = await world.attempt()
    prepay = world.gateway.prepay

    async def slow(**asked: object) -> str:
        made = await prepay(**asked)  # type: ignore[arg-type]
        assert await close(world) == "closed"  # the hold ends between the provider's answer and our row
        return made

    world.gateway.prepay = slow  # type: ignore[method-assign]
    with pytest.raises(Refusal) as refused:
        await send_attempt(world.db, world.gateway, attempt.id or 0, "茶", utc_now())
    assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": "CLOSED"})
    assert world.simulator.book.trades[attempt.out_trade_no].state == "CLOSED"


async def test_the_provider_stops_taking_money_at_the_holds_deadline(world: World) -> None:
    prepay_id = await world.send(await world.attempt(seconds=2))
    await asyncio.sleep(2.1)
    answer = await world.pay(prepay_id)
    assert (answer.status_code, answer.json()) == (409, {"paid": False, "code": "ORDER_CLOSED"})
    assert await close(world) == "closed"


@pytest.mark.parametrize("seed", range(12))
async def test_closing_races_paying_and_exactly_one_of_them_happens(world: World, seed: int) -> None:
    deaf(world) if seed % 2 else None
    attempt = await world.attempt()
    prepay_id = await world.send(attempt)
    chance = random.Random(seed)

    async def pay() -> bool:
        await asyncio.sleep(chance.random() * 0.03)
        return bool((await world.pay(prepay_id)).json()["paid"])

    async def shut() -> str:
        await asyncio.sleep(chance.random() * 0.03)
        return await close(world)

    paid, outcome = await asyncio.gather(pay(), shut())
    assert outcome == ("paid" if paid else "closed")
    assert await world.told("settled") == int(paid)
    kept = await world.seen(attempt)
    assert (kept.state, kept.winner) == (("SUCCEEDED", True) if paid else ("CLOSED", False))
    assert await close(world) == outcome  # and it stays so


async def test_a_payer_who_is_typing_is_waited_for(world: World) -> None:
    prepay_id = await world.send(await world.attempt())
    assert (await world.pay(prepay_id, seconds=60)).status_code == 202
    assert await ask_provider(world.db, world.gateway, "A1001", world.on_settled, utc_now()) == "paying"
    assert await close(world) == "paying"
    world.simulator.v3.pay(world.simulator.book.prepaid[prepay_id])
    await world.until(lambda: world.told("settled"), 1)
    assert await close(world) == "paid"


async def test_an_unheard_payment_is_found_by_asking(world: World) -> None:
    deaf(world)
    prepay_id = await world.send(await world.attempt())
    assert await ask_provider(world.db, world.gateway, "A1001", world.on_settled, utc_now()) == "waiting"
    await world.pay(prepay_id)
    answers = await asyncio.gather(*(ask_provider(world.db, world.gateway, "A1001", world.on_settled, utc_now()) for _ in range(8)))
    assert answers == ["paid"] * 8
    assert await world.told("settled") == 1
    assert await world.notices() == []


async def test_two_attempts_both_paid_at_once_one_wins_and_the_other_goes_back(world: World) -> None:
    attempts = [await world.attempt(payer=f"openid-{n}") for n in range(4)]
    prepay_ids = [await world.send(attempt) for attempt in attempts]
    await asyncio.gather(*(world.pay(prepay_id) for prepay_id in prepay_ids))
    await world.until(lambda: notices_kept(world), 4)
    kept = [await world.seen(attempt) for attempt in attempts]
    assert [attempt.state for attempt in kept] == ["SUCCEEDED"] * 4
    assert sum(attempt.winner for attempt in kept) == 1
    assert await world.told("settled") == 1
    losers = {f"loser:{attempt.id}": attempt.out_trade_no for attempt in kept if not attempt.winner}
    refunds = await world.refunds()
    assert {refund.cause: refund.out_trade_no for refund in refunds} == losers
    assert {(refund.fen, refund.total, refund.state) for refund in refunds} == {(1990, 1990, "APPROVED")}
    assert await world.told("refund") == 3


async def test_two_late_payments_of_a_cancelled_order_both_go_back(world: World) -> None:
    deaf(world)
    world.wanted = False
    for payer in ("openid-1", "openid-2"):
        await world.pay(await world.send(await world.attempt(payer=payer)))
    assert await ask_provider(world.db, world.gateway, "A1001", world.on_settled, utc_now()) == "waiting"
    assert [refund.cause.partition(":")[0] for refund in await world.refunds()] == ["late", "late"]
    assert await close(world) == "closed"


async def test_money_for_an_attempt_we_believed_closed_counts(world: World) -> None:
    attempt = await world.attempt()
    await world.send(attempt)
    assert await close(world) == "closed"
    async with world.db.begin() as session:
        paid = Payment("SUCCESS", "42001", 1990, utc_now())
        assert await settle_attempt(session, attempt.out_trade_no, paid, world.on_settled, utc_now()) == "paid"
    assert (await world.seen(attempt)).winner


@pytest.mark.parametrize(
    ("payment", "verdict", "state"),
    [
        (Payment("NOTPAY"), "waiting", "SENT"),
        (Payment("NOT_FOUND"), "waiting", "SENT"),
        (Payment("USERPAYING"), "paying", "SENT"),
        (Payment("CLOSED"), "closed", "CLOSED"),
        (Payment("PAYERROR"), "closed", "FAILED"),
        (Payment("REFUND", "42001", 1990), "refunded_elsewhere", "SENT"),
        (Payment("SUCCESS", "42001", 1), "wrong_amount", "SENT"),
        (Payment("SUCCESS", None, 1990), "wrong_transaction", "SENT"),
    ],
)
async def test_what_the_provider_says_otherwise(world: World, payment: Payment, verdict: str, state: str) -> None:
    attempt = await world.attempt()
    await world.send(attempt)
    async with world.db.begin() as session:
        assert await settle_attempt(session, attempt.out_trade_no, payment, world.on_settled, utc_now()) == verdict
    assert (await world.seen(attempt)).state == state
    assert await world.told("settled") == 0


async def test_a_second_transaction_of_a_settled_attempt_is_quarantined(world: World) -> None:
    attempt = await world.paid_order()
    async with world.db.begin() as session:
        for number, verdict in ((attempt.transaction_id, "again"), ("42999", "wrong_transaction")):
            paid = Payment("SUCCESS", number, 1990)
            assert await settle_attempt(session, attempt.out_trade_no, paid, world.on_settled, utc_now()) == verdict
        assert await settle_attempt(session, "nobody", Payment("SUCCESS", "1", 1), world.on_settled, utc_now()) == "unknown"


async def notices_kept(world: World) -> int:
    return len(await world.notices())
