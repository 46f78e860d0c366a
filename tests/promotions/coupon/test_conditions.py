"""Coupons with conditions, on real orders: what comes off, who may, until when, and what is told."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import text

from live.infra.db import epoch_ms
from live.infra.outbox import room_state
from live.offers.tables import Offer
from live.orders.actions import cancel, pay
from live.orders.basket import basket_of
from live.orders.queries import order_of
from live.promotions.coupon import queries
from live.promotions.coupon.actions import expire_due, give_back, lock, unlock, use
from live.protocol.codes import Code, Refusal
from tests.orders.stage import NOW, ROOM, Shop, after
from tests.promotions.coupon.orders import order

PAYER = "openid-1"


async def grant_of(shop: Shop, person: str, **terms: Any) -> int:
    """One coupon of a new batch."""
    return int(await shop.take(await shop.coupon(**terms), person))


async def choice(shop: Shop, person: str, no: str, now: datetime = NOW) -> dict[str, Any]:
    """As the order sheet asks."""
    async with shop.db.begin() as session:
        found = await order_of(session, person, no)
        assert found is not None
        return await queries.choice(session, person, await basket_of(session, found), now)


async def card(shop: Shop, offer: Offer) -> dict[str, Any]:
    async with shop.db.begin() as session:
        shown = await room_state(session, ROOM, f"offer:{offer.id}")
    assert shown is not None
    return dict(shown)


async def test_a_card_says_all_conditions_and_names_the_goods(shop: Shop) -> None:
    fruit = await card(shop, await shop.coupon(off=1000, threshold=2000, percent=20, category="FRUIT", audience="new", valid_seconds=3600))
    assert fruit["name"] == {"zh": "满 ¥20 8 折，最多减 ¥10", "en": "20% off, up to ¥10, from ¥20"}
    assert fruit["coupon"] == {
        "off": 1000, "threshold": 2000, "percent": 20, "scope": {"zh": "水果", "en": "Fruit"}, "audience": "new", "valid_seconds": 3600,
        "valid_until": None, "watch": None,
    }  # fmt: skip
    two = (await card(shop, await shop.coupon(skus=("BERRY-500", "BERRY-1000"), valid_until=after(days=2))))["coupon"]
    assert two["scope"] == {"zh": "草莓 500 克等 2 种", "en": "Strawberries 500 g and 1 more"}
    assert two["valid_until"] == epoch_ms(after(days=2))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"percent": 100}, "percent"),
        ({"category": "TOYS"}, "category"),
        ({"skus": ("BERRY-500", "NONE")}, "skus"),
        ({"skus": ("BERRY-500",), "category": "FRUIT"}, "skus"),
        ({"audience": "old"}, "audience"),
        ({"valid_seconds": 1}, "valid_seconds"),
        ({"valid_until": NOW}, "valid_until"),
        ({"valid_until": after(minutes=10)}, "valid_until"),
    ],
)
async def test_conditions_that_are_not_sound_are_refused_by_field_and_change_nothing(
    shop: Shop, changed: dict[str, Any], field: str
) -> None:
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        await shop.coupon(**changed)
    assert (refused.value.code, refused.value.facts["field"]) == (Code.BAD_REQUEST, field)
    assert await shop.everything() == before


async def test_a_percentage_of_the_goods_in_scope_is_what_the_order_costs_less(shop: Shop) -> None:
    no = await shop.take(await shop.sale(fen=2999), "p:1", qty=3)
    good = await grant_of(shop, "p:1", off=9000, threshold=0, percent=15, category="FRUIT")
    plain, other = await grant_of(shop, "p:1", off=1000), await grant_of(shop, "p:1", off=1500, skus=("BERRY-1000",))
    found = await choice(shop, "p:1", no)
    assert found["best"] == good
    assert [(one["id"], one["gain"]) for one in found["usable"]] == [(good, 1349), (plain, 1000)]  # 15% of 89.97 is 13.4955
    assert [(one["id"], one["why"]) for one in found["others"]] == [(other, "scope")]
    paid, _ = await pay(shop.db, shop.provider, "p:1", no, good, PAYER, NOW)
    assert (paid.fen, paid.discount) == (8997, 1349)
    assert list(shop.provider.sums.values()) == [8997 - 1349]


async def test_a_new_customers_coupon_goes_on_one_order_and_on_none_after_the_first_was_paid(shop: Shop) -> None:
    goods, hello = await shop.sale(), await shop.coupon(audience="new")
    first, second = await shop.take(goods, "p:1"), await shop.take(goods, "p:1")
    one, two = int(await shop.take(hello, "p:1")), int(await shop.take(hello, "p:1"))
    await pay(shop.db, shop.provider, "p:1", first, one, PAYER, NOW)
    with pytest.raises(Refusal) as refused:
        await pay(shop.db, shop.provider, "p:1", second, two, PAYER, NOW)
    assert refused.value.facts == {"why": "audience"}
    assert [found["why"] for found in (await choice(shop, "p:1", second))["others"]] == ["locked", "audience"][::-1]
    await cancel(shop.db, shop.provider, "p:1", first, NOW)
    assert (await choice(shop, "p:1", second))["best"] == one  # nothing was paid yet
    await shop.paid(second, "p:1", coupon=one)
    third = await shop.take(goods, "p:1")
    assert {found["why"] for found in (await choice(shop, "p:1", third))["others"]} == {"audience"}


async def test_two_orders_at_once_cannot_both_be_the_first(shop: Shop) -> None:
    hello = await shop.coupon(audience="new", per_person=8)
    grants = [int(await shop.take(hello, "p:1")) for _ in range(8)]

    async def try_it(at: int) -> str:
        try:
            async with shop.db.begin() as session:
                await lock(session, grants[at], "p:1", order(f"A{at}", 2990), NOW)
        except Refusal as refusal:
            return str(refusal.facts["why"])
        return "got it"

    assert sorted(await asyncio.gather(*(try_it(at) for at in range(8)))) == ["audience"] * 7 + ["got it"]


async def test_a_coupon_past_its_time_is_refused_before_the_sweep_and_ended_by_it(shop: Shop) -> None:
    grant = await grant_of(shop, "p:1", valid_seconds=600)
    assert (await shop.grant(grant)).valid_until == after(minutes=10)
    with pytest.raises(Refusal) as refused:
        async with shop.db.begin() as session:
            await lock(session, grant, "p:1", order("A", 2990), after(minutes=10))
    assert refused.value.facts == {"why": "expired"}
    async with shop.db.begin() as session:
        assert await expire_due(session, after(minutes=9, seconds=59)) == 0
        assert await expire_due(session, after(minutes=10)) == 1
        assert await expire_due(session, after(minutes=10)) == 0
    assert (await shop.grant(grant)).state == "EXPIRED"
    body = {"t": "coupon", "id": grant, "version": 2, "state": "EXPIRED", "void": None}
    assert [news | body == news for news in await shop.told(f"coupon:{grant}")] == [False, True]


async def test_a_locked_coupon_survives_its_orders_hold_and_comes_back_expired(shop: Shop) -> None:
    no, grant = await shop.take(await shop.sale(), "p:1"), await grant_of(shop, "p:1", valid_seconds=60)
    await pay(shop.db, shop.provider, "p:1", no, grant, PAYER, NOW)
    late = after(minutes=3)
    async with shop.db.begin() as session:
        assert await expire_due(session, late) == 0
    again, _ = await pay(shop.db, shop.provider, "p:1", no, grant, PAYER, late)
    assert again.discount == 500
    await cancel(shop.db, shop.provider, "p:1", no, late)
    assert (await shop.grant(grant)).state == "EXPIRED"
    assert [news["state"] for news in await shop.told(f"coupon:{grant}")] == ["CLAIMED", "LOCKED", "EXPIRED"]


async def test_a_used_coupon_given_back_after_its_time_is_over(shop: Shop) -> None:
    early, late = await grant_of(shop, "p:1", valid_seconds=600), await grant_of(shop, "p:2", valid_seconds=600)
    for no, person, grant, back in (("A", "p:1", early, after(minutes=9)), ("B", "p:2", late, after(minutes=11))):
        async with shop.db.begin() as session:
            await lock(session, grant, person, order(no, 2990), NOW)
            await use(session, no)
            await give_back(session, no, back)
    assert [(await shop.grant(grant)).state for grant in (early, late)] == ["CLAIMED", "EXPIRED"]


async def test_the_sweep_leaves_what_is_being_locked_and_two_sweeps_share_the_rest(shop: Shop) -> None:
    drop = await shop.coupon(valid_seconds=600, total=300, per_person=99)
    await shop.book([shop.intent(drop, f"p:{1 + i % 5}") for i in range(300)])
    wanted = int(await shop.one("SELECT min(id) FROM coupon_grant WHERE person = 'p:1'"))

    async def sweep() -> int:
        async with shop.db.begin() as session:
            return await expire_due(session, after(minutes=10), 120)

    async with shop.db.begin() as session:
        await lock(session, wanted, "p:1", order("A", 2990), after(minutes=9))
        assert sum(await asyncio.gather(sweep(), sweep(), sweep(), sweep())) == 299
    assert (await shop.grant(wanted)).state == "LOCKED"
    assert await shop.one("SELECT max(version) FROM coupon_grant WHERE state = 'EXPIRED'") == 2


async def test_a_group_takes_no_coupon_and_the_choice_says_so(shop: Shop) -> None:
    no = await shop.take(await shop.group(), "p:1")
    grant = await grant_of(shop, "p:1", percent=10)
    found = await choice(shop, "p:1", no)
    assert (found["best"], [one["why"] for one in found["others"]]) == (None, ["group"])
    with pytest.raises(Refusal) as refused:
        await pay(shop.db, shop.provider, "p:1", no, grant, PAYER, NOW)
    assert refused.value.facts == {"why": "group"}


async def test_a_batch_opened_before_there_were_conditions_is_claimed_without_any(shop: Shop) -> None:
    drop = await shop.coupon()
    drop.terms = {"off": 500, "threshold": 2000}
    async with shop.db.begin() as session:
        await session.execute(text("UPDATE offer SET terms = '{\"off\": 500, \"threshold\": 2000}'"))
    grant = await shop.grant(await shop.take(drop, "p:1"))
    assert (grant.percent, grant.scope, grant.audience, grant.valid_until) == (None, {}, "all", None)
    async with shop.db.begin() as session:
        await unlock(session, "nobody's", NOW)
