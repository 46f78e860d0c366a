"""A leader's group: opened only as it may be, sold at one point, credited to its leader, and right to the fen at its cut-off."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import select, text
from sqlmodel import col

from live.infra.outbox import room_state
from live.offers.audit import audit
from live.offers.rebuild import rebuild
from live.offers.tables import Offer
from live.orders.actions import expire_due, pay, payment_arrived, refunds_done, settle_group
from live.orders.tables import Order
from live.payments.actions import ask_provider
from live.people.sharing.actions import link, open_link
from live.people.tables import Staff
from live.promotions.group_buy.actions import close_team, end_group
from live.promotions.group_buy.leader import leaders, open_leader_group
from live.protocol.codes import Code, Refusal
from live.stock.tables import Location, Stock
from tests.crowd import side_by_side
from tests.orders.stage import NOW, ROOM, Shop, after
from tests.payments.due import due_refunds, send_refund
from workers.ledger import facts

CUT_OFF = after(minutes=20)
PAYERS = 200


async def staffed(shop: Shop) -> None:
    """Anna leads at the point P1, where 300 lie; Ben's store is none, Cleo is gone, Dora is a clerk."""
    async with shop.db.begin() as session:
        session.add(Location(code="P1", name_zh="花园团点", name_en="Garden point", leader_point=True))
        await session.flush()
        session.add(Stock(sku_id=1, location="P1", on_hand=300))
        for account, role, store, off in (
            ("anna", "leader", "P1", False), ("ben", "leader", "S1", False), ("cleo", "leader", "P1", True), ("dora", "clerk", "P1", False),
        ):  # fmt: skip
            session.add(Staff(account=account, name=account.title(), role=role, store=store, disabled=off, password_hash="-"))


async def opened(shop: Shop, **changed: Any) -> Offer:
    wanted: dict[str, Any] = {"leader": "anna", "sku": "BERRY-500", "fen": 2500, "size": 8, "minimum": 4, "per_person": 2, "minutes": 20}
    async with shop.db.begin() as session:
        return await open_leader_group(session, room_id=ROOM, now=NOW, **{**wanted, **changed})


async def ended(shop: Shop, offer: Offer) -> None:
    async with shop.db.begin() as session:
        await end_group(session, int(offer.id or 0), CUT_OFF)


async def closes(shop: Shop, offer: Offer) -> str:
    async with shop.db.begin() as session:
        return await close_team(session, int(offer.id or 0), after(minutes=21))


async def decided(shop: Shop, offer: Offer) -> str:
    """What the sweeps do after the cut-off, until nothing is left to do; every refund is sent."""
    await shop.till()
    state = await closes(shop, offer)
    assert await settle_group(shop.db, int(offer.id or 0), after(minutes=22), 500)
    async with shop.db.begin() as session:
        due = await due_refunds(session, after(hours=1))
    sent = (send_refund(shop.db, shop.provider, refund_id, refunds_done, after(hours=1)) for refund_id in due)
    assert set(await side_by_side(sent)) <= {"DONE"}
    await shop.till()
    return state


async def orders(shop: Shop) -> list[Order]:
    async with shop.db.begin() as session:
        return list((await session.execute(select(Order).order_by(col(Order.id)))).scalars())


async def balanced(shop: Shop, redis: Redis) -> None:
    """The turnstile, filled from the books, and the books agree."""
    async with shop.db.connection() as connection:
        await connection.execute(text("DELETE FROM outbox WHERE kind = 'own'"))
    await rebuild(redis, shop.db, ROOM, facts)
    found = await audit(shop.db, redis)
    faults = [each for room in found["rooms"] for each in room["offers"] if each["faults"]]
    assert (faults, found["stock"]) == ([], [])


async def test_it_is_sold_at_the_leaders_point_at_one_price_until_its_cut_off(shop: Shop) -> None:
    await staffed(shop)
    offer = await opened(shop)
    async with shop.db.begin() as session:
        card = await room_state(session, ROOM, f"offer:{offer.id}")
        assert await leaders(session) == [{"account": "anna", "name": "Anna", "store": "P1"}]
    assert card is not None
    assert (card["leader"], card["fen"], card["total"], card["minimum"], card["closes"]) == ("Anna", 2500, 8, 4, CUT_OFF.timestamp() * 1000)
    assert card["tiers"] == [{"seats": 0, "fen": 2500}]
    assert await shop.one("SELECT string_agg(location, ',') FROM allotment") == "P1"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"leader": "nobody"}, "leader"),
        ({"leader": "ben"}, "leader"),
        ({"leader": "cleo"}, "leader"),
        ({"leader": "dora"}, "leader"),
        ({"minutes": None}, "minutes"),
        ({"minutes": 0}, "minutes"),
        ({"minutes": 1441}, "minutes"),
        ({"minimum": 8}, "minimum"),
        ({"minimum": 9}, "minimum"),
        ({"minimum": 0}, "minimum"),
        ({"size": 1, "minimum": 0}, "size"),
        ({"fen": 0}, "tiers.0.fen"),
        ({"per_person": 0}, "per_person"),
        ({"sku": "GONE"}, "sku"),
    ],
)
async def test_a_group_no_leader_can_have_is_refused_with_the_field_named(shop: Shop, changed: dict[str, Any], field: str) -> None:
    await staffed(shop)
    before = await shop.everything()
    with pytest.raises(Refusal) as no:
        await opened(shop, **changed)
    assert (no.value.code, no.value.facts["field"]) == (Code.BAD_REQUEST, field)
    assert await shop.everything() == before


