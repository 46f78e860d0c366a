"""What the acts of the scripted show share: who plays, the steps, and how an expectation that was not met is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from live.demo.client import Viewer
from live.demo.doors import Doors, RefusedError
from live.demo.mirror import Mirror
from live.demo.seed import DemoShop
from live.demo.staff import Clerk, Host
from live.settings import Settings

T = TypeVar("T")
AT_ONCE = 40  # clients that do the same thing side by side


class FailedError(Exception):
    """The show did not go as written. The text names the step and what was expected."""


@dataclass
class Tally:
    """What the script knows must be in the books."""

    orders: int = 0
    paid: int = 0
    paid_fen: int = 0
    refunded: int = 0  # orders whose money went back in full
    refunded_fen: int = 0
    collected: int = 0


@dataclass
class Stage:
    """One show. `waiting`: orders that the stores will find in their queues, number → its buyer."""

    settings: Settings
    shop: DemoShop
    doors: Doors
    say: Callable[[str], Awaitable[None]]
    owner: Host
    host: Host
    guests: list[Viewer] = field(default_factory=list)
    people: list[Viewer] = field(default_factory=list)
    clerks: dict[str, Clerk] = field(default_factory=dict)
    waiting: dict[str, Viewer] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    steps: int = 0
    title: str = "the beginning"
    sale: int = 0
    unpaid: tuple[str, Viewer] | None = None  # the order that is left to expire, and its buyer

    @property
    def everybody(self) -> list[Viewer]:
        """Every viewer."""
        return [*self.guests, *self.people]

    async def step(self, title: str) -> None:
        """The next step begins; a failure from here on carries this title."""
        self.steps += 1
        self.title = title
        await self.say(f"{self.steps:2} {title}")

    def check(self, met: object, expected: str) -> None:
        """Raises FailedError when it is not as `expected`."""
        if not met:
            raise FailedError(f"step {self.steps} ({self.title}): expected {expected}")

    def same(self, found: object, wanted: object, what: str) -> None:
        """Raises FailedError when they differ."""
        self.check(found == wanted, f"{what} to be {wanted}, found {found}")

    @contextmanager
    def refused(self, code: str, what: str) -> Iterator[None]:
        """The block must end in this refusal."""
        try:
            yield
        except RefusedError as no:
            self.same(no.code, code, f"the refusal of {what}")
        else:
            self.check(False, f"{what} to be refused with {code}")

    async def all_see(self, look: Callable[[Mirror], object], what: str, viewers: Sequence[Viewer] | None = None) -> None:
        """Every viewer's own copy of the room comes to show it."""
        seen = (self.sees(viewer, look, what) for viewer in (self.everybody if viewers is None else viewers))
        await asyncio.gather(*seen)

    async def sees(self, viewer: Viewer, look: Callable[[Mirror], object], what: str) -> None:
        """This viewer's copy of the room comes to show it."""
        await viewer.until(lambda: look(viewer.mirror), what)

    async def becomes(self, viewer: Viewer, no: str, *states: str) -> None:
        """The buyer is told that the order is in one of these states."""
        what = f"order {no} to become {' or '.join(states)}"
        await viewer.until(lambda: viewer.mirror.orders.get(no, {}).get("state") in states, what)

    async def go_back(self, viewer: Viewer, no: str, fen: int) -> None:
        """The buyer is told that so much money of the order went back."""
        await viewer.until(lambda: viewer.mirror.orders.get(no, {}).get("refunded") == fen, f"{fen} fen of order {no} to go back")
        self.tally.refunded_fen += fen


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Everything side by side, AT_ONCE at a time; results in the same order. The first failure ends the rest."""
    slots = asyncio.Semaphore(AT_ONCE)
    given = list(work)

    async def one(each: Coroutine[Any, Any, T]) -> T:
        async with slots:
            return await each

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(each)) for each in given]
    except BaseExceptionGroup as several:
        raise _first(several) from None
    finally:
        for each in given:
            each.close()  # those that never began; nothing happens to the others
    return [task.result() for task in tasks]


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure inside, however deep."""
    found: BaseException = several
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


async def outcome(work: Awaitable[T]) -> T | str:
    """Its result, or the code of its refusal."""
    try:
        return await work
    except RefusedError as no:
        return no.code
