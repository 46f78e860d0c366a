"""The console's doors that change what was opened: a batch taken back, a planned sale at another time."""

from __future__ import annotations

from live.infra.db import epoch_ms, utc_now
from tests.rooms.test_api import COUPON, host, no
from tests.rooms.test_flash_sale import later, states
from tests.web.doors import Doors, holdings

__all__ = ["host"]


async def test_a_host_takes_a_batch_back_once_with_a_reason(doors: Doors, host: str) -> None:
    assert (await doors.ask("POST", "/v1/rooms/r1/coupons", COUPON, host))[0] == 201
    clerk = await doors.hire("clerk", store="S1")
    before = await holdings(doors.db)
    for body, field in (({}, "reason"), ({"reason": " "}, "reason"), ({"reason": "长" * 61}, "reason"), ({"reason": "x", "all": 1}, "all")):
        status, answer = await doors.ask("POST", "/v1/offers/1/void", body, host)
        assert (status, answer["no"]["field"]) == (422, field)
    assert (await doors.ask("POST", "/v1/offers/1/void", {"reason": "x"}, clerk))[0] == 403
    assert await holdings(doors.db) == before
    assert await doors.ask("POST", "/v1/offers/1/void", {"reason": "发错了"}, host) == (200, {"offer": 1, "phase": "ended"})
    assert await doors.ask("POST", "/v1/offers/1/void", {"reason": "发错了"}, host) == no(409, "state", state="void")
    assert await doors.ask("POST", "/v1/offers/9/void", {"reason": "发错了"}, host) == no(404, "not_found", what="offer")
    _, answer = await doors.ask("GET", "/v1/rooms/r1/offers", cookie=host)
    assert answer["offers"][0]["view"]["void"] == "发错了"


async def test_a_host_moves_a_planned_sale_until_its_countdown_runs(doors: Doors, host: str) -> None:
    assert (await doors.ask("POST", "/v1/rooms/r1/sales", later(600_000), host))[0] == 201
    to = epoch_ms(utc_now()) + 1_200_000
    assert await doors.ask("POST", "/v1/offers/1/time", {"opens": to, "countdown": 30}, host) == (
        200, {"offer": 1, "opens": to, "closes": to + 600_000},
    )  # fmt: skip
    for body, field in (({}, "opens"), ({"opens": 1}, "opens"), ({"opens": to}, "opens"), ({"opens": to + 1, "countdown": 5}, "countdown")):
        status, answer = await doors.ask("POST", "/v1/offers/1/time", body, host)
        assert (status, answer["no"]["field"]) == (422, field)
    assert (await doors.ask("POST", "/v1/offers/1/time", {"opens": epoch_ms(utc_now()) + 20_000}, host))[0] == 200
    assert await states(doors, host) == {1: "COUNTDOWN"}
    assert await doors.ask("POST", "/v1/offers/1/time", {"opens": to}, host) == no(409, "state", state="COUNTDOWN")
