"""Opening and ending flash sales."""

from __future__ import annotations

from typing import Any

import pytest

from live.infra.db import epoch_ms
from live.infra.outbox import room_state
from live.promotions.flash_sale.actions import end_sale
from live.protocol.codes import Code, Refusal
from live.protocol.events import OfferView
from tests.orders.stage import NOW, ROOM, Shop, after


async def test_an_opened_sale_shows_both_prices_names_and_the_units_of_all_stores(shop: Shop) -> None:
    offer = await shop.sale()
    async with shop.db.begin() as session:
        card = OfferView.model_validate(await room_state(session, ROOM, f"offer:{offer.id}"))
    assert card.model_dump() == {
        "id": offer.id, "kind": "sale", "phase": "open", "name": {"zh": "草莓 500 克", "en": "Strawberries 500 g"},
        "picture": "/media/berry.svg", "fen": 2990, "list_fen": 3990, "version": 1, "per_person": 5, "total": 15,
        "opens": epoch_ms(NOW), "closes": epoch_ms(after(minutes=30)), "sku": "BERRY-500", "coupon": None, "tiers": None, "minimum": None,
        "per_order": None, "countdown": 0, "stopped": False, "void": None, "unpaid": False,
        "packet": None, "team": None, "leader": None,
    }  # fmt: skip
    assert (offer.hold_seconds, offer.terms) == (300, {})
    assert await shop.one("SELECT allotted FROM stock WHERE sku_id = 1 AND location = 'S1'") == 10
    assert await shop.one("SELECT total FROM allotment WHERE offer_id = :o AND location = 'S2'", o=offer.id) == 5


async def test_a_sale_may_cost_more_than_the_shop_and_stay_open_until_ended(shop: Shop) -> None:
    offer = await shop.sale(fen=9990, minutes=None)
    async with shop.db.begin() as session:
        card = await room_state(session, ROOM, f"offer:{offer.id}")
    assert card is not None
    assert (card["fen"], card["list_fen"], card["closes"]) == (9990, 3990, None)


@pytest.mark.parametrize(
    ("changed", "code", "facts"),
    [
        ({"fen": 0}, Code.BAD_REQUEST, {"field": "fen"}),
        ({"per_person": 100}, Code.BAD_REQUEST, {"field": "per_person"}),
        ({"minutes": 0}, Code.BAD_REQUEST, {"field": "minutes"}),
        ({"stock": {}}, Code.BAD_REQUEST, {"field": "stock"}),
        ({"stock": {"S1": 0}}, Code.BAD_REQUEST, {"field": "stock.S1"}),
        ({"sku": "NOTHING"}, Code.BAD_REQUEST, {"field": "sku", "why": "no such SKU"}),
        ({"stock": {"S1": 1, "S2": 1001}}, Code.NOT_ENOUGH_STOCK, {"have": 1000, "location": "S2"}),
        ({"stock": {"NOWHERE": 1}}, Code.NOT_ENOUGH_STOCK, {"have": 0, "location": "NOWHERE"}),
    ],
)
async def test_what_is_not_sound_is_refused_by_name_and_changes_nothing(
    shop: Shop, changed: dict[str, Any], code: Code, facts: dict[str, Any]
) -> None:
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        await shop.sale(**changed)
    assert refused.value.code is code
    assert facts.items() <= refused.value.facts.items()
    assert await shop.everything() == before


async def test_an_ended_sale_is_ended_once_and_gives_its_goods_back(shop: Shop) -> None:
    offer = await shop.sale()
    await shop.take(offer, "p:1", qty=2)
    async with shop.db.begin() as session:
        await end_sale(session, int(offer.id or 0), after(minutes=1))
    await shop.till()
    assert await shop.one("SELECT allotted FROM stock WHERE sku_id = 1 AND location = 'S1'") == 2
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        async with shop.db.begin() as session:
            await end_sale(session, int(offer.id or 0), after(minutes=2))
    assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": "ended"})
    assert await shop.everything() == before


async def test_a_group_cannot_be_ended_as_a_sale(shop: Shop) -> None:
    group = await shop.group()
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        async with shop.db.begin() as session:
            await end_sale(session, int(group.id or 0), NOW)
    assert (refused.value.code, refused.value.facts) == (Code.NOT_FOUND, {"what": "sale"})
    assert await shop.everything() == before
