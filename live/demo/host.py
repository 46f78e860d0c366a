"""The demo's gentle host: `python -m live.demo.host`. Keeps the room lively while nobody stands at the console.

Through the console's own doors. It opens an offer only when none of that kind is open, never ends one, never starts or stops the show,
and holds still for two minutes whenever it sees something that neither it nor the clock did.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from typing import Any

import httpx2

from live.demo.crowd import demo_of_this_folder, until_stopped
from live.demo.doors import RefusedError
from live.demo.seed import PASSWORD, ROOM
from live.demo.staff import Host
from live.settings import Settings

LOOK_SECONDS = 4.0
STILL_SECONDS = 120.0  # after a person did something
COUPON_SECONDS = 90.0  # between two drops; slower as the show goes on, since every offer stays on the room's list
PIN_SECONDS = 40.0
SALE_MINUTES, GROUP_MINUTES, COUPON_MINUTES = 8, 6, 1
WAIT = 15  # seconds a sale is counted down to: long enough to be seen, short enough not to bore
STORES, UNITS = 4, 12  # stores of an offer and its units at each
SHARE = 4  # an offer takes at most one part in so many of what a store has free
TEAM = {"size": 3, "team_minutes": 4, "minutes": 10}  # of small teams: short clocks, so that some are seen to fail
TEAM_PART = 0.7  # of the shop's price
GROUP = {"size": 24, "minimum": 6}
STEPS = ((0, 0.88), (6, 0.78), (12, 0.68))  # paid seats, part of the shop's price
COUPONS = ((500, 3000), (1000, 6000), (1500, 9900), (2000, 15000))  # off, threshold (fen)
SLACK_MS = 3000  # the clock's own ends come a moment late; an end earlier than this was a person's


@dataclass
class Seen:
    """An offer as it was last seen."""

    closes: int | None
    total: int
    phase: str


@dataclass
class Keeper:
    """What the loop remembers: the offers it knows, what it pinned, and when it did what."""

    host: Host
    known: dict[int, Seen] | None = None
    mine: set[int] = field(default_factory=set)  # opened since the last look
    pinned: int | None = None
    still_until: float = 0.0
    next_pin: float = 0.0
    next_coupon: float = 0.0
    turn: int = 0
    drops: int = 0

    async def look(self, now: float) -> None:
        """One look at the room, and at most one act. `now` is monotonic seconds."""
        if await self.host.phase() != "live":
            return  # whoever stopped the show starts it again
        offers, pin = await self.host.offers(), await self.host.pinned()
        if self.somebody_acted(offers, pin, int(time.time() * 1000)):
            self.still_until = now + STILL_SECONDS
        if now < self.still_until:
            return
        running = {kind: [one["view"] for one in offers if _open(one, kind)] for kind in ("sale", "group", "team", "coupon")}
        if not running["sale"]:
            await self._open_sale()
        elif not running["group"]:
            await self._open_group()
        elif not running["team"]:
            await self._open_teams()
        elif not running["coupon"] and now >= self.next_coupon:
            await self._drop_coupon(now)
        elif now >= self.next_pin:
            await self._pin([*running["sale"], *running["group"], *running["team"]], now)

    def somebody_acted(self, offers: list[dict[str, Any]], pin: int | None, now_ms: int) -> bool:
        """Whether a person did something since the last look. The first look takes everything as it is."""
        before, self.known = self.known, {one["view"]["id"]: _seen(one["view"]) for one in offers}
        mine, self.mine = self.mine, set()
        pinned, self.pinned = self.pinned, pin
        if before is None:
            return False
        for one in offers:
            view, team = one["view"], one.get("team")
            earlier = before.get(view["id"])
            if earlier is None:
                if view["id"] not in mine:
                    return True
            elif view["total"] != earlier.total:
                return True
            elif view["phase"] != earlier.phase:
                by_clock = earlier.closes is not None and now_ms >= earlier.closes - SLACK_MS
                if not by_clock and not (team and team["paid"] == team["size"]):
                    return True
        return pin != pinned

    async def _open_sale(self) -> None:
        goods = await self._next_goods()
        if goods is not None:
            code, fen, stock = goods
            lasts = {"minutes": SALE_MINUTES, "wait": WAIT, "countdown": WAIT}
            self._opened(await self.host.open_sale(code, _part(fen, 0.75), stock, per_person=2, **lasts))

    async def _open_group(self) -> None:
        goods = await self._next_goods()
        if goods is not None and sum(goods[2].values()) >= GROUP["size"]:
            code, fen, stock = goods
            tiers = [(seats, _part(fen, part)) for seats, part in STEPS]
            self._opened(await self.host.open_group(code, stock, tiers=tiers, minutes=GROUP_MINUTES, **GROUP))

    async def _open_teams(self) -> None:
        goods = await self._next_goods()
        if goods is not None:
            code, fen, stock = goods
            self._opened(await self.host.open_teams(code, _part(fen, TEAM_PART), stock, **TEAM))

    async def _drop_coupon(self, now: float) -> None:
        off, threshold = COUPONS[self.drops % len(COUPONS)]
        self._opened(await self.host.open_coupon(off, threshold, 40, minutes=COUPON_MINUTES))
        self.drops += 1
        self.next_coupon = now + COUPON_SECONDS * (1 + self.drops // 20)

    async def _pin(self, cards: list[dict[str, Any]], now: float) -> None:
        self.next_pin = now + PIN_SECONDS
        others = [card["id"] for card in cards if card["id"] != self.pinned]
        if others:
            self.turn += 1
            chosen = others[self.turn % len(others)]
            await self.host.pin(chosen)
            self.pinned = chosen

    def _opened(self, offer: int) -> None:
        self.mine.add(offer)
        self.next_pin = 0.0  # what is new is explained next

    async def _next_goods(self) -> tuple[str, int, dict[str, int]] | None:
        """The next goods of the catalogue with enough to offer: SKU, the shop's price, units per store."""
        goods = sorted(await self.host.catalog(), key=lambda sku: sku["code"])
        for _ in goods:
            self.turn += 1
            sku = goods[self.turn * 7 % len(goods)]  # 7 and 24 have no common part: every SKU comes, and neighbours are apart
            free = sorted(((place["free"], store) for store, place in sku["stock"].items()), reverse=True)[:STORES]
            stock = {store: min(UNITS, units // SHARE) for units, store in free if units >= SHARE}
            if len(stock) == STORES and min(stock.values()) >= UNITS // 2:
                return sku["code"], sku["fen"], stock
        return None


def _open(one: dict[str, Any], kind: str) -> bool:
    """A group of many small teams counts as the kind `team`."""
    view = one["view"]
    return bool(view["phase"] == "open" and ("team" if view.get("team") else view["kind"]) == kind)


def _seen(view: dict[str, Any]) -> Seen:
    return Seen(view["closes"], view["total"], view["phase"])


def _part(fen: int, part: float) -> int:
    """A part of a price, in whole 10 fen."""
    return max(10, round(fen * part / 10) * 10)


async def run(given: Settings) -> None:
    """The loop, until cancelled. Whatever goes wrong is tried again with a new login."""
    for _ in itertools.count():
        host = Host(given.web_url, "host", ROOM)
        keeper = Keeper(host)
        try:
            await host.login(PASSWORD)
            while True:
                await keeper.look(time.monotonic())
                await asyncio.sleep(LOOK_SECONDS)
        except (RefusedError, httpx2.HTTPError, OSError):
            await asyncio.sleep(5)
        finally:
            await host.close()


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    asyncio.run(until_stopped(run(demo_of_this_folder("The demo's host"))))


if __name__ == "__main__":
    main()
