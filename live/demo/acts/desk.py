"""Fourth act: paid orders stand in the queues of their stores, are made ready, and are handed over once, against their code."""

from __future__ import annotations

import asyncio
from typing import Any

from live.demo.acts.stage import Stage, together
from live.demo.client import Viewer
from live.demo.doors import LateError
from live.demo.staff import Clerk

QUEUE_SECONDS = 15.0
WRONG = "2345-6789-A"  # no code: its check character does not fit


async def play(stage: Stage) -> None:
    """Every waiting order is collected."""
    await stage.step(f"{len(stage.waiting)} paid orders stand in the queues of their stores, each once")
    places = dict(zip(stage.waiting, await together(_store(viewer, no) for no, viewer in stage.waiting.items()), strict=True))
    queues = {}
    for store in sorted(set(places.values())):
        mine = {no for no, place in places.items() if place == store}
        queues[store] = await _queue(stage, stage.clerks[store], mine)
    stage.check(len(queues) > 1, "orders at more than one store")

    await stage.step("clerks make them ready; a wrong code, a wrong store and an early buyer are refused")
    store, other = sorted(queues)[:2]
    await _early(stage, stage.clerks[store], queues[store][0])
    await together(_ready(stage.clerks[store], tickets) for store, tickets in queues.items())
    await together(stage.becomes(viewer, no, "READY") for no, viewer in stage.waiting.items())
    await _wrong(stage, stage.clerks[store], stage.clerks[other], queues[store][0])

    await stage.step("buyers show their codes and the clerks hand over; a second time is refused")
    await together(_hand_over(stage, stage.clerks[store], tickets) for store, tickets in queues.items())
    await together(stage.becomes(viewer, no, "COLLECTED") for no, viewer in stage.waiting.items())
    done = queues[store][0]
    with stage.refused("state", "handing over twice"):
        await stage.clerks[store].collect(done["id"], done["code"])
    stage.same(stage.tally.collected, len(stage.waiting), "orders handed over")


async def _store(viewer: Viewer, no: str) -> str:
    return str((await viewer.order(no))["store"]["code"])


async def _code(viewer: Viewer, no: str) -> str:
    order = await viewer.order(no)
    return str(order["pickup"]["code"])


async def _queue(stage: Stage, clerk: Clerk, wanted: set[str]) -> list[dict[str, Any]]:
    """The store's queue once it holds exactly these orders."""
    found: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(QUEUE_SECONDS):
            while len(found) < len(wanted):
                found = await clerk.queue()
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise LateError(f"the queue of {clerk.store} has {len(found)} of {len(wanted)} orders after {QUEUE_SECONDS:g} s") from None
    stage.same(sorted(ticket["order"] for ticket in found), sorted(wanted), f"the queue of {clerk.store}")
    return found


async def _early(stage: Stage, clerk: Clerk, ticket: dict[str, Any]) -> None:
    code = await _code(stage.waiting[ticket["order"]], ticket["order"])
    with stage.refused("not_ready", "a buyer who comes too early"):
        await clerk.verify(code)


async def _ready(clerk: Clerk, tickets: list[dict[str, Any]]) -> None:
    for ticket in tickets:
        await clerk.ready(ticket["id"])


async def _wrong(stage: Stage, clerk: Clerk, elsewhere: Clerk, ticket: dict[str, Any]) -> None:
    code = await _code(stage.waiting[ticket["order"]], ticket["order"])
    with stage.refused("wrong_code", "a wrong code"):
        await clerk.verify(WRONG)
    with stage.refused("wrong_store", "the code at another store"):
        await elsewhere.verify(code)


async def _hand_over(stage: Stage, clerk: Clerk, tickets: list[dict[str, Any]]) -> None:
    for ticket in tickets:
        ticket["code"] = await _code(stage.waiting[ticket["order"]], ticket["order"])
        shown = await clerk.verify(ticket["code"])
        stage.same(shown["order"], ticket["order"], "the order of a code")
        stage.same((await clerk.collect(ticket["id"], ticket["code"]))["state"], "COLLECTED", "the ticket")
        stage.tally.collected += 1
