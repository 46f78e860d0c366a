"""The demo's synthetic crowd: `python -m live.demo.crowd`. Guests who watch, like and comment, and a few known persons who also buy.

Plainly labelled: their names say so, and the guests' subjects begin with `g:demo`, whose comments the hub marks. No public door gives such
a subject, so in a demo, and only there, it is signed here. Everything else goes through the public doors and keeps every limit.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx2
from websockets.exceptions import WebSocketException

from live.demo import lines
from live.demo.client import LostError, Viewer
from live.demo.doors import Doors, LateError, RefusedError
from live.demo.seed import ROOM
from live.infra.security import Tokens, secret
from live.launch import LaunchError, attach
from live.settings import Settings, settings

VIEWERS = 60
BUYERS = 0.2  # share of the crowd that is known and may buy
JOINING_SECONDS = 6.0  # over which they arrive
LIKE_SECONDS, SAY_SECONDS, BUY_SECONDS = 12.0, 50.0, 100.0  # between two, on average: 48 guests say about one comment a second
KEPT = 0.5  # the crowd leaves at least this share of every offer to people
SEATS = 0.6  # and takes at most this share of a group's seats
PAYS, CANCELS = 0.8, 0.1  # of their orders; the others are left to expire
AGAIN_FIRST, AGAIN_CAP = 1.0, 30.0  # seconds before coming back, doubled each time
NOT_WELCOME = 4500  # close codes from here on: do not come back with this token
TROUBLE = (RefusedError, LostError, LateError, OSError, httpx2.HTTPError, WebSocketException)
Chance = random.Random


class Member:
    """One of the crowd."""

    def __init__(self, viewer: Viewer, number: int, chance: Chance) -> None:
        self.viewer, self.language, self.chance = viewer, lines.language(number), chance
        self.number = number
        self.taken: set[int] = set()  # offers this person took from; forgotten when they end

    async def watch(self) -> None:
        """A guest: hearts often, words now and then."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(LIKE_SECONDS, lambda: self.viewer.like(self.chance.randint(1, 5))))
            group.create_task(self._every(SAY_SECONDS, self._say))

    async def shop(self) -> None:
        """A known person: buys, claims, joins groups, and mostly pays."""
        await self._every(BUY_SECONDS, self._take)

    async def _every(self, seconds: float, act: Callable[[], Awaitable[Any]]) -> None:
        await asyncio.sleep(self.chance.uniform(1, min(seconds, 30)))
        while True:
            with suppress(RefusedError):  # sold out, muted, the price changed: people shrug and go on
                await act()
            await asyncio.sleep(max(2.0, min(self.chance.expovariate(1 / seconds), 4 * seconds)))

    async def _say(self) -> None:
        mirror = self.viewer.mirror
        if mirror.value("room")["phase"] != "live":
            return
        shelf = [*mirror.open("sale"), *mirror.open("group"), *mirror.open("coupon")]
        dice = self.chance.random()
        text = self.chance.choice(lines.SMALL_TALK[self.language])
        if shelf and dice < 0.35:
            card = next((card for card in shelf if card["id"] == mirror.value("room")["pin"] and card["sku"]), None)
            if card is not None:
                text = self.chance.choice(lines.ABOUT_GOODS[self.language]).format(name=card["name"][self.language])
        elif shelf and dice < 0.5:
            newest = max(shelf, key=lambda card: card["id"])
            text = self.chance.choice(lines.NEWS[newest["kind"]][self.language])
        await self.viewer.say(text)

    async def _take(self) -> None:
        mirror = self.viewer.mirror
        open_now = {card["id"] for kind in ("sale", "coupon", "group") for card in mirror.open(kind)}
        self.taken &= open_now
        choice = [card for kind in ("sale", "coupon", "group") for card in mirror.open(kind) if self._fair(card)]
        if not choice:
            return
        card = self.chance.choice(choice)
        self.taken.add(card["id"])
        if card["kind"] == "coupon":
            await self.viewer.claim(card["id"])
            return
        places = [place for place, left in mirror.left(card["id"]).items() if left > 0]
        self.chance.shuffle(places)
        order = await self.viewer.buy(card["id"], places, team=self._team(card))
        await self._settle(order, card["kind"])

    def _fair(self, card: dict[str, Any]) -> bool:
        """Whether enough would be left for people."""
        mirror, offer = self.viewer.mirror, card["id"]
        if offer in self.taken or sum(mirror.left(offer).values()) <= KEPT * card["total"]:
            return False
        if card["team"]:
            return True
        team = mirror.team(offer)
        return card["kind"] != "group" or (team.get("state") == "filling" and team["paid"] + team["held"] < SEATS * team["size"])

    def _team(self, card: dict[str, Any]) -> int | None:
        """The small team to join: the oldest that lacks somebody; None opens one."""
        return min((one["id"] for one in self.viewer.mirror.teams(card["id"]).get("open", ()) if one["left"] > 0), default=None)

    async def _settle(self, order: dict[str, Any], kind: str) -> None:
        await asyncio.sleep(self.chance.uniform(2, 8))
        dice = self.chance.random()
        if dice < PAYS:
            await self.viewer.pay(order["no"], (await self.viewer.best(order["no"]))["best"] if kind == "sale" else None)
        elif dice < PAYS + CANCELS:
            await self.viewer.cancel(order["no"])


