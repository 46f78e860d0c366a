"""Sales that start later, and how each one ends."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from live.infra.db import epoch_ms
from live.infra.outbox import room_state
from live.infra.tables import Outbox
from live.offers.tables import Offer
from live.orders.actions import cancel
from live.promotions.flash_sale import rules
from live.promotions.flash_sale.actions import end_sale, reprice_sale, stop_sale, tell_started
from live.promotions.flash_sale.queries import starting, states
from live.promotions.group_buy.actions import end_group
from live.protocol.codes import Code, Refusal
from live.protocol.events import OfferView
from tests.orders.stage import NOW, ROOM, Shop, after

OPENS = after(minutes=5)


async def later(shop: Shop, **changed: Any) -> Offer:
    """A sale that starts in five minutes and counts down for one."""
    return await shop.sale(opens_at=OPENS, **changed)


async def state(shop: Shop, offer: Offer, **length: float) -> str:
    async with shop.db.begin() as session:
        return (await states(session, ROOM, after(**length)))[int(offer.id or 0)]


async def card(shop: Shop, offer: Offer) -> OfferView:
    async with shop.db.begin() as session:
        return OfferView.model_validate(await room_state(session, ROOM, f"offer:{offer.id}"))


async def told(shop: Shop) -> list[Any]:
    """Every event the room was sent."""
    async with shop.db.begin() as session:
        acts = select(col(Outbox.payload)).where(col(Outbox.kind) == "act").order_by(col(Outbox.id))
        return [event for payload in (await session.execute(acts)).scalars() for event in payload["events"]]


async def refused(shop: Shop, act: Any, offer: Offer, *more: Any) -> Refusal:
    """What it says; it must change nothing."""
    before = await shop.everything()
    with pytest.raises(Refusal) as found:
        async with shop.db.begin() as session:
            await act(session, int(offer.id or 0), *more)
    assert await shop.everything() == before
    return found.value


async def test_a_scheduled_sale_has_its_goods_and_its_card_from_the_moment_it_is_made(shop: Shop) -> None:
    offer = await later(shop, minutes=10, per_order=2, countdown=30)
    assert await shop.one("SELECT allotted FROM stock WHERE sku_id = 1 AND location = 'S1'") == 10
    shown = await card(shop, offer)
    assert (shown.opens, shown.closes) == (epoch_ms(OPENS), epoch_ms(after(minutes=15)))
    assert (shown.countdown, shown.per_order, shown.stopped) == (30, 2, False)
    assert await told(shop) == [["offer.scheduled", {"offer": offer.id, "kind": "sale", "opens": epoch_ms(OPENS)}]]
    found = [await state(shop, offer, seconds=seconds) for seconds in (0, 269, 270, 299, 300, 899, 900)]
    assert found == ["SCHEDULED", "SCHEDULED", "COUNTDOWN", "COUNTDOWN", "RUNNING", "RUNNING", "ENDED"]


async def test_a_sale_counts_down_for_a_minute_unless_told_otherwise_and_one_opened_now_does_not(shop: Shop) -> None:
    assert (await card(shop, await later(shop))).countdown == rules.USUAL_COUNTDOWN
    now = await shop.sale()
    assert (await card(shop, now)).countdown == rules.NO_COUNTDOWN
    assert await state(shop, now) == "RUNNING"


async def test_the_room_is_told_once_that_a_sale_has_started_and_not_before(shop: Shop) -> None:
    offer = await later(shop)
    number = int(offer.id or 0)
    for seconds, due, news in ((299.9, [], False), (300, [number], True), (301, [], False)):
        async with shop.db.begin() as session:
            assert await starting(session, after(seconds=seconds)) == due
            assert await tell_started(session, number, after(seconds=seconds)) is news
    assert (await told(shop))[1:] == [["sale.started", {"offer": offer.id}]]


async def test_a_sale_that_is_called_off_gives_its_goods_back_and_never_starts(shop: Shop) -> None:
    offer = await later(shop)
    async with shop.db.begin() as session:
        await stop_sale(session, int(offer.id or 0), after(minutes=1))
    await shop.till()
    assert await shop.one("SELECT sum(allotted) FROM stock") == 0
    assert (await card(shop, offer)).stopped
    assert await state(shop, offer, minutes=1) == await state(shop, offer, days=1) == "STOPPED"
    async with shop.db.begin() as session:
        assert await starting(session, after(minutes=6)) == []
        assert not await tell_started(session, int(offer.id or 0), after(minutes=6))
    again = await refused(shop, stop_sale, offer, after(minutes=2))
    assert (again.code, again.facts) == (Code.STATE, {"state": "ended"})


@pytest.mark.parametrize(
    ("act", "minutes", "expected"), [(stop_sale, 10, "STOPPED"), (stop_sale, 30, "ENDED"), (end_sale, 10, "ENDED"), (end_sale, 30, "ENDED")]
)
async def test_a_sale_stopped_by_hand_is_told_apart_from_one_whose_time_was_over(shop: Shop, act: Any, minutes: int, expected: str) -> None:
    offer = await shop.sale()
    async with shop.db.begin() as session:
        await act(session, int(offer.id or 0), after(minutes=minutes))
    assert await state(shop, offer, minutes=40) == expected
    assert (await card(shop, offer)).stopped is (expected == "STOPPED")


async def test_a_sold_out_sale_runs_again_when_a_hold_comes_back(shop: Shop) -> None:
    offer = await shop.sale(stock={"S1": 1})
    no = await shop.take(offer, "p:1")
    assert await state(shop, offer, minutes=1) == "SOLD_OUT"
    await cancel(shop.db, shop.provider, "p:1", no, after(minutes=1))
    await shop.till()
    assert await state(shop, offer, minutes=1) == "RUNNING"
    await shop.take(offer, "p:2")


async def test_a_new_price_is_for_who_comes_after_and_holds_keep_theirs(shop: Shop) -> None:
    offer = await shop.sale(fen=2990)
    held = await shop.take(offer, "p:1", qty=2)
    async with shop.db.begin() as session:
        changed = await reprice_sale(session, int(offer.id or 0), 3490, after(minutes=1))
        assert (changed.fen, changed.price_version) == (3490, 2)
    shown = await card(shop, offer)
    assert (shown.fen, shown.version) == (3490, 2)
    assert (await told(shop))[1:] == [["offer.price", {"offer": offer.id, "fen": 3490, "version": 2}]]
    assert await shop.paid(held, "p:1", now=after(minutes=2)) == "ALLOCATED"
    assert (await shop.order(held)).fen == 2 * 2990


@pytest.mark.parametrize("fen", [0, -1, 100_000_001, 2990])
async def test_a_price_that_is_none_or_the_same_is_refused(shop: Shop, fen: int) -> None:
    found = await refused(shop, reprice_sale, await shop.sale(fen=2990), fen, after(minutes=1))
    assert (found.code, found.facts["field"]) == (Code.BAD_REQUEST, "fen")


async def test_the_price_of_what_is_over_or_is_no_sale_cannot_be_changed(shop: Shop) -> None:
    sale, group = await shop.sale(minutes=30), await shop.group()
    assert (await refused(shop, reprice_sale, sale, 1, after(minutes=30))).code is Code.STATE
    assert (await refused(shop, reprice_sale, group, 1, NOW)).code is Code.NOT_FOUND
    assert (await refused(shop, stop_sale, group, NOW)).code is Code.NOT_FOUND
    async with shop.db.begin() as session:
        await end_group(session, int(group.id or 0), NOW)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"opens_at": NOW}, "opens"),
        ({"opens_at": after(days=7, seconds=1)}, "opens"),
        ({"opens_at": OPENS, "countdown": 9}, "countdown"),
        ({"opens_at": OPENS, "countdown": 301}, "countdown"),
        ({"countdown": 60}, "countdown"),
        ({"per_order": 0}, "per_order"),
        ({"per_order": 6}, "per_order"),
        ({"opens_at": OPENS, "minutes": 1441}, "minutes"),
    ],
)
async def test_a_schedule_that_is_not_sound_is_refused_by_name_and_changes_nothing(shop: Shop, changed: dict[str, Any], field: str) -> None:
    before = await shop.everything()
    with pytest.raises(Refusal) as found:
        await shop.sale(**changed)
    assert (found.value.code, found.value.facts["field"]) == (Code.BAD_REQUEST, field)
    assert await shop.everything() == before


async def test_the_till_refuses_an_order_above_the_limit_of_one_order_that_a_turnstile_let_through(shop: Shop) -> None:
    offer = await shop.sale(per_person=5, per_order=2)
    found = await shop.book([shop.intent(offer, "p:1", qty=3), shop.intent(offer, "p:2", qty=2)])
    assert [verdict.no for verdict in found.verdicts] == [("order_limit",), ()]
    assert [why for _, why in found.drifts] == ["order_limit"]
    assert await shop.one("SELECT sum(taken) FROM allotment") == 2
