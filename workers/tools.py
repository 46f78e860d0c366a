"""What every job has at hand. Made once per worker process, handed to jobs in arq's context under `TOOLS`."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis

from live.infra.db import Database
from live.infra.jobs import ArqRedis
from live.infra.redis import connect
from live.infra.security import secret
from live.payments.gateway import Gateway
from live.payments.wechatpay import from_settings
from live.settings import Settings

TOOLS = "tools"
SLICE_SECONDS = 8.0  # a job that comes in slices gives up its place after this, so that others get theirs


def _name() -> str:
    # The host and process for people who look; the rest because a process id comes back after a restart.
    return f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"


@dataclass(slots=True)
class Tools:
    """Connections of one worker. `queue` is arq's own pool, closed by arq."""

    settings: Settings
    db: Database
    redis: Redis
    queue: ArqRedis
    gateway: Gateway
    pickup_secret: str
    name: str = field(default_factory=_name)

    async def close(self) -> None:
        """Give back what `open_tools` took."""
        await self.gateway.aclose()
        await self.redis.aclose()
        await self.db.close()


def open_tools(settings: Settings, queue: ArqRedis) -> Tools:
    """Connect to everything the settings name. Raises ValueError when a URL is missing."""
    if settings.database_url is None or settings.redis_url is None:
        raise ValueError("Set LIVE_DATABASE_URL and LIVE_REDIS_URL, or start this through `live up`.")
    return Tools(
        settings=settings,
        db=Database(settings.database_url, settings.db_pool),
        redis=connect(settings.redis_url),
        queue=queue,
        gateway=from_settings(settings),
        pickup_secret=secret(settings, "pickup_secret"),
    )


def tools_of(ctx: dict[Any, Any]) -> Tools:
    """The tools in an arq context."""
    tools: Tools = ctx[TOOLS]
    return tools
