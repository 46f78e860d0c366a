"""Proof kind `losses`: the turnstile's server loses, rolls back and forks while a show sells; replies get lost, clocks jump.

A real Valkey (and its replica), a real PostgreSQL, real hubs, ledgers, orders and payments, in one process, with lines of ours between
them. `runs` counts the faults of the server. What is done is drawn from the seed; when it happens is the machine's.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from tests.prove.kinds import Result
from tests.prove.lossy.faults import Storm
from tests.prove.lossy.house import House
from tests.prove.lossy.owner import ended
from tests.prove.lossy.show import Show
from tests.prove.patches import Patch, planted

NAME = "losses"
BUDGETS = {"tiny": 5, "ci": 54, "release": 540, "planted": 9}
# Of six rounds: 42 losses of data, 6 promotions, 3 spells of two masters, 3 of single keys.
ROUND = ("tail", "older copy", "flushall", "promoted", "two masters", "tail between commands", "older copy", "flushall", "tail")
EVERY_OTHER = {"two masters": "key"}
BESIDE = (
    "ledger crash", "", "frozen owner", "clock of the turnstile", "", "script flush", "second owner", "", "clock of the ledger",
    "", "ledger crash", "",
)  # fmt: skip
Shows = list[list[tuple[str, str]]]  # a list of (fault, what happens beside it) per show
LOST = 10  # replies a fault
# For a bug that is planted: every way to lose, the ones that most bugs show themselves in first.
HUNT = ("flushall", "key left", "tail", "two masters", "key used", "key rid", "promoted", "key meta", "older copy")


def drawn(seed: int, budget: int) -> Shows:
    """The faults of each show, with what happens beside each."""
    dice, beside = random.Random(f"{seed} faults"), 0
    shows = []
    for number, begin in enumerate(range(0, budget, len(ROUND))):
        sorts = list(ROUND[: budget - begin])
        sorts = [EVERY_OTHER.get(sort, sort) if number % 2 else sort for sort in sorts]
        dice.shuffle(sorts)
        shows.append([(sort, BESIDE[(beside + n) % len(BESIDE)]) for n, sort in enumerate(sorts)])
        beside += len(sorts)
    return shows


async def perform(house: House, number: int, faults: list[tuple[str, str]], seed: int, result: Result, facts: Counter[str]) -> float:
    """One show in the storm. Returns the slowest reopening, in seconds."""
    show = Show(house, number, seed)
    storm = Storm(house, show, seed)
    await show.open()
    watching = [asyncio.create_task(act) for act in (show.watch(), show.sweep())]
    host = asyncio.create_task(show.host())
    tasks = [asyncio.create_task(buyer.run()) for buyer in show.buyers]
    try:
        for sort, beside in faults:
            house.weather.owed += LOST
            await storm.strike(sort, beside)
            result.runs += 1
            for task in (*watching, host, *tasks):
                if task.done():
                    task.result()  # a task of ours died: that is no finding, but an error
            if show.violations:
                break
        house.weather.calm = True
        if not show.violations:
            await show.close(tasks)
            for task in (*watching, host):
                if task.done():
                    task.result()
    finally:
        show.closing = True
        await ended((*watching, host, *tasks, *(task for buyer in show.buyers for task in buyer.after)))
        for buyer in show.buyers:
            if buyer.seat is not None:
                buyer.seat.lose()
    result.violations += [f"{violation}; in {show.room} after {faults}" for violation in show.violations[:5]]
    facts.update(storm.seen)
    facts["taps"] += sum(buyer.taps for buyer in show.buyers)
    facts["tries"] += sum(buyer.numbers for buyer in show.buyers)
    facts["orders"] += len(show.history.won)
    facts["troubles"] += sum(show.troubles.values())
    await house.forget(show.room)
    return storm.slowest


async def storm(seed: int, shows: Shows) -> Result:
    """All these shows; stops at the first in which something is wrong."""
    result, facts, slowest = Result(NAME, 0, seed), Counter[str](), 0.0
    house = House(seed)
    try:
        await house.start()
        for number, faults in enumerate(shows, 1):
            slowest = max(slowest, await perform(house, number, faults, seed, result, facts))
            if result.violations:
                result.violations[0] += f"; again: python -m tests.prove --kind {NAME} --seed {seed}"
                break
    finally:
        await house.stop()
    weather = house.weather
    counts = {name.replace(" ", "_"): count for name, count in sorted(facts.items())}
    result.facts = {
        **counts, "replies_lost": weather.seen["lose"], "lost_of": dict(sorted(weather.lost.items())), "sent_twice": weather.seen["twice"],
        "sent_late": weather.seen["late"], "slowest_reopening_s": round(slowest, 2),
    }  # fmt: skip
    return result


def run(seed: int, budget: int) -> Result:
    """`budget` faults of the server, nine a show."""
    return asyncio.run(storm(seed, drawn(seed, budget)))


def catches(patches: tuple[Patch, ...], seed: int, budget: int) -> bool:
    """Whether a bug of the shop is noticed, within a budget of faults."""
    sorts = [HUNT[n % len(HUNT)] for n in range(budget)]
    beside = [("second owner", "frozen owner", "ledger crash")[n % 3] for n in range(budget)]
    with planted(patches):
        return bool(asyncio.run(storm(seed, [list(zip(sorts, beside, strict=True))])).violations)
