"""Coupons as their holders and the host see them."""

from __future__ import annotations

from live.infra.db import epoch_ms
from live.promotions.coupon import queries
from live.promotions.coupon.actions import lock, use
from tests.orders.stage import NOW, ROOM, Shop
from tests.promotions.coupon.orders import order

PLAIN = {"percent": None, "scope": None, "audience": "all", "valid_until": None}


async def test_a_person_sees_their_own_coupons_newest_first(shop: Shop) -> None:
    offer = await shop.coupon(off=500, threshold=2000)
    first, second = int(await shop.take(offer, "p:1")), int(await shop.take(offer, "p:1"))
    await shop.take(offer, "p:2")
    async with shop.db.begin() as session:
        await lock(session, first, "p:1", order("A", 2990), NOW)
        await use(session, "A")
    async with shop.db.begin() as session:
        held = [queries.shape(grant) for grant in await queries.coupons_of(session, "p:1", ROOM)]
        elsewhere = await queries.coupons_of(session, "p:1", "another")
        counted = await queries.figures(session, ROOM)
    common = {"offer": offer.id, "void": None, "off": 500, "threshold": 2000, "created": epoch_ms(NOW), **PLAIN}
    assert held == [
        {"id": second, "state": "CLAIMED", "order": None, **common},
        {"id": first, "state": "USED", "order": "A", **common},
    ]
    assert elsewhere == []
    assert counted == {"coupons_claimed": 3, "coupons_used": 1}


async def test_a_tap_leads_to_its_coupon_and_another_to_none(shop: Shop) -> None:
    offer = await shop.coupon()
    tap = shop.intent(offer, "p:1")
    await shop.book([tap])
    async with shop.db.begin() as session:
        found = await queries.by_rid(session, tap.rid)
        assert found is not None
        assert found.person == "p:1"
        assert await queries.by_rid(session, "nothing") is None
