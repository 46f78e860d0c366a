"""A failed team of 200 is paid back by workers, one of which is killed in the middle."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from sqlalchemy import text

from live.infra import outbox
from live.infra.db import Database
from live.payments import keys
from live.payments.simulator import Simulator, bound, identity, server
from live.payments.simulator_book import Trade
from live.payments.simulator_post import Conditions
from loadtest.team import PAID, SEATS
from tests.orders.stage import Shop
from tests.workers.crew import until
from workers.refunds import turn
from workers.tools import Tools

REPOSITORY = Path(__file__).parents[2]
MEMBERS = 200
AWAY = "http://127.0.0.1:9"  # nobody takes notices there: the worker has to ask


async def failed_team(database: Database) -> list[str]:
    """A team of 200 paid orders that has failed; the attempts' numbers."""
    shop = await Shop(database).build()
    offer = await shop.group(size=MEMBERS + 1, minimum=MEMBERS + 1, stock={"S1": MEMBERS + 1}, tiers=[{"seats": 0, "fen": 3000}])
    found = await shop.book([shop.intent(offer, f"b:{n}") for n in range(MEMBERS)])
    assert all(verdict.body for verdict in found.verdicts)
    async with database.connection() as connection:
        for statement in (SEATS[2], *PAID):
            await connection.exec_driver_sql(statement, {"offer": offer.id})
        await connection.execute(text("UPDATE team SET state = 'failed'"))
    async with database.begin() as session:
        await outbox.job(session, "group.settle", str(offer.id))
        return list((await session.execute(text("SELECT out_trade_no FROM pay_attempt"))).scalars())


async def test_a_team_of_200_is_paid_back_once_each_though_a_worker_is_killed_in_the_middle(
    given: Tools, database: Database, tmp_path: Path
) -> None:
    trades = await failed_team(database)
    listening = bound("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    shared = keys.prepare(tmp_path, url)
    simulator = Simulator(identity(tmp_path, url, AWAY), Conditions(refund_seconds=0.0, notice_waits=(0.0,)))
    now = time.time()
    for trade in trades:
        simulator.book.keep(Trade(trade, f"P{trade}", "草莓", "payer", 3000, AWAY, now + 600, "SUCCESS", f"T{trade}", now))
    running = server(simulator.app)
    serving = asyncio.create_task(running.serve(sockets=[listening]))
    environment = {
        "PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "LIVE_HOME": str(tmp_path), "LIVE_WEB_PORT": "9",
        "LIVE_REDIS_URL": str(given.settings.redis_url), "LIVE_DATABASE_URL": str(given.settings.database_url),
        "LIVE_PICKUP_SECRET": "of this test", **shared,
    }  # fmt: skip

    async def worker() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "arq", "workers.main.WorkerSettings"), env=environment,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

    async def done() -> bool:
        async with database.connection() as connection:
            return bool((await connection.execute(text("SELECT count(*) FROM refund WHERE state = 'DONE'"))).scalar_one() == MEMBERS)

    first = await worker()
    second: asyncio.subprocess.Process | None = None
    try:
        await until(lambda: len(simulator.book.returns) >= MEMBERS // 4, within=40)
        first.send_signal(signal.SIGKILL)
        await first.wait()
        assert not await done()
        async with database.connection() as connection:
            left = text("UPDATE outbox SET due_at = now() WHERE kind = 'job' AND done_at IS NULL")  # as if the holds had run out
            assert (await connection.execute(left)).rowcount > 0
        await given.redis.flushall()  # and the queue had forgotten the job of the dead
        second = await worker()
        await until(done, within=60)
    finally:
        for process in (first, second):
            if process is not None and process.returncode is None:
                process.terminate()
                await process.wait()
        running.should_exit = True
        await serving
    made = simulator.book.returns.values()
    assert Counter(one.out_trade_no for one in made) == dict.fromkeys(trades, 1)
    assert {one.fen for one in made} == {3000}
    async with database.connection() as connection:
        states = await connection.execute(text("SELECT state, refunded, count(*) FROM orders GROUP BY state, refunded"))
        assert [tuple(row) for row in states] == [("REFUNDED", 3000, MEMBERS)]


async def test_turns_come_at_the_pace_of_all_workers_together(given: Tools) -> None:
    given.settings = given.settings.model_copy(update={"refunds_per_second": 200})
    begun = time.monotonic()
    await asyncio.gather(*(turn(given) for _ in range(41)))
    assert time.monotonic() - begun >= 0.199  # forty pauses of 5 ms: never faster, however many ask at once
