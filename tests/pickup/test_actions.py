from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlmodel import col

from live.infra.db import Database
from live.orders.tables import Order
from live.payments.tables import PayAttempt, Refund
from live.pickup import rules
from live.pickup.actions import Desk, collect, ready, verify, void
from live.pickup.tables import DeskFailure, Ticket
from live.protocol.codes import Code, Refusal
from tests.pickup.shop import NOW, SECRET, Shop, open_shop


def desk(shop: Shop, store: str = "S1", device: str = "d1") -> Desk:
    return Desk(shop.clerks[store], device, store)


async def refused(call: Awaitable[Any]) -> dict[str, Any]:
    with pytest.raises(Refusal) as caught:
        await call
    body = caught.value.body()
    body.pop("retry")
    return body


async def make_ready(db: Database, ticket: int, at: Desk, now: datetime = NOW) -> int:
    async with db.begin() as session:
        return await ready(session, ticket, at, now)


async def failures(db: Database) -> int:
    async with db.begin() as session:
        return len((await session.execute(select(col(DeskFailure.id)))).all())


async def ticket_state(db: Database, ticket: int) -> str:
    async with db.begin() as session:
        return (await session.get_one(Ticket, ticket)).state


async def open_refund(db: Database, no: str, cause: str, state: str) -> None:
    async with db.begin() as session:
        session.add(PayAttempt(order_no=no, out_trade_no=no, fen=2000, state="SUCCEEDED", winner=True, expires_at=NOW))
        session.add(Refund(order_no=no, cause=cause, out_trade_no=no, out_refund_no=f"R{no}", fen=2000, total=2000, state=state))


async def set_order(db: Database, no: str, state: str) -> None:
    async with db.begin() as session:
        await session.execute(update(Order).where(col(Order.no) == no).values(state=state))


def other_code(code: str) -> str:
    symbols = rules.ALPHABET[(rules.ALPHABET.index(code[0]) + 1) % 32] + code[1:8]
    return symbols + rules.check_symbol(symbols)


async def test_queued_ready_collected_and_the_goods_leave_the_stock(database: Database) -> None:
    shop = await open_shop(database)
    ticket, no, code = await shop.ticket(state="QUEUED", qty=3)
    assert await make_ready(database, ticket, desk(shop)) == ticket
    assert await shop.state(no) == ("READY", 3)
    assert await shop.stock() == (1000, 500)
    assert await verify(database, desk(shop), rules.shown(code).lower(), NOW, secret=SECRET) == ticket
    assert await ticket_state(database, ticket) == "READY"
    later = NOW + timedelta(minutes=5)
    assert await collect(database, desk(shop), ticket, f"PK:{code}", later, secret=SECRET) == ticket
    assert await shop.state(no) == ("COLLECTED", 4)
    assert await shop.stock() == (997, 497)
    async with database.begin() as session:
        row = await session.get_one(Ticket, ticket)
    assert (row.state, row.ready_at, row.collected_at, row.collected_by) == ("COLLECTED", NOW, later, shop.clerks["S1"])
    assert await failures(database) == 0


