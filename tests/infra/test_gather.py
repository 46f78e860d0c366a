"""Calls that come together are answered together, each with its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from live.infra.gather import Gather


async def test_two_hundred_calls_are_a_few_groups_and_each_gets_its_own_answer() -> None:
    groups: list[int] = []

    async def double(items: Sequence[int]) -> list[int | Exception]:
        groups.append(len(items))
        await asyncio.sleep(0)
        return [ValueError(item) if item == 7 else 2 * item for item in items]

    gather: Gather[int, int] = Gather(double, 0.01, 64)
    answers = await asyncio.gather(*(gather(n) for n in range(200)), return_exceptions=True)
    assert groups == [64, 64, 64, 8]
    assert [answer for n, answer in enumerate(answers) if n != 7] == [2 * n for n in range(200) if n != 7]
    assert isinstance(answers[7], ValueError)
    assert await gather(1) == 2  # and it goes on


async def test_what_fails_for_a_group_is_told_to_all_of_it_and_to_nobody_else() -> None:
    async def refuse(items: Sequence[int]) -> list[int | Exception]:
        if 0 in items:
            raise LookupError
        return list(items)

    gather: Gather[int, int] = Gather(refuse, 0.0, 4)
    answers = await asyncio.gather(*(gather(n) for n in range(8)), return_exceptions=True)
    assert [type(answer) for answer in answers[:4]] == [LookupError] * 4
    assert answers[4:] == [4, 5, 6, 7]


async def test_a_caller_that_goes_away_takes_nobody_with_it() -> None:
    async def same(items: Sequence[int]) -> list[int | Exception]:
        return list(items)

    gather: Gather[int, int] = Gather(same, 0.01, 4)
    gone = asyncio.create_task(gather(1))
    stays = asyncio.create_task(gather(2))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == 2
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_who_comes_soon_after_a_group_shares_the_next_one() -> None:
    groups: list[list[int]] = []

    async def same(items: Sequence[int]) -> list[int | Exception]:
        groups.append(list(items))
        return list(items)

    gather: Gather[int, int] = Gather(same, 0.0, 4, pace=0.3)
    await gather(1)  # alone: at once
    calls = []
    for n in range(2, 9):
        calls.append(asyncio.create_task(gather(n)))
        await asyncio.sleep(0.001)
    assert await asyncio.gather(*calls) == [2, 3, 4, 5, 6, 7, 8]
    assert groups == [[1], [2, 3, 4, 5], [6, 7, 8]]


async def test_the_end_of_the_process_ends_who_waits() -> None:
    async def endless(items: Sequence[int]) -> list[int | Exception]:
        await asyncio.Event().wait()
        return []

    gather: Gather[int, int] = Gather(endless, 0.0, 1)
    waiting = [asyncio.create_task(gather(n)) for n in range(2)]
    await asyncio.sleep(0.01)
    assert gather._task is not None
    gather._task.cancel()
    assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [asyncio.CancelledError] * 2
