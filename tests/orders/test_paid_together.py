"""Payments of different kinds, booked in one group: each order goes its own way, and is told of once."""

from __future__ import annotations

from live.orders.actions import cancel, pay, payment_arrived, refunds_done
from live.payments.gateway import Notice
from live.payments.notices import PAID, Notices
from tests.orders.stage import NOW, Shop, after


async def test_a_sale_two_coupons_a_seat_and_one_given_up_are_paid_together(shop: Shop) -> None:
    sale, group, drop = await shop.sale(), await shop.group(), await shop.coupon()
    plain, first, second, gone = [await shop.take(sale, f"p:{n}") for n in (1, 2, 3, 4)]
    seat = await shop.take(group, "p:5")
    grants = {first: int(await shop.take(drop, "p:2")), second: int(await shop.take(drop, "p:3"))}
    asked = {plain: ("p:1", 2990), first: ("p:2", 2490), second: ("p:3", 2490), gone: ("p:4", 2990), seat: ("p:5", 3000)}
    for no, (person, _) in asked.items():
        await pay(shop.db, shop.provider, person, no, grants.get(no), "openid", NOW)
    assert (await cancel(shop.db, shop.provider, "p:4", gone, NOW)).state == "CANCELLED"
    await shop.one("UPDATE pay_attempt SET state = 'SENT' WHERE order_no = :no RETURNING 1", no=gone)  # it was paid before that
    door = Notices(shop.db, shop.provider, payment_arrived, refunds_done)

    def notice(no: str, fen: int) -> Notice:
        paper = {"mchid": "merchant", "appid": "app", "out_trade_no": f"{no}-1", "trade_state": "SUCCESS", "transaction_id": f"T{no}"}
        return Notice(f"N{no}", PAID, paper | {"amount": {"total": fen}})

    papers = [notice(no, fen) for no, (_, fen) in asked.items()]
    assert await door.together(door._paid, papers, after(minutes=1)) == ["paid", "paid", "paid", "late", "paid"]
    assert await door.together(door._paid, papers, after(minutes=2)) == ["paid", "paid", "paid", "late", "paid"]
    states = [(await shop.order(no)).state for no in asked]
    assert states == ["ALLOCATED", "ALLOCATED", "ALLOCATED", "CANCELLED", "GROUP_WAIT"]
    assert [(await shop.order(no)).paid_at for no in (plain, gone)] == [after(minutes=1), None]
    assert [(await shop.grant(grant)).state for grant in grants.values()] == ["USED", "USED"]
    told = [[news["state"] for news in await shop.told(f"coupon:{grant}")] for grant in grants.values()]
    assert told == [["CLAIMED", "LOCKED", "USED"]] * 2
    assert [(await shop.told(f"order:{no}"))[-1] for no in (first, seat)] == [
        {"t": "order", "no": first, "version": 3, "state": "ALLOCATED", "fen": 2490, "pay_until": None, "refunded": 0},
        {"t": "order", "no": seat, "version": 2, "state": "GROUP_WAIT", "fen": 3000, "pay_until": None, "refunded": 0},
    ]
    assert sorted(payload["order"] for _, payload in await shop.jobs("handoff")) == sorted([plain, first, second])
    assert await shop.one("SELECT string_agg(cause, ',') FROM refund WHERE order_no = :no", no=gone) is not None
    assert await shop.one("SELECT count(*) FROM pay_attempt WHERE winner") == 4
    assert await shop.one("SELECT paid FROM team") == 1
