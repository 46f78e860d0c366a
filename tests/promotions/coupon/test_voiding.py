"""A batch of coupons taken back: what nobody used is void with its reason, what an order holds stays that order's."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from live.infra.outbox import room_state
from live.offers.tables import Offer
from live.promotions.coupon import queries
from live.promotions.coupon.actions import expire_due, give_back, lock, unlock, use
from live.promotions.coupon.voiding import LATE, void_coupon, void_due, voids
from live.protocol.codes import Code, Refusal
from tests.orders.stage import ROOM, Shop, after
from tests.promotions.coupon.orders import order

WHY = "发错了金额"


async def take_back(shop: Shop, offer: Offer) -> None:
    async with shop.db.begin() as session:
        await void_coupon(session, int(offer.id or 0), WHY, None, after(minutes=1))


async def use_on(shop: Shop, grant: int | str, person: str, no: str) -> int:
    async with shop.db.begin() as session:
        return await lock(session, int(grant), person, order(no, 2990), after(minutes=2))


async def states(shop: Shop) -> dict[str, int]:
    async with shop.db.connection() as connection:
        rows = (await connection.execute(text("SELECT state, count(*) FROM coupon_grant GROUP BY 1"))).all()
    return {state: count for state, count in rows}


async def test_unused_coupons_are_void_with_the_reason_and_an_orders_stays_until_it_lets_go(shop: Shop) -> None:
    offer = await shop.coupon(total=20, per_person=9)
    free, locked, cancelled, used, refunded = [await shop.take(offer, "p:1") for _ in range(5)]
    for grant, no in ((locked, "A"), (cancelled, "B"), (used, "C"), (refunded, "D")):
        await use_on(shop, grant, "p:1", no)
    async with shop.db.begin() as session:
        await use(session, "C")
        await use(session, "D")
    await take_back(shop, offer)
    assert [(await shop.grant(grant)).state for grant in (free, locked, cancelled, used)] == ["VOID", "LOCKED", "LOCKED", "USED"]
    news = (await shop.told(f"coupon:{free}"))[-1]
    assert (news["state"], news["void"]) == ("VOID", WHY)
    assert await use_on(shop, locked, "p:1", "A") == 500, "asked again, the order keeps what it holds"
    async with shop.db.begin() as session:
        await use(session, "A")
        await unlock(session, "B", after(minutes=3))
        await give_back(session, "D", after(minutes=3))
    assert [(await shop.grant(grant)).state for grant in (locked, cancelled, refunded)] == ["USED", "VOID", "VOID"]
    assert (await shop.told(f"coupon:{cancelled}"))[-1]["void"] == WHY
    async with shop.db.begin() as session:
        card = await room_state(session, ROOM, f"offer:{offer.id}")
    assert card is not None
    assert (card["phase"], card["void"]) == ("ended", WHY)


async def test_what_is_void_goes_on_no_order_and_says_why(shop: Shop) -> None:
    offer = await shop.coupon()
    grant = await shop.take(offer, "p:1")
    await take_back(shop, offer)
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        await use_on(shop, grant, "p:1", "A")
    assert (refused.value.code, refused.value.facts) == (Code.COUPON_NOT_USABLE, {"why": "void"})
    assert await shop.everything() == before
    async with shop.db.begin() as session:
        held = await queries.coupons_of(session, "p:1")
        [shown] = [queries.shape(one, await voids(session, [one.offer_id])) for one in held]
    assert (shown["state"], shown["void"]) == ("VOID", WHY)


async def test_a_batch_is_taken_back_once_and_nothing_else_is(shop: Shop) -> None:
    ended, sale = await shop.coupon(), await shop.sale()
    await take_back(shop, ended)
    before = await shop.everything()
    for offer, code, facts in ((ended, Code.STATE, {"state": "void"}), (sale, Code.NOT_FOUND, {"what": "coupon"})):
        with pytest.raises(Refusal) as refused:
            await take_back(shop, offer)
        assert (refused.value.code, refused.value.facts) == (code, facts)
    assert await shop.everything() == before


async def test_what_the_ledger_books_after_it_is_void_too(shop: Shop) -> None:
    """The turnstile had let it through before."""
    offer = await shop.coupon()
    late = shop.intent(offer, "p:2")
    await take_back(shop, offer)
    booked = await shop.book([late], after(minutes=1))
    body: Any = booked.verdicts[0].body
    grant = body["coupon"]["id"]
    with pytest.raises(Refusal, match="coupon_not_usable"):
        await use_on(shop, grant, "p:2", "A")
    async with shop.db.begin() as session:
        assert await void_due(session, after(minutes=1)) == 1
        assert await void_due(session, after(minutes=1) + LATE + timedelta(seconds=1)) == 0
    assert (await shop.grant(grant)).state == "VOID"
    assert await shop.one("SELECT done_at IS NOT NULL FROM coupon_void")


async def test_a_great_batch_is_marked_a_sweep_at_a_time_and_an_expired_coupon_stays_expired(shop: Shop) -> None:
    offer = await shop.coupon(total=2000, per_person=1, valid_seconds=60)
    await shop.book([shop.intent(offer, f"p:{n}") for n in range(700)])
    async with shop.db.begin() as session:
        assert await expire_due(session, after(minutes=5), limit=100) == 100
    await take_back(shop, offer)
    assert await states(shop) == {"EXPIRED": 100, "VOID": 500, "CLAIMED": 100}
    async with shop.db.begin() as session:
        assert await void_due(session, after(minutes=6)) == 100
    assert await states(shop) == {"EXPIRED": 100, "VOID": 600}


async def test_of_200_orders_that_race_the_void_each_has_its_coupon_or_none(shop: Shop) -> None:
    offer = await shop.coupon(total=200, per_person=1)
    booked = await shop.book([shop.intent(offer, f"p:{n}") for n in range(200)])
    grants = [verdict.body["coupon"]["id"] for verdict in booked.verdicts if verdict.body is not None]

    async def checkout(n: int) -> str:
        try:
            await use_on(shop, grants[n], f"p:{n}", f"O{n}")
        except Refusal as refusal:
            return str(refusal.facts["why"])
        return "LOCKED"

    async def stop() -> str:
        await take_back(shop, offer)
        return "stopped"

    first = [checkout(n) for n in range(100)]
    rest = [checkout(n) for n in range(100, 200)]
    answers = await asyncio.gather(*first, stop(), *rest)
    async with shop.db.begin() as session:
        await void_due(session, after(minutes=3))
    assert set(answers) <= {"LOCKED", "void", "stopped"}
    found = await states(shop)
    assert found == {state: count for state, count in (("LOCKED", answers.count("LOCKED")), ("VOID", answers.count("void"))) if count}
