"""The list of every team one can join: complete, counted, a page at a time."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from live.offers.parties.queries import PAGE, SHOWN, joinable
from live.offers.tables import Offer
from tests.orders.stage import NOW, ROOM, Shop, after
from tests.promotions.team.test_actions import join, opened, picture, teams
from tests.web.conftest import doors
from tests.web.doors import Doors

__all__ = ["doors"]
ADD = text(
    "INSERT INTO party (offer_id, room_id, opener, size, paid, held, state, closes_at, created_at)"
    " SELECT :o, :r, 'p:x', 3, 1, :held, :state, :closes, :now FROM generate_series(1, :n)"
)


async def add(shop: Shop, offer: Offer, n: int, *, held: int = 0, state: str = "filling", minutes: int = 30) -> None:
    values = {"o": offer.id, "r": ROOM, "n": n, "held": held, "state": state, "closes": after(minutes=minutes), "now": NOW}
    async with shop.db.connection() as connection:
        await connection.execute(ADD, values)


async def listed(shop: Shop, offer: Offer, before: int | None = None) -> dict[str, Any]:
    async with shop.db.begin() as session:
        return await joinable(session, int(offer.id or 0), before, NOW)


async def test_every_team_with_a_seat_is_listed_once_and_no_other(shop: Shop) -> None:
    offer, other = await teams(shop), await teams(shop)
    assert await listed(shop, offer) == {"joinable": 0, "teams": [], "next": None}
    await add(shop, offer, 2 * PAGE + 5)
    for left_out in ({"held": 2}, {"state": "closing"}, {"state": "failed"}, {"state": "opening"}, {"minutes": -1}):
        await add(shop, offer, 1, **left_out)  # type: ignore[arg-type]
    await add(shop, other, 1)
    assert len((await picture(shop, offer))[1]["open"]) == SHOWN
    seen: list[int] = []
    before = None
    for length in (PAGE, PAGE, 5):
        page = await listed(shop, offer, before)
        assert (page["joinable"], len(page["teams"])) == (2 * PAGE + 5, length)
        seen += [team["id"] for team in page["teams"]]
        before = page["next"]
    assert before is None
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) == 2 * PAGE + 5


async def test_a_team_leaves_the_list_with_its_last_seat(shop: Shop) -> None:
    offer = await teams(shop, size=2)
    team, _ = await opened(shop, offer)
    assert [(one["id"], one["left"]) for one in (await listed(shop, offer))["teams"]] == [(team, 1)]
    await join(shop, offer, "p:2", team)
    assert (await listed(shop, offer))["joinable"] == 0


async def test_the_door_of_the_list(doors: Doors) -> None:
    assert await doors.ask("GET", "/v1/offers/7/teams/open") == (200, {"joinable": 0, "teams": [], "next": None})
    for before in ("x", "-1", "1.5"):
        status, answer = await doors.ask("GET", f"/v1/offers/7/teams/open?before={before}")
        assert (status, answer["no"]["code"], answer["no"]["field"]) == (422, "bad_request", "before")
    assert (await doors.ask("GET", f"/v1/offers/7/teams/open?before={'9' * 40}"))[0] == 404
