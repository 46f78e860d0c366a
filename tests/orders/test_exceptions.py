"""A payment that contradicts the books: kept once, asked about less and less, decided by a person, its order let go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from live.infra.db import epoch_ms
from live.orders import exceptions
from live.orders.actions import expire_due, pay, refunds_done
from live.payments.actions import send_refunds
from live.payments.exceptions import figures
from live.protocol.codes import Code, Refusal
from tests.orders.stage import NOW, ROOM, Shop, after
from tests.orders.test_actions import PAYER, taken

LATE = after(seconds=301)


@pytest.fixture
async def owner(shop: Shop) -> int:
    """The owner's id."""
    add = (
        "INSERT INTO staff (account, name, role, password_hash, one_time, disabled)"
        " VALUES ('owner', '店主', 'owner', '-', false, false) RETURNING id"
    )
    async with shop.db.connection() as connection:
        return int((await connection.execute(text(add))).scalar_one())


async def odd(shop: Shop, fen: int = 2000, qty: int = 1, state: str = "SUCCESS") -> str:
    """An order of 2,990 fen for which the provider has another sum, past its deadline; the order's number."""
    no = await shop.take(await shop.sale(), "p:1", qty=qty)
    await pay(shop.db, shop.provider, "p:1", no, None, PAYER, NOW)
    shop.states[f"{no}-1"] = state
    shop.provider.sums[f"{no}-1"] = fen
    await expire_due(shop.db, shop.provider, LATE)
    assert (await shop.order(no)).state == "CLOSING"
    return no


async def listed(shop: Shop) -> list[dict[str, Any]]:
    async with shop.db.begin() as session:
        return (await exceptions.exceptions(session))["exceptions"]  # type: ignore[no-any-return]


async def refused(decision: Awaitable[None]) -> tuple[Code, Any]:
    with pytest.raises(Refusal) as why:
        await decision
    return why.value.code, why.value.facts.get("state")


