"""`python -m loadtest.rush --buyers 20000 --stock 1000 --retry 0.25`: many more buyers than units, and many who do not wait for an answer.

Everybody taps once within a few seconds, open loop, one unit a person. Some tap again a moment later whatever they have heard: half of
them over the same connection, half over another, with the key of their tap, as a page does that was loaded anew; and a few with a new
key, which is a new wish. Exactly the stock must be sold, everybody answered, and nobody have two orders for one tap.

The door is `rush --door direct`: what the hub does with taps, without its sockets; each connection is one hub with a channel of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadtest.books import opened
from loadtest.doors import DirectDoor
from loadtest.pace import arrivals, percentile
from loadtest.rush import PATIENCE, ROOM, books
from loadtest.stage import House, house, open_sale, owner
from loadtest.storm import OK, Storm
from loadtest.verdict import verdict

AGAIN = (0.02, 0.5)  # seconds until the second tap: sooner than the fastest verdict, and later than most
NEW_KEY = 0.02  # of all buyers
OTHER = 0.5  # of those who tap again do so over another connection


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.rush", description="Many buyers for few units, some of them impatient.")
    parser.add_argument("--buyers", type=int, required=True, help="people; each wants one unit")
    parser.add_argument("--stock", type=int, required=True, help="units on sale")
    parser.add_argument("--retry", type=float, default=0.25, help="share of buyers who tap again with the same key")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long first taps come in")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-p99-ms", type=float, help="fail above this, for those who got a unit")
    options = parser.parse_args(words)
    if options.buyers < 1 or options.stock < 1 or not 0 <= options.retry <= 1 - NEW_KEY:
        parser.error(f"--buyers and --stock must be at least 1, --retry between 0 and {1 - NEW_KEY}")
    return options


@dataclass(frozen=True)
class Crowd:
    """When who taps. `first`: per buyer; `same`: (moment, buyer) over the same connection; `other`: (moment, buyer, key) over another."""

    first: list[float]
    same: list[tuple[float, int]]
    other: list[tuple[float, int, str]]

    @staticmethod
    def draw(buyers: int, retry: float, seconds: float, seed: int) -> Crowd:
        """The same seed, the same crowd."""
        first, dice = arrivals(buyers, seconds, seed), random.Random(seed)
        order = dice.sample(range(buyers), buyers)
        again, fresh = order[: round(buyers * retry)], order[round(buyers * retry) :][: round(buyers * NEW_KEY)]
        split = round(len(again) * OTHER)
        other = [(first[n] + dice.uniform(*AGAIN), n, key) for people, key in ((again[:split], "tap"), (fresh, "new")) for n in people]
        same = [(first[n] + dice.uniform(*AGAIN), n) for n in again[split:]]
        return Crowd(first, sorted(same), sorted(other))


class Hub(DirectDoor):
    """One connection of many buyers. `taps`: buyer and key of each; a key that was sent elsewhere before is no first try."""

    def __init__(self, storm: Storm, found: House, offer: int, taps: list[tuple[int, str]], before: int) -> None:
        super().__init__(storm, found, ROOM, offer)
        self.taps, self.before = taps, before

    def whose(self, n: int) -> tuple[int, str]:
        """The buyer and the key of tap n."""
        buyer, key = self.taps[n]
        return buyer + 1, key

    def tap(self, n: int, tries: int) -> None:
        """Tries are counted per key, over all connections."""
        super().tap(n, tries + (self.before if self.taps[n][1] == "tap" else 0))


async def _again(storm: Storm, door: Hub, same: list[tuple[float, int]]) -> None:
    """The impatient of the first connection, answered or not."""
    await asyncio.sleep(0)  # the storm begins in this turn of the loop
    for moment, buyer in same:
        await asyncio.sleep(max(0.0, storm.start + moment - time.perf_counter()))
        door.tap(buyer, 2)


async def impatience(options: argparse.Namespace) -> dict[str, Any]:
    """The whole run; returns the report."""
    crowd = Crowd.draw(options.buyers, options.retry, options.seconds, options.seed)
    print("raised by setting: nothing", flush=True)
    async with house({}) as found, owner(found) as boss:
        offer = await open_sale(boss, ROOM, options.stock, 1)
        storms = Storm(crowd.first), Storm([moment for moment, _, _ in crowd.other])
        doors = (
            Hub(storms[0], found, offer, [(n, "tap") for n in range(options.buyers)], 0),
            Hub(storms[1], found, offer, [(n, key) for _, n, key in crowd.other], 1),
        )
        try:
            for door in doors:
                await door.open()
            print(f"{options.buyers} buyers for {options.stock} units, {len(crowd.same)} + {len(crowd.other)} tap again", flush=True)
            gc.collect()
            gc.freeze()
            runs = [storm.run(door, PATIENCE) for storm, door in zip(storms, doors, strict=True) if storm.due]
            await asyncio.gather(*runs, _again(storms[0], doors[0], crowd.same))
        finally:
            for door in doors:
                await door.close()
        return await _report(options, found, crowd, storms, offer)


async def _report(options: argparse.Namespace, found: House, crowd: Crowd, storms: tuple[Storm, Storm], offer: int) -> dict[str, Any]:
    audit = await found.audit()
    taken = sum(one["taken"] for room in audit["rooms"] for one in room["offers"] if one["offer"] == offer)
    orders = await booked(found.database_url, offer)
    told = {buyer for buyer, code in enumerate(storms[0].codes) if code == OK}
    told |= {buyer for (_, buyer, _), code in zip(crowd.other, storms[1].codes, strict=True) if code == OK}
    got, elsewhere = (storm.latencies_ms(confirmed=True) for storm in storms)  # elsewhere it is found by asking, once a second
    refused = [late for storm in storms for late in storm.latencies_ms(confirmed=False)]
    unanswered = sum(storm.unanswered for storm in storms if storm.due)
    return {
        "buyers": options.buyers,
        "stock": options.stock,
        "taps": options.buyers + len(crowd.same) + len(crowd.other),
        "retried": len(crowd.same) + sum(key == "tap" for _, _, key in crowd.other),
        "retried_elsewhere": sum(key == "tap" for _, _, key in crowd.other),
        "new_keys": sum(key == "new" for _, _, key in crowd.other),
        "answered": options.buyers + len(crowd.other) - unanswered,
        "unanswered": unanswered,
        "winners": len(told),
        "doubles": len(orders) - len(set(orders)),
        # Whoever was told of an order that is not there, and whoever has one and was told otherwise.
        "mistaken": len(told ^ set(orders)),
        **books(options.buyers, options.stock, len(told), taken),
        "p50_ms": round(percentile(got, 0.5), 1),
        "p99_ms": round(percentile(got, 0.99), 1),
        "elsewhere_p99_ms": round(percentile(elsewhere, 0.99), 1),
        "refused_p99_ms": round(percentile(refused, 0.99), 1),
        "balanced": audit["balanced"],
        **found.durability,
    }


async def booked(database_url: str, offer: int) -> list[int]:
    """The buyer of each order that the books hold of this offer."""
    async with opened(database_url) as connection:
        query = "SELECT person FROM orders o JOIN order_line l ON l.order_no = o.no WHERE l.offer_id = %s"
        rows = await (await connection.execute(query, (offer,))).fetchall()
    return [int(str(person).removeprefix("p:")) - 1 for (person,) in rows]


def faults(report: Mapping[str, Any], options: argparse.Namespace) -> list[str]:
    """Why this run is not good; empty when it is."""
    found = [f"{name} is {report[name]}" for name in ("oversold", "undersold", "unanswered", "doubles", "mistaken") if report[name]]
    if not report["balanced"]:
        found.append("the audit does not balance")
    if options.max_p99_ms is not None and report["p99_ms"] > options.max_p99_ms:
        found.append(f"p99 is {report['p99_ms']} ms, above {options.max_p99_ms:g}")
    return found


def main() -> int:
    """Run, print, and say by the exit code whether it was good."""
    options = arguments()
    return verdict("rush", impatience(options), lambda report: faults(report, options))
