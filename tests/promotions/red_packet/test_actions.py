"""Dropping packets: what is cut, what the room sees, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from live.infra.db import Database, utc_now
from live.infra.outbox import room_state
from live.offers.actions import add_stock
from live.protocol.codes import Code, Refusal
from tests.offers.shop import make_shop
from tests.promotions.red_packet.stage import one, packet
from tests.web.doors import holdings


async def test_a_dropped_packet_is_cut_at_once_and_shows_its_sum_and_no_share(database: Database) -> None:
    await make_shop(database)
    offer = await packet(database, word="红包来")
    async with database.begin() as session:
        card = await room_state(session, "r1", f"offer:{offer}")
    assert card is not None
    assert (card["kind"], card["total"], card["per_person"], card["sku"]) == ("packet", 50, 1, None)
    assert card["packet"] == {"currency": "points", "sum": 5_000, "threshold": 0, "word": True}
    assert await one(database, "SELECT sum(amount) FROM packet_share WHERE rid IS NULL") == 5_000
    assert await one(database, "SELECT min(amount) FROM packet_share") >= 10
    assert await one(database, "SELECT total FROM allotment WHERE location = '-'") == 50


@pytest.mark.parametrize(
    ("changed", "field"),
    [({"total": 499}, "sum"), ({"shares": 0}, "shares"), ({"least": 0}, "least"), ({"currency": "cash"}, "currency"),
     ({"minutes": 0}, "minutes"), ({"threshold": 10}, "threshold")],
)  # fmt: skip
async def test_a_packet_that_is_not_sound_is_refused_by_field_and_changes_nothing(
    database: Database, changed: dict[str, Any], field: str
) -> None:
    await make_shop(database)
    before = await holdings(database)
    with pytest.raises(Refusal) as refused:
        await packet(database, **changed)
    assert (refused.value.code, refused.value.facts["field"]) == (Code.BAD_REQUEST, field)
    assert await holdings(database) == before


async def test_a_packet_that_was_cut_gets_no_more_shares(database: Database) -> None:
    await make_shop(database)
    offer = await packet(database)
    before = await holdings(database)
    with pytest.raises(Refusal) as refused:
        async with database.begin() as session:
            await add_stock(session, offer, "-", 5, utc_now())
    assert (refused.value.code, refused.value.facts["field"]) == (Code.BAD_REQUEST, "qty")
    assert await holdings(database) == before
