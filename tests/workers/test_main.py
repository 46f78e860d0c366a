from __future__ import annotations

import asyncio
import importlib
import inspect
import pickle
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from arq.constants import job_key_prefix
from arq.worker import FailedJobs, Worker, get_kwargs
from sqlalchemy.exc import OperationalError

from live.infra import jobs
from live.infra.db import Database
from live.infra.keys import ALIVE
from live.pickup import handoff as handing
from live.settings import Settings
from tests.pickup.shop import open_shop
from tests.workers.crew import until, worker
from workers import jobs as work
from workers import main
from workers.relay import nudge_waiting
from workers.tools import TOOLS, Tools

REPOSITORY = Path(main.__file__).parent.parent


def test_arq_sees_every_setting(settings: Settings) -> None:
    """It reads the class's own __dict__ and drops misspelt names silently."""
    made = main.worker_settings(settings)
    names = {name for name in vars(made) if not name.startswith("__")}
    assert names == set(get_kwargs(made))
    assert names <= set(inspect.signature(Worker).parameters)
    read: dict[str, Any] = dict(get_kwargs(made))
    assert (read["queue_name"], read["keep_result"], read["max_tries"], read["job_timeout"]) == ("live:arq", 0, 50, 15)
    assert (read["expires_extra_ms"], read["job_completion_wait"], read["poll_delay"]) == (7 * 86_400_000, 4, 0.1)
    assert read["job_serializer"] is jobs.serialize
    assert read["job_deserializer"] is jobs.deserialize
    assert {function.name for function in read["functions"]} == {
        "handoff", "refund", "group_close", "group_settle", "team_settle", "team_show", "ticket_void", "comment_withdraw",
        "follow_show",
    }  # fmt: skip
    assert {function.max_tries for function in read["functions"]} == {50}
    # + 10 s: how long the job of a killed worker lies still.
    assert max(function.timeout_s for function in read["functions"] + read["cron_jobs"]) <= 15


def test_importing_the_module_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVE_DB_POOL", "not a number")
    assert "WorkerSettings" not in vars(importlib.reload(main))
    with pytest.raises(AttributeError):
        _ = main.NoSuchThing


def test_without_a_server_the_worker_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="LIVE_REDIS_URL"):
        main.worker_settings(Settings(redis_url=None))


async def test_a_nudge_hands_off_a_stores_orders_and_its_name_is_free_again(given: Tools, database: Database) -> None:
    shop = await open_shop(database)
    nos = await shop.order_many(450)
    assert await nudge_waiting(given) == 1
    assert await nudge_waiting(given) == 0  # somebody has it
    assert await worker(given).run_check() == 1
    assert [ticket.order_no for ticket in await shop.tickets()] == nos
    assert await nudge_waiting(given) == 0
    assert all(row.done_at is not None and row.tries == 0 for row in await shop.outbox("job"))
    assert await jobs.nudge(given.queue, "handoff", "S1", 1)


async def test_two_workers_and_doubled_nudges_hand_off_exactly_once(given: Tools, database: Database) -> None:
    shop = await open_shop(database)
    nos = await shop.order_many(300, "S1") + await shop.order_many(300, "S2")
    for top in range(8):  # as if nudged again and again while rows came in
        await jobs.nudge(given.queue, "handoff", "S1", top)
        await jobs.nudge(given.queue, "handoff", "S2", top)
    assert sum(await asyncio.gather(*(worker(given).run_check() for _ in range(2)))) == 16
    assert sorted(ticket.order_no for ticket in await shop.tickets()) == sorted(nos)
    assert len(await shop.outbox("own")) == 600
    assert all(row.done_at is not None for row in await shop.outbox("job"))


