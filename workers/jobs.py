"""Jobs by topic of the outbox. The rows are the work; what arq carries only says where to look, so a job may run twice or in vain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from sqlalchemy import ARRAY, BigInteger, Text, bindparam, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col

from live.infra import outbox
from live.infra.db import utc_now
from live.infra.jobs import Retry, again, function_of
from live.infra.tables import Outbox
from live.offers.parties.queries import board
from live.offers.parties.rules import SHOW
from live.offers.tables import Offer
from live.orders.actions import settle_group, settle_team
from live.people.following import rules as following
from live.people.following.queries import counted
from live.pickup import actions as pickup
from live.promotions.group_buy.actions import close_team
from workers.archive import archive_room
from workers.refunds import refund_all
from workers.tools import SLICE_SECONDS, Tools, tools_of

log = structlog.get_logger("worker")

JOB_SECONDS = 15  # arq's limit; running into it would end a job for good
OURS_SECONDS = 12.0  # so we stop first, and try again
MAX_TRIES = 50
ERROR_CHARACTERS = 500
NOTED_ROWS = 200  # rows of a failed job that keep its error: as many as one job takes at once

Work = Callable[[Tools, str], Awaitable[bool]]  # True: nothing is left to do for this key by now


async def _handoff(tools: Tools, location: str) -> bool:
    """Paid orders of a store become tickets, a batch a transaction."""
    end = time.monotonic() + SLICE_SECONDS
    taken = 0
    while time.monotonic() < end:
        async with tools.db.begin() as session:
            count = await pickup.handoff(session, location, utc_now(), secret=tools.pickup_secret)
        taken += count
        if count == 0:
            if taken:
                log.info("handed off", store=location, orders=taken)
            return True
    return False


async def _group_close(tools: Tools, offer_id: str) -> bool:
    """An ended group is decided once no seat waits for its payment. Until then the sweep of closing teams asks again."""
    rows = [row for row, _ in await _undone(tools, "group.close", offer_id)]
    async with tools.db.begin() as session:
        state = await close_team(session, int(offer_id), utc_now())
    log.info("group closing", offer=offer_id, state=state)
    await _done(tools, rows)
    return True


async def _group_settle(tools: Tools, offer_id: str) -> bool:
    """A decided group: every order of it goes on, or its money goes back; 200 a transaction."""
    rows = [row for row, _ in await _undone(tools, "group.settle", offer_id)]
    end = time.monotonic() + SLICE_SECONDS
    while not await settle_group(tools.db, int(offer_id), utc_now()):
        if time.monotonic() > end:
            return False
    log.info("group settled", offer=offer_id)
    await _done(tools, rows)
    return True


async def _team_settle(tools: Tools, party_id: str) -> bool:
    """A decided small team: its orders go on, or their money goes back."""
    rows = [row for row, _ in await _undone(tools, "team.settle", party_id)]
    if not await settle_team(tools.db, int(party_id), utc_now()):
        return False
    log.info("team settled", team=party_id)
    await _done(tools, rows)
    return True


async def _team_show(tools: Tools, offer_id: str) -> bool:
    """The room sees an offer's teams as they are now, under a version that rises with every change."""
    rows = [row for row, _ in await _undone(tools, SHOW, offer_id)]
    if not rows:
        return True  # an earlier job has shown it
    async with tools.db.begin() as session:
        room = (await session.execute(select(col(Offer.room_id)).where(col(Offer.id) == int(offer_id)))).scalar_one()
        await outbox.count(session, room, f"teams:{offer_id}", *await board(session, int(offer_id)))
    await _done(tools, rows)
    return True


async def _follow_show(tools: Tools, room: str) -> bool:
    """The room sees how many follow it now, under a version that rises with every change."""
    rows = [row for row, _ in await _undone(tools, following.SHOW, room)]
    if not rows:
        return True  # an earlier job has shown it
    async with tools.db.begin() as session:
        for key, (version, value) in (await counted(session, room)).items():
            await outbox.count(session, room, key, version, value)
    await _done(tools, rows)
    return True


async def _ticket_void(tools: Tools, order_no: str) -> bool:
    """The tickets of an order whose money goes back leave the queue."""
    rows = [row for row, _ in await _undone(tools, "ticket.void", order_no)]
    async with tools.db.begin() as session:
        tickets = await pickup.void(session, order_no, utc_now())
    log.info("ticket void", order=order_no, tickets=tickets)
    await _done(tools, rows)
    return True


