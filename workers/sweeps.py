"""What nobody asks for: the clock's work. Each sweep may be skipped, late or doubled; every step is an action that is safe to repeat."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
import structlog
from redis.exceptions import RedisError
from sqlalchemy import CursorResult, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col

from live.infra.db import utc_now
from live.infra.jobs import bring_forward
from live.infra.keys import ALIVE
from live.offers.actions import clear_shelf
from live.offers.chain import seal_due
from live.offers.tables import Offer, Team
from live.offers.watch import watch
from live.orders.actions import expire_due, payment_arrived
from live.orders.unpaid import tell_unpaid
from live.payments.actions import ask_provider
from live.promotions.coupon import actions as coupons
from live.promotions.coupon.voiding import void_due
from live.promotions.draw.actions import clear_draws, draw_winners
from live.promotions.draw.tables import Draw
from live.promotions.flash_sale.actions import tell_started
from live.promotions.flash_sale.queries import starting
from live.promotions.group_buy.actions import close_team
from live.promotions.team.actions import run_out
from live.protocol.codes import Code, Refusal
from live.rooms.acts import ENDS
from workers.archive import archive, archive_late, archived_until
from workers.relay import nudge_waiting
from workers.tools import Tools, tools_of

log = structlog.get_logger("worker")

BEAT_SECONDS = 3.0  # readiness looks for a beat of the last 10 s: two may be late
STEP_SECONDS = 5.0  # the clock against the one nobody sets: more between two beats is no drift, somebody has set it, or the machine slept
FORGOTTEN_SECONDS = 60  # a worker that is gone is taken off the list
ASKED_AT_ONCE = 50  # queries to the provider a sweep: 10 a second, far below its limits
SILENT_AT_ONCE = 2000
ASKED_TTL_SECONDS = 3600  # longer than any hold: an attempt is asked about once, at half-time
HALF_TIME_SEEN = timedelta(minutes=2)  # a worker that was away this long still asks; after that the deadline is near enough
LONGEST_HOLD = timedelta(minutes=15)  # orders whose half-time can have passed have their deadline within this
KEPT = timedelta(days=1)  # done rows, dead codes: long enough to look into yesterday's trouble
PURGED_AT_ONCE = 5000
SEAL_SECONDS = 4.0  # of five, and most of them …
SEAL_REST = 19  # … resting: a rush is sealed in the minutes after it, not while its buyers wait for the same two cores
DRAWN_AFTER = timedelta(seconds=1)  # a comment said in the last moment is in the room's stream by then
SHOWN = timedelta(minutes=10)  # an ended offer's card stays this long: who comes a little late still reads how it went


async def expire(tools: Tools, now: datetime) -> int:
    """Orders past their deadline are closed at the provider, then their units go back."""
    return await expire_due(tools.db, tools.gateway, now)


async def end_coupons(tools: Tools, now: datetime) -> int:
    """Coupons nobody used in time are over, those of batches that were taken back are void; their holders are told."""
    async with tools.db.begin() as session:
        ended = await coupons.expire_due(session, now)
    async with tools.db.begin() as session:
        return ended + await void_due(session, now)


_SILENT = text(
    "SELECT o.no, max(a.out_trade_no) FROM orders o JOIN pay_attempt a ON a.order_no = o.no"
    " WHERE o.state = 'AWAIT_PAY' AND o.pay_until BETWEEN :now AND :latest AND a.state = 'SENT'"  # the first two have an index
    " AND a.created_at + (a.expires_at - a.created_at) / 2 BETWEEN :since AND :now"
    " GROUP BY o.no, o.pay_until ORDER BY o.pay_until LIMIT :most"
)


async def ask(tools: Tools, now: datetime) -> int:
    """Half-way to the deadline ask the provider about attempts it has told nothing of: notices are not promised.

    The deadline itself asks through `expire`, which closes every attempt.
    """
    values = {"now": now, "latest": now + LONGEST_HOLD, "since": now - HALF_TIME_SEEN, "most": SILENT_AT_ONCE}
    async with tools.db.begin() as session:
        silent = {f"asked:{trade}": no for no, trade in (await session.execute(_SILENT, values)).all()}
    if not silent:
        return 0
    known = await tools.redis.mget(list(silent))
    fresh = [(key, no) for (key, no), value in zip(silent.items(), known, strict=True) if value is None]
    random.shuffle(fresh)  # one the provider has no answer for ends the run: it must not always be the same one's turn first
    for key, order_no in fresh[:ASKED_AT_ONCE]:
        state = await ask_provider(tools.db, tools.gateway, order_no, payment_arrived, now)
        await tools.redis.set(key, state, ex=ASKED_TTL_SECONDS)
        log.info("asked the provider", order=order_no, state=state)
    return len(fresh[:ASKED_AT_ONCE])


async def start_due(tools: Tools, now: datetime) -> int:
    """Rooms are told of sales that have started. Nobody waits for this: the turnstile lets buyers in by its own clock."""
    async with tools.db.begin() as session:
        due = await starting(session, now)
    told = 0
    for offer_id in due:
        try:
            async with tools.db.begin() as session:
                told += await tell_started(session, offer_id, now)
        except SQLAlchemyError as error:  # as below
            log.error("start of a sale not told", offer=offer_id, error=repr(error)[:300])
        else:
            log.info("sale started", offer=offer_id)
    return told


async def end_due(tools: Tools, now: datetime) -> int:
    """Offers whose time is over are ended, each by its own kind's rules."""
    query = select(col(Offer.id), col(Offer.kind)).where(col(Offer.phase) == "open", col(Offer.closes_at) <= now).order_by(col(Offer.id))
    async with tools.db.begin() as session:
        due = [(int(offer_id or 0), kind) for offer_id, kind in (await session.execute(query)).all()]
    ended = 0
    for offer_id, kind in due:
        try:
            async with tools.db.begin() as session:
                await ENDS[kind](session, offer_id, now)
        except (Refusal, SQLAlchemyError) as error:  # the others have their turn; this one at the next run
            if not (isinstance(error, Refusal) and error.code is Code.STATE):  # STATE: the host was faster
                log.error("offer not ended", offer=offer_id, error=repr(error)[:300])
        else:
            ended += 1
            log.info("offer ended by the clock", offer=offer_id, kind=kind)
    return ended


