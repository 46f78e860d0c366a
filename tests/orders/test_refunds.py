"""Money that goes back: asked and decided, owed by a ladder, owed by a group that failed."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select, text
from sqlmodel import col

from live.offers.tables import Offer
from live.orders.actions import advance, ask_refund, decline_refund, grant_refund, payment_arrived, refunds_done, settle_group
from live.payments.actions import ask_provider
from live.payments.tables import Refund
from live.promotions.group_buy.actions import close_team, end_group
from live.protocol.codes import Code, Refusal
from tests.orders.stage import NOW, Shop, after
from tests.payments.due import due_refunds, send_refund


async def ask(shop: Shop, no: str, person: str = "p:1", reason: str = "买错了") -> int:
    """Ask for everything back; the refund's id."""
    async with shop.db.begin() as session:
        await ask_refund(session, person, no, reason, after(minutes=2))
    return int(await shop.one("SELECT id FROM refund WHERE order_no = :no AND cause = 'buyer'", no=no))


async def grant(shop: Shop, refund_id: int) -> Refund:
    async with shop.db.begin() as session:
        return await grant_refund(session, refund_id, after(minutes=3))


async def send(shop: Shop) -> list[str]:
    """What the refund worker does with all that is due."""
    async with shop.db.begin() as session:
        due = await due_refunds(session, after(hours=1))
    return [await send_refund(shop.db, shop.provider, refund_id, refunds_done, after(hours=1)) for refund_id in due]


async def refund_of(shop: Shop, no: str, cause: str) -> Refund | None:
    async with shop.db.begin() as session:
        query = select(Refund).where(col(Refund.order_no) == no, col(Refund.cause) == cause)
        return (await session.execute(query)).scalar_one_or_none()


async def decided(shop: Shop, offer: Offer) -> str:
    """End the group, book what is left, decide."""
    async with shop.db.begin() as session:
        await end_group(session, int(offer.id or 0), after(minutes=1))
    await shop.till()
    async with shop.db.begin() as session:
        return await close_team(session, int(offer.id or 0), after(minutes=2))


async def settled(shop: Shop, offer: Offer, limit: int = 200) -> bool:
    return await settle_group(shop.db, int(offer.id or 0), after(minutes=3), limit)


async def test_a_granted_refund_gives_money_goods_quota_and_coupon_back(shop: Shop) -> None:
    no, held = await shop.take(await shop.sale(), "p:1", qty=2), int(await shop.take(await shop.coupon(), "p:1"))
    await shop.paid(no, "p:1", coupon=held)
    refund_id = await ask(shop, no)
    asked = await refund_of(shop, no, "buyer")
    assert asked is not None
    assert (asked.state, asked.fen, asked.total, asked.reason) == ("REQUESTED", 5480, 5480, "买错了")
    assert (await shop.order(no)).state == "ALLOCATED"
    assert (await grant(shop, refund_id)).state == "APPROVED"
    assert (await shop.order(no)).state == "REFUNDING"
    assert await shop.jobs("ticket.void") == [(no, {})]
    assert await shop.jobs("refund") == [(asked.out_refund_no, {"id": refund_id})]
    assert await send(shop) == ["DONE"]
    order = await shop.order(no)
    assert (order.state, order.refunded) == ("REFUNDED", 5480)
    assert shop.provider.refunds == {asked.out_refund_no: 5480}
    assert (await shop.grant(held)).state == "CLAIMED"
    assert await shop.one("SELECT sum(taken) FROM allotment WHERE location <> '-'") == 2
    assert await shop.till() == 1
    assert await shop.one("SELECT sum(taken) FROM allotment WHERE location <> '-'") == 0
    assert await shop.one("SELECT used FROM quota ORDER BY offer_id LIMIT 1") == 0
    news = [(told["state"], told["refunded"]) for told in (await shop.told(f"order:{no}"))[2:]]
    assert news == [("ALLOCATED", 0), ("ALLOCATED", 0), ("REFUNDING", 0), ("REFUNDED", 5480)]


