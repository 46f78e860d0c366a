"""Claims as the ledger books them."""

from __future__ import annotations

import pytest
from psycopg import IntegrityError
from sqlalchemy import text

from live.infra.db import array, driver
from live.offers.rules import Booked, OfferFacts
from live.promotions.coupon.booking import CouponBooker
from tests.orders.stage import NOW, ROOM, Shop


async def test_a_claim_becomes_a_grant_with_the_terms_of_its_batch_and_its_holder_is_told(shop: Shop) -> None:
    offer = await shop.coupon(off=500, threshold=2000)
    tap = shop.intent(offer, "p:1")
    found = await shop.book([tap])
    body = found.verdicts[0].body
    assert body is not None
    grant = await shop.grant(body["coupon"]["id"])
    assert body == {"coupon": {"id": grant.id, "offer": offer.id}}
    assert (grant.rid, grant.intent_id, grant.person, grant.off, grant.threshold, grant.state, grant.order_no, grant.created_at) == (
        tap.rid, tap.id, "p:1", 500, 2000, "CLAIMED", None, NOW,
    )  # fmt: skip
    news = {"t": "coupon", "id": grant.id, "version": 1, "offer": offer.id, "state": "CLAIMED", "void": None}
    assert await shop.told(f"coupon:{grant.id}") == [news]
    async with shop.db.connection() as connection:
        rows = await (await (await driver(connection)).execute(CouponBooker.known, (array([tap.rid, "nobody"]),))).fetchall()
    assert [CouponBooker().booked(row) for row in rows] == [(tap.rid, Booked(tap.id, body))]


async def test_the_same_tap_again_is_answered_with_the_same_coupon(shop: Shop) -> None:
    offer = await shop.coupon()
    tap = shop.intent(offer, "p:1")
    first, again = await shop.book([tap]), await shop.book([tap])
    assert first.verdicts[0].body == again.verdicts[0].body
    assert await shop.one("SELECT count(*) FROM coupon_grant") == 1


async def test_ten_coupons_go_to_ten_of_thirty_claims_and_two_at_most_to_one_person(shop: Shop) -> None:
    offer = await shop.coupon()
    found = await shop.book([shop.intent(offer, f"p:{1 + i % 6}") for i in range(30)])
    assert sum(verdict.body is not None for verdict in found.verdicts) == 10
    assert await shop.one("SELECT max(n) FROM (SELECT count(*) AS n FROM coupon_grant GROUP BY person) x") == 2


async def test_a_whole_batch_is_written_at_once(shop: Shop) -> None:
    offer = await shop.coupon(total=300, per_person=1)
    facts = {int(offer.id or 0): OfferFacts(int(offer.id or 0), ROOM, "coupon", None, 0, 1, offer.terms, None, "open")}
    taps = sorted((shop.intent(offer, f"p:{i}") for i in range(300)), key=lambda tap: tap.rid)
    async with shop.db.connection() as connection:
        sold = await CouponBooker().book(connection, taps, facts, NOW, [])
    assert set(sold.bodies) == {tap.rid for tap in taps}
    assert len({body["coupon"]["id"] for body in sold.bodies.values()}) == len(sold.news) == 300
    assert await CouponBooker().book(connection, [], facts, NOW, []) == ({}, [])


async def test_a_rid_that_is_in_the_books_breaks_the_batch_and_leaves_nothing_of_it(shop: Shop) -> None:
    offer = await shop.coupon()
    facts = {int(offer.id or 0): OfferFacts(int(offer.id or 0), ROOM, "coupon", None, 0, 1, offer.terms, None, "open")}
    tap = shop.intent(offer, "p:1")
    await shop.book([tap])
    before = await shop.everything()
    with pytest.raises(IntegrityError):
        async with shop.db.connection() as connection:
            await CouponBooker().book(connection, [shop.intent(offer, "p:2"), tap], facts, NOW, [])
    assert await shop.everything() == before
    async with shop.db.connection() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