async def attend(member: Member, arrive: Callable[[Viewer], Awaitable[Any]], live: Callable[[], Awaitable[None]], room: str) -> None:
    """Come, stay, and come back: at once spread, later less often, with a new token when the old one is no good."""
    viewer, pause = member.viewer, AGAIN_FIRST
    while True:
        try:
            if viewer.expires < time.time() + 30 or (viewer.bye or {}).get("code", 0) >= NOT_WELCOME:
                await arrive(viewer)
            await viewer.join(room)
            pause = AGAIN_FIRST
            await _while_connected(viewer, live)
        except TROUBLE:
            viewer.drop()
        after = (viewer.bye or {}).get("after", 0) / 1000
        await asyncio.sleep(after + member.chance.uniform(0.5, 1.0) * pause)
        pause = min(2 * pause, AGAIN_CAP)


async def _while_connected(viewer: Viewer, live: Callable[[], Awaitable[None]]) -> None:
    lost, living = asyncio.ensure_future(viewer.lost()), asyncio.ensure_future(live())
    try:
        await asyncio.wait({lost, living}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        lost.cancel()
        living.cancel()
        ended = await asyncio.gather(lost, living, return_exceptions=True)
    for trouble in ended:
        if isinstance(trouble, BaseExceptionGroup):
            _, unknown = trouble.split(TROUBLE)
            if unknown is not None:
                raise unknown
        elif isinstance(trouble, Exception) and not isinstance(trouble, TROUBLE):
            raise trouble


async def run(given: Settings, viewers: int, room: str = ROOM) -> None:
    """The crowd, until cancelled. Its sockets then go at once, as when a train enters a tunnel."""
    doors, tokens = Doors(given.web_url), Tokens(secret(given, "token_secret"))
    chance = Chance()
    members: list[Member] = []

    async def guest(viewer: Viewer) -> None:
        token = tokens.issue(f"g:demo{secrets.token_hex(6)}", "guest", viewer.name, seconds=given.token_seconds)
        viewer.by_token(token, time.time() + given.token_seconds)

    async def person(viewer: Viewer) -> None:
        await viewer.by_phone(f"199{secrets.randbelow(10**8):08d}")  # another phone each time: one gets a code a minute, ten a day

    async def one(number: int) -> None:
        await asyncio.sleep(chance.uniform(0, JOINING_SECONDS))
        member = Member(Viewer(doors, given.hub_url, lines.name(number)), number, chance)
        members.append(member)
        buys = number <= viewers * BUYERS
        await attend(member, person if buys else guest, member.shop if buys else member.watch, room)

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(1, viewers + 1):
                group.create_task(one(number))
    finally:
        for member in members:
            member.viewer.drop()
        await doors.close()


def main(arguments: list[str] | None = None) -> None:
    """Run until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser("python -m live.demo.crowd", description=__doc__)
    parser.add_argument("--viewers", type=int, default=VIEWERS, help="how many (%(default)s)")
    parser.add_argument("--room", default=ROOM, help="which room (%(default)s)")
    options = parser.parse_args(arguments)
    given = demo_of_this_folder("The crowd")
    asyncio.run(until_stopped(run(given, options.viewers, options.room)))


def demo_of_this_folder(who: str) -> Settings:
    """The settings of the demo that runs here. Ends the process when none does."""
    try:
        attach(Settings())
    except LaunchError as error:
        sys.exit(str(error))
    given = settings()
    if given.env != "demo":
        sys.exit(f"{who} is for `live demo` only (LIVE_ENV is {given.env}).")
    return given


async def until_stopped(work: Awaitable[None]) -> None:
    """Run it until SIGINT or SIGTERM, which end it at once and in order."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return


if __name__ == "__main__":
    main()
