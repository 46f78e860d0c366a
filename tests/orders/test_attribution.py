"""Who is credited with an order: as of its booking, written when it is paid, never again."""

from __future__ import annotations

import random
from datetime import datetime

from sqlalchemy import select
from sqlmodel import col

from live.orders.attribution import freeze, sharers
from live.orders.change import locked
from live.orders.tables import Order
from live.people.sharing.actions import link, open_link
from live.people.tables import Staff
from tests.orders.stage import NOW, ROOM, Shop, after
from tests.orders.test_refunds import ask, grant, send


async def shared(shop: Shop, sharer: str) -> str:
    async with shop.db.begin() as session:
        return await link(session, ROOM, sharer)


async def opened(shop: Shop, token: str, person: int, now: datetime) -> None:
    async with shop.db.begin() as session:
        await open_link(session, token, person, now)


async def test_an_order_is_credited_to_the_last_link_before_it_was_booked_and_never_again(shop: Shop) -> None:
    one, two, three = [await shared(shop, sharer) for sharer in ("p:1", "p:2", "s:9")]
    await opened(shop, one, 3, after(minutes=-3))
    await opened(shop, two, 3, after(minutes=-2))
    no = await shop.take(await shop.sale(), "p:3")
    assert (await shop.order(no)).attribution == {}  # booking leaves it
    await opened(shop, three, 3, after(seconds=5))  # while it waits for its payment
    assert await shop.paid(no, "p:3") == "ALLOCATED"
    kept = {"first": "p:1", "path": ["p:1"], "last": "p:2", "credit": "p:2", "rule": "last_touch"}
    assert (await shop.order(no)).attribution == kept
    await opened(shop, one, 3, after(hours=3))
    async with shop.db.begin() as session:
        await freeze(session, [await locked(session, no)])
    assert (await shop.order(no)).attribution == kept


async def test_who_came_by_nobodys_link_or_too_long_ago_is_nobodys_credit(shop: Shop) -> None:
    token = await shared(shop, "p:1")
    await opened(shop, token, 2, after(days=-8))
    offer = await shop.sale()
    for person, found in (("p:2", {"first": "p:1", "path": ["p:1"]}), ("p:4", {})):
        no = await shop.take(offer, person)
        await shop.paid(no, person)
        assert (await shop.order(no)).attribution == found
    async with shop.db.begin() as session:
        assert [(one["who"], one["people"], one["orders"]) for one in await sharers(session, ROOM)] == [("p:1", 1, 0)]


async def test_orders_of_random_shows_are_frozen_as_the_books_of_links_said_at_their_booking(shop: Shop) -> None:
    """Links opened before and after each booking, at random; every paid order must agree with a replay of them."""
    chance = random.Random(20261122)
    tokens = {sharer: await shared(shop, sharer) for sharer in ("p:1", "p:2", "s:1", "s:2")}
    offer = await shop.sale(stock={"S1": 200}, per_person=99, minutes=None)
    wanted: dict[str, str | None] = {}
    last: dict[int, str] = {}
    for minute in range(60):
        person = chance.choice((3, 4, 5))
        if chance.random() < 0.6:
            sharer = chance.choice(sorted(tokens))
            await opened(shop, tokens[sharer], person, after(minutes=minute))
            last[person] = sharer
        else:
            wanted[await shop.take(offer, f"p:{person}", now=after(minutes=minute, seconds=30))] = last.get(person)
    async with shop.db.begin() as session:
        for order in (await session.execute(select(Order).where(col(Order.no).in_(wanted)))).scalars():
            await freeze(session, [order])
    assert {no: (await shop.order(no)).attribution.get("credit") for no in wanted} == wanted


async def test_the_host_sees_who_brought_most_and_a_refunded_order_is_nobodys(shop: Shop) -> None:
    async with shop.db.begin() as session:
        session.add(Staff(account="guide", name="导购小王", role="clerk", store="S1", password_hash="-"))
    guide, friend = await shared(shop, "s:1"), await shared(shop, "p:1")
    for token, person in ((guide, 2), (guide, 3), (friend, 4)):
        await opened(shop, token, person, NOW)
    offer = await shop.sale(fen=2990)
    nos = [await shop.take(offer, person) for person in ("p:2", "p:3", "p:4")]
    for no, person in zip(nos, ("p:2", "p:3", "p:4"), strict=True):
        await shop.paid(no, person)
    async with shop.db.begin() as session:
        assert await sharers(session, ROOM) == [
            {"who": "s:1", "people": 2, "orders": 2, "fen": 5980, "name": "导购小王"},
            {"who": "p:1", "people": 1, "orders": 1, "fen": 2990, "name": "买家1"},
        ]
    await grant(shop, await ask(shop, nos[0], "p:2"))
    await send(shop)
    async with shop.db.begin() as session:
        assert [(one["orders"], one["fen"]) for one in await sharers(session, ROOM, "s:1")] == [(1, 2990)]
        assert await sharers(session, "elsewhere") == []
