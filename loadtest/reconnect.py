"""`python -m loadtest.reconnect`: a hub is lost with everybody on it; how soon all are back, what it costs, what is missing.

Starts a house of its own (`live up`, embedded servers) and lets a crowd into one room. While critical events and own events go on, a hub
process is killed (`kill`: SIGKILL) or told to end (`drain`: SIGTERM), and `live up` starts it again. Viewers come back by themselves as
pages do (static/sdk/live.js): spread as the hub asked for, then with a growing, random backoff, and with the position they hold. The hub's
limit of handshakes a second is the usual one. The last line is one JSON object.

- `seconds`: from the signal until the last of those who lost their socket was greeted again; also the first, p50 and p99.
- `critical_lost`: events that a viewer neither received nor was given a snapshot of, summed over all viewers, until after the wave.
  `own_lost`: own events told less those received. `rec_false`: who was given a snapshot instead of what was missed.
- `redis_reads`: what the hubs read in Redis by their own count, from just before the signal until all are back. A process that took the
  place of another counts from 0; what the lost one still read after the signal is not seen, and its place is in the bound all the same.
  `redis_reads_allowed` knows no viewers: see `reads_allowed`. `redis_reads_quiet`: the same in a window as long (at most
  10 s: `quiet_s`) after the wave, whose length is known only then.
- `sql_reads`: statements that PostgreSQL was sent by hubs, by web processes, or by one unknown, from the signal until all are back, and one
  for each viewer whose own events could only be read over HTTP (`own_null`), which this crowd leaves out. `sql_statements` has all by
  process: the ledger and the worker look around all the time, in the wave as in the quiet window after it.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import math
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from live.infra import roomlog
from loadtest.crowd import PER_ADDRESS, Return, Status
from loadtest.hubs import Figures
from loadtest.pace import percentile
from loadtest.roomful import MOST, ROOM, SPARE, USUAL_MOST, Roomful, roomful
from loadtest.stage import StageError
from loadtest.statements import UNKNOWN, Statements
from loadtest.verdict import verdict

SIGNALS = {"kill": signal.SIGKILL, "drain": signal.SIGTERM}
PACE = 0.5  # seconds between critical events, and between own events
NUDGES = 2 / PACE  # of a hub a second: either kind is read at once
WARM_SECONDS = 2.0  # events before the signal, so that everybody holds a position
PATIENCE = 30.0  # seconds without anybody coming back; the longest backoff is 20
QUIET_SECONDS = 10.0  # the quiet window at most: what looks around does so every second or two
LOOK = 0.1  # seconds between looks at how many are back
TICK_MS, REVOKED_SECONDS = 100, 10  # the hub's own: ticks, and looks at what was revoked
EACH = 12  # reads of a hub that knows no number of viewers, see `reads_allowed`
SOURCES = ("ring", "log", "snapshot", "none")
BOUNDS = {"critical_lost", "critical_repeated", "own_lost", "states_behind", "sql_reads", "not_back", "strange_frames"}  # 0 expected


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.reconnect", description="A hub is lost with everybody on it; how soon all are back, and what it costs."
    )
    parser.add_argument("--viewers", type=int, default=10_000, help="in one room")
    parser.add_argument("--how", choices=tuple(SIGNALS), default="kill", help="SIGKILL to the hub, or SIGTERM")
    parser.add_argument("--hubs", type=int, default=1, help="hub processes on one port; one of them is lost")
    parser.add_argument("--seed", type=int, default=1, help="of who gets own events")
    parser.add_argument("--max-seconds", type=float, help="fail when not all are back by then")
    options = parser.parse_args(words)
    if options.viewers < 1 or options.hubs < 1:
        parser.error("--viewers and --hubs must be at least 1")
    return options


def raised(viewers: int, hubs: int) -> dict[str, str]:
    """What must be raised by setting: some loopback addresses stand for a crowd, and the hubs that are left hold everybody for a while."""
    found: dict[str, int] = {"LIVE_HUBS": hubs} if hubs > 1 else {}
    if viewers > 2_000:  # the usual limit
        found["LIVE_HUB_SOCKETS_PER_ADDRESS"] = min(viewers, PER_ADDRESS) + SPARE
    if viewers + SPARE * hubs > USUAL_MOST * max(1, hubs - 1):
        found["LIVE_HUB_MAX_CONNECTIONS"] = MOST
    return {name: str(value) for name, value in found.items()}


def reads_allowed(hubs: int, seconds: float) -> int:
    """The most reads of Redis that hubs with one room may need in so many seconds, whoever comes back.

    Each hub looks once a tick and once per nudge, and every 10 s for revocations. `EACH`: a hub that begins reads revocations (1), the
    room twice and its comments (3), and once more per position that somebody comes back with from behind its ring: those held when the
    hub was lost, which differ by the events that were just being told, of either kind (4); a tick and a nudge under way at either end (4).
    """
    return math.ceil(hubs * (seconds * (1000 / TICK_MS + NUDGES + 1 / REVOKED_SECONDS) + EACH))


class Flow:
    """Critical events, and own events of some viewer, evenly until stopped. `told`: own events so far."""

    def __init__(self, run: Roomful, seed: int) -> None:
        self.run, self.chance, self.told = run, random.Random(seed), 0
        self.stopped = asyncio.Event()
        self.task = asyncio.create_task(self._go())

    async def _go(self) -> None:
        while not self.stopped.is_set():
            await self.run.director.burst(1, 0)
            who = f"p:{self.chance.randint(1, self.run.viewers)}"
            body = b'{"order":"R%d"}' % self.told
            if await roomlog.tell(self.run.director.redis, ROOM, [(who, f"order:R{self.told}", 1, body)]) != 1:
                raise StageError("an own event was not taken")
            self.told += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(PACE):
                    await self.stopped.wait()

    async def stop(self) -> None:
        """After the event under way. Raises what went wrong in it."""
        self.stopped.set()
        await self.task


@dataclass
class Window:
    """A stretch of time: its length in seconds, reads of Redis by the hubs, SQL statements by process, and the hubs' other figures."""

    seconds: float
    statements: Mapping[str, int]
    counted: Figures

    @property
    def redis_reads(self) -> int:
        """What the hubs read."""
        return round(self.counted.of("live_hub_redis_reads_total"))


