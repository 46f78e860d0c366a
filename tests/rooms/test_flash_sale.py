"""The doors of flash sales: for later, at another price, stopped."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from live.infra.db import epoch_ms, utc_now
from tests.rooms.test_api import host, one
from tests.web.doors import Doors

__all__ = ["host"]

SALE: dict[str, Any] = {"sku": "TEA", "fen": 5990, "per_person": 5, "stock": {"S1": 5, "S2": 3}, "minutes": 10}
LATER = 60_000


def later(ms: int = LATER, **more: Any) -> dict[str, Any]:
    return SALE | {"opens": epoch_ms(utc_now()) + ms} | more


@pytest_asyncio.fixture
async def draft(doors: Doors, host: str) -> str:
    """A show that has not begun."""
    await doors.ask("POST", "/v1/rooms", {"id": "tea", "title_zh": "茶会", "title_en": "Tea party"}, host)
    return "/v1/rooms/tea"


async def states(doors: Doors, host: str, room: str = "/v1/rooms/r1") -> dict[int, str | None]:
    _, answer = await doors.ask("GET", f"{room}/offers", cookie=host)
    return {entry["view"]["id"]: entry["state"] for entry in answer["offers"]}


async def test_a_host_plans_reprices_and_calls_off_sales(doors: Doors, host: str) -> None:
    for body in (SALE, later(countdown=30), later(countdown=300, per_order=2), SALE):
        assert (await doors.ask("POST", "/v1/rooms/r1/sales", body, host))[0] == 201
    assert await states(doors, host) == {1: "RUNNING", 2: "SCHEDULED", 3: "COUNTDOWN", 4: "RUNNING"}
    assert await doors.ask("POST", "/v1/offers/2/price", {"fen": 4990}, host) == (200, {"offer": 2, "fen": 4990, "version": 2})
    for number in (1, 3):
        assert await doors.ask("POST", f"/v1/offers/{number}/end", {}, host) == (200, {"offer": number, "phase": "ended"})
    assert await states(doors, host) == {1: "STOPPED", 2: "SCHEDULED", 3: "STOPPED", 4: "RUNNING"}
    # The end of the show is nobody's hand on a sale that runs; one that never began is called off.
    assert (await doors.ask("POST", "/v1/rooms/r1/stop", {}, host))[0] == 200
    assert await states(doors, host) == {1: "STOPPED", 2: "STOPPED", 3: "STOPPED", 4: "ENDED"}


async def test_a_sale_may_be_planned_before_the_show_begins_and_not_after_it_ended(doors: Doors, host: str, draft: str) -> None:
    assert (await doors.ask("POST", f"{draft}/sales", SALE, host))[1]["no"]["code"] == "room_closed"
    assert (await doors.ask("POST", f"{draft}/sales", later(), host))[0] == 201
    for verb in ("start", "stop"):
        await doors.ask("POST", f"{draft}/{verb}", {}, host)
    assert (await doors.ask("POST", f"{draft}/sales", later(), host))[1]["no"]["code"] == "room_closed"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"opens": 0}, "opens"),
        ({"opens": 2**43}, "opens"),
        ({"opens": "soon"}, "opens"),
        ({"countdown": 30}, "countdown"),
        ({"countdown": 9, "later": LATER}, "countdown"),
        ({"countdown": 301, "later": LATER}, "countdown"),
        ({"later": 8 * 86_400_000}, "opens"),
        ({"per_order": 0}, "per_order"),
        ({"per_order": 6}, "per_order"),
        ({"per_order": 1.5}, "per_order"),
    ],
)
async def test_a_plan_that_is_not_sound_is_refused_by_its_field(doors: Doors, host: str, changed: dict[str, Any], field: str) -> None:
    wait = changed.pop("later", None)
    body = (SALE if wait is None else later(wait)) | changed
    status, answer = await doors.ask("POST", "/v1/rooms/r1/sales", body, host)
    assert (status, answer["no"]["code"], answer["no"]["field"]) == (422, "bad_request", field)
    assert await one(doors.db, "SELECT count(*) FROM offer") == 0
    assert await one(doors.db, "SELECT sum(allotted) FROM stock") == 0


@pytest.mark.parametrize("body", [{}, {"fen": 0}, {"fen": "1"}, {"fen": 5990}, {"fen": 100, "version": 1}])
async def test_a_price_that_is_not_meant_is_refused(doors: Doors, host: str, body: dict[str, Any]) -> None:
    await doors.ask("POST", "/v1/rooms/r1/sales", SALE, host)
    status, answer = await doors.ask("POST", "/v1/offers/1/price", body, host)
    assert (status, answer["no"]["code"]) == (422, "bad_request")
    assert await one(doors.db, "SELECT fen || '/' || price_version FROM offer") == "5990/1"


async def test_who_may_not_run_a_show_changes_no_price(doors: Doors, host: str) -> None:
    await doors.ask("POST", "/v1/rooms/r1/sales", SALE, host)
    assert (await doors.ask("POST", "/v1/offers/1/price", {"fen": 1}))[0] == 401
    assert await one(doors.db, "SELECT fen FROM offer") == 5990
