"""Orders as the ledger books them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from psycopg import AsyncCursor, IntegrityError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra.db import array, driver, epoch_ms
from live.offers.rules import Booked, Intent, IntentLine, OfferFacts
from live.offers.tables import Offer
from live.orders.booking import OrderBooker
from live.orders.change import lines_of
from live.orders.rules import number
from tests.orders.stage import NOW, ROOM, Shop, after


def facts_of(*offers: Offer, team: int | None = None) -> dict[int, OfferFacts]:
    return {
        int(o.id or 0): OfferFacts(int(o.id or 0), ROOM, o.kind, o.sku_id, o.hold_seconds, o.per_person, o.terms, team, "open", o.closes_at)
        for o in offers
    }


async def things(connection: AsyncConnection, offer: Offer) -> list[Any]:
    raw = await driver(connection)
    return await (await raw.execute(OrderBooker.reads, (array([int(offer.id or 0)]),))).fetchall()


async def test_an_intent_becomes_an_order_at_the_promised_price_with_names_as_they_were(shop: Shop) -> None:
    offer = await shop.sale(fen=2990)
    tap = shop.intent(offer, "p:1", qty=2, at="S2", fen=2880)
    found = await shop.book([tap])
    no = number(tap.rid, NOW)
    assert found.verdicts[0].body == {"order": {"no": no, "fen": 5760, "pay_until": epoch_ms(after(seconds=300))}}
    order = await shop.order(no)
    kept = order.model_dump(exclude={"id", "attribution"})
    assert kept == {
        "no": no, "rid": tap.rid, "intent_id": tap.id, "room_id": ROOM, "person": "p:1", "channel": "live", "fulfilment": "store_pickup",
        "location": "S2", "state": "AWAIT_PAY", "version": 1, "fen": 5760, "discount": 0, "refunded": 0, "grant_id": None, "team_id": None,
        "party_id": None, "pay_until": after(seconds=300), "paid_at": None, "created_at": NOW,
    }  # fmt: skip
    async with shop.db.begin() as session:
        await session.execute(text("UPDATE product SET name_zh = 'renamed'"))
        lines = [line.model_dump() for line in await lines_of(session, no)]
    assert lines == [
        {"order_no": no, "line": 0, "offer_id": offer.id, "sku_id": 1, "sku": "BERRY-500", "name_zh": "草莓 500 克",
         "name_en": "Strawberries 500 g", "picture": "/media/berry.svg", "qty": 2, "fen": 2880, "price_version": 1}
    ]  # fmt: skip
    assert await shop.told(f"order:{no}") == [
        {"t": "order", "no": no, "version": 1, "state": "AWAIT_PAY", "fen": 5760, "pay_until": epoch_ms(after(seconds=300)), "refunded": 0}
    ]
    async with shop.db.connection() as connection:
        rows = await (await (await driver(connection)).execute(OrderBooker.known, (array([tap.rid, "nobody"]),))).fetchall()
    assert [OrderBooker().booked(row) for row in rows] == [(tap.rid, Booked(tap.id, found.verdicts[0].body))]


async def test_lines_of_several_offers_are_one_order_with_the_shortest_hold(shop: Shop) -> None:
    small, large = await shop.sale(), await shop.sale(sku="BERRY-1000", fen=5990, hold_seconds=200)
    tap = shop.intent(small, "p:1")
    tap = replace(tap, lines=(IntentLine(int(large.id or 0), 1, 5990, 1), IntentLine(int(small.id or 0), 3, 2990, 1)))
    body = (await shop.book([tap])).verdicts[0].body
    assert body is not None
    order = await shop.order(body["order"]["no"])
    assert (order.fen, order.pay_until) == (14960, after(seconds=200))
    async with shop.db.begin() as session:
        assert [(line.line, line.sku, line.qty) for line in await lines_of(session, order.no)] == [
            (0, "BERRY-1000", 1),
            (1, "BERRY-500", 3),
        ]


async def test_a_hold_in_a_team_ends_with_the_team(shop: Shop) -> None:
    offer = await shop.group(minutes=20)
    early, late = await shop.take(offer, "p:1", now=NOW), await shop.take(offer, "p:2", now=after(minutes=15))
    first, last = await shop.order(early), await shop.order(late)
    assert (first.pay_until, last.pay_until) == (after(minutes=10), after(minutes=20))
    assert (first.channel, first.team_id) == ("group", await shop.one("SELECT id FROM team"))


async def test_five_hundred_orders_take_two_statements(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    offer = await shop.sale(per_person=1)
    taps = sorted((shop.intent(offer, f"p:{i}") for i in range(500)), key=lambda tap: tap.rid)
    statements: list[str] = []
    execute = AsyncCursor.execute

    async def counted(self: AsyncCursor[Any], query: Any, *given: Any, **more: Any) -> Any:
        statements.extend([query] if query != ";" else [])  # the pool's ping
        return await execute(self, query, *given, **more)

    monkeypatch.setattr(AsyncCursor, "execute", counted)
    async with shop.db.connection() as connection:
        sold = await OrderBooker().book(connection, taps, facts_of(offer), NOW, await things(connection, offer))
    assert len(statements) == 2  # the things they name; orders and lines
    assert len({body["order"]["no"] for body in sold.bodies.values()}) == len(sold.news) == 500
    assert await shop.one("SELECT (SELECT count(*) FROM orders) || ' ' || (SELECT count(*) FROM order_line)") == "500 500"


async def test_nothing_to_book_asks_nothing(shop: Shop) -> None:
    async with shop.db.connection() as connection:
        assert await OrderBooker().book(connection, [], {}, NOW, []) == ({}, [])


async def test_a_rid_that_is_in_the_books_breaks_the_batch_and_leaves_nothing_of_it(shop: Shop) -> None:
    offer = await shop.sale()
    tap = shop.intent(offer, "p:1")
    await shop.book([tap])
    before = await shop.everything()
    batch: list[Intent] = sorted([shop.intent(offer, "p:2"), tap], key=lambda one: one.rid)
    with pytest.raises(IntegrityError):
        async with shop.db.connection() as connection:
            await OrderBooker().book(connection, batch, facts_of(offer), NOW, await things(connection, offer))
    assert await shop.everything() == before


async def test_a_line_without_a_thing_to_name_breaks_the_batch(shop: Shop) -> None:
    offer = await shop.sale()
    with pytest.raises(IntegrityError):
        async with shop.db.connection() as connection:
            await OrderBooker().book(connection, [shop.intent(offer, "p:1")], facts_of(offer), NOW, [])
    assert await shop.one("SELECT count(*) FROM orders") == 0


async def test_the_same_tap_again_is_answered_with_the_same_order(shop: Shop) -> None:
    offer = await shop.sale()
    tap = shop.intent(offer, "p:1")
    first, again = await shop.book([tap]), await shop.book([tap], now=after(minutes=1))
    assert first.verdicts[0].body == again.verdicts[0].body
    assert await shop.one("SELECT count(*) FROM orders") == 1


async def test_who_comes_late_to_a_hot_sale_has_less_time_to_pay_and_is_told_so(shop: Shop) -> None:
    offer = await shop.sale(hold_seconds=600, floor_seconds=120, stock={"S1": 10, "S2": 10})
    # Two to a buyer, in one group: each finds two less than the one before, and the other store is not in a hurry.
    intents = [shop.intent(offer, f"p:{person}", 2) for person in range(1, 6)] + [shop.intent(offer, "p:1", at="S2")]
    booking = await shop.book(intents)
    wanted = [600, 600, 600, 120 + 480 * 4 * 2 // 10, 120 + 480 * 2 * 2 // 10, 600]
    bodies = [verdict.body["order"] for verdict in booking.verdicts if verdict.body]
    assert [body["pay_until"] for body in bodies] == [epoch_ms(after(seconds=seconds)) for seconds in wanted]
    orders = [await shop.order(body["no"]) for body in bodies]
    assert [order.pay_until for order in orders] == [after(seconds=seconds) for seconds in wanted]
    assert [(await shop.told(f"order:{order.no}"))[0]["pay_until"] for order in orders] == [body["pay_until"] for body in bodies]


async def test_the_next_group_is_judged_by_what_the_last_one_left(shop: Shop) -> None:
    offer = await shop.sale(hold_seconds=600, floor_seconds=120)
    await shop.book([shop.intent(offer, "p:1", 5), shop.intent(offer, "p:2", 4)])
    last = await shop.take(offer, "p:3")
    assert (await shop.order(last)).pay_until == after(seconds=120 + 480 * 2 // 10)


async def test_an_offer_without_a_floor_gives_everybody_the_same_time(shop: Shop) -> None:
    offer = await shop.sale(hold_seconds=600)
    booking = await shop.book([shop.intent(offer, f"p:{person}", 5) for person in (1, 2)])
    assert {verdict.body["order"]["pay_until"] for verdict in booking.verdicts if verdict.body} == {epoch_ms(after(seconds=600))}
