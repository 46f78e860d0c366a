"""A line and a crowd of tappers, with the room's ledger running: what comes back goes to the line, and nobody oversells."""

from __future__ import annotations

import asyncio
import random

from redis.asyncio import Redis

from live.infra.db import Database
from live.offers.leases import Ledger
from live.offers.reservations import reserve
from tests.offers.shop import tap
from tests.offers.waitlist.queue import CAP, HOLDERS, Queue
from workers.ledger import hands

UNITS, WAITING, TAPPERS = 10, 6, 200


async def tapping(redis: Redis, offer: int, people: list[int], over: asyncio.Event) -> None:
    """These people tap again and again, each time as if anew, until it is over."""
    n = 0
    while not over.is_set():
        n += 1
        await reserve(redis, "r1", [tap(person, offer, key=f"k{n}") for person in people], CAP)
        await asyncio.sleep(0)


async def test_units_that_come_back_go_to_the_line_first_and_what_is_left_to_exactly_so_many_of_200_tappers(
    database: Database, redis: Redis
) -> None:
    queue = await Queue(database, redis).open(units=UNITS, per_person=1)
    await queue.enter(*range(1, WAITING + 1))
    stop, over = asyncio.Event(), asyncio.Event()
    people = list(range(200, 200 + TAPPERS))
    random.Random(7).shuffle(people)
    running = asyncio.create_task(Ledger(database, redis, hands()).run(stop))
    crowd = [asyncio.create_task(tapping(redis, queue.offer, people[at::4], over)) for at in range(4)]
    try:
        await asyncio.gather(*(queue.ask_back(HOLDERS + n) for n in range(UNITS)))
        async with asyncio.timeout(20):
            while await queue.number("SELECT count(*) FROM orders WHERE state = 'AWAIT_PAY'") < UNITS:
                await asyncio.sleep(0.02)
        over.set()
        await asyncio.gather(*crowd)
        async with asyncio.timeout(20):
            while await redis.xlen("{r1}:intents") or await queue.number("SELECT count(*) FROM outbox"):
                await asyncio.sleep(0.02)
    finally:
        over.set()
        stop.set()
        await asyncio.gather(running, *crowd, return_exceptions=True)
    assert sorted(await queue.orders()) == list(range(1, WAITING + 1))
    sold = await queue.rows("SELECT person FROM orders WHERE state = 'AWAIT_PAY' AND rid NOT LIKE 'wait:%'")
    assert len(sold) == len(set(sold)) == UNITS - WAITING
    # Every movement that brought a unit while somebody waited is followed by that somebody's hold.
    kinds = await queue.rows("SELECT kind, rid LIKE 'wait:%' FROM movement ORDER BY move_no OFFSET :n", n=UNITS)
    assert kinds[: 2 * WAITING] == [("RELEASE", False), ("HOLD", True)] * WAITING
    assert await queue.left() == 0
    assert await queue.sound()


async def test_two_owners_of_one_room_give_each_unit_once(database: Database, redis: Redis) -> None:
    queue = await Queue(database, redis).open(units=UNITS, per_person=1)
    await queue.enter(*range(1, WAITING + 1))
    await asyncio.gather(*(queue.ask_back(HOLDERS + n) for n in range(UNITS)))
    other = type(queue.ledger)("r1", database, redis, hands())
    both = await asyncio.gather(queue.ledger._apply_outbox(), other._apply_outbox(), return_exceptions=True)
    assert [each for each in both if isinstance(each, BaseException)] == []
    await queue.applied()
    assert await queue.orders() == list(range(1, WAITING + 1))
    assert await queue.left() == UNITS - WAITING
    assert await queue.sound()