async def test_another_sum_is_kept_once_and_asked_about_less_and_less(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[datetime] = []
    query = shop.provider.query

    async def counted(out_trade_no: str) -> Any:
        asked.append(moment)
        return await query(out_trade_no)

    monkeypatch.setattr(shop.provider, "query", counted)
    moment = LATE
    with capture_logs() as logs:
        no = await odd(shop)
        for second in range(1, 601, 10):
            moment = after(seconds=301 + second)
            await expire_due(shop.db, shop.provider, moment)
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["drift"]
    assert 5 <= len(asked) <= 20
    [one] = await listed(shop)
    expected = {"state": "SENT", "fen": 2990, "transaction": None}
    told = {"state": "SUCCESS", "fen": 2000, "transaction": f"T{no}-1"}
    assert one == {
        "id": one["id"], "trade": f"{no}-1", "order": no, "order_state": "CLOSING", "room": ROOM, "verdict": "wrong_amount",
        "expected": expected, "told": told, "state": "OPEN", "times": len(asked), "at": epoch_ms(LATE),
        "last_at": epoch_ms(asked[-1]), "note": "", "by": None, "decided_at": None, "refund": None, "may": ["refund", "accept", "note"],
    }  # fmt: skip
    assert b'live_pay_exceptions_open{verdict="wrong_amount"} 1.0' in await figures(shop.db)


async def test_what_was_really_paid_goes_back_and_the_order_is_let_go(shop: Shop, owner: int) -> None:
    no = await odd(shop)
    [one] = await listed(shop)
    await exceptions.refund(shop.db, shop.provider, one["id"], owner, LATE)
    assert ((await shop.order(no)).state, await shop.till(), await taken(shop)) == ("CANCELLED", 1, (0, 0))
    [(_, job)] = await shop.jobs("refund")
    await send_refunds(shop.db, shop.provider, [job["id"]], refunds_done, LATE)
    [sent] = shop.provider.refunds.values()
    assert (sent, await shop.one("SELECT fen || ' of ' || total || ' ' || state FROM refund")) == (2000, "2000 of 2000 DONE")
    assert ((await shop.order(no)).state, (await shop.order(no)).refunded) == ("CANCELLED", 0)
    [one] = await listed(shop)
    assert (one["state"], one["by"], one["refund"], one["may"]) == ("REFUNDED", "店主", {"state": "DONE", "fen": 2000}, [])
    assert b"wrong_amount" not in await figures(shop.db)
    before = await shop.everything()
    assert await refused(exceptions.refund(shop.db, shop.provider, one["id"], owner, LATE)) == (Code.STATE, "REFUNDED")
    assert await refused(exceptions.note(shop.db, one["id"], "x", owner, LATE)) == (Code.STATE, "REFUNDED")
    assert await shop.everything() == before


async def test_a_refund_of_a_mismatch_the_provider_did_not_carry_out_is_sent_again(shop: Shop, owner: int) -> None:
    await odd(shop)
    [one] = await listed(shop)
    await exceptions.refund(shop.db, shop.provider, one["id"], owner, LATE)
    shop.provider.refund_state = "ABNORMAL"
    [(_, job)] = await shop.jobs("refund")
    await send_refunds(shop.db, shop.provider, [job["id"]], refunds_done, LATE)
    [one] = await listed(shop)
    assert (one["refund"]["state"], one["may"]) == ("FAILED", ["refund"])
    await exceptions.refund(shop.db, shop.provider, one["id"], owner, LATE)
    assert (await listed(shop))[0]["refund"]["state"] == "APPROVED"
    assert await shop.one("SELECT count(*) FROM refund") == 1


async def test_a_sum_that_agrees_by_now_pays_the_order(shop: Shop, owner: int) -> None:
    no = await odd(shop)
    [one] = await listed(shop)
    before = await shop.everything()
    assert await refused(exceptions.accept(shop.db, shop.provider, one["id"], owner, LATE)) == (Code.STATE, "wrong_amount")
    assert await shop.everything() == before
    shop.provider.sums[f"{no}-1"] = 2990
    assert await refused(exceptions.refund(shop.db, shop.provider, one["id"], owner, LATE)) == (Code.STATE, "agrees")
    await exceptions.accept(shop.db, shop.provider, one["id"], owner, LATE)
    assert (await shop.order(no)).state == "ALLOCATED"
    [one] = await listed(shop)
    assert (one["state"], one["by"], one["may"]) == ("ACCEPTED", "店主", [])


async def test_what_agrees_when_it_is_asked_again_heals_by_itself(shop: Shop) -> None:
    no = await odd(shop)
    shop.provider.sums[f"{no}-1"] = 2990
    await expire_due(shop.db, shop.provider, after(seconds=310))
    assert (await shop.order(no)).state == "ALLOCATED"
    [one] = await listed(shop)
    assert (one["state"], one["by"]) == ("ACCEPTED", None)


async def test_money_that_went_back_elsewhere_is_noted_and_the_order_is_let_go(shop: Shop, owner: int) -> None:
    no = await odd(shop, state="REFUND", fen=2990)
    [one] = await listed(shop)
    assert (one["verdict"], one["may"]) == ("refunded_elsewhere", ["accept", "note"])
    assert await refused(exceptions.refund(shop.db, shop.provider, one["id"], owner, LATE)) == (Code.STATE, "refunded_elsewhere")
    await exceptions.note(shop.db, one["id"], "商户平台已退", owner, LATE)
    assert ((await shop.order(no)).state, await shop.till(), await taken(shop)) == ("CANCELLED", 1, (0, 0))
    [one] = await listed(shop)
    assert (one["state"], one["note"], one["by"], one["may"]) == ("NOTED", "商户平台已退", "店主", [])
    assert await refused(exceptions.note(shop.db, one["id"] + 1, "x", owner, LATE)) == (Code.NOT_FOUND, None)


async def test_a_provider_that_is_away_leaves_the_decision_open(shop: Shop, owner: int) -> None:
    await odd(shop)
    [one] = await listed(shop)
    shop.provider.away = True
    for decision in (exceptions.refund, exceptions.accept):
        assert (await refused(decision(shop.db, shop.provider, one["id"], owner, LATE)))[0] is Code.GATEWAY
    assert (await listed(shop))[0]["state"] == "OPEN"


async def test_two_hundred_decisions_and_the_clock_at_once_are_one_decision(shop: Shop, owner: int) -> None:
    no = await odd(shop, qty=2)
    [one] = await listed(shop)
    number = one["id"]
    ways: list[Callable[[], Awaitable[Any]]] = [
        lambda: exceptions.refund(shop.db, shop.provider, number, owner, LATE),
        lambda: exceptions.note(shop.db, number, "x", owner, LATE),
        lambda: expire_due(shop.db, shop.provider, after(days=1)),
    ]
    pool = asyncio.Semaphore(10)  # the pool's size: more would wait for a connection and not for the row

    async def one_of(way: Callable[[], Awaitable[Any]]) -> Any:
        async with pool:
            try:
                return await way()
            except Refusal as refusal:
                return refusal

    found = await asyncio.gather(*(one_of(ways[n % 3]) for n in range(200)))
    decided = [n for n, result in enumerate(found) if n % 3 < 2 and result is None]
    assert len(decided) == 1
    assert ((await shop.order(no)).state, await shop.till(), await taken(shop)) == ("CANCELLED", 1, (0, 0))
    [kept] = await listed(shop)
    back = await shop.one("SELECT coalesce(sum(fen), 0) FROM refund")
    assert (kept["state"], back) == (("REFUNDED", 2000) if decided[0] % 3 == 0 else ("NOTED", 0))


@pytest.mark.parametrize("kind", ["late", "loser"])
async def test_money_nobody_asked_for_that_did_not_get_back_is_listed_and_sent_again(shop: Shop, kind: str) -> None:
    no = await shop.take(await shop.sale(), "p:1")
    await pay(shop.db, shop.provider, "p:1", no, None, PAYER, NOW)
    insert = (
        "INSERT INTO refund (order_no, cause, out_trade_no, out_refund_no, fen, total, reason, state, version, created_at, due_at)"
        " VALUES (:no, :cause, :trade, :out, 2990, 2990, '', :state, 1, :now, :now) RETURNING id"
    )

    async def refund(cause: str, state: str) -> int:
        values = {"no": no, "cause": cause, "trade": f"{no}-1", "out": f"{no}-{cause}", "state": state, "now": NOW}
        async with shop.db.connection() as connection:
            return int((await connection.execute(text(insert), values)).scalar_one())

    failed, other, done = await refund(f"{kind}:1", "FAILED"), await refund("buyer", "FAILED"), await refund(f"{kind}:2", "DONE")
    async with shop.db.begin() as session:
        found = (await exceptions.exceptions(session))["refunds"]
    order = {"order": no, "order_state": "AWAIT_PAY", "room": ROOM, "trade": f"{no}-1"}
    assert found == [order | {"id": failed, "cause": kind, "fen": 2990, "at": epoch_ms(NOW)}]  # the buyer's own is on the host's page
    assert await refused(exceptions.send_again(shop.db, other, NOW)) == (Code.NOT_FOUND, None)
    assert await refused(exceptions.send_again(shop.db, done, NOW)) == (Code.STATE, "DONE")
    await exceptions.send_again(shop.db, failed, NOW)
    async with shop.db.begin() as session:
        assert (await exceptions.exceptions(session))["refunds"] == []
    assert await shop.one(f"SELECT state FROM refund WHERE id = {failed}") == "APPROVED"
    assert await shop.one(f"SELECT count(*) FROM outbox WHERE topic = 'refund' AND key = '{no}-{kind}:1'") == 1
