from __future__ import annotations

from sqlalchemy import text

from live.catalog.queries import SkuFacts, active_skus, sku_by_code, skus
from live.infra.db import Database

from .test_actions import put

PEAR = SkuFacts(1, "a-p-1", "一个", "one", "a-p", "梨", "Pear", "", "a", 1990)


async def test_a_withdrawn_sku_is_found_by_old_orders_only(database: Database) -> None:
    await put(database, "a")
    async with database.begin() as session:
        assert await sku_by_code(session, "a-p-1") == PEAR
        await session.execute(text("UPDATE sku SET active = false"))
    async with database.begin() as session:
        assert await sku_by_code(session, "a-p-1") is None
        assert await active_skus(session) == []
        assert await skus(session, [1, 2]) == {1: PEAR}
        assert await skus(session, []) == {}


def test_a_title_does_not_say_the_same_twice() -> None:
    same = SkuFacts(1, "p", "梨", "", "p", "梨", "Pear", "", "a", 1)
    assert (PEAR.title, same.title) == ({"zh": "梨 一个", "en": "Pear one"}, {"zh": "梨", "en": "Pear"})
