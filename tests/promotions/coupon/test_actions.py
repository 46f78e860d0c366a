"""Dropping coupons; locking, using and giving back what a person holds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from live.infra.db import epoch_ms
from live.infra.outbox import room_state
from live.promotions.coupon.actions import end_coupon, give_back, lock, unlock, use
from live.protocol.codes import Code, Refusal
from tests.orders.stage import NOW, ROOM, Shop, after
from tests.promotions.coupon.orders import order


async def test_a_dropped_coupon_shows_its_terms_and_is_carved_from_no_store(shop: Shop) -> None:
    offer = await shop.coupon(off=500, threshold=2000)
    async with shop.db.begin() as session:
        card = await room_state(session, ROOM, f"offer:{offer.id}")
    assert card is not None
    assert (card["kind"], card["name"]) == ("coupon", {"zh": "满 ¥20 减 ¥5", "en": "¥5 off from ¥20"})
    plain = {"watch": None, "percent": None, "scope": None, "audience": "all", "valid_seconds": None, "valid_until": None}
    assert card["coupon"] == {"off": 500, "threshold": 2000, **plain}
    assert (card["total"], card["per_person"], card["fen"], card["closes"]) == (10, 2, 0, epoch_ms(after(minutes=10)))
    assert await shop.one("SELECT total FROM allotment WHERE offer_id = :o AND location = '-'", o=offer.id) == 10
    assert await shop.one("SELECT sum(allotted) FROM stock") == 0


@pytest.mark.parametrize(
    ("changed", "field"), [({"off": 2000}, "off"), ({"total": 0}, "total"), ({"per_person": 0}, "per_person"), ({"minutes": 0}, "minutes")]
)
async def test_a_coupon_that_is_not_sound_is_refused_by_field_and_changes_nothing(shop: Shop, changed: dict[str, Any], field: str) -> None:
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        await shop.coupon(**changed)
    assert (refused.value.code, refused.value.facts["field"]) == (Code.BAD_REQUEST, field)
    assert await shop.everything() == before


async def test_an_ended_coupon_is_ended_once_and_what_was_claimed_stays(shop: Shop) -> None:
    offer = await shop.coupon()
    grant = await shop.take(offer, "p:1")
    async with shop.db.begin() as session:
        await end_coupon(session, int(offer.id or 0), after(minutes=1))
    assert (await shop.grant(grant)).state == "CLAIMED"
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        async with shop.db.begin() as session:
            await end_coupon(session, int(offer.id or 0), after(minutes=2))
    assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": "ended"})
    assert await shop.everything() == before


async def test_a_coupon_is_locked_used_and_given_back_and_its_holder_hears_each_step(shop: Shop) -> None:
    grant = int(await shop.take(await shop.coupon(), "p:1"))
    async with shop.db.begin() as session:
        assert await lock(session, grant, "p:1", order("A", 2990), NOW) == 500
    held = await shop.grant(grant)
    assert (held.state, held.order_no, held.version) == ("LOCKED", "A", 2)
    async with shop.db.begin() as session:
        assert await lock(session, grant, "p:1", order("A", 2990), NOW) == 500  # again: the same order's own
    assert (await shop.grant(grant)).version == 2
    async with shop.db.begin() as session:
        await use(session, "A")
    used = await shop.grant(grant)
    assert (used.state, used.order_no) == ("USED", "A")
    async with shop.db.begin() as session:
        await unlock(session, "A", NOW)  # what is used cannot be unlocked
    assert (await shop.grant(grant)).state == "USED"
    async with shop.db.begin() as session:
        await give_back(session, "A", NOW)
    back = await shop.grant(grant)
    assert (back.state, back.order_no, back.version) == ("CLAIMED", None, 4)
    assert [news["state"] for news in await shop.told(f"coupon:{grant}")] == ["CLAIMED", "LOCKED", "USED", "CLAIMED"]


async def test_another_coupon_takes_the_place_of_the_first(shop: Shop) -> None:
    offer = await shop.coupon()
    first, second = int(await shop.take(offer, "p:1")), int(await shop.take(offer, "p:1"))
    async with shop.db.begin() as session:
        await lock(session, first, "p:1", order("A", 2990), NOW)
    async with shop.db.begin() as session:
        await lock(session, second, "p:1", order("A", 2990), NOW)
    assert [(await shop.grant(grant)).state for grant in (first, second)] == ["CLAIMED", "LOCKED"]


async def test_nothing_happens_to_orders_without_a_coupon(shop: Shop) -> None:
    await shop.take(await shop.coupon(), "p:1")
    before = await shop.everything()
    async with shop.db.begin() as session:
        await unlock(session, "A", NOW)
        await use(session, "A")
        await give_back(session, "A", NOW)
    assert await shop.everything() == before


@pytest.mark.parametrize(
    ("person", "fen", "why"), [("p:2", 2990, "unknown"), ("p:1", 1999, "threshold")], ids=["somebody else's", "order too small"]
)
async def test_a_coupon_that_does_not_fit_is_refused_and_changes_nothing(shop: Shop, person: str, fen: int, why: str) -> None:
    grant = int(await shop.take(await shop.coupon(), "p:1"))
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        async with shop.db.begin() as session:
            await lock(session, grant, person, order("A", fen), NOW)
    assert (refused.value.code, refused.value.facts) == (Code.COUPON_NOT_USABLE, {"why": why})
    assert await shop.everything() == before


async def test_one_coupon_on_two_orders_at_once_goes_to_exactly_one(shop: Shop) -> None:
    grant = int(await shop.take(await shop.coupon(), "p:1"))

    async def try_it(no: str) -> str:
        try:
            async with shop.db.begin() as session:
                await lock(session, grant, "p:1", order(no, 2990), NOW)
        except Refusal as refusal:
            return str(refusal.facts["why"])
        return "got it"

    answers = await asyncio.gather(*(try_it(f"A{i}") for i in range(8)))
    assert sorted(answers) == ["got it"] + ["locked"] * 7


async def test_two_orders_that_swap_their_coupons_at_once_do_not_wait_for_each_other(shop: Shop) -> None:
    offer = await shop.coupon()
    one, two = int(await shop.take(offer, "p:1")), int(await shop.take(offer, "p:1"))
    async with shop.db.begin() as session:
        await lock(session, one, "p:1", order("A", 2990), NOW)
        await lock(session, two, "p:1", order("B", 2990), NOW)

    async def swap(no: str, wanted: int) -> str:
        try:
            async with shop.db.begin() as session:
                await lock(session, wanted, "p:1", order(no, 2990), NOW)
        except Refusal as refusal:
            return str(refusal.facts["why"])
        return "got it"

    assert sorted(await asyncio.gather(swap("A", two), swap("B", one))) == ["locked", "locked"]
    assert [(await shop.grant(grant)).order_no for grant in (one, two)] == ["A", "B"]
