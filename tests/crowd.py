"""Many at once, for races."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

SLOTS = 18  # a test's pool has 20 connections; whoever waits for one only waits, and on a slow machine too long


async def side_by_side(jobs: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run all, as many side by side as the pool of connections lets; their answers in order."""
    slots = asyncio.Semaphore(SLOTS)

    async def one(job: Coroutine[Any, Any, Any]) -> Any:
        async with slots:
            return await job

    return await asyncio.gather(*(one(job) for job in jobs))
