"""Orders as buyers and hosts see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from live.infra.db import epoch_ms
from live.orders import queries
from live.orders.actions import ask_refund, grant_refund, refunds_done
from tests.orders.stage import NOW, ROOM, Shop, after
from tests.payments.due import send_refund


async def desk(session: AsyncSession, nos: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What pickup would say: the first order has a ticket."""
    return {nos[-1]: {"state": "READY", "code": "ABCD-EFGH-J", "qr": "<svg/>"}}


async def test_a_buyer_sees_their_orders_whole_and_newest_first(shop: Shop) -> None:
    sale = await shop.sale()
    first, second = await shop.take(sale, "p:1", qty=2, at="S2"), await shop.take(sale, "p:1")
    await shop.take(sale, "p:2")
    held = int(await shop.take(await shop.coupon(), "p:1"))
    await shop.paid(first, "p:1", coupon=held)
    async with shop.db.begin() as session:
        await ask_refund(session, "p:1", first, "买错了", NOW)
    async with shop.db.begin() as session:
        shown = await queries.shapes(session, await queries.orders_of(session, "p:1", ROOM), desk)
        assert await queries.orders_of(session, "p:1", "another") == []
        assert await queries.shapes(session, [], desk) == []
        assert await queries.order_of(session, "p:2", first) is None
    assert [order["no"] for order in shown] == [second, first]
    assert shown[1] == {
        "no": first, "room": ROOM, "channel": "live", "state": "ALLOCATED", "version": 4, "fen": 5980, "discount": 500, "payable": 5480,
        "refunded": 0, "pay_until": epoch_ms(after(seconds=300)), "created": epoch_ms(NOW),
        "store": {"code": "S2", "name": {"zh": "二店", "en": "Two"}, "address": {"zh": "", "en": ""}},
        "lines": [{"offer": sale.id, "sku": "BERRY-500", "name": {"zh": "草莓 500 克", "en": "Strawberries 500 g"},
                   "picture": "/media/berry.svg", "qty": 2, "fen": 2990}],
        "coupon": held, "refund": {"state": "REQUESTED", "fen": 5480, "reason": "买错了"},
        "pickup": {"state": "READY", "code": "ABCD-EFGH-J", "qr": "<svg/>"},
        "team": None,
    }  # fmt: skip
    assert (shown[0]["refund"], shown[0]["pickup"], shown[0]["coupon"]) == (None, None, None)


async def test_the_refund_that_ends_an_order_is_shown_before_a_difference(shop: Shop) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    await shop.paid(no, "p:1")
    async with shop.db.begin() as session:
        await ask_refund(session, "p:1", no, "", NOW)
    async with shop.db.connection() as connection:
        await connection.execute(
            text(
                "INSERT INTO refund (order_no, cause, out_trade_no, out_refund_no, fen, total, state)"
                " VALUES (:no, 'ladder', :no, 'X', 10, 2990, 'DONE')"
            ),
            {"no": no},
        )
    async with shop.db.begin() as session:
        shown = await queries.shapes(session, await queries.orders_of(session, "p:1"), desk)
    assert shown[0]["refund"] == {"state": "REQUESTED", "fen": 2990, "reason": ""}


async def test_an_empty_room_has_figures_of_zero(shop: Shop) -> None:
    async with shop.db.begin() as session:
        assert await queries.figures(session, ROOM, NOW) == {
            "orders": 0, "paid_orders": 0, "paid_fen": 0, "refunded_fen": 0, "units": 0, "held_units": 0, "coupons_claimed": 0,
            "coupons_used": 0, "waiting_pickup": 0, "by_offer": [],
        }  # fmt: skip


async def test_figures_are_the_books_own(shop: Shop) -> None:
    sale, group, drop = await shop.sale(), await shop.group(), await shop.coupon()
    paid, gone = await shop.take(sale, "p:1", qty=3), await shop.take(sale, "p:2")
    held = await shop.take(sale, "p:3", qty=2)
    seat = await shop.take(group, "p:4")
    coupon = int(await shop.take(drop, "p:1"))
    await shop.take(drop, "p:2")
    await shop.paid(paid, "p:1", coupon=coupon)
    await shop.paid(gone, "p:2")
    await shop.paid(seat, "p:4")
    async with shop.db.begin() as session:
        await ask_refund(session, "p:2", gone, "", NOW)
        asked = await queries.asked_refunds(session, ROOM)
        await grant_refund(session, asked[0]["id"], NOW)
    assert await send_refund(shop.db, shop.provider, asked[0]["id"], refunds_done, NOW) == "DONE"
    async with shop.db.begin() as session:
        found = await queries.figures(session, ROOM, NOW)
    assert (await shop.order(held)).state == "AWAIT_PAY"
    assert found == {
        "orders": 4, "paid_orders": 3, "paid_fen": 8970 - 500 + 2990 + 3000, "refunded_fen": 2990, "units": 5, "held_units": 2,
        "coupons_claimed": 2, "coupons_used": 1, "waiting_pickup": 1,
        "by_offer": [
            {"offer": sale.id, "name": {"zh": "草莓 500 克", "en": "Strawberries 500 g"}, "units": 4, "fen": 11960, "state": "RUNNING"},
            {"offer": group.id, "name": {"zh": "草莓 500 克", "en": "Strawberries 500 g"}, "units": 1, "fen": 3000, "state": None},
        ],
    }  # fmt: skip


async def test_the_host_sees_what_is_undecided_first(shop: Shop) -> None:
    sale = await shop.sale()
    old, new = await shop.take(sale, "p:1"), await shop.take(sale, "p:2")
    for no, person in ((old, "p:1"), (new, "p:2")):
        await shop.paid(no, person)
        async with shop.db.begin() as session:
            await ask_refund(session, person, no, f"{person} 不要了", NOW)
    async with shop.db.begin() as session:
        first = await queries.asked_refunds(session, ROOM)
        await grant_refund(session, first[0]["id"], NOW)
        then = await queries.asked_refunds(session, ROOM)
        assert await queries.asked_refunds(session, "another") == []
    assert [refund["order"] for refund in first] == [new, old]
    assert [(refund["order"], refund["state"]) for refund in then] == [(old, "REQUESTED"), (new, "APPROVED")]
    assert then[0] == {
        "id": then[0]["id"], "order": old, "fen": 2990, "reason": "p:1 不要了", "state": "REQUESTED", "created": epoch_ms(NOW),
        "lines": [{"offer": sale.id, "sku": "BERRY-500", "name": {"zh": "草莓 500 克", "en": "Strawberries 500 g"},
                   "picture": "/media/berry.svg", "qty": 1, "fen": 2990}],
        "person_name": "买家1",
    }  # fmt: skip
