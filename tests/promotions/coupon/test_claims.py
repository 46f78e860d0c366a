"""Three hundred taps for fifty coupons, from two devices each, through the real turnstile and into the books."""

from __future__ import annotations

import asyncio
import random

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra.db import Database, utc_now
from live.offers.reservations import reserve
from live.promotions.coupon.actions import end_coupon
from tests.offers.shop import book_all, books, coupon, make_shop, tap

CAP, PEOPLE, COUPONS = 100_000, 150, 50


@pytest.mark.parametrize("closes", [False, True], ids=["to the last", "racing the close"])
async def test_every_coupon_goes_to_one_person_and_nobody_has_two(database: Database, redis: Redis, closes: bool) -> None:
    await make_shop(database)
    offer = await coupon(database, total=COUPONS)
    ledger = await books(database, redis)
    taps = [tap(person, offer, key=f"device-{device}", at=("-",)) for person in range(1, PEOPLE + 1) for device in (1, 2)]
    random.Random(11).shuffle(taps)

    async def claim(at: int) -> str:
        answer = (await reserve(redis, "r1", [taps[at]], CAP))[0]
        return str(answer.code or answer.tag)

    async def close() -> str:
        async with database.begin() as session:
            await end_coupon(session, offer, utc_now())
        await ledger._apply_outbox()
        return "closed"

    # Twenty get through before anybody thinks of closing; the others meet the close.
    first = await asyncio.gather(*(claim(at) for at in range(20)))
    rest = await asyncio.gather(*(claim(at) for at in range(20, len(taps))), *((close(),) if closes else ()))
    codes = [*first, *rest]
    await book_all(ledger)
    async with database.connection() as connection:
        rows = (await connection.execute(text("SELECT person, state FROM coupon_grant"))).all()
        total, taken = (await connection.execute(text("SELECT total, taken FROM allotment WHERE offer_id = :o"), {"o": offer})).one()
    assert len({person for person, _ in rows}) == len(rows) == taken
    assert {state for _, state in rows} == {"CLAIMED"}
    assert set(codes) <= {"OK", "limit", "sold_out", "ended", "closed"}
    if closes:
        assert 1 <= len(rows) <= COUPONS
        assert len(rows) <= codes.count("OK")  # who passed as it closed is told so by the till, and has nothing
    else:
        assert len(rows) == codes.count("OK") == total == COUPONS