async def test_more_than_lies_at_the_point_is_refused(shop: Shop) -> None:
    await staffed(shop)
    before = await shop.everything()
    with pytest.raises(Refusal) as no:
        await opened(shop, size=301)
    assert (no.value.code, no.value.facts) == (Code.NOT_ENOUGH_STOCK, {"have": 300, "location": "P1"})
    assert await shop.everything() == before


async def test_its_orders_are_the_leaders_whoever_shared_the_room_and_go_to_the_leaders_desk(shop: Shop) -> None:
    await staffed(shop)
    async with shop.db.begin() as session:
        await open_link(session, await link(session, ROOM, "p:5"), 1, NOW)
    offer = await opened(shop, minimum=2)
    no = await shop.take(offer, "p:1", qty=2, at="P1")
    assert await shop.paid(no, "p:1") == "GROUP_WAIT"
    credited = (await shop.order(no)).attribution
    assert (credited["credit"], credited["rule"], credited["leader"], credited["last"]) == ("s:1", "leader", "s:1", "p:5")
    await ended(shop, offer)
    assert await decided(shop, offer) == "success"
    assert (await shop.order(no)).state == "ALLOCATED"
    assert await shop.jobs("handoff") == [("P1", {"order": no})]


async def test_below_the_minimum_everybody_gets_every_fen_back_and_the_goods_stay_at_the_point(shop: Shop, redis: Redis) -> None:
    await staffed(shop)
    offer = await opened(shop)
    nos = {person: await shop.take(offer, person, qty=qty, at="P1") for person, qty in (("p:1", 2), ("p:2", 1))}
    for person, no in nos.items():
        await shop.paid(no, person)
    await ended(shop, offer)
    assert await decided(shop, offer) == "failed"
    assert {no: (order.state, order.refunded) for no, order in zip(nos.values(), await orders(shop), strict=True)} == {
        nos["p:1"]: ("REFUNDED", 5000), nos["p:2"]: ("REFUNDED", 2500),
    }  # fmt: skip
    assert sorted(shop.provider.refunds.values()) == [2500, 5000]
    assert await shop.jobs("handoff") == []
    assert await shop.one("SELECT on_hand || '/' || allotted FROM stock WHERE location = 'P1'") == "300/0"
    await balanced(shop, redis)


async def test_the_cut_off_races_200_payers_and_either_all_are_served_or_all_are_refunded(shop: Shop, redis: Redis) -> None:
    """All 200 are needed, and pay while the group ends and unpaid orders expire, so that the last payment alone decides. Whoever paid in
    time is counted, all others are cancelled."""
    await staffed(shop)
    offer = await opened(shop, size=PAYERS + 1, minimum=PAYERS, per_person=1)
    people = [f"p:{number}" for number in range(1, PAYERS + 1)]
    booking = await shop.book([shop.intent(offer, person, at="P1") for person in people])
    nos = [str((verdict.body or {})["order"]["no"]) for verdict in booking.verdicts]
    await side_by_side(pay(shop.db, shop.provider, person, no, None, "openid", NOW) for person, no in zip(people, nos, strict=True))

    async def payer(no: str, hesitates: int = 0) -> None:
        for _ in range(hesitates):  # the page asks how it stands
            await ask_provider(shop.db, shop.provider, no, payment_arrived, CUT_OFF)
        if shop.states[f"{no}-1"] == "NOTPAY":  # the provider takes nothing for an attempt that is closed
            shop.money(no)
        await ask_provider(shop.db, shop.provider, no, payment_arrived, CUT_OFF)

    await side_by_side([*(payer(no) for no in nos[:100]), ended(shop, offer), *(payer(no) for no in nos[100:-1])])
    await shop.till()  # nothing is left to take: from here on only the held seat keeps the group open
    await asyncio.gather(expire_due(shop.db, shop.provider, CUT_OFF), payer(nos[-1], hesitates=1), closes(shop, offer))
    await expire_due(shop.db, shop.provider, CUT_OFF)
    state = await decided(shop, offer)

    found = await orders(shop)
    money = {order.no for order in found if shop.states[f"{order.no}-1"] == "SUCCESS"}
    assert {order.no for order in found if order.paid_at is not None} == money
    assert state == ("success" if len(money) == PAYERS else "failed")
    assert {order.state for order in found if order.no in money} == {"ALLOCATED" if state == "success" else "REFUNDED"}
    assert {order.state for order in found if order.no not in money} <= {"CANCELLED"}
    assert sum(shop.provider.refunds.values()) == sum(order.refunded for order in found) == (0 if state == "success" else 2500 * len(money))
    assert len(shop.provider.refunds) == (0 if state == "success" else len(money))
    left = 0 if state == "failed" else len(money)
    assert await shop.one("SELECT on_hand || '/' || allotted FROM stock WHERE location = 'P1'") == f"300/{left}"
    await balanced(shop, redis)
