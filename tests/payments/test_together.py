"""Payments that arrive together are booked together: fewer transactions, the same books."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from live.infra import outbox
from live.infra.db import utc_now
from live.payments.gateway import Notice
from live.payments.notices import PAID, Notices
from live.payments.tables import PayAttempt
from tests.payments.conftest import World

CROWD = 240


def notice(world: World, attempt: PayAttempt, identity: str, transaction: str = "") -> Notice:
    paper = {
        "mchid": world.gateway.merchant, "appid": world.gateway.app_id, "out_trade_no": attempt.out_trade_no, "trade_state": "SUCCESS",
        "transaction_id": transaction or f"T-{attempt.out_trade_no}", "amount": {"total": attempt.fen, "currency": "CNY"},
    }  # fmt: skip
    return Notice(identity, PAID, paper)


async def attempts(world: World, count: int) -> list[PayAttempt]:
    return [await world.attempt(f"G{n:04d}") for n in range(count)]


async def booked(world: World, *notices: Notice) -> list[Any]:
    """The verdict, or the error, of each."""
    return await asyncio.gather(*(world.door.book(one, utc_now()) for one in notices), return_exceptions=True)


async def test_240_payments_at_once_are_each_booked_once_in_a_handful_of_transactions(world: World) -> None:
    settle, groups = world.on_settled, list[int]()

    async def counting(session: Any, those: Sequence[PayAttempt], now: Any) -> list[bool]:
        groups.append(len(those))
        return await settle(session, those, now)

    world.on_settled = counting  # type: ignore[method-assign]
    all_of_them = await attempts(world, CROWD)
    papers = [notice(world, attempt, f"N{attempt.order_no}") for attempt in all_of_them]
    other = Notices(world.db, world.gateway, counting, world.on_refunded)  # another process, told of the same
    twice = await asyncio.gather(*(door.book(paper, utc_now()) for paper in papers for door in (world.door, other)))
    assert set(twice) == {"paid"}
    assert sum(groups) == CROWD
    assert len(groups) < CROWD / 10
    assert await world.told("settled") == CROWD
    assert Counter(await world.notices()) == {(PAID, "paid"): CROWD}


async def test_repeats_at_three_doors_are_judged_once_though_no_row_of_ours_makes_them_wait(world: World) -> None:
    strange = [Notice(f"N{n}", PAID, {"out_trade_no": f"X{n}"}) for n in range(40)]

    async def told(name: str, papers: Sequence[Notice]) -> dict[str, str]:
        async def judge(session: Any, fresh: Sequence[Notice], now: Any) -> list[str]:
            for paper in fresh:
                await outbox.job(session, "judged", paper.id)
            return [name] * len(fresh)

        door = Notices(world.db, world.gateway, world.on_settled, world.on_refunded)
        return dict(zip([paper.id for paper in papers], await door.together(judge, papers, utc_now()), strict=True))

    first, *others = await asyncio.gather(*(told(name, random.Random(name).sample(strange, len(strange))) for name in "abc"))
    assert others == [first, first]
    assert await world.told("judged") == len(await world.notices()) == len(strange)


async def test_two_payments_of_one_order_in_one_group_pay_it_once_and_one_goes_back(world: World) -> None:
    leader, first = await world.attempt("A1000"), await world.attempt("A1001")
    second = await world.attempt("A1001", payer="openid-2")
    papers = [notice(world, one, f"N{one.out_trade_no}") for one in (leader, first, second)]
    assert await booked(world, *papers) == ["paid", "paid", "loser"]
    assert [(one.out_trade_no, one.cause.split(":")[0]) for one in await world.refunds()] == [(second.out_trade_no, "loser")]
    assert (await world.seen(first)).winner
    assert not (await world.seen(second)).winner


async def test_what_contradicts_the_books_stops_nobody_of_its_group(world: World) -> None:
    leader, good, poor, thief = [await world.attempt(f"A{n}") for n in range(4)]
    wrong = notice(world, poor, "N-poor")
    wrong.resource["amount"]["total"] = 1
    papers = [
        notice(world, leader, "N-leader"), notice(world, good, "N-good"), wrong, notice(world, thief, "N-thief", f"T-{good.out_trade_no}"),
        notice(world, good, "N-good"), notice(world, good, "N-again"),
    ]  # fmt: skip
    assert await booked(world, *papers) == ["paid", "paid", "wrong_amount", "wrong_transaction", "paid", "again"]
    assert [(await world.seen(one)).state for one in (leader, good, poor, thief)] == ["SUCCEEDED", "SUCCEEDED", "NEW", "NEW"]


async def test_one_that_cannot_be_booked_fails_alone(world: World) -> None:
    settle = world.on_settled

    async def failing(session: Any, those: Sequence[PayAttempt], now: Any) -> list[bool]:
        if any(attempt.order_no == "G0005" for attempt in those):
            raise LookupError("this order")
        return await settle(session, those, now)

    world.on_settled = failing  # type: ignore[method-assign]
    all_of_them = await attempts(world, 12)
    found = await booked(world, *[notice(world, attempt, f"N{attempt.order_no}") for attempt in all_of_them])
    assert isinstance(found.pop(5), LookupError)
    assert found == ["paid"] * 11
    assert (await world.seen(all_of_them[5])).state == "NEW"
    assert len(await world.notices()) == 11
    world.on_settled = settle  # type: ignore[method-assign]
    assert await booked(world, notice(world, all_of_them[5], "NG0005")) == ["paid"]  # the provider says it again


async def test_one_that_is_given_up_is_booked_or_forgotten_and_nobody_waits_for_it(world: World) -> None:
    all_of_them = await attempts(world, 6)
    tasks = [asyncio.create_task(world.door.book(notice(world, one, f"N{one.order_no}"), utc_now())) for one in all_of_them]
    await asyncio.sleep(0)
    tasks[0].cancel()  # the one that is at it
    tasks[3].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert await asyncio.gather(*tasks[1:3], *tasks[4:]) == ["paid"] * 4
    assert await booked(world, *[notice(world, all_of_them[n], f"N{all_of_them[n].order_no}") for n in (0, 3)]) == ["paid"] * 2
    assert await world.told("settled") == 6
