"""Redis clients and Lua scripts. A script is a file beside its noun; `-- include: name` takes in a fragment of the same folder."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as RedisTimeoutError

_PACKER = HiredisRespSerializer()


def connect(url: str, *, timeout: float = 5.0) -> Redis:
    """A client for everything that may be repeated: it reconnects and sends again. `timeout` seconds must exceed any block + 1 s."""
    client: Redis = Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=2.0,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 5),
        retry_on_error=[OSError, RedisConnectionError, RedisTimeoutError],
        health_check_interval=0,
    )
    return _packing(client)


def connect_buying(url: str, *, timeout: float = 2.0) -> Redis:
    """A client of the buy path: it may connect again but never sends a command twice by itself; callers resend with the same rid."""
    client: Redis = Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=1.0,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        retry_on_timeout=False,
        health_check_interval=0,
    )
    return _packing(client)


def _packing(client: Redis) -> Redis:
    """The same client, whose commands are put together by hiredis: redis-py's asyncio side does it in Python, a microsecond an argument,
    and a batch has a thousand."""
    pool = client.connection_pool
    kind = pool.connection_class
    if not issubclass(kind, _Packing):
        pool.connection_class = type(kind.__name__, (_Packing, kind), {})
    return client


class _Packing:
    """A connection's way of writing a command."""

    def pack_command(self, *args: Any) -> list[bytes]:
        packed: list[bytes] = _PACKER.pack(*args)
        return packed


class Script:
    """One Lua file. Called by its hash; sent whole when the server does not know it (NOSCRIPT means nothing ran)."""

    def __init__(self, package: str, name: str) -> None:
        self.name = name
        self.source = _read(package, name)
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, redis: Redis, keys: list[str], args: list[Any]) -> Any:
        """Run with KEYS and ARGV. Redis errors pass through."""
        try:
            return await redis.evalsha(self.sha, len(keys), *keys, *args)  # type: ignore[misc]
        except NoScriptError:
            return await redis.eval(self.source, len(keys), *keys, *args)  # type: ignore[misc]


def _read(package: str, name: str) -> str:
    lines = []
    for line in (files(package) / "lua" / f"{name}.lua").read_text("utf-8").splitlines():
        if line.startswith("-- include: "):
            where, _, fragment = line.removeprefix("-- include: ").rpartition("/")
            lines.append(_read(where or package, fragment))
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"
