"""arq's worker: `arq workers.main.WorkerSettings`. It holds nothing; it may be killed at any moment and started any number of times."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import structlog
from arq import cron, func

from live.infra import jobs
from live.infra.garbage import look_rarely
from live.infra.observe import set_up_logs
from live.settings import Settings, settings
from workers import jobs as work
from workers import relay, sweeps
from workers.tools import TOOLS, open_tools, tools_of

log = structlog.get_logger("worker")

TASKS = "tasks"
POLL_SECONDS = 0.1
COMPLETION_SECONDS = 4  # jobs under way may end after SIGTERM: below the 5 s after which the supervisor kills


def __getattr__(name: str) -> Any:
    """`WorkerSettings` is made when arq asks for it, so that importing this module reads no environment."""
    if name == "WorkerSettings":
        with suppress(ImportError):  # arq makes the loop itself, after this
            import uvloop

            asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        set_up_logs("worker")
        look_rarely()
        logging.getLogger("arq.worker").addFilter(_worth_a_line)  # a level would be taken back by arq's own set-up of logs
        return worker_settings(settings())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _worth_a_line(record: logging.LogRecord) -> bool:
    """arq says two lines for every job, the clock's included: ten a second that nobody asked for."""
    return record.levelno >= logging.WARNING


def worker_settings(given: Settings) -> type:
    """The class arq reads. It looks into the class's own __dict__ only, and ignores names it does not know without a word."""
    url = given.queue_url or given.redis_url
    if url is None:
        raise ValueError("Set LIVE_REDIS_URL, or start the worker through `live up`.")
    crons = [_cron(name, place) for place, name in enumerate(sweeps.SWEEPS)]
    body: dict[str, Any] = {
        "redis_settings": jobs.redis_settings(url),
        "queue_name": jobs.QUEUE,
        "job_serializer": jobs.serialize,
        "job_deserializer": jobs.deserialize,
        "expires_extra_ms": jobs.EXPIRES_EXTRA_MS,
        "functions": [
            func(work.function(topic), name=jobs.function_of(topic), timeout=work.JOB_SECONDS, max_tries=work.MAX_TRIES, keep_result=0)
            for topic in work.TOPICS
        ],
        "cron_jobs": crons,
        "on_startup": _startup(given, crons),
        "on_shutdown": shutdown,
        "keep_result": 0,  # else a finished job's name is taken for an hour, and the next nudge for it is refused
        "max_tries": work.MAX_TRIES,
        "job_timeout": work.JOB_SECONDS,  # + 10 s is how long the job of a killed worker lies still
        "max_jobs": 100,  # refunds that wait for a provider which is away must not keep hand-off and the clock waiting
        "poll_delay": POLL_SECONDS,
        "health_check_interval": 10,
        "job_completion_wait": COMPLETION_SECONDS,
        "log_results": False,
    }
    return type("WorkerSettings", (), body)


def _cron(name: str, place: int) -> Any:
    """The sweep at this place of the list: they begin one after the other, spread over the seconds, for buyers use the same cores."""
    _, every, limit = sweeps.SWEEPS[name]
    seconds, part = set(range(place % every, 60, every)), place * 1_000_000 // len(sweeps.SWEEPS)
    # The sweep stops itself at its limit; arq's own comes after that.
    return cron(sweeps.function(name), name=f"sweep:{name}", second=seconds, microsecond=part, unique=True, timeout=limit + 2)


def _startup(given: Settings, crons: list[Any]) -> Any:
    async def startup(ctx: dict[Any, Any]) -> None:
        tools = open_tools(given, ctx["redis"])
        ctx[TOOLS] = tools
        ctx[TASKS] = [
            asyncio.create_task(relay.listen(tools), name="relay"),
            asyncio.create_task(sweeps.beat(tools, crons), name="heartbeat"),
        ]
        for task in ctx[TASKS]:
            task.add_done_callback(_ended)
        log.info("worker started", worker=tools.name)

    return startup


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("a task of the worker died; sweeps go on", task=task.get_name(), exc_info=task.exception())


async def shutdown(ctx: dict[Any, Any]) -> None:
    """End what startup began. arq closes its own pool."""
    if TOOLS not in ctx:  # it never came up
        return
    for task in ctx[TASKS]:
        task.cancel()
    for task in ctx[TASKS]:
        with suppress(asyncio.CancelledError):
            await task
    tools = tools_of(ctx)
    await tools.close()
    log.info("worker stopped", worker=tools.name)
