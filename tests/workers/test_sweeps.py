from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from arq import func
from sqlalchemy import text
from sqlmodel import col, select
from structlog.testing import capture_logs

from live.infra.db import Database, utc_now
from live.infra.keys import ALIVE
from live.infra.tables import Outbox
from live.offers.tables import Team
from live.orders.actions import pay
from live.people.tables import PhoneCode, Staff
from live.pickup.tables import DeskFailure
from live.promotions.flash_sale.actions import end_sale
from live.protocol.codes import Code, Refusal
from tests.orders.stage import NOW, Shop, after
from tests.workers.crew import until, worker
from workers import main, sweeps
from workers.relay import nudge_waiting
from workers.tools import TOOLS, Tools


@pytest_asyncio.fixture
async def shop(database: Database, given: Tools) -> Shop:
    """A show whose provider is also the workers'."""
    found = await Shop(database).build()
    given.gateway = found.provider
    return found


async def team_state(database: Database) -> str:
    async with database.begin() as session:
        return (await session.execute(select(col(Team.state)))).scalar_one()


async def phases(shop: Shop) -> list[str]:
    return str(await shop.one("SELECT string_agg(phase, ' ' ORDER BY id) FROM offer")).split()


async def test_offers_end_when_their_time_is_over_each_by_its_own_rules(given: Tools, shop: Shop, database: Database) -> None:
    await shop.sale()
    await shop.coupon()
    await shop.group()
    await shop.sale(minutes=None)
    assert await sweeps.end_due(given, after(minutes=9, seconds=59)) == 0
    assert await sweeps.end_due(given, after(minutes=10)) == 1  # the coupon
    assert await sweeps.end_due(given, after(minutes=30)) == 2
    assert await phases(shop) == ["ended", "ended", "ended", "open"]
    assert await team_state(database) == "closing"
    assert await sweeps.end_due(given, after(minutes=31)) == 0


async def test_a_room_is_told_once_that_a_sale_made_for_later_has_started(given: Tools, shop: Shop) -> None:
    await shop.sale()
    await shop.sale(opens_at=after(minutes=5))
    found = [await sweeps.start_due(given, after(minutes=minutes)) for minutes in (4.99, 5, 6)]
    assert found == [0, 1, 0]
    assert await shop.one("SELECT count(*) FROM outbox WHERE payload -> 'events' -> 0 ->> 0 = 'sale.started'") == 1


