"""The coupons of a packet taken back: as any batch, and points are not."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from live.infra.db import Database, utc_now
from live.infra.outbox import news_of, room_state
from live.offers.audit import audit
from live.offers.reservations import reserve
from live.promotions.coupon.voiding import void_coupon, void_due
from live.promotions.red_packet.actions import end_packet
from live.protocol.codes import Code, Refusal
from tests.offers.shop import book_all, books, make_shop
from tests.promotions.red_packet.stage import claim, packet, rows
from tests.web.doors import holdings

WHY = "发错了金额"


async def take_back(db: Database, offer: int) -> None:
    async with db.begin() as session:
        await void_coupon(session, offer, WHY, None, utc_now())


async def test_a_packets_coupons_are_void_with_the_reason_and_nobody_opens_it_any_more(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await packet(database, currency="coupon")
    ledger = await books(database, redis)
    await reserve(redis, "r1", [claim(person, offer) for person in range(1, 6)], 10)
    await book_all(ledger)
    late = await reserve(redis, "r1", [claim(7, offer)], 10)  # let through before, booked after
    assert len(late) == 1
    await take_back(database, offer)
    async with database.begin() as session:
        card = await room_state(session, "r1", f"offer:{offer}")
    assert card is not None
    assert (card["phase"], card["void"]) == ("ended", WHY)
    assert set(await rows(database, "SELECT state, count(*) FROM coupon_grant GROUP BY 1")) == {("VOID", 5)}
    told = await rows(database, "SELECT news FROM outbox WHERE kind = 'own' ORDER BY id DESC LIMIT 1")
    assert {(body["state"], body["void"]) for _, _, _, body in news_of("", {}, told[0][0])} == {("VOID", WHY)}
    await book_all(ledger)
    async with database.begin() as session:
        await void_due(session, utc_now())
    assert {state for (state,) in await rows(database, "SELECT state FROM coupon_grant")} == {"VOID"}
    found = await audit(database, redis)
    assert (found["balanced"], found["points"]) == (True, [])
    before = await holdings(database)
    with pytest.raises(Refusal) as refused:
        await take_back(database, offer)
    assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": "void"})
    assert await holdings(database) == before


async def test_a_packet_of_points_has_no_coupons_to_take_back(database: Database) -> None:
    await make_shop(database)
    offer = await packet(database)
    before = await holdings(database)
    with pytest.raises(Refusal) as refused:
        await take_back(database, offer)
    assert (refused.value.code, refused.value.facts) == (Code.NOT_FOUND, {"what": "coupon"})
    assert await holdings(database) == before


async def test_an_ended_packets_coupons_can_be_taken_back_too(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await packet(database, currency="coupon", shares=2, total=200)
    ledger = await books(database, redis)
    await reserve(redis, "r1", [claim(1, offer)], 10)
    await book_all(ledger)
    async with database.begin() as session:
        await end_packet(session, offer, utc_now())
    await take_back(database, offer)
    assert await rows(database, "SELECT state FROM coupon_grant") == [("VOID",)]
