"""The queue: arq, as a nudge and nothing more. The outbox row is the job; a nudge that is lost, late or doubled changes no outcome.

arq is imported here and in workers/main.py only. Its traps and the reasons for these settings: a body is JSON, since arq's default would
execute whatever stands in Redis; an exception ends a job for good unless it is `Retry`; enqueuing answers None when somebody has the job.
"""

from __future__ import annotations

import functools
import random
import time
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
import redis
from arq import ArqRedis, Retry, create_pool
from arq.connections import RedisSettings
from redis.asyncio.retry import Retry as Reconnect
from redis.backoff import ExponentialBackoff

__all__ = [
    "EXPIRES_EXTRA_MS",
    "QUEUE",
    "ArqRedis",
    "Retry",
    "again",
    "bring_forward",
    "connect",
    "deserialize",
    "function_of",
    "nudge",
    "pause",
    "redis_settings",
    "serialize",
]

QUEUE = "live:arq"
EXPIRES_EXTRA_MS = 7 * 86_400_000  # arq's day would let a nudge die unread after a long backlog; a week never does
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 60.0  # a provider that comes back is noticed within a minute
LATEST_SECONDS = LONGEST_RETRY_SECONDS + 10  # nothing of ours is put off for longer; the rest is for hosts whose clocks differ a little
_SCHEMES = {"redis": False, "rediss": True, "unix": False}

serialize = functools.partial(orjson.dumps, default=repr)  # repr: a result or exception that is not JSON must not break the worker
deserialize = orjson.loads


def redis_settings(url: str) -> RedisSettings:
    """arq's settings for `redis://`, `rediss://` or `unix://` URLs. Survives a restart of the server; raises ValueError for other URLs.

    arq's own reading of URLs leaves %-escapes in paths and passwords.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"a queue URL begins with redis://, rediss:// or unix://, not {parts.scheme}://")
    unix = parts.scheme == "unix"
    database = (parse_qs(parts.query).get("db") or ["" if unix else parts.path.strip("/")])[0]
    return RedisSettings(
        host=parts.hostname or "localhost",
        port=parts.port or 6379,
        unix_socket_path=unquote(parts.path) if unix else None,
        database=int(database or 0),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        ssl=_SCHEMES[parts.scheme],
        conn_retries=20,
        conn_retry_delay=1,
        # Without OSError a restarting server would end the worker within 3 s (connecting is retried for the named errors only).
        retry=Reconnect(ExponentialBackoff(cap=1, base=0.05), 10),
        retry_on_error=[OSError, redis.ConnectionError, redis.TimeoutError],
        retry_on_timeout=True,
    )


async def connect(url: str) -> ArqRedis:
    """The enqueuing side, which must agree with the worker on queue, serializer and expiry."""
    return await create_pool(
        redis_settings(url),
        job_serializer=serialize,
        job_deserializer=deserialize,
        default_queue_name=QUEUE,
        expires_extra_ms=EXPIRES_EXTRA_MS,
    )


def function_of(topic: str) -> str:
    """The worker's function for a topic: `group.close` -> `group_close`."""
    return topic.replace(".", "_")


async def nudge(pool: ArqRedis, topic: str, key: str, top: int) -> bool:
    """Have a worker look at the undone rows of (topic, key), of which `top` is the highest id. False: somebody has this job already.

    The id in the job's name lets rows that came after a running job's query have a job of their own.
    """
    return await pool.enqueue_job(function_of(topic), key, _job_id=f"{topic}:{key}:{top}") is not None


async def bring_forward(pool: ArqRedis) -> int:
    """Let what lies in the queue for longer than any job of ours may wait run now; how many there were.

    A clock that was ahead when they were put there wrote that moment. Their names are taken meanwhile, so that nudging again does nothing.
    """
    now = int(time.time() * 1000)
    late = await pool.zrangebyscore(QUEUE, now + int(LATEST_SECONDS * 1000), "+inf")
    if late:
        await pool.zadd(QUEUE, dict.fromkeys(late, now), xx=True)
    return len(late)


def again(tries: int) -> Retry:
    """To be raised: run this job again, later with each of its `tries` (from 1), and not all jobs at the same moment."""
    wait: Any = pause(tries)
    return Retry(defer=wait)


def pause(tries: int) -> float:
    """Seconds before what failed for the `tries`-th time (from 1) is tried again: spread, longer each time, at most a minute."""
    wait: float = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(tries - 1, 10))
    return wait * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
