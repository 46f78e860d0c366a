"""Workers in this process: arq's own, in burst mode, on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from arq.worker import Worker, get_kwargs
from redis.asyncio import Redis

from live.infra.db import Database
from live.infra.jobs import ArqRedis
from live.payments.gateway import NoGateway
from live.settings import Settings
from tests.pickup.shop import SECRET
from workers.main import worker_settings
from workers.tools import TOOLS, Tools


def tools(settings: Settings, database: Database, redis: Redis, queue: ArqRedis, gateway: Any = None) -> Tools:
    """The tools of a worker that shares the test's connections."""
    return Tools(settings, database, redis, queue, gateway or NoGateway(), SECRET)


def worker(given: Tools, **changes: Any) -> Worker:
    """A worker without clock that stops when the queue is empty."""
    usual = {
        "redis_settings": None, "cron_jobs": None, "redis_pool": given.queue, "burst": True, "handle_signals": False,
        "poll_delay": 0.01, "keep_result": 60, "on_startup": None, "on_shutdown": None, "ctx": {TOOLS: given},
    }  # fmt: skip
    return Worker(**{**get_kwargs(worker_settings(given.settings)), **usual, **changes})


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], within: float) -> None:
    """Wait for something that happens elsewhere; TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.01)
