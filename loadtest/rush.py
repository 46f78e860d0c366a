"""`python -m loadtest.rush`: a rush for one item through the whole house, and whether exactly the stock was sold.

Starts a house of its own (`live up`, embedded servers, durable commits), sets up a shop through the owner's doors, lets `rate` taps a
second come in for `seconds`, open loop, waits until every tap is answered, and asks the audit. The last line is one JSON object.
Buyers hold tokens signed with the secret this program gave to the house; thousands of phone logins would measure something else.

`p50_ms` and `p99_ms` are of those who got a unit, from the moment their tap was due to the verdict. Who comes too late is refused from
state the hub holds already, which would only flatter the figure (`refused_p99_ms` is theirs). `sold` is what the books say was taken.
"""

from __future__ import annotations

import argparse
import gc
import math
import sys
from collections.abc import Mapping
from typing import Any

from loadtest import processes
from loadtest.doors import DirectDoor, SocketDoor, bare_limit
from loadtest.pace import arrivals, percentile
from loadtest.stage import House, house, open_sale, owner
from loadtest.storm import Storm
from loadtest.verdict import verdict

ROOM = "storm"
PER_PERSON = 99  # the most an offer allows: the storm is for the stock, not for the limit per person
TAPS_EACH = 50  # per socket, well below PER_PERSON
FEWEST, MOST = 200, 15_000  # sockets; the hub of one machine takes 18,000
PATIENCE = 30.0  # seconds for what is unanswered when everything has been sent
LIMIT_SECONDS = 2.0


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.rush", description="A rush for one item, and whether exactly the stock was sold."
    )
    parser.add_argument("--rate", type=int, default=2_000, help="taps a second")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long they come in")
    parser.add_argument("--stock", type=int, help="units on sale; rate x seconds unless given")
    parser.add_argument("--door", choices=("socket", "direct"), default="socket", help="through the hub, or straight to the turnstile")
    parser.add_argument("--sockets", type=int, help="connections of the socket door; one per 50 taps, at least 200, unless given")
    parser.add_argument("--seed", type=int, default=1, help="of the crowd's arrival")
    parser.add_argument("--max-p99-ms", type=float, help="fail above this")
    parser.add_argument("--min-confirmed", type=float, help="fail below so many confirmations a second")
    options = parser.parse_args(words)
    options.wanted = round(options.rate * options.seconds)
    if options.wanted < 1:
        parser.error("--rate x --seconds must be at least one tap")
    options.stock = options.wanted if options.stock is None else options.stock
    options.sockets = options.sockets or min(MOST, options.wanted, max(FEWEST, math.ceil(options.wanted / TAPS_EACH)))
    if options.door == "socket" and math.ceil(options.wanted / options.sockets) > PER_PERSON:
        parser.error(
            f"each socket is one person, who may buy {PER_PERSON}: --sockets must be at least {math.ceil(options.wanted / PER_PERSON)}"
        )
    return options


def raised(options: argparse.Namespace) -> dict[str, str]:
    """The limits this storm must raise by setting: a few sockets of one address stand for a crowd."""
    if options.door == "direct":
        return {}
    each = math.ceil(options.wanted / options.sockets)
    found = {
        "LIVE_HUB_BUYS_PER_SECOND": each, "LIVE_HUB_BUY_BURST": 2 * each + 10,
        "LIVE_HUB_COMMANDS_PER_SECOND": each, "LIVE_HUB_COMMAND_BURST": 2 * each + 10,
        "LIVE_HUB_SOCKETS_PER_ADDRESS": max(2_000, options.sockets + 100),
    }  # fmt: skip
    return {name: str(value) for name, value in found.items()}


