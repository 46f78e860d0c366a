"""A house with one room in it, a crowd that watches, a director, and everything that was counted: what `fanout` measures."""

from __future__ import annotations

import gc
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from loadtest.crowd import PER_ADDRESS, Crowd, Seen
from loadtest.director import SENDERS, Director, open_offers
from loadtest.held import LANES
from loadtest.hubs import Figures, Hubs
from loadtest.pairs import still
from loadtest.proxy import proxy
from loadtest.stage import House, house, owner

ROOM = "fanout"
SETTLE_SECONDS = 20.0  # for what is still on its way: a hub that is behind by more than that has failed
USUAL_MOST = 18_000  # sockets of a hub, as it is set by itself …
MOST = 19_700  # … and as its 20,000 descriptors allow
SPARE = 300  # sockets: ours, and hubs that the kernel does not give equal shares


@dataclass
class Roomful:
    """`seen`: everything the crowd was sent so far; `rss_before`: of the hubs without it, KiB."""

    house: House
    hubs: Hubs
    crowd: Crowd
    director: Director
    rss_before: float
    began: Figures
    seen: Seen = field(default_factory=Seen)

    @property
    def viewers(self) -> int:
        """How many watch."""
        return len(self.crowd.tokens)

    async def take(self) -> Seen:
        """What came since the last take; it is added to `seen`."""
        new = await self.crowd.take()
        self.seen.merge(new)
        return new

    async def settle(self) -> None:
        """Wait for what is on its way."""
        await still(self.crowd, SETTLE_SECONDS)

    async def accounts(self) -> dict[str, Any]:
        """Whether everything went where it should: see `fanout`."""
        await self.settle()
        await self.take()
        counted = (await self.hubs.read()).since(self.began)
        events, states = await self.crowd.behind(*(await self.director.newest()))
        got = self.seen.all
        status = await self.crowd.status()
        return {
            "critical_lost": got.lost + events,
            "critical_repeated": got.repeated,
            "states_behind": states,
            "skipped": round(counted.of("live_hub_skipped_items_total", reason="slow")),
            "identity": {lane: self._identity(lane, counted) for lane in LANES},
            "stale_items": got.stale,
            "lost_sockets": status.lost + self.director.lost,
            "strange_frames": status.counts["strange"],
            "refusals": {name: n for name, n in status.counts.items() if name.startswith("refused")},
            "sweep_ms": _means(counted),
            "gc_ms": round(counted.of("live_hub_gc_seconds_sum") * 1000, 1),
        }

    def _identity(self, lane: str, counted: Figures) -> dict[str, int]:
        received = self.seen.all.items[lane] + self.director.items[lane]
        offered, skipped = (round(counted.of(f"live_hub_{name}_items_total", lane=lane)) for name in ("offered", "skipped"))
        return {"offered": offered, "received": received, "skipped": skipped}

    def offered(self, counted: Figures) -> int:
        """Items times viewers that `seen` should hold: state by what the hubs counted, of several hubs all."""
        lanes = ("state",) if self.hubs.count == 1 else LANES
        found = sum(round(counted.of("live_hub_offered_items_total", lane=lane)) - self.director.items[lane] for lane in lanes)
        return found if self.hubs.count > 1 else found + self.viewers * (self.director.said + len(self.seen.items["critical"]))


def _means(counted: Figures) -> dict[str, float]:
    """Mean length of the sweeps by lane, ms."""
    found = {}
    for lane in ("critical", "tick"):
        sweeps = counted.of("live_hub_sweep_seconds_count", lane=lane)
        if sweeps:
            found[lane] = round(counted.of("live_hub_sweep_seconds_sum", lane=lane) / sweeps * 1000, 1)
    return found


def limits(viewers: int, hubs: int, comments: float, **more: object) -> dict[str, str]:
    """What must be raised by setting, so that some loopback addresses and a few senders can stand for a crowd. `more`: further ones."""
    each = math.ceil(comments / SENDERS) + 1
    found: dict[str, object] = {
        "LIVE_HUBS": hubs,
        "LIVE_HUB_SOCKETS_PER_ADDRESS": PER_ADDRESS + SPARE,
        "LIVE_COMMENT_BUDGET_PER_SECOND": 0,
        "LIVE_HUB_SAYS_PER_SECOND": each, "LIVE_HUB_SAY_BURST": 2 * each + 10,
        "LIVE_HUB_COMMANDS_PER_SECOND": each, "LIVE_HUB_COMMAND_BURST": 2 * each + 60,
    }  # fmt: skip
    if viewers + SPARE * hubs > USUAL_MOST * hubs:
        found["LIVE_HUB_MAX_CONNECTIONS"] = MOST
    return {name: str(value) for name, value in (found | more).items()}


@asynccontextmanager
async def roomful(
    viewers: int, settings: Mapping[str, str], *, comments: bool, ping: float = 25.0, pin: bool = False, tls: bool = False, aside: int = 0
) -> AsyncIterator[Roomful]:
    """Start everything and let the crowd in; end it all afterwards. `aside`: viewers counted apart. Raises StageError."""
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(house(settings))
        async with owner(found) as boss:
            offers = await open_offers(boss, ROOM)
        hubs = Hubs(found.hub_url, int(settings["LIVE_HUBS"]))
        director = Director(found, ROOM, offers)
        stack.push_async_callback(director.end)
        await director.begin(SENDERS if comments else 0)
        await hubs.read()
        before = hubs.rss_kib()
        url, ca = (await stack.enter_async_context(proxy(found.hub_url))) if tls else (found.hub_url, "")
        tokens = [found.token(number) for number in range(1, viewers + 1)]
        crowd = await stack.enter_async_context(Crowd(url, ROOM, tokens, ping=ping, ca=ca))
        if pin:
            hubs.pin(crowd.pids)
        await crowd.open()
        await crowd.set_aside(aside)
        await still(crowd, SETTLE_SECONDS)  # the number of viewers still changes
        gc.collect()
        gc.freeze()  # what is here stays; looking through it again would be a pause of ours in the hub's figures
        run = Roomful(found, hubs, crowd, director, before, await hubs.read())
        director.items.clear()
        await crowd.take()
        yield run
