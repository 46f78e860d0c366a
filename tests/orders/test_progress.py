"""How far a failed group's refunds are, and what the provider did not carry out: named, and sent again by the host."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from live.orders.actions import grant_refund, refunds_done, settle_group
from live.orders.progress import FAILED_SHOWN, refund_progress
from live.payments.actions import send_refunds
from live.promotions.group_buy.actions import close_team, end_group
from live.protocol.codes import Code, Refusal
from tests.orders.stage import NOW, ROOM, Shop, after
from tests.payments.due import due_refunds

MEMBERS = 5


async def failed_group(shop: Shop) -> int:
    """A group of five paid seats that needed six, ended and decided; nobody has a refund yet."""
    offer = await shop.group(size=9, minimum=6, stock={"S1": 9}, tiers=[{"seats": 0, "fen": 3000}])
    for n in range(MEMBERS):
        assert await shop.paid(await shop.take(offer, f"p:{n}"), f"p:{n}") == "GROUP_WAIT"
    async with shop.db.begin() as session:
        await end_group(session, int(offer.id or 0), after(minutes=1))
    await shop.till()
    async with shop.db.begin() as session:
        assert await close_team(session, int(offer.id or 0), after(minutes=2)) == "failed"
    return int(offer.id or 0)


async def progress(shop: Shop) -> dict[str, object]:
    async with shop.db.begin() as session:
        found = await refund_progress(session, ROOM)
    [group] = found["groups"]
    return {**group, "named": [one["id"] for one in found["failed"]], "count": found["failed_count"]}


async def send(shop: Shop, refunds: list[int]) -> None:
    await send_refunds(shop.db, shop.provider, refunds, refunds_done, after(hours=1))


async def test_the_host_sees_every_step_of_a_failed_groups_refunds(shop: Shop) -> None:
    offer = await failed_group(shop)
    owed = {"offer": offer, "cause": "group_failed", "total": MEMBERS, "fen": 3000 * MEMBERS}
    begin = owed | {"done": 0, "failed": 0, "done_fen": 0, "named": [], "count": 0}
    assert await progress(shop) == begin
    assert not await settle_group(shop.db, offer, after(minutes=3), limit=2)
    assert await progress(shop) == begin  # two have a refund, three wait for theirs: all five are counted, once
    assert await settle_group(shop.db, offer, after(minutes=3))
    async with shop.db.begin() as session:
        due = await due_refunds(session, after(hours=1))
    await send(shop, due[:3])
    assert await progress(shop) == begin | {"done": 3, "done_fen": 9000}
    shop.provider.refund_state = "ABNORMAL"
    await send(shop, due[3:])
    assert await progress(shop) == begin | {"done": 3, "done_fen": 9000, "failed": 2, "named": due[3:], "count": 2}


async def test_what_failed_is_sent_again_by_the_host_and_done_once(shop: Shop) -> None:
    offer = await failed_group(shop)
    await settle_group(shop.db, offer, after(minutes=3))
    async with shop.db.begin() as session:
        due = await due_refunds(session, after(hours=1))
        with pytest.raises(Refusal) as refused:  # what is on its way is no buyer's request
            await grant_refund(session, due[0], NOW)
        assert refused.value.code is Code.NOT_FOUND
    shop.provider.refund_state = "ABNORMAL"
    await send(shop, due)
    shop.provider.refund_state = "SUCCESS"
    async with shop.db.begin() as session:
        assert (await grant_refund(session, due[0], after(hours=2))).state == "APPROVED"
    await send(shop, due[:1])
    found = await progress(shop)
    assert (found["done"], found["failed"], found["named"]) == (1, 4, due[1:])
    async with shop.db.begin() as session:
        states = (await session.execute(text("SELECT state FROM orders ORDER BY id"))).scalars().all()
    assert states == ["REFUNDED", *["REFUNDING"] * 4]
    assert await shop.till() == 1  # one order's goods came back


async def test_of_very_many_that_failed_the_first_are_named_and_all_are_counted(shop: Shop) -> None:
    offer = await failed_group(shop)
    await settle_group(shop.db, offer, after(minutes=3))
    async with shop.db.begin() as session:
        await session.execute(text("UPDATE refund SET state = 'FAILED'"))
        copies = (
            "INSERT INTO orders (no, rid, intent_id, room_id, person, location, state, fen, pay_until, created_at)"
            " SELECT 'C' || n, 'C' || n, 'C' || n, room_id, 'p:77', 'S1', 'REFUNDING', 1, now(), now()"
            " FROM generate_series(1, 100) n, room_clock WHERE room_id = :room"
        )
        await session.execute(text(copies), {"room": ROOM})
        of_copies = (
            "INSERT INTO refund (order_no, cause, out_trade_no, out_refund_no, fen, total, state, created_at, due_at)"
            " SELECT no, 'buyer', no, no, 1, 1, 'FAILED', now(), now() FROM orders WHERE no LIKE 'C%'"
        )
        await session.execute(text(of_copies))
    found = await progress(shop)
    assert (len(found["named"]), found["count"]) == (FAILED_SHOWN, MEMBERS + 100)  # type: ignore[arg-type]