async def draw_due(tools: Tools, now: datetime) -> int:
    """Draws whose entries are closed are drawn, once every comment of their time is archived."""
    query = select(col(Draw.id), col(Draw.room_id), col(Draw.closes_at))
    query = query.where(col(Draw.phase) == "open", col(Draw.closes_at) <= now - DRAWN_AFTER).order_by(col(Draw.id))
    async with tools.db.begin() as session:
        due = (await session.execute(query)).all()
    drawn = 0
    for draw_id, room, closes_at in due:
        if not await archived_until(tools, room, closes_at):
            continue
        try:
            async with tools.db.begin() as session:
                winners = await draw_winners(session, int(draw_id or 0), now)
        except (Refusal, SQLAlchemyError, psycopg.Error) as error:
            if not (isinstance(error, Refusal) and error.code is Code.STATE):  # STATE: another worker was faster
                log.error("draw not drawn", draw=draw_id, error=repr(error)[:300])
        else:
            drawn += 1
            log.info("draw drawn", draw=draw_id, winners=len(winners))
    return drawn


async def say_unpaid(tools: Tools, now: datetime) -> int:
    """Cards of sales that are all taken say whether units may come back."""
    del now  # it depends on the books alone
    return await tell_unpaid(tools.db)


async def close_teams(tools: Tools, now: datetime) -> int:
    """Teams that wait for their last held seats are asked again."""
    async with tools.db.begin() as session:
        query = select(col(Team.offer_id)).where(col(Team.state) == "closing").order_by(col(Team.offer_id))
        closing = [int(offer_id) for offer_id in (await session.execute(query)).scalars()]
    decided = 0
    for offer_id in closing:
        try:
            async with tools.db.begin() as session:
                state = await close_team(session, offer_id, now)
        except SQLAlchemyError as error:
            log.error("group not decided", offer=offer_id, error=repr(error)[:300])
            continue
        if state != "waiting":
            decided += 1
            log.info("group decided", offer=offer_id, state=state)
    return decided


async def clear(tools: Tools, now: datetime) -> int:
    """Offers that ended and draws that were drawn a while ago leave the room."""
    async with tools.db.begin() as session:
        return await clear_shelf(session, now - SHOWN) + await clear_draws(session, now - SHOWN)


async def run_out_teams(tools: Tools, now: datetime) -> int:
    """Small teams whose clock is out, or whose offer has ended, let nobody join any more."""
    async with tools.db.begin() as session:
        return await run_out(session, now)