async def test_an_offer_ended_by_the_host_meanwhile_does_not_stop_the_others(
    given: Tools, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await shop.sale()
    await shop.sale()

    async def end(session: Any, offer_id: int, now: Any) -> None:
        if offer_id == first.id:
            raise Refusal(Code.STATE, state="ended")
        await end_sale(session, offer_id, now)

    monkeypatch.setattr(sweeps, "ENDS", {"sale": end})
    assert await sweeps.end_due(given, after(minutes=30)) == 1


async def test_a_closing_team_is_decided_when_its_last_held_seat_is(given: Tools, shop: Shop, database: Database) -> None:
    group = await shop.group()
    for person in ("p:1", "p:2", "p:3"):
        no = await shop.take(group, person)
        assert await shop.paid(no, person) == "GROUP_WAIT"
    held = await shop.take(group, "p:4")
    await sweeps.end_due(given, after(minutes=20))
    await shop.till()
    assert await sweeps.close_teams(given, after(minutes=20)) == 0
    assert await team_state(database) == "closing"
    assert await sweeps.expire(given, after(minutes=20)) == 1  # its hold ends with the team
    assert (await shop.order(held)).state == "CANCELLED"
    await shop.till()
    assert await sweeps.close_teams(given, after(minutes=20)) == 1
    assert await sweeps.close_teams(given, after(minutes=20)) == 0
    assert await team_state(database) == "success"


@pytest.mark.parametrize(("buyers", "state", "order_state"), [(3, "success", "ALLOCATED"), (1, "failed", "REFUNDED")])
async def test_an_ended_group_is_carried_to_its_end_by_jobs(
    given: Tools, shop: Shop, database: Database, buyers: int, state: str, order_state: str
) -> None:
    group = await shop.group()
    nos = []
    for number in range(1, buyers + 1):
        nos.append(await shop.take(group, f"p:{number}"))
        await shop.paid(nos[-1], f"p:{number}")
    await sweeps.end_due(given, after(minutes=20))
    await shop.till()
    for _ in range(5):
        await nudge_waiting(given)
        await worker(given).run_check()
    assert await team_state(database) == state
    assert [(await shop.order(no)).state for no in nos] == [order_state] * buyers
    assert await shop.one("SELECT count(*) FROM outbox WHERE kind = 'job' AND done_at IS NULL") == 0
    assert await shop.one("SELECT count(*) FROM ticket") == (buyers if state == "success" else 0)
    cause = "ladder" if state == "success" else "group_failed"
    assert await shop.one("SELECT string_agg(DISTINCT cause || ' ' || state, ',') FROM refund") == f"{cause} DONE"


async def test_an_order_nobody_pays_is_given_up_and_one_the_provider_was_paid_for_is_not(given: Tools, shop: Shop) -> None:
    sale = await shop.sale()
    forgotten, silent = await shop.take(sale, "p:1"), await shop.take(sale, "p:2")
    for no, person in ((forgotten, "p:1"), (silent, "p:2")):
        await pay(shop.db, shop.provider, person, no, None, "openid", NOW)
    shop.money(silent)
    assert await sweeps.expire(given, after(seconds=299)) == 0
    assert await sweeps.expire(given, after(seconds=300)) == 1
    assert [(await shop.order(no)).state for no in (forgotten, silent)] == ["CANCELLED", "ALLOCATED"]


async def test_a_silent_attempt_is_asked_about_once_at_half_time(given: Tools, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    sale = await shop.sale()
    paid, unpaid = await shop.take(sale, "p:1"), await shop.take(sale, "p:2")
    for no, person in ((paid, "p:1"), (unpaid, "p:2")):
        await pay(shop.db, shop.provider, person, no, None, "openid", NOW)
    shop.money(paid)
    assert await sweeps.ask(given, after(seconds=149)) == 0
    shop.provider.away = True
    with pytest.raises(Refusal):
        await sweeps.ask(given, after(seconds=150))
    shop.provider.away = False
    assert await sweeps.ask(given, after(seconds=151)) == 2
    assert await sweeps.ask(given, after(seconds=152)) == 0
    assert [(await shop.order(no)).state for no in (paid, unpaid)] == ["ALLOCATED", "AWAIT_PAY"]


async def test_what_served_its_purpose_is_thrown_away_after_a_day_and_nothing_else(given: Tools, database: Database) -> None:
    old, new = NOW - timedelta(hours=25), NOW - timedelta(hours=23)
    async with database.begin() as session:
        clerk = Staff(account="a", role="owner", password_hash="-")
        session.add(clerk)
        await session.flush()
        for at in (old, new):
            session.add(Outbox(kind="job", topic="handoff", key="S1", created_at=old, done_at=at))
            session.add(PhoneCode(phone="1", code_hash="-", expires_at=at))
            session.add(DeskFailure(staff_id=clerk.id or 0, at=at))
        session.add(Outbox(kind="job", topic="handoff", key="S1", created_at=old))
        session.add(Outbox(kind="own", room_id="demo", created_at=old))
    assert await sweeps.purge(given, NOW) == 3
    assert await sweeps.purge(given, NOW) == 0
    async with database.connection() as connection:
        left = [
            (await connection.execute(text(f"SELECT count(*) FROM {name}"))).scalar_one()
            for name in ("outbox", "phone_code", "desk_failure")
        ]
    assert left == [3, 1, 1]


async def test_a_worker_beats_and_the_dead_are_forgotten(given: Tools) -> None:
    now = utc_now().timestamp()
    await given.redis.zadd(ALIVE + "worker", {"gone": now - 61, "late": now - 30})
    task = asyncio.create_task(sweeps.beat(given))
    await asyncio.sleep(0.1)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    beats = {name.decode(): score for name, score in await given.redis.zrange(ALIVE + "worker", 0, -1, withscores=True)}
    assert set(beats) == {given.name, "late"}
    assert abs(beats[given.name] - now) <= 2


async def test_a_failing_sweep_is_logged_and_the_next_run_goes_on(given: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []

    async def sweep(_: Tools, __: Any) -> int:
        runs.append(1)
        if len(runs) == 1:
            raise ZeroDivisionError("a planted failure")
        return 1

    monkeypatch.setitem(sweeps.SWEEPS, "archive", (sweep, 2, 4))
    run = sweeps.function("archive")
    with capture_logs() as lines:
        await run({TOOLS: given})
        await run({TOOLS: given})
    assert runs == [1, 1]
    assert [(line["event"], line["log_level"]) for line in lines] == [("sweep failed", "error"), ("swept", "debug")]


async def test_two_runs_of_one_sweep_do_not_meet_in_a_process(given: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = 0, 0

    async def sweep(_: Tools, __: Any) -> int:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.05)
        inside -= 1
        return 0

    monkeypatch.setitem(sweeps.SWEEPS, "archive", (sweep, 2, 4))
    run = sweeps.function("archive")
    await asyncio.gather(*(run({TOOLS: given}) for _ in range(5)))
    assert most == 1


async def test_the_clock_runs_every_sweep(given: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()

    def noting(name: str) -> Any:
        async def sweep(_: Tools, __: Any) -> int:
            seen.add(name)
            return 0

        return sweep

    for name, (_, every, limit) in list(sweeps.SWEEPS.items()):
        monkeypatch.setitem(sweeps.SWEEPS, name, (noting(name), min(every, 2), limit))
        assert 60 % every == 0
    crons = vars(main.worker_settings(given.settings))["cron_jobs"]
    running = worker(given, cron_jobs=crons, burst=False, poll_delay=0.05)
    task = asyncio.create_task(running.async_run())
    try:
        await until(lambda: seen == set(sweeps.SWEEPS), within=8)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await asyncio.gather(*running.tasks.values(), return_exceptions=True)


async def test_a_clock_that_was_ahead_and_is_set_right_stops_no_sweep_and_no_job(given: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()

    def noting(name: str) -> Any:
        async def sweep(tools: Tools, now: Any) -> int:
            seen.add(name)
            return await sweeps.nudge(tools, now) if name == "nudge" else 0

        return sweep

    for name, (_, every, limit) in list(sweeps.SWEEPS.items()):
        monkeypatch.setitem(sweeps.SWEEPS, name, (noting(name), min(every, 2), limit))
    monkeypatch.setattr(sweeps, "BEAT_SECONDS", 0.1)
    ran: list[str] = []

    async def put_off(ctx: dict[Any, Any], key: str) -> None:
        ran.append(key)

    hours = 8 * 3600.0  # a machine whose hardware clock keeps China's time and is read as UTC
    crons = vars(main.worker_settings(given.settings))["cron_jobs"]
    for cron in crons:
        cron.calculate_next(datetime.now(UTC) + timedelta(seconds=hours))
    await given.queue.enqueue_job("put_off", "k", _job_id="handoff:s1:1", _defer_by=timedelta(seconds=hours))
    clock = SimpleNamespace(time=lambda: time.time() + hours, monotonic=time.monotonic)
    monkeypatch.setattr(sweeps, "time", clock)
    running = worker(given, cron_jobs=crons, burst=False, poll_delay=0.05, functions=[func(put_off, name="put_off")])
    tasks = [asyncio.create_task(running.async_run()), asyncio.create_task(sweeps.beat(given, crons))]
    try:
        await asyncio.sleep(0.3)
        clock.time = time.time
        await until(lambda: seen == set(sweeps.SWEEPS) and ran == ["k"], within=10)
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(*running.tasks.values(), return_exceptions=True)


async def test_the_clock_audits_the_live_room_and_seals_what_was_moved(given: Tools, shop: Shop) -> None:
    sale = await shop.sale()
    await shop.take(sale, "p:1", 2)
    await shop.take(sale, "p:2", 1, at="S2")
    assert await sweeps.audit(given, NOW) == 2  # the room and the stores' stock
    assert await sweeps.audit(given, after(seconds=1)) == 0
    assert await sweeps.seal(given, NOW) == 2
    assert await sweeps.seal(given, NOW) == 0
    assert await shop.one("SELECT string_agg(scope || ' ' || balanced, ', ' ORDER BY scope) FROM watched") == "* true, demo true"
    assert await shop.one("SELECT string_agg(location || ' ' || to_no, ', ' ORDER BY location) FROM movement_seal") == "S1 1, S2 1"
    assert {"audit", "seal"} <= set(sweeps.SWEEPS)
