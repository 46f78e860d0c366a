from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from live.infra.db import Database
from live.protocol.codes import Code, Refusal
from live.stock import actions, queries
from live.stock.tables import Location

from .shop import put_shop


async def levels(db: Database) -> Any:
    async with db.begin() as session:
        changes = (await session.execute(text("SELECT sku_id, location, qty, cause FROM stock_change ORDER BY id"))).all()
        return await queries.levels(session), [tuple(change) for change in changes]


def at(on_hand: int, allotted: int) -> dict[int, dict[str, dict[str, int]]]:
    return {1: {"a": {"on_hand": on_hand, "allotted": allotted, "free": on_hand - allotted}}}


async def test_a_show_takes_only_what_is_free(database: Database) -> None:
    await put_shop(database, {"a": 10})
    async with database.begin() as session:
        await actions.allot(session, 1, "a", 7)
    before = await levels(database)
    assert before[0] == at(10, 7)
    with pytest.raises(Refusal) as refusal:
        async with database.begin() as session:
            await actions.allot(session, 1, "a", 4)
    assert (refusal.value.code, refusal.value.facts) == (Code.NOT_ENOUGH_STOCK, {"have": 3, "location": "a"})
    with pytest.raises(Refusal) as refusal:
        async with database.begin() as session:
            await actions.allot(session, 1, "b", 1)
    assert refusal.value.facts == {"have": 0, "location": "b"}
    assert await levels(database) == before


async def test_many_shows_at_once_take_exactly_what_is_there(database: Database) -> None:
    await put_shop(database, {"a": 30})

    async def take() -> None:
        async with database.begin() as session:
            await actions.allot(session, 1, "a", 2)

    results = await asyncio.gather(*(take() for _ in range(40)), return_exceptions=True)
    assert [result.code for result in results if isinstance(result, Refusal)] == [Code.NOT_ENOUGH_STOCK] * 25
    assert (await levels(database))[0] == at(30, 30)


async def test_units_go_back_but_never_more_than_were_taken(database: Database) -> None:
    await put_shop(database, {"a": 10})
    async with database.begin() as session:
        await actions.allot(session, 1, "a", 5)
        await actions.unallot(session, 1, "a", 2)
    before = await levels(database)
    assert before[0] == at(10, 3)
    with pytest.raises(Refusal) as refusal:
        async with database.begin() as session:
            await actions.unallot(session, 1, "a", 4)
    assert refusal.value.code is Code.STATE
    assert await levels(database) == before


async def test_units_are_collected_once_per_cause_even_at_once(database: Database) -> None:
    await put_shop(database, {"a": 10})
    async with database.begin() as session:
        await actions.allot(session, 1, "a", 5)

    async def hand_over() -> None:
        async with database.begin() as session:
            await actions.collected(session, 1, "a", 2, "order:1:1")

    await asyncio.gather(*(hand_over() for _ in range(10)))
    stock, changes = await levels(database)
    assert stock == at(8, 3)
    assert changes[1:] == [(1, "a", -2, "order:1:1")]


async def test_what_no_show_took_cannot_be_collected(database: Database) -> None:
    await put_shop(database, {"a": 10})
    before = await levels(database)
    with pytest.raises(Refusal) as refusal:
        async with database.begin() as session:
            await actions.collected(session, 1, "a", 1, "order:1:1")
    assert (refusal.value.code, refusal.value.facts) == (Code.STATE, {"state": "not_allotted", "location": "a"})
    assert await levels(database) == before


async def test_a_delivery_is_counted_once(database: Database) -> None:
    await put_shop(database, {"a": 10})
    for _ in range(2):
        async with database.begin() as session:
            await actions.receive(session, 1, "a", 5, "delivery:9")
            await actions.receive(session, 1, "b", 1, "delivery:9:b")
    stock, changes = await levels(database)
    assert stock[1] == {"a": {"on_hand": 15, "allotted": 0, "free": 15}, "b": {"on_hand": 1, "allotted": 0, "free": 1}}
    assert changes[1:] == [(1, "a", 5, "delivery:9"), (1, "b", 1, "delivery:9:b")]


@pytest.mark.parametrize("qty", [0, -3])
async def test_a_move_of_nothing_is_an_error_of_ours(database: Database, qty: int) -> None:
    await put_shop(database, {"a": 10})
    async with database.begin() as session:
        for move in (actions.allot(session, 1, "a", qty), actions.receive(session, 1, "a", qty, "x")):
            with pytest.raises(ValueError, match="stock move"):
                await move


async def test_a_store_is_made_once(database: Database) -> None:
    async with database.begin() as session:
        await actions.create_store(session, Location(code="a", name_zh="甲店", name_en="A"))
    with pytest.raises(Refusal) as refusal:
        async with database.begin() as session:
            await actions.create_store(session, Location(code="a", name_zh="乙店", name_en="B"))
    assert (refusal.value.code, refusal.value.facts) == (Code.STATE, {"state": "exists", "field": "code"})
    async with database.begin() as session:
        assert [queries.store_view(store) for store in await queries.stores(session)] == [
            {
                "code": "a",
                "name": {"zh": "甲店", "en": "A"},
                "address": {"zh": "", "en": ""},
                "lat": None,
                "lon": None,
                "hours": "",
                "leader_point": False,
            }
        ]


async def test_a_closed_store_is_not_offered(database: Database) -> None:
    await put_shop(database, {"a": 1})
    async with database.begin() as session:
        await session.execute(text("UPDATE location SET active = false WHERE code = 'b'"))
    async with database.begin() as session:
        assert [store.code for store in await queries.stores(session)] == ["a"]
        assert [store.code for store in await queries.stores(session, active=False)] == ["a", "b"]
        assert await queries.free(session, 1) == {"a": 1}
