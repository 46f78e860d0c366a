"""Before the turnstile: a room's taps are gathered for one call, and stand in line here while the books are behind.

A turnstile that has let through as many as the books can hold answers `busy`. Who is sent away for that comes back some time later, behind
whoever tapped after them, and until then the books may run dry. So taps wait here instead, in the order they came: nobody's place depends
on how often they press, and the books are never without work. What is here is in no record: a hub that dies loses it, and its clients,
who were told nothing but `pending`, send again by themselves.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar

from redis.exceptions import RedisError

from live.offers.reservations import Answer, Tap
from live.protocol.codes import Code

PAUSE = 0.05  # seconds between looks whether there is room again: some hundred orders are booked in that time

Who = TypeVar("Who")


@dataclass(slots=True)
class _Place(Generic[Who]):
    """A rid's place in the line: its newest try, and everybody who waits for what becomes of it."""

    tap: Tap
    whose: list[Who] = field(default_factory=list)


class Intake(ABC, Generic[Who]):
    """`gather`: seconds taps are gathered, or until there are `size`; `most` stand in line, who comes then is told `busy`."""

    def __init__(self, gather: float, size: int, most: int, spawn: Callable[[Coroutine[Any, Any, Any]], None]) -> None:
        self.gather, self.size, self.most, self.spawn = gather, size, most, spawn
        self.line: dict[str, _Place[Who]] = {}  # by rid, first come first
        self.behind = False  # the turnstile had no room: all wait for those at the head

    @abstractmethod
    async def decide(self, taps: Sequence[Tap]) -> list[Answer]:
        """Ask the turnstile. An error of Redis means that nobody knows whether it ran."""

    @abstractmethod
    def sent(self, who: Who, tap: Tap) -> None:
        """This tap is about to be asked for: a verdict may come from now on, even before the turnstile's answer."""

    @abstractmethod
    def kept(self, who: Who, tap: Tap) -> None:
        """The turnstile did not decide it: no verdict will come, it is back in line."""

    @abstractmethod
    def answered(self, who: Who, tap: Tap, answer: Answer) -> None:
        """What the turnstile said."""

    @abstractmethod
    def unknown(self, taps: Sequence[Tap], error: Exception) -> None:
        """Nobody knows what became of these; their records will say."""

    def here(self, who: Who) -> bool:
        """Whether this one still waits."""
        return True

    def add(self, who: Who, tap: Tap) -> None:
        """Take a tap. One whose rid stands in line already gets that place."""
        place = self.line.get(tap.rid)
        if place is not None:
            self._join(place, tap, [who])
        elif self.behind and len(self.line) >= self.most:
            self.answered(who, tap, Answer("NO", Code.BUSY))
        else:
            self.line[tap.rid] = _Place(tap, [who])
            self._gathered()

    def _join(self, place: _Place[Who], tap: Tap, whose: Sequence[Who]) -> None:
        if place.tap.hash != tap.hash:
            for who in whose:
                self.answered(who, tap, Answer("NO", Code.KEY_REUSED))
            return
        place.tap = tap
        place.whose += whose

    def _gathered(self) -> None:
        if self.behind:
            return
        if len(self.line) >= self.size:
            self._send()
        elif len(self.line) == 1:
            asyncio.get_running_loop().call_later(self.gather, self._send)

    def _send(self) -> None:
        if self.line and not self.behind:
            self.spawn(self._ask(list(self._head())))

    def _head(self) -> Iterator[_Place[Who]]:
        """The first of the line step forward; who has gone meanwhile leaves it."""
        for rid in list(islice(self.line, self.size)):
            place = self.line.pop(rid)
            if self.behind:
                place.whose = [who for who in place.whose if self.here(who)]
            if place.whose:
                yield place

    async def _ask(self, places: list[_Place[Who]]) -> bool:
        """Ask for these; False when some have to wait."""
        if not places:
            return True
        for place in places:
            for who in place.whose:
                self.sent(who, place.tap)
        taps = [place.tap for place in places]
        try:
            answers = await self.decide(taps)
        except (RedisError, OSError) as error:
            self.unknown(taps, error)
            return False
        busy = []
        for place, answer in zip(places, answers, strict=True):
            if answer.code == Code.BUSY:
                busy.append(place)
                continue
            for who in place.whose:
                self.answered(who, place.tap, answer)
        self._back(busy)
        return not busy

    def _back(self, places: list[_Place[Who]]) -> None:
        """These stay the first of the line. Whoever sent the same tap again meanwhile is with them."""
        if not places:
            return
        for place in places:
            for who in place.whose:
                self.kept(who, place.tap)
            again = self.line.pop(place.tap.rid, None)
            if again is not None:
                self._join(place, again.tap, again.whose)
        self.line = {place.tap.rid: place for place in places} | self.line
        if not self.behind:
            self.behind = True
            self.spawn(self._follow())

    async def _follow(self) -> None:
        """Send the line on as there is room, until nobody stands in it."""
        try:
            while self.line:
                await asyncio.sleep(PAUSE)
                while self.line and await self._ask(list(self._head())):
                    pass
        finally:
            self.behind = False
