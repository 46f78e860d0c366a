"""Paying, cancelling, expiring, going on at the store; each race of money against time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from live.offers.rules import IntentLine
from live.orders.actions import advance, cancel, expire_due, pay, payment_arrived
from live.orders.refunds import ask_refund
from live.payments.actions import ask_provider, settle_attempt
from live.payments.gateway import Closing, Payment
from live.protocol.codes import Code, Refusal
from tests.orders.stage import NOW, Shop, after

PAYER = "openid"


async def arrived(shop: Shop, no: str) -> str:
    """The sweep asks the provider."""
    return await ask_provider(shop.db, shop.provider, no, payment_arrived, after(seconds=40))


async def taken(shop: Shop) -> tuple[int, int]:
    """(units of all allotments that are taken, units of all quotas that are used)."""
    return await shop.one("SELECT sum(taken) FROM allotment"), await shop.one("SELECT coalesce(sum(used), 0) FROM quota")


async def test_a_paid_order_is_allocated_and_put_on_the_list_of_its_store_once(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1", qty=2, at="S2")
    order, params = await pay(shop.db, shop.provider, "p:1", no, None, PAYER, after(seconds=5))
    assert (order.state, order.version, params) == ("AWAIT_PAY", 1, {"package": f"prepay_id=prepay-{no}-1"})
    assert shop.provider.sums == {f"{no}-1": 5980}
    shop.money(no)
    assert await arrived(shop, no) == "paid"
    assert await arrived(shop, no) == "paid"
    order = await shop.order(no)
    assert (order.state, order.version, order.paid_at) == ("ALLOCATED", 2, after(seconds=30))
    assert await shop.jobs("handoff") == [("S2", {"order": no})]
    assert (await shop.told(f"order:{no}"))[-1] == {
        "t": "order", "no": no, "version": 2, "state": "ALLOCATED", "fen": 5980, "pay_until": None, "refunded": 0,
    }  # fmt: skip


async def test_paying_twice_shows_the_same_attempt_again(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    first = await pay(shop.db, shop.provider, "p:1", no, None, PAYER, NOW)
    again = await pay(shop.db, shop.provider, "p:1", no, None, PAYER, after(seconds=9))
    assert first[1] == again[1]
    assert shop.states == {f"{no}-1": "NOTPAY"}


async def test_only_the_buyer_can_pay_and_only_in_time(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    before = await shop.everything()
    for person, now, code in (("p:2", NOW, Code.NOT_FOUND), ("p:1", after(seconds=300), Code.STATE), ("p:1", after(days=1), Code.STATE)):
        with pytest.raises(Refusal) as refused:
            await pay(shop.db, shop.provider, person, no, None, PAYER, now)
        assert refused.value.code is code
    assert await shop.everything() == before
    assert shop.states == {}


async def test_a_coupon_is_locked_with_the_attempt_and_used_with_the_money(shop: Shop) -> None:
    no, grant = await shop.take(await shop.sale(), "p:1"), int(await shop.take(await shop.coupon(), "p:1"))
    order, _ = await pay(shop.db, shop.provider, "p:1", no, grant, PAYER, NOW)
    assert (order.fen, order.discount, order.grant_id, order.version) == (2990, 500, grant, 2)
    assert shop.provider.sums == {f"{no}-1": 2490}
    assert (await shop.grant(grant)).state == "LOCKED"
    shop.money(no)
    assert await arrived(shop, no) == "paid"
    used = await shop.grant(grant)
    assert (used.state, used.order_no) == ("USED", no)
    assert [news["fen"] for news in await shop.told(f"order:{no}")] == [2990, 2490, 2490]


async def test_a_coupon_that_cannot_be_used_is_refused_before_anything_is_asked_of_the_provider(shop: Shop) -> None:
    no = await shop.take(await shop.sale(fen=1999), "p:1")
    grant = int(await shop.take(await shop.coupon(threshold=2000), "p:1"))
    await pay(shop.db, shop.provider, "p:1", no, None, PAYER, NOW)
    before = await shop.everything()
    for coupon, why in ((grant, "threshold"), (999, "unknown")):
        with pytest.raises(Refusal) as refused:
            await pay(shop.db, shop.provider, "p:1", no, coupon, PAYER, NOW)
        assert (refused.value.code, refused.value.facts) == (Code.COUPON_NOT_USABLE, {"why": why})
    assert await shop.everything() == before
    assert shop.states == {f"{no}-1": "NOTPAY"}


async def test_a_coupon_does_not_stack_with_a_groups_price(shop: Shop) -> None:
    no, grant = await shop.take(await shop.group(), "p:1"), int(await shop.take(await shop.coupon(), "p:1"))
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        await pay(shop.db, shop.provider, "p:1", no, grant, PAYER, NOW)
    assert (refused.value.code, refused.value.facts) == (Code.COUPON_NOT_USABLE, {"why": "group"})
    assert await shop.everything() == before


async def test_another_sum_is_asked_for_only_after_the_old_one_is_closed_at_the_provider(shop: Shop) -> None:
    no, drop = await shop.take(await shop.sale(), "p:1"), await shop.coupon()
    first, second = int(await shop.take(drop, "p:1")), int(await shop.take(drop, "p:1"))
    await pay(shop.db, shop.provider, "p:1", no, first, PAYER, NOW)
    order, params = await pay(shop.db, shop.provider, "p:1", no, second, PAYER, NOW)  # the same sum: the same attempt
    assert (order.grant_id, order.discount, params) == (second, 500, {"package": f"prepay_id=prepay-{no}-1"})
    assert [(await shop.grant(grant)).state for grant in (first, second)] == ["CLAIMED", "LOCKED"]
    order, params = await pay(shop.db, shop.provider, "p:1", no, None, PAYER, NOW)
    assert (order.grant_id, order.discount, params) == (None, 0, {"package": f"prepay_id=prepay-{no}-2"})
    assert [(await shop.grant(grant)).state for grant in (first, second)] == ["CLAIMED", "CLAIMED"]
    assert shop.states == {f"{no}-1": "CLOSED", f"{no}-2": "NOTPAY"}
    assert shop.provider.sums == {f"{no}-1": 2490, f"{no}-2": 2990}


async def test_a_coupon_is_not_changed_while_the_old_sum_is_being_paid(shop: Shop) -> None:
    no, grant = await shop.take(await shop.sale(), "p:1"), int(await shop.take(await shop.coupon(), "p:1"))
    await pay(shop.db, shop.provider, "p:1", no, None, PAYER, NOW)
    shop.states[f"{no}-1"] = "USERPAYING"
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        await pay(shop.db, shop.provider, "p:1", no, grant, PAYER, NOW)
    assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": "AWAIT_PAY", "why": "a payment is under way"})
    assert await shop.everything() == before


async def test_a_coupon_comes_too_late_when_the_old_sum_was_paid(shop: Shop) -> None:
    no, grant = await shop.take(await shop.sale(), "p:1"), int(await shop.take(await shop.coupon(), "p:1"))
    await pay(shop.db, shop.provider, "p:1", no, None, PAYER, NOW)
    shop.money(no)
    with pytest.raises(Refusal) as refused:
        await pay(shop.db, shop.provider, "p:1", no, grant, PAYER, NOW)
    assert (refused.value.code, refused.value.facts["state"]) == (Code.STATE, "ALLOCATED")
    assert ((await shop.order(no)).discount, (await shop.grant(grant)).state) == (0, "CLAIMED")


async def test_a_provider_that_does_not_answer_leaves_an_order_that_can_be_paid_later(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    shop.provider.away = True
    with pytest.raises(Refusal) as refused:
        await pay(shop.db, shop.provider, "p:1", no, None, PAYER, NOW)
    assert refused.value.code is Code.GATEWAY
    assert (await shop.order(no)).state == "AWAIT_PAY"
    shop.provider.away = False
    assert await shop.paid(no, "p:1") == "ALLOCATED"


async def test_a_cancelled_order_gives_units_quota_and_coupon_back_once(shop: Shop) -> None:
    no, grant = await shop.take(await shop.sale(), "p:1", qty=2), int(await shop.take(await shop.coupon(), "p:1"))
    await pay(shop.db, shop.provider, "p:1", no, grant, PAYER, NOW)
    order = await cancel(shop.db, shop.provider, "p:1", no, NOW)
    assert order.state == "CANCELLED"
    assert shop.states == {f"{no}-1": "CLOSED"}
    assert (await shop.grant(grant)).state == "CLAIMED"
    assert await taken(shop) == (3, 3)  # two units and one coupon, until the till has booked it
    assert await shop.till() == 1
    assert await taken(shop) == (1, 1)
    assert [news["state"] for news in await shop.told(f"order:{no}")] == ["AWAIT_PAY", "AWAIT_PAY", "CLOSING", "CANCELLED"]
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        await cancel(shop.db, shop.provider, "p:1", no, NOW)
    assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": "CANCELLED"})
    assert await shop.everything() == before


async def test_an_order_nobody_tried_to_pay_is_cancelled_without_asking_the_provider(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    shop.provider.away = True
    assert (await cancel(shop.db, shop.provider, "p:1", no, NOW)).state == "CANCELLED"
    assert (await shop.order(no)).version == 2


async def test_cancelling_while_money_arrives_finds_the_order_paid(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    await pay(shop.db, shop.provider, "p:1", no, None, PAYER, NOW)
    shop.money(no)
    with pytest.raises(Refusal) as refused:
        await cancel(shop.db, shop.provider, "p:1", no, NOW)
    assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": "ALLOCATED"})
    assert (await shop.order(no)).state == "ALLOCATED"
    assert await shop.till() == 0
    assert len(await shop.jobs("handoff")) == 1


async def test_cancelling_while_somebody_is_paying_closes_later(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    await pay(shop.db, shop.provider, "p:1", no, None, PAYER, NOW)
    shop.states[f"{no}-1"] = "USERPAYING"
    assert (await cancel(shop.db, shop.provider, "p:1", no, NOW)).state == "CLOSING"
    assert await expire_due(shop.db, shop.provider, NOW) == 0
    assert (await shop.order(no)).state == "CLOSING"
    shop.states[f"{no}-1"] = "NOTPAY"
    assert await expire_due(shop.db, shop.provider, NOW) == 1
    assert (await shop.order(no)).state == "CANCELLED"
    assert await shop.till() == 1


async def test_a_stranger_cannot_cancel(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        await cancel(shop.db, shop.provider, "p:2", no, NOW)
    assert refused.value.code is Code.NOT_FOUND
    assert await shop.everything() == before


async def test_expiry_takes_what_is_due_and_nothing_else(shop: Shop) -> None:
    sale = await shop.sale()
    due, tried, early, paid = [await shop.take(sale, f"p:{i}") for i in (1, 2, 3, 4)]
    await pay(shop.db, shop.provider, "p:2", tried, None, PAYER, NOW)
    assert await shop.paid(paid, "p:4") == "ALLOCATED"
    async with shop.db.begin() as session:
        await session.execute(text("UPDATE orders SET pay_until = :later WHERE no = :no"), {"later": after(hours=1), "no": early})
    assert await expire_due(shop.db, shop.provider, after(seconds=299)) == 0
    assert await expire_due(shop.db, shop.provider, after(seconds=300)) == 2
    states = [(await shop.order(no)).state for no in (due, tried, early, paid)]
    assert states == ["CANCELLED", "CANCELLED", "AWAIT_PAY", "ALLOCATED"]
    assert shop.states[f"{tried}-1"] == "CLOSED"
    assert await shop.till() == 2
    assert await taken(shop) == (2, 2)
    assert await expire_due(shop.db, shop.provider, after(seconds=301)) == 0


async def test_already_paid_wins_over_expiry(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    await pay(shop.db, shop.provider, "p:1", no, None, PAYER, NOW)
    shop.money(no)
    assert await expire_due(shop.db, shop.provider, after(minutes=6)) == 0
    assert (await shop.order(no)).state == "ALLOCATED"
    assert [news["state"] for news in await shop.told(f"order:{no}")] == ["AWAIT_PAY", "CLOSING", "ALLOCATED"]
    assert await shop.till() == 0


async def test_expiry_goes_on_where_the_provider_was_away(shop: Shop) -> None:
    sale = await shop.sale()
    untried, tried = await shop.take(sale, "p:1"), await shop.take(sale, "p:2")
    await pay(shop.db, shop.provider, "p:2", tried, None, PAYER, NOW)
    shop.provider.away = True
    assert await expire_due(shop.db, shop.provider, after(minutes=6)) == 1
    assert [(await shop.order(no)).state for no in (untried, tried)] == ["CANCELLED", "CLOSING"]
    with pytest.raises(Refusal) as refused:
        await pay(shop.db, shop.provider, "p:2", tried, None, PAYER, after(seconds=1))
    assert (refused.value.code, refused.value.facts["state"]) == (Code.STATE, "CLOSING")
    shop.provider.away = False
    assert await expire_due(shop.db, shop.provider, after(minutes=7)) == 1
    assert (await shop.order(tried)).version == 3  # CLOSING was told once, not at every try


async def test_an_answer_that_makes_no_sense_keeps_no_other_order_from_closing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    sale = await shop.sale(per_person=12, stock={"S1": 40})
    nos = [await shop.take(sale, "p:1") for _ in range(12)]  # more than are closed side by side
    for no in nos:
        await pay(shop.db, shop.provider, "p:1", no, None, PAYER, NOW)
    strange, closes = {f"{no}-1" for no in nos[:6]}, shop.provider.close

    async def close(out_trade_no: str) -> Closing:
        if out_trade_no in strange:
            raise Refusal(Code.GATEWAY, why="unknown trade_state")
        return await closes(out_trade_no)

    monkeypatch.setattr(shop.provider, "close", close)
    with capture_logs() as logs:
        assert await expire_due(shop.db, shop.provider, after(minutes=6)) == 6
    assert [(await shop.order(no)).state for no in nos] == ["CLOSING"] * 6 + ["CANCELLED"] * 6
    assert {line["order"] for line in logs if line["event"] == "order not closed"} == set(nos[:6])
    strange.clear()
    assert await expire_due(shop.db, shop.provider, after(minutes=7)) == 6


async def test_two_workers_expire_each_order_once(shop: Shop) -> None:
    sale = await shop.sale(per_person=5, stock={"S1": 40})
    nos = [await shop.take(sale, f"p:{i}") for i in range(1, 21)]
    for i, no in enumerate(nos[:10]):
        await pay(shop.db, shop.provider, f"p:{i + 1}", no, None, PAYER, NOW)
    await asyncio.gather(*(expire_due(shop.db, shop.provider, after(minutes=6)) for _ in range(3)))
    assert {(await shop.order(no)).state for no in nos} == {"CANCELLED"}
    assert await shop.till() == 20
    assert await taken(shop) == (0, 0)


async def test_a_small_limit_leaves_the_rest_for_the_next_time(shop: Shop) -> None:
    sale = await shop.sale()
    for i in range(1, 6):
        await shop.take(sale, f"p:{i}")
    assert [await expire_due(shop.db, shop.provider, after(minutes=6), limit=2) for _ in range(4)] == [2, 2, 1, 0]


async def test_money_for_a_cancelled_order_goes_back_by_itself_and_the_order_stays_cancelled(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    await pay(shop.db, shop.provider, "p:1", no, None, PAYER, NOW)
    await cancel(shop.db, shop.provider, "p:1", no, NOW)
    async with shop.db.begin() as session:  # the provider's notice of money it took before it closed
        verdict = await settle_attempt(session, f"{no}-1", Payment("SUCCESS", "T1", 2990, NOW), payment_arrived, after(minutes=1))
    assert verdict == "late"
    assert (await shop.order(no)).state == "CANCELLED"
    assert await shop.one("SELECT state || ' ' || fen FROM refund WHERE order_no = :no", no=no) == "APPROVED 2990"
    assert await shop.jobs("handoff") == []


async def test_payment_expiry_and_cancel_at_the_same_moment_end_in_one_of_two_ways(shop: Shop) -> None:
    sale = await shop.sale(stock={"S1": 40})
    for i in range(1, 13):
        no = await shop.take(sale, f"p:{i}")
        await pay(shop.db, shop.provider, f"p:{i}", no, None, PAYER, NOW)
        if i % 2:
            shop.money(no)
        answers = await asyncio.gather(
            arrived(shop, no),
            cancel(shop.db, shop.provider, f"p:{i}", no, NOW),
            expire_due(shop.db, shop.provider, after(minutes=6)),
            return_exceptions=True,
        )
        assert all(isinstance(answer, Refusal) for answer in answers if isinstance(answer, BaseException))
        assert (await shop.order(no)).state == ("ALLOCATED" if i % 2 else "CANCELLED")
    assert await shop.till() == 6
    assert await taken(shop) == (6, 6)
    assert len(await shop.jobs("handoff")) == 6


async def test_a_paid_seat_waits_for_its_team(shop: Shop) -> None:
    offer = await shop.group()
    no = await shop.take(offer, "p:1", qty=2)
    assert await shop.paid(no, "p:1") == "GROUP_WAIT"
    assert await shop.jobs("handoff") == []
    assert await shop.one("SELECT held || ' ' || paid FROM team") == "0 2"
    assert await shop.one("SELECT fen FROM offer WHERE id = :o", o=offer.id) == 2500


async def test_a_seat_that_is_given_up_is_free_again(shop: Shop) -> None:
    offer = await shop.group()
    no = await shop.take(offer, "p:1", qty=3)
    assert await shop.one("SELECT held FROM team") == 3
    await cancel(shop.db, shop.provider, "p:1", no, NOW)
    await shop.till()
    assert await shop.one("SELECT held || ' ' || paid FROM team") == "0 0"
    assert await taken(shop) == (0, 0)


async def test_the_store_makes_it_ready_and_hands_it_over(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    await shop.paid(no, "p:1")
    for to in ("READY", "COLLECTED"):
        async with shop.db.begin() as session:
            assert (await advance(session, no, to, NOW)).state == to
    assert [news["state"] for news in await shop.told(f"order:{no}")] == ["AWAIT_PAY", "ALLOCATED", "READY", "COLLECTED"]
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        async with shop.db.begin() as session:
            await advance(session, no, "COLLECTED", NOW)
    assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": "COLLECTED"})
    assert await shop.everything() == before


@pytest.mark.parametrize("to", ["READY", "COLLECTED", "CANCELLED", "REFUNDED"])
async def test_what_is_not_paid_goes_nowhere_at_the_store(shop: Shop, to: str) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        async with shop.db.begin() as session:
            await advance(session, no, to, NOW)
    assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": "AWAIT_PAY"})
    assert await shop.everything() == before


async def test_nothing_is_handed_over_while_a_refund_is_undecided(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    await shop.paid(no, "p:1")
    async with shop.db.begin() as session:
        await advance(session, no, "READY", NOW)
        await ask_refund(session, "p:1", no, "", NOW)
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        async with shop.db.begin() as session:
            await advance(session, no, "COLLECTED", NOW)
    assert refused.value.code is Code.REFUND_OPEN
    assert await shop.everything() == before


@pytest.mark.parametrize("pays", [True, False])
async def test_an_order_of_a_seat_and_a_sale_counts_the_seat_only(shop: Shop, pays: bool) -> None:
    group, sale = await shop.group(), await shop.sale()
    tap = shop.intent(group, "p:1", qty=2)
    tap = replace(tap, lines=(*tap.lines, IntentLine(int(sale.id or 0), 1, 2990, 1)))
    body = (await shop.book([tap])).verdicts[0].body
    assert body is not None
    no = body["order"]["no"]
    if pays:
        assert await shop.paid(no, "p:1") == "GROUP_WAIT"
    else:
        assert (await cancel(shop.db, shop.provider, "p:1", no, NOW)).state == "CANCELLED"
        assert await shop.till() == 2
    assert await shop.one("SELECT held || ' ' || paid FROM team") == ("0 2" if pays else "0 0")
    assert await taken(shop) == ((3, 3) if pays else (0, 0))