async def test_of_20_clerks_at_once_one_hands_over(database: Database) -> None:
    shop = await open_shop(database)
    ticket, no, code = await shop.ticket(qty=2)
    calls = [collect(database, desk(shop, device=f"d{n}"), ticket, code, NOW, secret=SECRET) for n in range(20)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert results.count(ticket) == 1
    bodies = [result.body() for result in results if isinstance(result, Refusal)]
    assert bodies == [{"code": "state", "retry": False, "state": "COLLECTED"}] * 19
    assert await shop.state(no) == ("COLLECTED", 3)
    assert await shop.stock() == (998, 498)


async def test_a_queued_ticket_is_not_handed_over(database: Database) -> None:
    shop = await open_shop(database)
    ticket, no, code = await shop.ticket(state="QUEUED")
    assert await refused(verify(database, desk(shop), code, NOW, secret=SECRET)) == {"code": "not_ready"}
    assert await refused(collect(database, desk(shop), ticket, code, NOW, secret=SECRET)) == {"code": "not_ready"}
    assert await ticket_state(database, ticket) == "QUEUED"
    assert await shop.state(no) == ("ALLOCATED", 2)


async def test_a_code_of_another_store_is_refused_with_its_store_and_is_not_a_guess(database: Database) -> None:
    shop = await open_shop(database)
    ticket, _, code = await shop.ticket("S1")
    for _ in range(6):
        assert await refused(verify(database, desk(shop, "S2"), code, NOW, secret=SECRET)) == {"code": "wrong_store", "store": "S1"}
    assert await refused(collect(database, desk(shop, "S2"), ticket, code, NOW, secret=SECRET)) == {"code": "wrong_store", "store": "S1"}
    assert await refused(make_ready(database, ticket, desk(shop, "S2"))) == {"code": "wrong_store", "store": "S1"}
    assert await ticket_state(database, ticket) == "READY"
    assert await failures(database) == 0
    owner = Desk(shop.clerks["S1"], "d1", None)
    assert await verify(database, owner, code, NOW, secret=SECRET) == ticket


async def test_the_code_of_another_ticket_opens_nothing_but_its_own(database: Database) -> None:
    shop = await open_shop(database)
    first, _, _ = await shop.ticket()
    _, _, code = await shop.ticket()
    assert await refused(collect(database, desk(shop), first, code, NOW, secret=SECRET)) == {"code": "wrong_code"}
    assert await ticket_state(database, first) == "READY"
    assert await failures(database) == 1


async def test_collected_is_told_apart(database: Database) -> None:
    shop = await open_shop(database)
    ticket, _, code = await shop.ticket()
    await collect(database, desk(shop), ticket, code, NOW, secret=SECRET)
    assert await refused(verify(database, desk(shop), code, NOW, secret=SECRET)) == {"code": "state", "state": "COLLECTED"}
    assert await refused(make_ready(database, ticket, desk(shop))) == {"code": "state", "state": "COLLECTED"}


@pytest.mark.parametrize("state", ["REQUESTED", "APPROVED", "SENT", "FAILED"])
async def test_an_open_refund_keeps_the_goods(database: Database, state: str) -> None:
    shop = await open_shop(database)
    ticket, no, code = await shop.ticket()
    await open_refund(database, no, "buyer", state)
    assert await refused(verify(database, desk(shop), code, NOW, secret=SECRET)) == {"code": "refund_open"}
    assert await refused(collect(database, desk(shop), ticket, code, NOW, secret=SECRET)) == {"code": "refund_open"}
    assert await ticket_state(database, ticket) == "READY"
    assert await shop.stock() == (1000, 500)


@pytest.mark.parametrize(("cause", "state"), [("buyer", "DECLINED"), ("ladder", "SENT"), ("loser:7", "APPROVED")])
async def test_a_refund_that_does_not_end_the_order_does_not(database: Database, cause: str, state: str) -> None:
    shop = await open_shop(database)
    ticket, no, code = await shop.ticket()
    await open_refund(database, no, cause, state)
    assert await collect(database, desk(shop), ticket, code, NOW, secret=SECRET) == ticket


async def test_a_refunded_orders_ticket_is_void_and_a_collected_one_stays(database: Database) -> None:
    shop = await open_shop(database)
    ticket, no, code = await shop.ticket()
    gone, gone_no, gone_code = await shop.ticket()
    await collect(database, desk(shop), gone, gone_code, NOW, secret=SECRET)
    async with database.begin() as session:
        assert await void(session, no, NOW) == 0  # nothing was refunded
        assert await void(session, "nonsense", NOW) == 0
    for number in (no, gone_no):
        await set_order(database, number, "REFUNDING")
    assert await refused(collect(database, desk(shop), ticket, code, NOW, secret=SECRET)) == {"code": "refund_open"}
    async with database.begin() as session:
        assert [await void(session, number, NOW) for number in (no, gone_no, no)] == [1, 0, 0]
    assert await ticket_state(database, ticket) == "VOID"
    assert await ticket_state(database, gone) == "COLLECTED"
    assert await refused(verify(database, desk(shop), code, NOW, secret=SECRET)) == {"code": "state", "state": "VOID"}


async def test_the_fifth_wrong_code_locks_this_clerks_device_and_no_other(database: Database) -> None:
    shop = await open_shop(database)
    ticket, _, code = await shop.ticket()
    here, wrong = desk(shop), other_code(code)
    for n in range(5):
        moment = NOW + timedelta(seconds=n)
        assert await refused(verify(database, here, wrong if n % 2 else "not a code", moment, secret=SECRET)) == {"code": "wrong_code"}
    assert await failures(database) == 5
    locked = NOW + timedelta(seconds=5)
    assert await refused(verify(database, here, code, locked, secret=SECRET)) == {"code": "locked_out", "wait": 899}
    assert await refused(collect(database, here, ticket, code, locked, secret=SECRET)) == {"code": "locked_out", "wait": 899}
    assert await failures(database) == 5
    assert await verify(database, desk(shop, device="d2"), code, locked, secret=SECRET) == ticket
    assert await verify(database, here, code, NOW + timedelta(minutes=16), secret=SECRET) == ticket


async def test_twenty_wrong_codes_at_once_are_looked_at_five_times(database: Database) -> None:
    shop = await open_shop(database)
    _, _, code = await shop.ticket()
    calls = [verify(database, desk(shop), other_code(code), NOW, secret=SECRET) for _ in range(20)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    codes = [result.code for result in results if isinstance(result, Refusal)]
    assert (codes.count(Code.WRONG_CODE), codes.count(Code.LOCKED_OUT)) == (5, 15)
    assert await failures(database) == 5


async def test_an_unknown_ticket_is_not_found(database: Database) -> None:
    shop = await open_shop(database)
    assert await refused(make_ready(database, 7, desk(shop))) == {"code": "not_found"}