class Watch:
    """Opens a window when made by `open`; `close` says what was in it."""

    def __init__(self, run: Roomful, statements: Statements, before: Figures) -> None:
        self.run, self.statements, self.before = run, statements, before
        self.log, self.since = statements.look(), time.monotonic()

    @classmethod
    async def open(cls, run: Roomful, statements: Statements) -> Watch:
        """From here on."""
        return cls(run, statements, await run.hubs.read())

    async def close(self) -> Window:
        """Until here."""
        log = self.statements.look()
        counted = (await self.run.hubs.read()).since(self.before)
        return Window(time.monotonic() - self.since, self.statements.between(self.log, log), counted)


@dataclass
class Wave:
    """`at`: when the signal was sent, `time.monotonic`; `returns`: the last one of each who lost the socket."""

    at: float
    window: Window
    status: Status
    returns: Sequence[Return]


async def break_and_wait(run: Roomful, statements: Statements, how: str) -> Wave:
    """Send the signal to the fullest hub, and wait until everybody is back or nobody comes any more."""
    await run.crowd.come_back()
    before = await run.crowd.status()
    watch = await Watch.open(run, statements)
    victim = max(run.hubs.pids, key=lambda pid: watch.before.of("live_hub_sockets", pid))
    there = round(watch.before.of("live_hub_sockets", victim))
    print(f"{SIGNALS[how].name} to hub {victim} with {there} viewers", flush=True)
    at = time.monotonic()
    os.kill(victim, SIGNALS[how])
    most, since, looked = -1, at, at
    while True:
        await asyncio.sleep(LOOK)
        status, now = await run.crowd.status(), time.monotonic()
        if status.lost - before.lost >= there and status.connected >= run.viewers:
            break
        if status.connected != most:
            most, since = status.connected, now
        elif now - since > PATIENCE:
            break
        if now - looked > 1:
            looked = now
            statements.look()
    window = await watch.close()
    seen = await run.take()
    last = {one.number: one for one in sorted(seen.returns, key=lambda one: one.back)}
    status.counts.subtract(before.counts)
    return Wave(at, window, status, list(last.values()))