async def rush(options: argparse.Namespace) -> dict[str, Any]:
    """The whole run; returns the report."""
    limits = raised(options)
    print("raised by setting: " + (", ".join(f"{name}={value}" for name, value in limits.items()) or "nothing"), flush=True)
    async with house(limits) as found, owner(found) as boss:
        offer = await open_sale(boss, ROOM, options.stock, PER_PERSON)
        storm = Storm(arrivals(options.wanted, options.seconds, options.seed))
        door: SocketDoor | DirectDoor
        if options.door == "socket":
            door = SocketDoor(storm, found, ROOM, offer, options.sockets, options.seed)
        else:
            door = DirectDoor(storm, found, ROOM, offer)
        try:
            await door.open()
            print(f"{options.wanted} taps for {options.stock} units in {options.seconds:g} s by the {options.door} door", flush=True)
            gc.collect()
            gc.freeze()  # what is here stays; looking through it again would be a pause of ours in the server's figures
            before = processes.cpu(found.pid)
            await storm.run(door, PATIENCE)
            used = processes.spent(before, processes.cpu(found.pid))
        finally:
            await door.close()
        return await _report(options, found, storm, door, offer, used)


async def _report(
    options: argparse.Namespace, found: House, storm: Storm, door: SocketDoor | DirectDoor, offer: int, used: Mapping[str, float]
) -> dict[str, Any]:
    audit = await found.audit()
    terms = [one for room in audit["rooms"] for one in room["offers"] if one["offer"] == offer]
    limit = await bare_limit(found.redis_url, LIMIT_SECONDS)
    got, refused = storm.latencies_ms(confirmed=True), storm.latencies_ms(confirmed=False)
    report: dict[str, Any] = {
        "door": options.door,
        "wanted": options.wanted,
        "stock": options.stock,
        "offered_per_s": round(storm.offered_per_s()),
        "confirmed_per_s": round(storm.confirmed_per_s()),
        "p50_ms": round(percentile(got, 0.5), 1),
        "p99_ms": round(percentile(got, 0.99), 1),
        "refused_p99_ms": round(percentile(refused, 0.99), 1),
        "confirmed": storm.confirmed,
        "refused": storm.refused,
        "unanswered": storm.unanswered,
        "resent": storm.resent,
        **books(options.wanted, options.stock, storm.confirmed, sum(one["taken"] for one in terms)),
        "balanced": audit["balanced"],
        "limit_per_s": round(limit),
        "ratio": round(storm.confirmed_per_s() / limit, 3),
        **found.durability,
        "cpu_s": dict(used),
    }
    if isinstance(door, SocketDoor):
        report |= {"sockets": options.sockets, "pending": door.pending, "lost_sockets": door.lost, "frames_heard": door.frames}
    return report


def books(wanted: int, stock: int, confirmed: int, taken: int) -> dict[str, int]:
    """`taken` in the books against the stock and against what people were told. Whoever was told so without a booking is oversold too."""
    told_only = max(0, confirmed - taken)
    return {"sold": taken, "oversold": max(0, taken - stock) + told_only, "undersold": max(0, min(stock, wanted) - taken)}


def faults(report: Mapping[str, Any], options: argparse.Namespace) -> list[str]:
    """Why this run is not good; empty when it is."""
    found = [f"{name} is {report[name]}" for name in ("oversold", "undersold", "unanswered") if report[name]]
    if not report["balanced"]:
        found.append("the audit does not balance")
    if options.max_p99_ms is not None and report["p99_ms"] > options.max_p99_ms:
        found.append(f"p99 is {report['p99_ms']} ms, above {options.max_p99_ms:g}")
    if options.min_confirmed is not None and report["confirmed_per_s"] < options.min_confirmed:
        found.append(f"{report['confirmed_per_s']} confirmed a second, below {options.min_confirmed:g}")
    return found


def main() -> int:
    """Run, print, and say by the exit code whether it was good. `--buyers` is the other scene: see `impatience`."""
    if any(word.startswith("--buyers") for word in sys.argv[1:]):
        from loadtest import impatience  # which knows this module

        return impatience.main()
    options = arguments()
    return verdict("rush", rush(options), lambda report: faults(report, options))


if __name__ == "__main__":
    sys.exit(main())