async def purge(tools: Tools, now: datetime) -> int:
    """Throw away what has served its purpose: done job rows, phone codes past their time, keys of presses, wrong codes at desks."""
    statements = (
        "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE kind = 'job' AND done_at < :before LIMIT :most)",
        "DELETE FROM phone_code WHERE id IN (SELECT id FROM phone_code WHERE expires_at < :before LIMIT :most)",
        "DELETE FROM pressed WHERE (who, key) IN (SELECT who, key FROM pressed WHERE at < :before LIMIT :most)",
        "DELETE FROM desk_failure WHERE id IN (SELECT id FROM desk_failure WHERE at < :before LIMIT :most)",
    )
    gone = 0
    for statement in statements:
        async with tools.db.begin() as session:
            result = await session.execute(text(statement), {"before": now - KEPT, "most": PURGED_AT_ONCE})
            assert isinstance(result, CursorResult)
            gone += result.rowcount
    return gone


async def audit(tools: Tools, now: datetime) -> int:
    """Do the books of every live room balance? What does not is written down, and healed where Redis alone is wrong."""
    return await watch(tools.db, tools.redis, now)


async def seal(tools: Tools, now: datetime) -> int:
    """What was moved since the last seals is sealed, outside the transactions that sell."""
    return await seal_due(tools.db, now, SEAL_SECONDS, SEAL_REST)


async def nudge(tools: Tools, now: datetime) -> int:
    """Whatever is undone is nudged again: what the relay missed, what was not due, what a worker died over."""
    del now  # the rows are compared with the database's clock
    if late := await bring_forward(tools.queue):
        log.warning("jobs lay in the queue for a moment far ahead: a clock is or was wrong", jobs=late)
    return await nudge_waiting(tools)


Sweep = Callable[[Tools, datetime], Awaitable[int]]
# Sweep -> (seconds between runs, limit of one run in seconds). A minute must be a multiple of the first.
SWEEPS: dict[str, tuple[Sweep, int, int]] = {
    "expire": (expire, 1, 10),  # a buyer watches the countdown end, and others wait for the unit
    "start_due": (start_due, 1, 4),
    "end_due": (end_due, 1, 4),
    "say_unpaid": (say_unpaid, 2, 4),
    "draw_due": (draw_due, 1, 10),
    "end_coupons": (end_coupons, 2, 4),  # a coupon past its time is refused at checkout whether this has run or not
    "close_teams": (close_teams, 2, 4),
    "run_out_teams": (run_out_teams, 2, 4),
    "archive": (archive, 2, 4),
    "ask": (ask, 5, 10),
    "nudge": (nudge, 5, 4),
    "audit": (audit, 5, 10),
    "seal": (seal, 5, 10),
    "archive_late": (archive_late, 60, 10),
    "clear": (clear, 60, 10),
    "purge": (purge, 60, 10),
}


def function(name: str) -> Any:
    """The coroutine arq's clock runs. A failure is logged and left to the next run; two runs of one sweep never meet in a process."""
    sweep, _, limit = SWEEPS[name]
    underway = asyncio.Lock()

    async def run(ctx: dict[Any, Any]) -> None:
        if underway.locked():
            return
        async with underway:
            try:
                async with asyncio.timeout(limit):
                    count = await sweep(tools_of(ctx), utc_now())
            except Exception:  # read loop: the next run is the retry
                log.exception("sweep failed", sweep=name)
            else:
                log.debug("swept", sweep=name, count=count)

    run.__qualname__ = f"sweep_{name}"
    return run


async def beat(tools: Tools, crons: Sequence[Any] = ()) -> None:
    """Says that this worker lives, until cancelled, and winds up arq's clock anew (`crons`: its CronJobs) when ours was set.

    arq goes on from the moment it has calculated: after a step back nothing would be swept until that moment comes again, after a long
    sleep every run that was missed would be made up for.
    """
    ahead = time.time() - time.monotonic()
    while True:
        try:
            now = int(time.time())
            await tools.redis.zadd(ALIVE + "worker", {tools.name: now})
            await tools.redis.zremrangebyscore(ALIVE + "worker", "-inf", now - FORGOTTEN_SECONDS)
        except (RedisError, OSError) as error:
            log.warning("no heartbeat", error=repr(error)[:300])
        await asyncio.sleep(BEAT_SECONDS)
        was, ahead = ahead, time.time() - time.monotonic()
        if abs(ahead - was) > STEP_SECONDS:
            log.warning("the clock was set", seconds=round(ahead - was, 1))
            for cron in crons:
                cron.next_run = None
