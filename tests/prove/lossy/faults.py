"""What happens to the turnstile's server in the middle of a sale. Each fault leaves a server that may be the wrong one; nobody is told.

A server that lost something must refuse at its first call. So each is asked for a unit, straight, before any line leads to it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any

from live.infra.db import utc_now
from live.infra.keys import room_key
from live.infra.redis import Script
from live.offers import rebuild, reservations
from live.offers.reservations import Tap, reserve
from live.offers.rules import body_hash, rid_of
from tests.prove.lossy.house import House
from tests.prove.lossy.node import Node
from tests.prove.lossy.owner import Ghost
from tests.prove.lossy.show import Show
from tests.prove.patches import Lua, Value, planted

CAP = 20_000
STRANGER = "p:499"  # taps by hand, and listens to no answer
# Keys of a room that may vanish from a running server. Of the first kind a call is refused at once; of the second the owner notices within
# a second; of the third nobody can tell, the till answers for them, and the next rebuild heals it.
AT_ONCE, NOTICED, SILENT = ("meta", "offer", "left"), ("intents",), ("used", "rid", "offers", "log", "own", "state")


class Storm:
    """The faults of one show. `seen`: how many of each sort; `slowest`: seconds from a fault until the room was sound again."""

    def __init__(self, house: House, show: Show, seed: int) -> None:
        self.house, self.show = house, show
        self.dice = random.Random(f"{seed} storm {show.room}")
        self.seen: Counter[str] = Counter()
        self.slowest = 0.0
        self.probes = 0
        self._sorts: dict[str, Callable[[], Awaitable[None]]] = {
            "tail": self.tail, "tail between commands": self.tail_between, "older copy": self.older_copy, "flushall": self.flushall,
            "promoted": self.promoted, "two masters": self.two_masters, "key": self.key,
            **{f"key {what}": partial(self.key, what) for what in (*AT_ONCE, *NOTICED, *SILENT)},
        }  # fmt: skip

    async def strike(self, sort: str, beside: str) -> None:
        """One fault with whatever happens `beside` it, and the time until the room is open again (or the next fault comes sooner)."""
        pause = self.dice.uniform(0.1, 0.5)
        await asyncio.sleep(0.0 if sort in ("promoted", "two masters") else pause)  # a replica takes its second by itself
        self.house.weather.calm = False
        self.seen[sort] += 1
        ghost = clocks = None
        if beside:
            self.seen[beside] += 1
        if beside in ("second owner", "frozen owner"):
            ghost = await self._haunted(frozen=beside == "frozen owner")
        elif beside in ("clock of the turnstile", "clock of the ledger"):
            clocks = self._wrong_clock(beside)
        elif beside == "script flush":
            await self.house.master.redis.script_flush()
        elif beside == "ledger crash":
            owner = self.dice.choice(self.house.owners)
            await owner.crash()
            owner.start()
        begun = time.monotonic()
        await self._sorts[sort]()
        if self.dice.random() < 0.75 and not await self.show.reopened():
            self.show.fail(f"never reopened: after {sort}")
        self.slowest = max(self.slowest, time.monotonic() - begun)
        if ghost is not None:
            await asyncio.sleep(self.dice.uniform(0.0, 0.1))  # while buyers are on their way back
            ghost.thaw()
            await asyncio.sleep(0.3)
            self.seen["intents held by a frozen owner"] += ghost.held
            await ghost.crash()
        if clocks is not None:
            clocks.close()
            self.show.leap = timedelta()

    # the server

    async def tail(self) -> None:
        """The log ends in the middle of a command."""
        await self._restarted(lambda node: node.cut_tail(self.dice, between_commands=False))

    async def tail_between(self) -> None:
        """The log ends after a command."""
        await self._restarted(lambda node: node.cut_tail(self.dice, between_commands=True))

    async def older_copy(self) -> None:
        """Somebody puts back what was there a moment ago."""
        copy = self.house.master.save()
        await asyncio.sleep(self.dice.uniform(0.05, 0.5))
        await self._restarted(lambda node: node.restore(copy))

    async def _restarted(self, harm: Callable[[Node], Any]) -> None:
        node = self.house.master
        await self.house.unplug()
        await node.kill()
        harm(node)
        await node.start()
        await self._refuses(node, "restarted")
        await self.house.lead(node)

    async def flushall(self) -> None:
        """Everything is gone from a running server."""
        before = await self.show.fence()
        await self.house.master.redis.flushall()
        await self._refuses(self.house.master, "emptied", before)

    async def promoted(self) -> None:
        """The replica takes over; what the master did since the link broke is lost."""
        await self._follower()
        await asyncio.sleep(self.dice.uniform(0.1, 0.6))
        await self.house.unplug()
        await self.house.master.kill()
        await self._refuses(self.house.other, "promoted")
        self.house.promoted()
        await self.house.lead(self.house.master)

    async def two_masters(self) -> None:
        """For a while some talk to the old one and some to the new; then everybody to one of them."""
        await self._follower()
        new = self.house.other
        await self._refuses(new, "promoted")
        ghost = Ghost(self.house.books.database_url, self.house.lines["ghost"], self.show.room)
        await self.house.lead(new, "hub2", *self.dice.sample(("web", "ledger2", "ghost"), self.dice.randint(0, 3)))
        ghost.start()
        await asyncio.sleep(self.dice.uniform(0.4, 1.2))
        await ghost.crash()
        await self.house.unplug()
        if self.dice.random() < 0.5:
            self.house.promoted()
        await self.house.other.kill()
        await self.house.lead(self.house.master)

    async def _follower(self) -> None:
        """The other server becomes a replica, and the link breaks."""
        await self.house.other.start()
        await self.house.other.follow(self.house.master)
        await self.house.other.lead()

    async def key(self, what: str = "") -> None:
        """One key vanishes: this, or any."""
        what = what or self.dice.choice((*AT_ONCE, *NOTICED, *SILENT))
        self.seen[f"lost {what}"] += 1
        before, room, redis = await self.show.fence(), self.show.room, self.house.master.redis
        offer = self.show.shelf["plenty" if what in AT_ONCE else "limited"]
        if what == "left":
            await redis.hdel(room_key(room, f"offer:{offer}"), "left:S1")
        elif what == "rid":
            for key in (room_key(room, "rids:0"), room_key(room, "rids:1")):
                rids = await redis.hkeys(key)
                await redis.hdel(key, *self.dice.sample(rids, len(rids) // 2), b"-")
        else:
            await redis.delete(room_key(room, f"{what}:{offer}" if what in ("offer", "used") else what))
        if what in AT_ONCE:
            await self._refuses(self.house.master, f"without {what}", before)
        else:  # until the next rebuild; it may have been already
            self.show.tampered = before

    async def _refuses(self, node: Node, how: str, before: int | None = None) -> None:
        """Ask it for a unit. `before`: the fence under which it may not sell, when an owner may build it anew at any moment."""
        self.probes += 1
        offer = self.show.shelf["plenty"]
        rid = rid_of(STRANGER, self.show.room, f"probe-{self.probes}")
        lines = ((offer, 1, self.show.versions.get(offer, 1)),)
        tap = Tap(rid, STRANGER, "P", "nobody", body_hash([(offer, 1)], ("S1",)), 1, ("S1",), lines)
        answer = (await reserve(node.redis, self.show.room, [tap], CAP))[0]
        fence = await node.redis.hget(room_key(self.show.room, "meta"), "fence")
        if answer.tag != "FENCED" and (before is None or fence is None or int(fence) == before):
            self.show.fail(f"stale server sells: {how}, it answered {answer.tag} {answer.code} under fence {fence}")

    # beside it

    async def _haunted(self, frozen: bool) -> Ghost:
        """A second owner runs; a frozen one stops between reading and booking, and wakes when the room is another."""
        ghost = Ghost(self.house.books.database_url, self.house.lines["ghost"], self.show.room)
        if frozen:
            ghost.freeze()
        ghost.start()
        deadline = time.monotonic() + 2.0
        while frozen and not ghost.held and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.0 if frozen else 0.3)
        return ghost

    def _wrong_clock(self, whose: str) -> ExitStack:
        """One clock jumps, an hour at most, to either side."""
        seconds = self.dice.choice((-3600, -5, 5, 3600))
        stack = ExitStack()
        if whose == "clock of the ledger":
            shifted = timedelta(seconds=seconds)
            self.show.leap = shifted if seconds > 0 else timedelta()  # a sweep that is early closes what is still waiting
            stack.enter_context(planted((Value("live.offers.ledger:utc_now", lambda: utc_now() + shifted),)))
            return stack
        for module in (reservations, rebuild):
            for name, script in vars(module).items():
                if isinstance(script, Script) and "clock[2] / 1000)" in script.source:
                    late = f"clock[2] / 1000) + ({seconds * 1000})"
                    stack.enter_context(planted((Lua(f"{module.__name__}:{name}", "clock[2] / 1000)", late),)))
        return stack