async def test_a_refund_that_is_done_twice_counts_once(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    await shop.paid(no, "p:1")
    refund_id = await ask(shop, no)
    await grant(shop, refund_id)
    await send(shop)
    before = await shop.everything()
    async with shop.db.begin() as session:
        await refunds_done(session, [await session.get_one(Refund, refund_id)], after(hours=2))
    assert await shop.everything() == before


async def test_a_declined_refund_lets_the_order_go_on_and_cannot_be_asked_again(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    await shop.paid(no, "p:1")
    refund_id = await ask(shop, no)
    async with shop.db.begin() as session:
        assert (await decline_refund(session, refund_id, NOW)).state == "DECLINED"
    for to in ("READY", "COLLECTED"):
        async with shop.db.begin() as session:
            await advance(session, no, to, NOW)
    assert (await shop.order(no)).refunded == 0
    before = await shop.everything()
    for verb in (grant_refund, decline_refund):
        with pytest.raises(Refusal) as refused:
            async with shop.db.begin() as session:
                await verb(session, refund_id, NOW)
        assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": "DECLINED"})
    assert await shop.everything() == before


async def test_after_a_decline_the_answer_stands(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    await shop.paid(no, "p:1")
    refund_id = await ask(shop, no)
    async with shop.db.begin() as session:
        await decline_refund(session, refund_id, NOW)
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        await ask(shop, no)
    assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": "DECLINED"})
    assert await shop.everything() == before


async def test_a_refund_is_asked_once_and_only_by_the_buyer(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    await shop.paid(no, "p:1")
    await ask(shop, no)
    before = await shop.everything()
    for person, reason, code in (("p:1", "", Code.REFUND_OPEN), ("p:2", "", Code.NOT_FOUND), ("p:1", "x" * 201, Code.TOO_LONG)):
        with pytest.raises(Refusal) as refused:
            await ask(shop, no, person, reason)
        assert refused.value.code is code
    assert await shop.everything() == before


@pytest.mark.parametrize("state", ["AWAIT_PAY", "CLOSING", "CANCELLED", "GROUP_WAIT", "COLLECTED", "REFUNDING", "REFUNDED"])
async def test_a_refund_is_asked_between_paying_and_collecting_only(shop: Shop, state: str) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    await shop.paid(no, "p:1")
    async with shop.db.begin() as session:
        await session.execute(text("UPDATE orders SET state = :state"), {"state": state})
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        await ask(shop, no)
    assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": state})
    assert await shop.everything() == before


async def test_a_refund_the_host_cannot_find_is_refused(shop: Shop) -> None:
    before = await shop.everything()
    for verb in (grant_refund, decline_refund):
        with pytest.raises(Refusal) as refused:
            async with shop.db.begin() as session:
                await verb(session, 42, NOW)
        assert refused.value.code is Code.NOT_FOUND
    assert await shop.everything() == before


async def test_what_the_provider_could_not_send_is_granted_again(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    await shop.paid(no, "p:1")
    refund_id = await ask(shop, no)
    await grant(shop, refund_id)
    shop.provider.refund_state = "ABNORMAL"
    assert await send(shop) == ["FAILED"]
    assert (await shop.order(no)).state == "REFUNDING"
    assert (await grant(shop, refund_id)).state == "APPROVED"
    shop.provider.refund_state = "SUCCESS"
    assert await send(shop) == ["DONE"]
    assert (await shop.order(no)).state == "REFUNDED"


async def test_two_hosts_and_a_clerk_at_once_decide_one_thing(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    await shop.paid(no, "p:1")
    async with shop.db.begin() as session:
        await advance(session, no, "READY", NOW)
    refund_id = await ask(shop, no)

    async def collect() -> None:
        async with shop.db.begin() as session:
            await advance(session, no, "COLLECTED", NOW)

    async def decline() -> None:
        async with shop.db.begin() as session:
            await decline_refund(session, refund_id, NOW)

    answers = await asyncio.gather(grant(shop, refund_id), decline(), collect(), return_exceptions=True)
    assert all(isinstance(answer, Refund | Refusal | None) for answer in answers)
    order, refund = await shop.order(no), await refund_of(shop, no, "buyer")
    assert refund is not None
    assert (order.state, refund.state) in {("REFUNDING", "APPROVED"), ("READY", "DECLINED"), ("COLLECTED", "DECLINED")}


async def test_a_group_that_succeeds_goes_to_the_store_and_everybody_has_paid_the_final_price(shop: Shop) -> None:
    offer = await shop.group()
    early, late = await shop.take(offer, "p:1", qty=3), await shop.take(offer, "p:2")
    await shop.paid(early, "p:1")
    await shop.paid(late, "p:2")
    cheap = shop.intent(offer, "p:3", fen=2000)
    await shop.book([cheap])
    last = await shop.one("SELECT no FROM orders WHERE rid = :rid", rid=cheap.rid)
    await shop.paid(last, "p:3")
    assert await decided(shop, offer) == "success"
    assert await settled(shop, offer)
    assert [(await shop.order(no)).state for no in (early, late, last)] == ["ALLOCATED"] * 3
    assert sorted(payload["order"] for _, payload in await shop.jobs("handoff")) == sorted([early, late, last])
    differences = [await refund_of(shop, no, "ladder") for no in (early, late, last)]
    assert [refund and (refund.fen, refund.state) for refund in differences] == [(3000, "APPROVED"), (1000, "APPROVED"), None]
    assert await send(shop) == ["DONE", "DONE"]
    orders = [await shop.order(no) for no in (early, late, last)]
    assert [order.state for order in orders] == ["ALLOCATED"] * 3
    assert sum(order.fen - order.refunded for order in orders) == 5 * 2000
    assert await shop.till() == 0
    before = await shop.everything()
    assert await settled(shop, offer)
    assert await shop.everything() == before


async def test_a_difference_on_its_way_stops_no_clerk_and_is_not_sent_twice(shop: Shop) -> None:
    offer = await shop.group(minimum=1)
    no = await shop.take(offer, "p:1", qty=2)
    await shop.paid(no, "p:1")
    assert await decided(shop, offer) == "success"
    await settled(shop, offer)
    async with shop.db.begin() as session:
        await advance(session, no, "READY", NOW)
    refund_id = await ask(shop, no)
    rest, ladder = await refund_of(shop, no, "buyer"), await refund_of(shop, no, "ladder")
    assert rest is not None
    assert ladder is not None
    assert (rest.fen, ladder.fen) == (5000, 1000)
    await grant(shop, refund_id)
    assert sorted(await send(shop)) == ["DONE", "DONE"]
    order = await shop.order(no)
    assert (order.state, order.refunded) == ("REFUNDED", 6000)
    await shop.till()
    assert await shop.one("SELECT held || ' ' || paid || ' ' || state FROM team") == "0 2 success"  # a refund dissolves no team


async def test_a_clerk_hands_over_while_only_a_difference_is_open(shop: Shop) -> None:
    offer = await shop.group(minimum=1)
    no = await shop.take(offer, "p:1", qty=2)
    await shop.paid(no, "p:1")
    await decided(shop, offer)
    await settled(shop, offer)
    for to in ("READY", "COLLECTED"):
        async with shop.db.begin() as session:
            await advance(session, no, to, NOW)
    assert await send(shop) == ["DONE"]
    order = await shop.order(no)
    assert (order.state, order.refunded) == ("COLLECTED", 1000)


async def test_a_group_that_fails_refunds_every_member_in_full_and_returns_the_goods(shop: Shop) -> None:
    offer = await shop.group()
    first, second = await shop.take(offer, "p:1"), await shop.take(offer, "p:2")
    await shop.paid(first, "p:1")
    await shop.paid(second, "p:2")
    assert await decided(shop, offer) == "failed"
    assert await settled(shop, offer)
    refunds = [await refund_of(shop, no, "group_failed") for no in (first, second)]
    assert [refund and (refund.fen, refund.state, refund.order_no) for refund in refunds] == [
        (3000, "APPROVED", first), (3000, "APPROVED", second),
    ]  # fmt: skip
    assert [(await shop.order(no)).state for no in (first, second)] == ["REFUNDING", "REFUNDING"]
    assert await send(shop) == ["DONE", "DONE"]
    orders = [await shop.order(no) for no in (first, second)]
    assert [(order.state, order.refunded) for order in orders] == [("REFUNDED", 3000)] * 2
    assert await shop.jobs("handoff") == []
    assert await shop.till() == 2
    assert await shop.one("SELECT sum(taken) FROM allotment") == 0
    assert await shop.one("SELECT allotted FROM stock WHERE sku_id = 1 AND location = 'S1'") == 0
    assert await shop.one("SELECT sum(used) FROM quota") == 0


async def test_a_large_team_is_settled_in_slices_and_by_two_workers_once(shop: Shop) -> None:
    offer = await shop.group(
        size=20, minimum=1, stock={"S1": 20}, per_person=1, tiers=[{"seats": 0, "fen": 3000}, {"seats": 10, "fen": 2000}]
    )
    nos = []
    for i in range(1, 16):
        nos.append(await shop.take(offer, f"p:{i}"))
        await shop.paid(nos[-1], f"p:{i}")
    assert await decided(shop, offer) == "success"
    assert not await settled(shop, offer, limit=4)
    await asyncio.gather(*(settled(shop, offer, limit=6) for _ in range(3)))
    assert await settled(shop, offer)
    assert {(await shop.order(no)).state for no in nos} == {"ALLOCATED"}
    assert len(await shop.jobs("handoff")) == 15
    assert await shop.one("SELECT count(*) || ' ' || sum(fen) FROM refund") == "15 15000"


async def test_an_undecided_group_settles_nothing(shop: Shop) -> None:
    offer = await shop.group()
    no = await shop.take(offer, "p:1")
    await shop.paid(no, "p:1")
    before = await shop.everything()
    assert not await settled(shop, offer)
    assert await shop.everything() == before


async def test_a_second_payment_of_one_order_goes_back_and_leaves_the_order_alone(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    await shop.paid(no, "p:1")
    async with shop.db.begin() as session:
        await session.execute(
            text(
                "INSERT INTO pay_attempt (order_no, out_trade_no, fen, state, winner, expires_at)"
                " VALUES (:no, :t, 2990, 'SENT', false, now())"
            ),
            {"no": no, "t": f"{no}-2"},
        )
    shop.states[f"{no}-2"], shop.provider.sums[f"{no}-2"] = "SUCCESS", 2990
    await ask_provider(shop.db, shop.provider, no, payment_arrived, after(minutes=1))
    before = await shop.order(no)
    assert await send(shop) == ["DONE"]
    assert await shop.order(no) == before
    assert (before.state, before.refunded) == ("ALLOCATED", 0)
    assert list(shop.provider.refunds.values()) == [2990]
