"""Sends refunds: a batch at a time, side by side, at a pace the provider bears, each row of the outbox held by one worker for a while.

A worker that dies leaves rows whose hold runs out; whoever takes them next asks the provider first (`send_refunds`).
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import structlog
from redis.exceptions import RedisError
from sqlalchemy import Text, bindparam, text

from live.infra.db import array, utc_now
from live.infra.jobs import pause
from live.infra.redis import Script
from live.orders.actions import refunds_done
from live.payments.actions import send_refunds
from live.protocol.codes import Code, Refusal
from workers.tools import SLICE_SECONDS, Tools

log = structlog.get_logger("worker")

LANES = 4  # one is at the books while others wait for their turns or for the provider
BATCH = 25  # refunds a lane takes in one transaction: a quarter of a second of turns
HELD_SECONDS = 30  # longer than the job may take (12 s), the provider's 8 s included
TURNS = "pace:refund"  # Redis key, gone a second after the last turn
SOON_SECONDS = 3  # what was just sent is asked about after 2 s, what the provider put off is sent again after less: no sweep is waited for
LOOK_SECONDS = 0.25
ERROR_CHARACTERS = 500
_turn = Script("live.infra", "pace")

_CLAIM = text(
    "WITH due AS (SELECT id FROM outbox WHERE kind = 'job'"
    " AND topic = 'refund' AND done_at IS NULL AND due_at <= now() ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED)"
    " UPDATE outbox o SET due_at = now() + make_interval(secs => :held) FROM due WHERE o.id = due.id"
    " RETURNING CAST(payload->>'id' AS bigint) AS refund, o.id, tries"
)
_SOON = text(
    "SELECT EXISTS (SELECT 1 FROM outbox WHERE kind = 'job' AND topic = 'refund' AND done_at IS NULL"
    " AND due_at <= now() + make_interval(secs => :soon))"
)
_DONE = text("UPDATE outbox SET done_at = now(), error = '' WHERE id = ANY(CAST(:rows AS bigint[]))")
_WAITS = text(
    "UPDATE outbox SET due_at = r.due_at, error = '' FROM refund r"
    " WHERE outbox.id = ANY(CAST(:rows AS bigint[])) AND r.id = CAST(outbox.payload->>'id' AS bigint)"
)
_FAILED = text("UPDATE outbox SET tries = tries + 1, error = :error, due_at = :due WHERE id = :row").bindparams(
    bindparam("error", type_=Text)
)


async def refund_all(tools: Tools, key: str = "") -> bool:
    """Send what is approved and ask about what was sent, oldest first, until nothing is due, nor will be soon. False: the slice is over."""
    del key  # one job takes all of them
    end = time.monotonic() + SLICE_SECONDS
    count = 0
    try:
        while time.monotonic() < end:
            async with asyncio.TaskGroup() as lanes:
                tasks = [lanes.create_task(_lane(tools, end)) for _ in range(LANES)]
            count += sum(task.result() for task in tasks)
            async with tools.db.begin() as session:
                if not (await session.execute(_SOON, {"soon": SOON_SECONDS})).scalar_one():
                    return True
            await asyncio.sleep(LOOK_SECONDS)
        return False
    finally:
        if count:
            log.info("refunds sent or asked about", refunds=count)


async def turn(tools: Tools) -> None:
    """Wait for this refund's turn: `refunds_per_second` for all workers together. Refusal(UNAVAILABLE)."""
    try:
        wait = int(await _turn(tools.redis, [TURNS], [1_000_000 // tools.settings.refunds_per_second]))
    except (RedisError, OSError):  # without turns nothing is sent; this one is due again later
        raise Refusal(Code.UNAVAILABLE) from None
    await asyncio.sleep(wait / 1_000_000)


async def _lane(tools: Tools, end: float) -> int:
    """One batch after the other. What cannot be sent is noted and due again later; the others are not kept waiting."""
    count = 0
    while time.monotonic() < end:
        async with tools.db.begin() as session:
            rows = (await session.execute(_CLAIM, {"held": HELD_SECONDS, "most": BATCH})).all()
        if not rows:
            break
        count += len(rows)
        outcome = await send_refunds(tools.db, tools.gateway, [row.refund for row in rows], refunds_done, utc_now(), lambda: turn(tools))
        waits = [row.id for row in rows if outcome.get(row.refund) == "SENT"]
        failed = [(row, error) for row in rows if isinstance(error := outcome.get(row.refund), Exception)]
        done = {row.id for row in rows} - {*waits, *(row.id for row, _ in failed)}
        async with tools.db.begin() as session:
            if waits:
                await session.execute(_WAITS, {"rows": array(waits)})
            if done:
                await session.execute(_DONE, {"rows": array(done)})
            for row, error in failed:
                log.warning("refund not sent", refund=row.refund, tries=row.tries + 1, error=repr(error)[:ERROR_CHARACTERS])
                due = utc_now() + timedelta(seconds=pause(row.tries + 1))
                await session.execute(_FAILED, {"row": row.id, "error": repr(error)[:ERROR_CHARACTERS], "due": due})
    return count
