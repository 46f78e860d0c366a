"""How long everybody known has watched a room here.

A person's first socket on this hub begins a span and their last one ends it. A span that goes on is written once a MINUTE, one that ended
within a second or two, all that are due in one call of a script (`rooms.live.watch`), which counts what overlaps once: a second device, on
this hub or another, adds nothing, and who comes back goes on where they left. A claim that asks for watching writes its claimers' spans
first. A hub that is told to end writes all it has; one that is killed takes the unwritten part of each span along, a MINUTE at most, and
where two devices sit on two hubs as much can be missed when one goes. So what is counted may be less than what was watched by about a
minute, and is never more.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import islice

from redis.asyncio import Redis

from live.rooms.live import watch

MINUTE = 60.0  # seconds between two writes of one person's span
AT_ONCE = 1000  # spans in one call: some 2 ms of a Redis that everybody waits for


class Watching:
    """The spans of one room on this hub that are not yet written."""

    def __init__(self, redis: Redis, room: str) -> None:
        self.redis, self.room = redis, room
        self.since: dict[str, float] = {}  # person -> monotonic seconds, the oldest first
        self.over: list[tuple[str, float, float]] = []  # spans that ended

    def came(self, who: str) -> None:
        """A socket of theirs joined."""
        self.since.setdefault(who, time.monotonic())

    def went(self, who: str) -> None:
        """Their last socket is gone. Nothing happens for who never came."""
        began = self.since.pop(who, None)
        if began is not None:
            self.over.append((who, began, time.monotonic()))

    async def turn(self) -> None:
        """Write what is due, the next AT_ONCE of it. Redis errors pass through: it is due again then."""
        now = time.monotonic()
        over = self.over[:AT_ONCE]
        going = []
        for who, began in islice(self.since.items(), AT_ONCE - len(over)):
            if now - began < MINUTE:
                break
            going.append((who, began, now))
        if not over and not going:
            return
        await self._write((*over, *going), now)
        del self.over[: len(over)]
        for who, began, _ in going:
            if self.since.get(who) == began:  # else they went, or came anew, meanwhile
                del self.since[who]
                self.since[who] = now

    async def end(self) -> None:
        """Write everything. Redis errors pass through."""
        for who in tuple(self.since):
            self.went(who)
        while self.over:
            await self.turn()

    async def write(self, people: Iterable[str]) -> None:
        """Write the spans of these now, as far as they are here. Redis errors pass through."""
        now = time.monotonic()
        spans = [(who, self.since[who], now) for who in people if who in self.since]
        if spans:
            await self._write(spans, now)

    async def _write(self, spans: Sequence[tuple[str, float, float]], now: float) -> None:
        ago = [(who, int((now - began) * 1000), int((now - ended) * 1000)) for who, began, ended in spans]
        await watch(self.redis, self.room, ago)
