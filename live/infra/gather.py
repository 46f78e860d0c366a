"""Calls that come within a moment of each other are answered together: one transaction for all of them instead of one each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Gather(Generic[Item, Answer]):
    """`act` is given what came within `seconds`, at most `most` at a time, and answers in the same order; an exception is for one caller
    where it stands among the answers, and for all of the group where it is raised. One group after the other, and unless `most` wait
    already, `pace` seconds after the last one began: who comes alone waits for nobody, who comes in a crowd shares a transaction."""

    def __init__(
        self, act: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]], seconds: float, most: int, pace: float = 0.0
    ) -> None:
        self._act, self._seconds, self._most, self._pace = act, seconds, most, pace
        self._begun = -pace  # the loop's time when the last group began
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Answer:
        """The answer to this item. Raises what `act` has for it."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            if len(self._waiting) < self._most:
                await asyncio.sleep(max(self._seconds, self._begun + self._pace - loop.time()))
            self._begun = loop.time()
            group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            try:
                answers: Sequence[Answer | Exception] = await self._act([item for item, _ in group])
            except Exception as error:  # noqa: BLE001 - whoever asked is told
                answers = [error] * len(group)
            except BaseException:  # the process ends
                for _, future in [*group, *self._waiting]:
                    future.cancel()
                raise
            for (_, future), answer in zip(group, answers, strict=True):
                if future.done():  # its caller has gone
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