async def test_a_worker_dying_between_the_steps_loses_and_doubles_nothing(
    given: Tools, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await open_shop(database)
    nos = await shop.order_many(500)
    real, deaths = handing._tell, 0

    async def dying(*arguments: Any) -> None:
        nonlocal deaths
        await real(*arguments)
        if deaths < 3:
            deaths += 1
            raise OperationalError("COMMIT", {}, ConnectionResetError("killed here"))

    monkeypatch.setattr(handing, "_tell", dying)
    monkeypatch.setattr(jobs, "FIRST_RETRY_SECONDS", 0.01)
    await nudge_waiting(given)
    assert await worker(given).run_check() == 1
    assert deaths == 3
    assert [ticket.order_no for ticket in await shop.tickets()] == nos
    assert len(await shop.outbox("own")) == 500
    rows = await shop.outbox("job")
    assert all(row.done_at is not None for row in rows)
    assert [row.tries for row in rows] == [3] * 200 + [0] * 300  # the failed batch was the first
    assert "killed here" in rows[0].error


async def test_a_job_that_takes_too_long_is_tried_again_and_not_given_up(
    given: Tools, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await open_shop(database)
    await shop.order()
    real, waits = handing._tell, [3.0]

    async def slow(*arguments: Any) -> None:
        await asyncio.sleep(waits.pop() if waits else 0)
        await real(*arguments)

    monkeypatch.setattr(handing, "_tell", slow)
    monkeypatch.setattr(work, "OURS_SECONDS", 0.2)
    await nudge_waiting(given)
    assert await worker(given).run_check() == 1
    assert len(await shop.tickets()) == 1
    [row] = await shop.outbox("job")
    assert (row.tries, row.error) == (1, "TimeoutError()")


async def test_a_pickled_body_is_refused_and_not_run(given: Tools, tmp_path: Path) -> None:
    """Whoever can write to the queue must not be able to run code."""
    trace = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (trace,)

    body = pickle.dumps({"t": None, "f": "handoff", "a": (Evil(),), "k": {}, "et": 0})
    await given.queue.set(job_key_prefix + "evil", body)
    await given.queue.zadd(jobs.QUEUE, {"evil": 1})
    with pytest.raises(FailedJobs):
        await worker(given).run_check()
    assert not trace.exists()


async def test_arqs_own_command_runs_a_worker_that_works_and_stops_cleanly(given: Tools, database: Database, tmp_path: Path) -> None:
    shop = await open_shop(database)
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(REPOSITORY),
        "LIVE_HOME": str(tmp_path),
        "LIVE_REDIS_URL": str(given.settings.redis_url),
        "LIVE_DATABASE_URL": str(given.settings.database_url),
        "LIVE_PICKUP_SECRET": "of this test",
    }
    command = [sys.executable, "-W", "error", "-W", "ignore:Call to deprecated close:DeprecationWarning", "-m", "arq"]
    process = await asyncio.create_subprocess_exec(
        *command, "workers.main.WorkerSettings", env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )

    async def alive() -> bool:
        return bool(await given.redis.zcard(ALIVE + "worker") == 1)

    async def handed_off() -> bool:
        return len(await shop.tickets()) == 1

    try:
        await until(alive, within=20)
        began = time.monotonic()
        await shop.order()
        await until(handed_off, within=10)
        took = time.monotonic() - began
    finally:
        process.send_signal(signal.SIGTERM)
        output = (await asyncio.wait_for(process.communicate(), 10))[0].decode()
    assert process.returncode == 0, output
    assert took < 1.0, output  # the notification, not the sweep
    assert "handed off" in output
    assert "Traceback" not in output
    assert "sweep:" not in output  # the clock's work is not worth a line


async def test_startup_and_shutdown_leave_no_task_behind(given: Tools, settings: Settings) -> None:
    before = asyncio.all_tasks()
    made = main.worker_settings(settings.model_copy(update={"pickup_secret": "of this test"}))
    ctx: dict[Any, Any] = {"redis": given.queue}
    await vars(made)["on_startup"](ctx)
    await asyncio.sleep(0.1)
    assert len(asyncio.all_tasks() - before) == 2
    assert isinstance(ctx[TOOLS], Tools)
    await vars(made)["on_shutdown"](ctx)
    assert asyncio.all_tasks() == before
    await vars(made)["on_shutdown"]({})  # a worker that never came up
