"""`python -m loadtest.fanout`: a room full of viewers, what reaches them and how late, and how near the hub comes to the bare limit.

Starts a house of its own (`live up`, embedded servers), lets a crowd into one room and directs it for `seconds`. The last line is one
JSON object. Everything is on the loopback.

- `critical_…`, `chat_…`: from the moment an item was meant to be written in Redis, or said by its sender, to its receipt by a viewer, over
  all viewers. `tick_p99_ms`: how much later than the first viewer a viewer gets a tick's frame of state or chat (of several hubs, a frame
  that two of them make alike counts as one).
- `offered_logical`: viewers x (comments taken + critical events) + state values the hub counted as offered: which of a key's values a
  viewer is sent depends on when their turn comes. Of several hubs, which coalesce each in its own way, all of it is what they counted.
  `states_behind`: keys that a viewer holds in an older version than Redis, at the end.
- `critical_lost`: events that a viewer neither received nor was given a snapshot of. `skipped`: items not sent to slow sockets.
- `identity`: per lane, what the hubs counted as offered, what came, what they counted as not written. Offered is the sum of the others.
- `rss_per_viewer_kib`: what the hubs grew by, from before the first viewer to after the room was directed for `seconds`.
- `ratio`, `ratio_by_cpu`, `ratio_by_receipt`: see `pairs.py`; of the frames of the profile. The profile `single` sends critical events of
  some 150 bytes in bursts, one a frame, again and again for `seconds`.
- `kernel_drops`: packets the kernel itself dropped on the loopback; each comes again 200 ms later, which is nobody's fault here.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtest import processes
from loadtest.crowd import Seen
from loadtest.director import Rates
from loadtest.held import LANES
from loadtest.pairs import Bare, arrived, measure
from loadtest.proxy import PROXIES
from loadtest.roomful import Roomful, limits, roomful
from loadtest.verdict import verdict

BURST = 100_000  # frames of a slice, all viewers together: some 0.6 s of writing
PAD = 70  # characters that make a critical event's frame some 150 bytes
SLICE_SECONDS = 1.0  # of a slice of the tick profile
STEP, STEP_SECONDS, STEP_P99_MS = 1.5, 8.0, 400.0  # of --find-max: how much more, for how long, and what is still good
STEPS = 12  # from 200 comments a second to 17,000, which no room has
CALM = 3.0  # seconds at least before a stall and after it, to compare with and to catch up
BEHIND_MARGIN = 60.0  # seconds a hub is told to bear a stalled socket beyond its stall
BOUNDS = {  # flag: (key of the report, whether more is better)
    "min_ratio": ("ratio", True),
    "min_delivered": ("delivered_ratio", True),
    "max_critical_p99_ms": ("critical_p99_ms", False),
    "max_chat_p99_ms": ("chat_p99_ms", False),
    "max_tick_p99_ms": ("tick_p99_ms", False),
    "max_rss_kib": ("rss_per_viewer_kib", False),
}


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.fanout", description="A room full of viewers: what reaches them, and when.")
    parser.add_argument("--viewers", type=int, default=10_000, help="sockets in the room")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the room is directed")
    parser.add_argument("--profile", choices=("tick", "single"), default="tick", help="comments, state and events, or events one a frame")
    parser.add_argument("--hubs", type=int, default=1, help="hub processes on one port")
    parser.add_argument("--comments", type=float, default=200, help="a second")
    parser.add_argument("--states", type=float, default=1000, help="state changes a second, over 5 keys")
    parser.add_argument("--criticals", type=float, default=2, help="critical events a second")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of slices for the ratio; 0: no ratio")
    parser.add_argument(
        "--pin", action=argparse.BooleanOptionalAction,
        help="hubs on the first cores, the crowd on the others; the default where there are more cores than hubs",
    )  # fmt: skip
    parser.add_argument("--find-max", action="store_true", help="raise the comments step by step while their p99 is within 400 ms")
    parser.add_argument("--stalled", type=int, default=0, help="viewers that stop reading in the middle")
    parser.add_argument("--stall-seconds", type=float, default=30.0, help="for how long they do")
    parser.add_argument("--tls", action="store_true", help="through an nginx that speaks TLS; no ratio then")
    for flag, (key, more) in BOUNDS.items():
        parser.add_argument(f"--{flag.replace('_', '-')}", type=float, help=f"fail {'below' if more else 'above'} this {key}")
    options = parser.parse_args(words)
    if options.viewers < 1 or options.seconds <= 0 or options.hubs < 1:
        parser.error("--viewers, --seconds and --hubs must be positive")
    if options.stalled and options.seconds < options.stall_seconds + 2 * CALM:
        parser.error(f"--seconds must be at least {options.stall_seconds + 2 * CALM:g}: the stall and {CALM:g} s before and after it")
    if options.stalled >= options.viewers or (options.stalled and (options.profile != "tick" or options.hubs > 1)):
        parser.error("--stalled is for fewer than all viewers of one hub, in the tick profile")
    if options.find_max and options.profile != "tick":
        parser.error("--find-max is for the tick profile")
    if options.profile == "single":
        options.comments = options.states = options.criticals = 0.0
    if options.profile == "single" and (options.tls or options.pairs < 1):
        parser.error("--profile single is about the ratio: without --tls, and with --pairs")
    options.pairs = 0 if options.tls else options.pairs
    if options.pin is None:  # a crowd that takes turns with its hub on one core would measure the scheduler
        options.pin = len(os.sched_getaffinity(0)) > options.hubs
    return options


def raised(options: argparse.Namespace) -> dict[str, str]:
    """The settings of the house."""
    more: dict[str, object] = {}
    if options.profile == "single":
        # The bare loop has no pings to answer either, so nobody is closed for silence.
        more |= {"LIVE_HUB_EVENTS_PER_FRAME": 1, "LIVE_HUB_SILENT_SECONDS": 3600}
    if options.stalled:
        # A hub does not read a socket that does not read it, so whoever stalls is silent too.
        more["LIVE_HUB_BEHIND_SECONDS"] = more["LIVE_HUB_SILENT_SECONDS"] = options.stall_seconds + BEHIND_MARGIN
    if options.tls:
        more["LIVE_TRUSTED_PROXIES"] = PROXIES
    comments = options.comments * (STEP**STEPS if options.find_max else 1)
    return limits(options.viewers, options.hubs, comments, **more)


async def fanout(options: argparse.Namespace) -> dict[str, Any]:
    """The whole run; returns the report."""
    settings = raised(options)
    print("raised by setting: " + ", ".join(f"{name}={value}" for name, value in settings.items()), flush=True)
    ping = 0.0 if options.profile == "single" else 25.0
    async with roomful(
        options.viewers, settings, comments=options.comments > 0, ping=ping, pin=options.pin, tls=options.tls, aside=options.stalled
    ) as room:
        print(f"{room.viewers} viewers on {options.hubs} hub(s), in {room.crowd.processes} process(es)", flush=True)
        before, dropped = await _cpu(room), _kernel_drops()
        report = await (_single(options, room) if options.profile == "single" else _tick(options, room))
        report |= await room.accounts()
        report["kernel_drops"] = _kernel_drops() - dropped
        report["cpu_s"] = processes.spent(before, await _cpu(room))
    shape = {"profile": options.profile, "viewers": options.viewers, "hubs": options.hubs, "pinned": options.pin, "tls": options.tls}
    return {**shape, "processes": room.crowd.processes, **report}


async def _tick(options: argparse.Namespace, room: Roomful) -> dict[str, Any]:
    rates = Rates(options.comments, options.states, options.criticals)
    if options.stalled:
        seen, report = await _stalled(options, room, rates)
    else:
        seen, report = await _directed(room, options.seconds, rates), {}
    report |= await _delivery(room, seen, options.seconds)
    report |= {"unanswered": room.director.unanswered, "refused": dict(room.director.refused)}

    async def act() -> float:
        await room.crowd.mark()
        await room.director.run(SLICE_SECONDS, rates)
        await room.settle()
        status = await room.crowd.status()
        return status.frames / max(status.last - status.first, 1e-6)

    if options.pairs:
        async with Bare(room.hubs, room.crowd, options.pin) as bare:
            report |= (await measure(options.pairs, 0.0, room.hubs, bare, act, room.take)).report(by_receipt=False)
    if options.find_max:
        report |= await _find_max(options, room)
    return report


async def _single(options: argparse.Namespace, room: Roomful) -> dict[str, Any]:
    frames = max(1, min(200, BURST // room.viewers))

    async def act() -> float:
        await room.crowd.mark()
        await room.director.burst(frames, PAD)
        return (await arrived(room.crowd, frames * room.viewers))[1]

    async with Bare(room.hubs, room.crowd, options.pin) as bare:
        pairs = await measure(options.pairs, options.seconds, room.hubs, bare, act, room.take)
    seconds = sum(each.frames / each.seen_per_s for each in pairs.hub)
    return {**await _delivery(room, room.seen, seconds), **pairs.report(by_receipt=True)}


async def _directed(room: Roomful, seconds: float, rates: Rates) -> Seen:
    await room.director.run(seconds, rates)
    await room.settle()
    return await room.take()


async def _delivery(room: Roomful, seen: Seen, seconds: float) -> dict[str, Any]:
    """How much came of what was to come so far, and how old it was."""
    offered = room.offered((await room.hubs.read()).since(room.began))
    received = sum(seen.all.items.values())
    return {
        "offered_logical": offered,
        "delivered_ratio": round(received / offered, 6) if offered else 0.0,
        "logical_per_s": round(received / seconds),
        "frames_per_s": round((seen.all.frames - seen.all.bare) / seconds),
        "rss_per_viewer_kib": round((room.hubs.rss_kib() - room.rss_before) / room.viewers, 2),
        "tick_p99_ms": seen.crowd.sweep_ms(0.99),
        "critical_p50_ms": seen.crowd.age_ms("critical", 0.5),
        "critical_p99_ms": seen.crowd.age_ms("critical", 0.99),
        "state_p99_ms": seen.crowd.age_ms("state", 0.99),
        "chat_p50_ms": seen.crowd.age_ms("chat", 0.5),
        "chat_p99_ms": seen.crowd.age_ms("chat", 0.99),
    }


async def _stalled(options: argparse.Namespace, room: Roomful, rates: Rates) -> tuple[Seen, dict[str, Any]]:
    """Direct the room, and let some viewers stop reading in the middle: do the others notice, and is every skip accounted for?"""
    directing = asyncio.create_task(room.director.run(options.seconds, rates))
    try:
        await asyncio.sleep((options.seconds - options.stall_seconds) / 2)
        before, rss = await room.take(), room.hubs.rss_kib()
        await room.crowd.stall(options.stall_seconds)
        await asyncio.sleep(options.stall_seconds)
        during, grown = await room.take(), room.hubs.rss_kib() - rss
        await directing
    finally:
        directing.cancel()
    await room.settle()
    after = await room.take()
    counted = (await room.hubs.read()).since(room.began)
    seen = Seen()
    for part in (before, during, after):
        seen.merge(part)
    return seen, {
        "stalled": options.stalled,
        "critical_p99_before_ms": before.crowd.age_ms("critical", 0.99),
        "critical_p99_stalled_ms": during.crowd.age_ms("critical", 0.99),
        "stall_rss_kib": round(grown),
        "missed": {lane: len(seen.items[lane]) * options.stalled - seen.aside.items[lane] for lane in LANES},
        "skips": {lane: round(counted.of("live_hub_skipped_items_total", lane=lane, reason="slow")) for lane in LANES},
    }


async def _find_max(options: argparse.Namespace, room: Roomful) -> dict[str, Any]:
    """The highest rate of comments that still come in time."""
    found, rate = {"max_comments_per_s": 0, "max_logical_per_s": 0}, options.comments
    for _ in range(STEPS):
        refused = sum(room.director.refused.values())
        seen = await _directed(room, STEP_SECONDS, Rates(rate, options.states, options.criticals))
        p99, items = seen.crowd.age_ms("chat", 0.99), sum(seen.all.items.values())
        print(f"{rate:g} comments/s: p99 {p99:g} ms, {items / STEP_SECONDS:,.0f} items/s", flush=True)
        if p99 > STEP_P99_MS or room.director.unanswered or sum(room.director.refused.values()) > refused:
            break
        found = {"max_comments_per_s": round(rate), "max_logical_per_s": round(items / STEP_SECONDS)}
        rate *= STEP
    return found


async def _cpu(room: Roomful) -> dict[str, float]:
    return processes.cpu(room.house.pid) | {"receivers": (await room.crowd.status()).cpu}


def _kernel_drops() -> int:
    table = Path("/proc/net/softnet_stat")
    return sum(int(line.split()[1], 16) for line in table.read_text().splitlines()) if table.exists() else 0


def faults(report: Mapping[str, Any], options: argparse.Namespace) -> list[str]:
    """Why this run is not good; empty when it is."""
    never = ("critical_lost", "critical_repeated", "states_behind", "lost_sockets", "strange_frames", "unanswered", "refused")
    found = [f"{name} is {report[name]}" for name in never if report.get(name)]
    if not report.get("lost_sockets"):  # what waited for those, in whose buffer ever, went with them
        for lane, sums in report["identity"].items():
            if sums["offered"] != sums["received"] + sums["skipped"]:
                found.append(f"{lane}: {sums['offered']} offered are not {sums['received']} received and {sums['skipped']} skipped")
        if report.get("missed") != report.get("skips"):
            found.append(f"the stalled missed {report['missed']}, the hub skipped {report['skips']}")
    for flag, (key, more) in BOUNDS.items():
        bound = getattr(options, flag)
        if bound is None:
            continue
        if key not in report:
            found.append(f"no {key} was measured")
        elif (report[key] < bound) if more else (report[key] > bound):
            found.append(f"{key} is {report[key]}, {'below' if more else 'above'} {bound:g}")
    return found


def main() -> int:
    """Run, print, and say by the exit code whether it was good."""
    options = arguments()
    return verdict("fanout", fanout(options), lambda report: faults(report, options))


if __name__ == "__main__":
    sys.exit(main())
