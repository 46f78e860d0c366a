"""A card tells sold out for now from sold out for good."""

from __future__ import annotations

from live.infra.outbox import room_state
from live.orders.actions import expire_due
from live.orders.unpaid import tell_unpaid
from tests.orders.stage import ROOM, Shop, after


async def said(shop: Shop, offer: int) -> bool:
    """What the card says of units that may come back, after a look; a second look must have nothing to say."""
    await tell_unpaid(shop.db)
    assert await tell_unpaid(shop.db) == 0
    async with shop.db.begin() as session:
        card = await room_state(session, ROOM, f"offer:{offer}")
    assert card is not None
    return bool(card["unpaid"])


async def test_a_card_says_that_units_may_come_back_until_all_are_paid(shop: Shop) -> None:
    sale = await shop.sale(stock={"S1": 2})
    number = int(sale.id or 0)
    first = await shop.take(sale, "p:1")
    assert await said(shop, number) is False  # one is left: nothing to say
    second = await shop.take(sale, "p:2")
    assert await said(shop, number) is True
    assert await shop.paid(first, "p:1") == "ALLOCATED"
    assert await said(shop, number) is True
    assert await shop.paid(second, "p:2") == "ALLOCATED"
    assert await said(shop, number) is False
    assert await shop.one("SELECT count(*) FROM outbox WHERE kind = 'act'") == 3  # opened, may come back, is gone


async def test_what_comes_back_and_is_taken_again_is_told_anew(shop: Shop) -> None:
    sale = await shop.sale(stock={"S1": 1})
    number = int(sale.id or 0)
    await shop.take(sale, "p:1")
    assert await said(shop, number) is True
    await expire_due(shop.db, shop.provider, after(seconds=301))
    await shop.till()
    again = await shop.take(sale, "p:2", now=after(seconds=302))
    assert await shop.paid(again, "p:2", now=after(seconds=303)) == "ALLOCATED"
    assert await said(shop, number) is False
