"""Sends refunds: many side by side, at a pace the provider bears, each row of the outbox held by one worker for a while.

A worker that dies leaves rows whose hold runs out; whoever takes them next asks the provider first (`send_refund`).
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import structlog
from sqlalchemy import Text, bindparam, text
from sqlalchemy.exc import SQLAlchemyError

from live.infra.db import utc_now
from live.infra.jobs import pause
from live.infra.redis import Script
from live.orders.actions import refund_done
from live.payments.actions import send_refund
from live.protocol.codes import Refusal
from workers.tools import SLICE_SECONDS, Tools

log = structlog.get_logger("worker")

AT_ONCE = 8  # below the pool of 10; at 95 a second each has 80 ms
HELD_SECONDS = 30  # longer than the job may take (12 s), the provider's 8 s included
TURNS = "pace:refund"  # Redis key, gone a second after the last turn
ERROR_CHARACTERS = 500
_turn = Script("live.infra", "pace")

_CLAIM = text(
    "UPDATE outbox SET due_at = now() + make_interval(secs => :held) WHERE id IN (SELECT id FROM outbox WHERE kind = 'job'"
    " AND topic = 'refund' AND done_at IS NULL AND due_at <= now() ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED)"
    " RETURNING id, CAST(payload->>'id' AS bigint), tries"
)
_DONE = text("UPDATE outbox SET done_at = now(), error = '' WHERE id = :row")
_WAITS = text("UPDATE outbox SET due_at = r.due_at, error = '' FROM refund r WHERE outbox.id = :row AND r.id = :refund")
_FAILED = text("UPDATE outbox SET tries = tries + 1, error = :error, due_at = :due WHERE id = :row").bindparams(
    bindparam("error", type_=Text)
)


async def refund_all(tools: Tools, key: str = "") -> bool:
    """Send what is approved and ask about what was sent, oldest first, until nothing is due. False: the slice is over."""
    del key  # one job takes all of them
    end = time.monotonic() + SLICE_SECONDS
    async with asyncio.TaskGroup() as lanes:
        tasks = [lanes.create_task(_lane(tools, end)) for _ in range(AT_ONCE)]
    if count := sum(task.result() for task in tasks):
        log.info("refunds sent or asked about", refunds=count)
    return time.monotonic() < end


async def turn(tools: Tools) -> None:
    """Wait for this refund's turn: `refunds_per_second` for all workers together."""
    wait = int(await _turn(tools.redis, [TURNS], [1_000_000 // tools.settings.refunds_per_second]))
    await asyncio.sleep(wait / 1_000_000)


async def _lane(tools: Tools, end: float) -> int:
    """One refund after the other. What cannot be sent is noted and due again later; the others are not kept waiting."""
    count = 0
    while time.monotonic() < end:
        async with tools.db.begin() as session:
            found = (await session.execute(_CLAIM, {"held": HELD_SECONDS, "most": 1})).first()
        if found is None:
            break
        count += 1
        row, refund, tries = int(found[0]), int(found[1]), int(found[2])
        try:
            state = await send_refund(tools.db, tools.gateway, refund, refund_done, utc_now(), lambda: turn(tools))
        except (Refusal, SQLAlchemyError) as error:
            log.warning("refund not sent", refund=refund, tries=tries + 1, error=repr(error)[:ERROR_CHARACTERS])
            due = utc_now() + timedelta(seconds=pause(tries + 1))
            said, values = _FAILED, {"row": row, "error": repr(error)[:ERROR_CHARACTERS], "due": due}
        else:
            said, values = (_WAITS, {"row": row, "refund": refund}) if state == "SENT" else (_DONE, {"row": row})
        async with tools.db.begin() as session:
            await session.execute(said, values)
    return count