async def _comment_withdraw(tools: Tools, key: str) -> bool:
    """A comment withdrawn before it was archived is marked once it is. One that nobody ever said is forgotten after a minute."""
    mark = text("UPDATE comment SET withdrawn_at = coalesce(withdrawn_at, now()) WHERE room_id = :room AND chat_id = :id RETURNING id")
    done = text("UPDATE outbox SET done_at = now() WHERE id = :row AND (:marked OR created_at < now() - interval '1 minute')")
    for row, payload in await _undone(tools, "comment.withdraw", key):
        await archive_room(tools, payload["room"])
        async with tools.db.begin() as session:
            marked = (await session.execute(mark, {"room": payload["room"], "id": payload["id"]})).first() is not None
            await session.execute(done, {"row": row, "marked": marked})
    return True  # what another archivist is just writing down is marked at the next nudge


ANY_KEY = frozenset({"refund"})  # topics of which one job takes the rows of every key
TOPICS: dict[str, Work] = {
    "handoff": _handoff,
    "refund": refund_all,
    "group.close": _group_close,
    "group.settle": _group_settle,
    "team.settle": _team_settle,
    SHOW: _team_show,
    following.SHOW: _follow_show,
    "ticket.void": _ticket_void,
    "comment.withdraw": _comment_withdraw,
}


def function(topic: str) -> Any:
    """The coroutine arq runs for a topic: any failure is noted in the rows and tried again, later each time."""
    work = TOPICS[topic]

    async def run(ctx: dict[Any, Any], key: str) -> None:
        tools, tries, began = tools_of(ctx), int(ctx["job_try"]), time.monotonic()
        try:
            async with asyncio.timeout(OURS_SECONDS):
                finished = await work(tools, key)
        except Exception as error:  # to arq any exception but Retry is the end of the job
            log.warning("job failed", topic=topic, key=key, tries=tries, error=repr(error)[:ERROR_CHARACTERS])
            await _note(tools, topic, key, error)
            raise again(tries) from error
        log.debug("job ran", topic=topic, key=key, tries=tries, ms=round((time.monotonic() - began) * 1000))
        if not finished:
            raise Retry(defer=0)

    run.__qualname__ = function_of(topic)
    return run


async def _undone(tools: Tools, topic: str, key: str) -> list[tuple[int, dict[str, Any]]]:
    """(id, payload) of the undone rows of a key. Not locked: these jobs call a provider, or are safe to run at the same time."""
    query = select(col(Outbox.id), col(Outbox.payload)).where(
        col(Outbox.kind) == "job",
        col(Outbox.topic) == topic,
        col(Outbox.key) == key,
        col(Outbox.done_at).is_(None),
        col(Outbox.due_at) <= func.now(),
    )
    async with tools.db.begin() as session:
        return [(int(row), payload) for row, payload in (await session.execute(query.order_by(col(Outbox.id)))).all()]


async def _done(tools: Tools, rows: Sequence[int]) -> None:
    statement = text("UPDATE outbox SET done_at = now(), error = '' WHERE id = ANY(:ids)")
    async with tools.db.begin() as session:
        await session.execute(statement.bindparams(bindparam("ids", type_=ARRAY(BigInteger))), {"ids": list(rows)})


async def _note(tools: Tools, topic: str, key: str, error: BaseException) -> None:
    """Count the failure in the rows themselves: a queue forgets, and this is what people look at."""
    statement = text(
        "WITH failed AS (SELECT id FROM outbox WHERE kind = 'job' AND topic = :topic"
        " AND key = :key AND done_at IS NULL AND due_at <= now() ORDER BY id LIMIT :rows FOR UPDATE SKIP LOCKED)"
        " UPDATE outbox o SET tries = tries + 1, error = :error FROM failed WHERE o.id = failed.id"
    ).bindparams(bindparam("error", type_=Text))
    values = {"topic": topic, "key": key, "error": repr(error)[:ERROR_CHARACTERS], "rows": NOTED_ROWS}
    try:
        async with tools.db.begin() as session:
            await session.execute(statement, values)
    except (SQLAlchemyError, OSError) as trouble:
        log.warning("failure not noted", topic=topic, key=key, error=repr(trouble)[:ERROR_CHARACTERS])
