"""Small teams: one is filled by who comes by its link, one is not and is paid back; the room sees both as they go."""

from __future__ import annotations

from typing import Any

from live.demo.acts.stage import Stage, together
from live.demo.client import Viewer

SKU, FEN, SIZE, UNITS = "croissant-4", 2400, 3, 6


async def play(stage: Stage) -> None:
    """Both teams of one offer."""
    store = stage.shop.stores[1]
    opener, *friends = stage.people[:SIZE]
    late, other = stage.people[SIZE : SIZE + 2]
    await stage.step(f"teams of {SIZE} open; one is filled by its link, and nobody gets a seat beyond")
    offer = await stage.host.open_teams(SKU, FEN, {store: UNITS}, size=SIZE, team_minutes=30)
    await stage.all_see(lambda mirror: mirror.offer(offer), "the card of the teams")
    first = await _seat(stage, offer, store, opener)
    team = await _team(opener, first)
    with stage.refused("limit", "a second team of the same person"):
        await opener.buy(offer, [store])
    held = {str(order["no"]): friend for order, friend in [(await friend.buy(offer, [store], team=team), friend) for friend in friends]}
    stage.tally.orders += len(held)
    await stage.all_see(lambda mirror: _seen(mirror.teams(offer), team) == (1, SIZE - 1), "one paid and two held seats")
    with stage.refused("team_full", "a seat more than there are"):
        await late.buy(offer, [store], team=team)
    await together(_pays(stage, friend, no) for no, friend in held.items())
    made = held | {first: opener}
    await together(stage.becomes(viewer, no, "ALLOCATED") for no, viewer in made.items())
    await stage.all_see(lambda mirror: mirror.teams(offer)["made"] == 1, "a team that is made")
    stage.waiting |= made

    await stage.step("another is not filled when the host ends the offer: its member is refunded in full")
    alone = await _seat(stage, offer, store, other)
    await stage.host.end(offer)
    await stage.becomes(other, alone, "REFUNDED")
    await stage.go_back(other, alone, FEN)
    stage.tally.refunded += 1
    await stage.all_see(lambda mirror: mirror.teams(offer)["failed"] == 1, "a team that failed")
    stage.same((await stage.doors.get(f"/v1/teams/{await _team(other, alone)}"))["state"], "failed", "the team by its link")


async def _seat(stage: Stage, offer: int, store: str, viewer: Viewer) -> str:
    """Open a team; the paid order."""
    no = str((await viewer.buy(offer, [store]))["no"])
    stage.tally.orders += 1
    await _pays(stage, viewer, no)
    await stage.becomes(viewer, no, "GROUP_WAIT")
    return no


async def _pays(stage: Stage, viewer: Viewer, no: str) -> None:
    await viewer.pay(no)
    stage.tally.paid += 1
    stage.tally.paid_fen += FEN


async def _team(viewer: Viewer, no: str) -> int:
    return int((await viewer.order(no))["team"]["id"])


def _seen(board: dict[str, Any], team: int) -> tuple[int, int] | None:
    """Paid and held seats of a team, where the room shows it."""
    return next(((one["paid"], one["held"]) for one in board.get("open", ()) if one["id"] == team), None)
