"""The notice door: what comes twice, late, in the wrong order, from somebody else or about something else."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from live.payments import signing
from live.payments.simulator_book import Letter
from tests.payments.conftest import World
from tests.payments.test_signing import SPOILS


def letter(world: World, document: dict[str, Any], event: str = "TRANSACTION.SUCCESS", identity: str = "EV-1") -> Letter:
    original = "transaction" if event.startswith("T") else "refund"
    return Letter(identity, f"{world.shop_url}/v1/wechat/pay/notice", event, original, document, 0.0)


def signed(world: World, sent: Letter, age: float = 0) -> tuple[dict[str, str], bytes]:
    raw = world.simulator.post.envelope(sent)
    who = world.simulator.identity
    return signing.signed_headers(who.key, who.public_key_id, raw, datetime.now(UTC) - timedelta(seconds=age)), raw


async def paid_document(world: World, **other: Any) -> dict[str, Any]:
    """A sent attempt, and the document of its payment as WeChat would notify it, with no notice on its way."""
    attempt = await world.attempt()
    prepay_id = await world.send(attempt)
    document = world.simulator.book.prepaid[prepay_id].document(world.gateway.app_id, world.gateway.merchant)
    return document | {"trade_state": "SUCCESS", "transaction_id": "4200000001", "success_time": "2026-11-22T21:00:00+08:00"} | other


async def test_a_payment_settles_its_order_and_the_notice_is_kept(world: World) -> None:
    attempt = await world.attempt()
    assert (await world.pay(await world.send(attempt))).json() == {"paid": True}
    await world.until(lambda: world.told("settled", "A1001"), 1)
    kept = await world.seen(attempt)
    assert (kept.state, kept.winner, kept.fen) == ("SUCCEEDED", True, 1990)
    assert kept.transaction_id == world.simulator.book.trades[attempt.out_trade_no].transaction_id
    assert await world.notices() == [("TRANSACTION.SUCCESS", "paid")]


async def test_sixteen_copies_at_once_make_one_transition_and_one_answer(world: World) -> None:
    document = await paid_document(world)
    notices = [signed(world, letter(world, document)) for _ in range(16)]
    answers = await asyncio.gather(*(world.knock(*notice) for notice in notices))
    assert [answer.status_code for answer in answers] == [200] * 16
    assert await world.told("settled") == 1
    assert await world.notices() == [("TRANSACTION.SUCCESS", "paid")]


async def test_sixteen_notices_of_one_payment_under_different_ids_make_one_transition(world: World) -> None:
    document = await paid_document(world)
    notices = [signed(world, letter(world, document, identity=f"EV-{n}")) for n in range(16)]
    answers = await asyncio.gather(*(world.knock(*notice) for notice in notices))
    assert [answer.status_code for answer in answers] == [200] * 16
    assert await world.told("settled") == 1
    assert sorted(verdict for _, verdict in await world.notices()) == ["again"] * 15 + ["paid"]


async def test_spoiled_notices_answer_401_and_change_nothing(world: World) -> None:
    document = await paid_document(world)
    chance = random.Random(7)
    for spoil in SPOILS:
        for _ in range(4):
            headers, raw = spoil(chance, *signed(world, letter(world, document)))
            if not all(value.isascii() and value.isprintable() and len(value) < 4096 for value in headers.values()):
                continue  # does not survive HTTP
            answer = await world.knock({name: value.strip() for name, value in headers.items()}, raw)
            assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")
    assert (await world.knock(*signed(world, letter(world, document), age=301))).status_code == 401
    assert await world.notices() == []
    assert await world.told("settled") == 0


async def test_an_oversized_body_is_refused_unread(world: World) -> None:
    assert (await world.knock({}, b"x" * (64 * 1024 + 1))).status_code == 413


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"amount": {"total": 1989, "currency": "CNY"}}, "wrong_amount"),
        ({"amount": {"total": 1990, "currency": "USD"}}, "wrong_amount"),
        ({"amount": {"total": 1990.0, "currency": "CNY"}}, "wrong_amount"),
        ({"amount": "1990"}, "wrong_amount"),
        ({"mchid": "1900000001"}, "wrong_merchant"),
        ({"appid": "wx2"}, "wrong_merchant"),
        ({"out_trade_no": "A9999-1"}, "unknown"),
        ({"out_trade_no": None}, "unknown"),
        ({"trade_state": "HAPPY"}, "malformed"),
        ({"transaction_id": ""}, "malformed"),
    ],
)
async def test_what_contradicts_our_rows_is_kept_for_a_person_and_changes_nothing(
    world: World, change: dict[str, Any], verdict: str
) -> None:
    document = await paid_document(world)
    answer = await world.knock(*signed(world, letter(world, document | change)))
    assert answer.status_code == 200
    assert await world.notices() == [("TRANSACTION.SUCCESS", verdict)]
    assert await world.told("settled") == 0
    assert await world.refunds() == []
    # The true one still settles it.
    assert (await world.knock(*signed(world, letter(world, document, identity="EV-2")))).status_code == 200
    assert await world.told("settled") == 1


async def test_one_transaction_never_pays_two_orders(world: World) -> None:
    document = await paid_document(world)
    other = await world.attempt("A1002")
    await world.send(other)
    await world.knock(*signed(world, letter(world, document)))
    await world.knock(*signed(world, letter(world, document | {"out_trade_no": other.out_trade_no}, identity="EV-2")))
    assert [verdict for _, verdict in await world.notices()] == ["paid", "wrong_transaction"]
    assert (await world.seen(other)).state == "SENT"


async def test_openids_are_not_kept_in_notices(world: World) -> None:
    document = await paid_document(world)
    await world.knock(*signed(world, letter(world, document)))
    async with world.db.connection() as connection:
        rows = (await connection.exec_driver_sql("SELECT body::text FROM pay_notice")).scalars().all()
    assert len(rows) == 1
    assert "openid" not in rows[0]


async def test_an_unknown_event_is_answered_and_ignored(world: World) -> None:
    answer = await world.knock(*signed(world, letter(world, {"mchid": "x"}, "SECURITY_ECHO.SUCCESS")))
    assert answer.status_code == 200
    assert await world.notices() == [("SECURITY_ECHO.SUCCESS", "ignored")]


async def test_a_failing_order_leaves_nothing_and_the_repeat_settles_it(world: World) -> None:
    settle, failures = world.on_settled, 2

    async def stumbling(session: Any, attempts: Any, now: Any) -> list[bool]:
        nonlocal failures
        paid = await settle(session, attempts, now)
        if failures:
            failures -= 1
            raise OSError("the database went away")
        return paid

    world.on_settled = stumbling  # type: ignore[method-assign]
    await world.pay(await world.send(await world.attempt()))
    await world.until(lambda: world.told("settled"), 1)
    assert await world.notices() == [("TRANSACTION.SUCCESS", "paid")]


async def test_probes_and_duplicates_of_the_simulator_do_no_harm(world: World) -> None:
    world.simulator.conditions.probes = world.simulator.conditions.duplicates = 1.0
    for n in range(8):
        await world.pay(await world.send(await world.attempt(f"A20{n:02d}")))
    await world.until(lambda: world.told("settled"), 8)
    await asyncio.sleep(0.1)
    assert sorted(await world.notices()) == [("TRANSACTION.SUCCESS", "paid")] * 8


async def test_a_refund_notice_before_its_payment_notice_is_booked_in_either_order(world: World) -> None:
    """Reordered: the late payment's own notice arrives after a query has settled and refunded it."""
    document = await paid_document(world)
    world.wanted = False
    await world.knock(*signed(world, letter(world, document)))
    (refund,) = await world.refunds()
    told = {
        "mchid": world.gateway.merchant, "out_trade_no": refund.out_trade_no, "out_refund_no": refund.out_refund_no, "refund_id": "50001",
        "refund_status": "SUCCESS", "amount": {"total": 1990, "refund": 1990},
    }  # fmt: skip
    late = [letter(world, told, "REFUND.SUCCESS", f"EV-R{n}") for n in range(8)] + [
        letter(world, document, identity=f"EV-P{n}") for n in range(8)
    ]
    random.Random(1).shuffle(late)
    answers = await asyncio.gather(*(world.knock(*signed(world, each)) for each in late))
    assert {answer.status_code for answer in answers} == {200}
    assert await world.told("refunded", refund.out_refund_no) == 1
    assert [(each.state, each.provider_id) for each in await world.refunds()] == [("DONE", "50001")]


@pytest.mark.parametrize("change", [{"amount": {"total": 1990, "refund": 1}}, {"amount": None}, {"out_trade_no": "A1001-2"}])
async def test_a_refund_notice_of_another_amount_or_trade_changes_nothing(world: World, change: dict[str, Any]) -> None:
    document = await paid_document(world)
    world.wanted = False
    await world.knock(*signed(world, letter(world, document)))
    (refund,) = await world.refunds()
    told = {
        "mchid": world.gateway.merchant, "out_trade_no": refund.out_trade_no, "out_refund_no": refund.out_refund_no, "refund_id": "50001",
        "refund_status": "SUCCESS", "amount": {"total": 1990, "refund": 1990},
    }  # fmt: skip
    assert (await world.knock(*signed(world, letter(world, told | change, "REFUND.SUCCESS", "EV-R")))).status_code == 200
    assert (await world.notices())[-1] == ("REFUND.SUCCESS", "wrong_refund")
    assert [each.state for each in await world.refunds()] == ["APPROVED"]
    assert await world.told("refunded") == 0
