"""A console's post that arrives twice: the key of one press acts once and gets the same answer."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from tests.rooms.test_api import COUPON, GROUP, SALE, host, no, one
from tests.web.doors import Doors, holdings

__all__ = ["host"]
KEY = "0123456789abcdef"
PACKET = {"currency": "points", "sum": 100, "shares": 5}
DRAW = {"prize_zh": "杯", "prize_en": "Mug", "winners": 1, "entry": "comment", "word": "茶", "minutes": 5}


@pytest.mark.parametrize(
    ("path", "form"), [("sales", SALE), ("coupons", COUPON), ("groups", GROUP), ("packets", PACKET), ("draws", DRAW)]
)
async def test_the_same_key_twice_is_one_offer_and_the_same_answer(doors: Doors, host: str, path: str, form: dict[str, object]) -> None:
    first = await doors.ask("POST", f"/v1/rooms/r1/{path}", form, host, idempotency_key=KEY)
    assert first[0] == 201
    before = await holdings(doors.db)
    assert await doors.ask("POST", f"/v1/rooms/r1/{path}", form, host, idempotency_key=KEY) == first
    assert await holdings(doors.db) == before
    await doors.ask("POST", "/v1/rooms/r1/stop", {}, host)
    assert await doors.ask("POST", f"/v1/rooms/r1/{path}", form, host, idempotency_key=KEY) == first  # however late it is
    for other in (None, KEY[::-1]):
        given = {} if other is None else {"idempotency_key": other}
        assert (await doors.ask("POST", f"/v1/rooms/r1/{path}", form, host, **given))[0] == 409


async def test_stock_is_added_once_by_two_hundred_arrivals_of_one_press(doors: Doors, host: str) -> None:
    await doors.ask("POST", "/v1/rooms/r1/coupons", COUPON, host)
    ask = [doors.ask("POST", "/v1/offers/1/stock", {"location": "-", "qty": 7}, host, idempotency_key=KEY) for _ in range(200)]
    assert {status for status, _ in await asyncio.gather(*ask)} == {200}
    assert await one(doors.db, "SELECT count(*) FROM outbox WHERE kind = 'house'") == 1


async def test_a_key_of_something_else_is_refused_and_a_refusal_keeps_no_key(doors: Doors, host: str) -> None:
    assert (await doors.ask("POST", "/v1/rooms/r1/coupons", COUPON, host, idempotency_key=KEY))[0] == 201
    other = await doors.hire("owner")
    before = await holdings(doors.db)
    reused = no(409, "key_reused")
    assert await doors.ask("POST", "/v1/rooms/r1/coupons", COUPON | {"total": 11}, host, idempotency_key=KEY) == reused
    assert await doors.ask("POST", "/v1/offers/1/stock", {"location": "-", "qty": 7}, host, idempotency_key=KEY) == reused
    bad = await doors.ask("POST", "/v1/offers/1/stock", {"location": "-", "qty": 7}, host, idempotency_key="short")
    assert (bad[0], bad[1]["no"]["field"]) == (422, "idempotency-key")
    missing = {"location": "S9", "qty": 7}
    assert (await doors.ask("POST", "/v1/offers/1/stock", missing, host, idempotency_key="another-key"))[0] >= 400
    assert await holdings(doors.db) == before
    assert (await doors.ask("POST", "/v1/offers/1/stock", missing | {"location": "-"}, host, idempotency_key="another-key"))[0] == 200
    assert (await doors.ask("POST", "/v1/rooms/r1/coupons", COUPON, other, idempotency_key=KEY))[0] == 201  # another person's own
    async with doors.db.connection() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM offer"))).scalar_one() == 2