async def reconnect(options: argparse.Namespace) -> dict[str, Any]:
    """The whole run; returns the report."""
    limits = raised(options.viewers, options.hubs)
    print("raised by setting: " + (", ".join(f"{name}={value}" for name, value in limits.items()) or "nothing"), flush=True)
    async with roomful(options.viewers, {"LIVE_HUBS": "1"} | limits, comments=False) as run:
        statements = Statements(run.house)
        await statements.begin()
        flow = Flow(run, options.seed)
        try:
            await asyncio.sleep(WARM_SECONDS)
            wave = await break_and_wait(run, statements, options.how)
            print(f"{len(wave.returns)} came back; now a look at the quiet room", flush=True)
            watch = await Watch.open(run, statements)
            await asyncio.sleep(min(wave.window.seconds, QUIET_SECONDS))
            quiet = await watch.close()
        finally:
            await flow.stop()
        accounts = await run.accounts()
        own = (await run.crowd.status()).counts["own"]
        return _report(options, run, wave, quiet, accounts, flow.told - own)


def _report(
    options: argparse.Namespace, run: Roomful, wave: Wave, quiet: Window, accounts: Mapping[str, Any], own_lost: int
) -> dict[str, Any]:
    counts, window = wave.status.counts, wave.window
    after = sorted(one.back - wave.at for one in wave.returns)
    sources = {name: round(window.counted.of("live_hub_resumes_total", source=name)) for name in SOURCES}
    own_null = counts["own unknown"]
    return {
        "viewers": options.viewers,
        "how": options.how,
        "hubs": options.hubs,
        "lost": len(wave.returns),
        "not_back": options.viewers - wave.status.connected,
        "seconds": round(max(after, default=0.0), 2),
        "first_s": round(min(after, default=0.0), 2),
        "p50_s": round(percentile(after, 0.5), 2),
        "p99_s": round(percentile(after, 0.99), 2),
        "peak_handshakes_per_s": peak([one.back for one in wave.returns]),
        "tries": dict(sorted(Counter(one.tries for one in wave.returns).items())),
        "refusals": {name.removeprefix("refused: "): n for name, n in counts.items() if name.startswith("refused") and n},
        "byes": {name.removeprefix("bye "): n for name, n in counts.items() if name.startswith("bye") and n},
        "resumes": sources,
        "rec_false": sum(one.source == "snapshot" for one in wave.returns),
        "own_null": own_null,
        "sql_reads": own_null + sum(window.statements.get(name, 0) for name in ("hub", "web", UNKNOWN)),
        "sql_statements": {"wave": window.statements, "quiet": quiet.statements},
        "redis_reads": window.redis_reads,
        "redis_reads_allowed": reads_allowed(options.hubs, window.seconds),
        "redis_reads_quiet": quiet.redis_reads,
        "quiet_s": round(quiet.seconds, 2),
        "critical_events": len(run.seen.items["critical"]),
        "own_lost": own_lost,
        **{name: accounts[name] for name in ("critical_lost", "critical_repeated", "states_behind", "strange_frames")},
    }


def peak(moments: Sequence[float]) -> int:
    """The most that fell into any one second."""
    ordered = sorted(moments)
    return max((n - bisect.bisect_right(ordered, at - 1.0) for n, at in enumerate(ordered, 1)), default=0)


def faults(report: Mapping[str, Any], max_seconds: float | None) -> list[str]:
    """Why this run is not good; empty when it is."""
    found = [f"{name} is {report[name]}" for name in sorted(BOUNDS) if report[name]]
    if report["redis_reads"] > report["redis_reads_allowed"]:
        found.append(f"{report['redis_reads']} reads of Redis, above {report['redis_reads_allowed']}")
    if not report["lost"]:
        found.append("nobody came back")
    if max_seconds is not None and report["seconds"] > max_seconds:
        found.append(f"all were back after {report['seconds']} s, above {max_seconds:g}")
    return found


def main() -> int:
    """Run, print, and say by the exit code whether it was good."""
    options = arguments()
    return verdict("reconnect", reconnect(options), lambda report: faults(report, options.max_seconds))


if __name__ == "__main__":
    sys.exit(main())
