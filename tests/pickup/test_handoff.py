from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import event

from live.infra import outbox
from live.infra.db import Database
from live.pickup import handoff as module
from live.pickup import rules
from live.pickup.handoff import handoff
from tests.pickup.shop import NOW, SECRET, Shop, open_shop


async def take(db: Database, store: str = "S1", limit: int = 200) -> int:
    async with db.begin() as session:
        return await handoff(session, store, NOW, limit, secret=SECRET)


async def undone(shop: Shop) -> int:
    return sum(row.done_at is None for row in await shop.outbox("job"))


async def test_a_paid_order_becomes_one_ticket_and_its_buyer_hears_of_it(database: Database) -> None:
    shop = await open_shop(database)
    no = await shop.order()
    assert await take(database) == 1
    [ticket] = await shop.tickets()
    assert (ticket.order_no, ticket.location, ticket.state, ticket.room_id, ticket.person) == (no, "S1", "QUEUED", "demo", shop.person)
    assert ticket.code_hash == rules.keyed_hash(SECRET, rules.derive(SECRET, no, "S1"))
    assert await shop.state(no) == ("ALLOCATED", 2)
    [news] = await shop.outbox("own")
    assert (news.key, news.room_id, news.payload["who"], news.payload["version"]) == (f"order:{no}", "demo", shop.person, 2)
    body = {"t": "order", "no": no, "version": 2, "state": "ALLOCATED", "fen": 2000, "pay_until": None, "refunded": 0}
    assert news.payload["body"] == body
    assert await undone(shop) == 0
    assert await take(database) == 0


async def test_another_stores_rows_are_left_alone(database: Database) -> None:
    shop = await open_shop(database)
    await shop.order("S2")
    assert await take(database, "S1") == 0
    assert await shop.tickets() == []
    assert await undone(shop) == 1


async def test_doubled_rows_make_one_ticket(database: Database) -> None:
    shop = await open_shop(database)
    no = await shop.order()
    async with database.begin() as session:
        for _ in range(3):
            await outbox.job(session, "handoff", "S1", {"order": no})
    assert await take(database, limit=2) == 2
    assert await take(database) == 2
    assert len(await shop.tickets()) == 1
    assert await shop.state(no) == ("ALLOCATED", 2)
    assert len(await shop.outbox("own")) == 1


@pytest.mark.parametrize("state", ["REFUNDING", "REFUNDED"])
async def test_an_order_overtaken_by_its_refund_gets_no_ticket(database: Database, state: str) -> None:
    shop = await open_shop(database)
    no = await shop.order(state=state)
    other = await shop.order()
    assert await take(database) == 2
    assert [ticket.order_no for ticket in await shop.tickets()] == [other]
    assert await undone(shop) == 0
    assert await shop.state(no) == (state, 1)


async def test_two_workers_hand_over_1000_orders_exactly_once(database: Database) -> None:
    shop = await open_shop(database)
    nos = await shop.order_many(500, "S1") + await shop.order_many(500, "S2")

    async def worker(store: str) -> int:
        total = 0
        while count := await take(database, store, 37):
            total += count
        return total

    taken = await asyncio.gather(*(worker(store) for store in ("S1", "S2", "S1", "S2")))
    assert sum(taken) == 1000
    assert sorted(ticket.order_no for ticket in await shop.tickets()) == nos
    assert len(await shop.outbox("own")) == 1000
    assert await undone(shop) == 0


async def test_a_crash_between_insert_and_commit_loses_and_doubles_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = await open_shop(database)
    nos = await shop.order_many(10)
    steps: list[str] = []
    real_insert, real_tell = module._insert, module._tell

    def crashing(name: str, real: Any, crash: str) -> Any:
        async def step(*arguments: Any) -> Any:
            result = await real(*arguments)
            steps.append(name)
            if name == crash:
                raise ConnectionResetError("killed here")
            return result

        return step

    for crash in ("insert", "tell"):
        monkeypatch.setattr(module, "_insert", crashing("insert", real_insert, crash))
        monkeypatch.setattr(module, "_tell", crashing("tell", real_tell, crash))
        with pytest.raises(ConnectionResetError):
            await take(database)
        assert await shop.tickets() == []
        assert await shop.outbox("own") == []
        assert await undone(shop) == 10
    monkeypatch.undo()
    assert steps == ["insert", "insert", "tell"]
    assert await take(database) == 10
    assert [ticket.order_no for ticket in await shop.tickets()] == nos


async def test_a_code_that_is_taken_is_derived_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = await open_shop(database)
    derive = rules.derive
    monkeypatch.setattr(
        rules, "derive", lambda secret, no, location, attempt=0: derive(secret, no if attempt else "same", location, attempt)
    )
    nos = await shop.order_many(3)
    assert await take(database) == 3
    tickets = await shop.tickets()
    assert sorted(ticket.order_no for ticket in tickets) == nos
    assert len({ticket.code_hash for ticket in tickets}) == 3


async def test_a_batch_costs_the_same_statements_whatever_its_size(database: Database) -> None:
    shop = await open_shop(database)
    counts = []
    for size in (1, 150):
        await shop.order_many(size)
        statements: list[str] = []

        def note(_c: Any, _cursor: Any, statement: str, *_rest: Any, seen: list[str] = statements) -> None:
            seen.append(statement)

        event.listen(database.engine.sync_engine, "before_cursor_execute", note)
        assert await take(database) == size
        event.remove(database.engine.sync_engine, "before_cursor_execute", note)
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 9
