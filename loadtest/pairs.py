"""How near the hub comes to the limit: pairs of slices, one written by the hub and one of equally long frames by the bare loop (`bare.py`).

Both write to the same sockets and nobody else writes meanwhile. A slice of the hub is worth the frames it wrote over its own time for
them (from having read the room to the last write, as it counts itself). The order within a pair alternates, so that what else happens on
the machine meets both alike.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from loadtest.crowd import Crowd, Seen
from loadtest.hubs import Figures, Hubs, stay
from loadtest.stage import StageError

ARRIVE_SECONDS = 20.0  # for the frames of one slice, far above a second
LOOK_SECONDS = 0.05  # between looks at what has arrived: rare enough to cost the receivers nothing
STILL_SECONDS = 1.2  # nothing comes for so long: a tick under load is at most a second
BEGIN_SECONDS = 30.0  # finding 18,000 descriptors takes one


@dataclass
class Slice:
    """`frames` to all viewers together; `per_s`: of the writer's own time; `seen_per_s`: from the first receipt to the last.

    `cpu`: seconds of processor time of the writer, whatever else it did meanwhile.
    """

    frames: int
    per_s: float
    seen_per_s: float
    cpu: float
    again: int = 0
    partial: int = 0


@dataclass
class Pairs:
    """The figures of some pairs."""

    hub: list[Slice] = field(default_factory=list)
    bare: list[Slice] = field(default_factory=list)

    def report(self, by_receipt: bool) -> dict[str, Any]:
        """`ratio` is the median over the pairs, `ratio_spread` the largest less the smallest.

        `ratio_by_cpu` says what a frame costs, and does not mind neighbours on the machine; `ratio_by_receipt` is what viewers saw.
        """
        pairs = list(zip(self.hub, self.bare, strict=True))
        ratios = [hub.per_s / bare.per_s for hub, bare in pairs]
        found: dict[str, Any] = {
            "sends_per_s": round(statistics.median(hub.per_s for hub in self.hub)),
            "limit_sends_per_s": round(statistics.median(bare.per_s for bare in self.bare)),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_spread": round(max(ratios) - min(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
            "bare_again": sum(bare.again for bare in self.bare),
            "bare_partial": sum(bare.partial for bare in self.bare),
        }
        if all(hub.cpu and bare.cpu for hub, bare in pairs):
            found["ratio_by_cpu"] = round(statistics.median((hub.frames / hub.cpu) / (bare.frames / bare.cpu) for hub, bare in pairs), 3)
        if by_receipt:
            found["ratio_by_receipt"] = round(statistics.median(hub.seen_per_s / bare.seen_per_s for hub, bare in pairs), 3)
        return found


class Bare:
    """A bare loop per hub; they run at the same time. Use as a context."""

    def __init__(self, hubs: Hubs, crowd: Crowd, pinned: bool) -> None:
        self.hubs, self.crowd, self.pinned = hubs, crowd, pinned
        self.loops: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Bare:
        """Take duplicates of every viewer's socket. Raises StageError when the kernel refuses."""
        try:
            for pid in self.hubs.pids:
                words = (sys.executable, "-m", "loadtest.bare", "--pid", str(pid), "--port", str(self.hubs.port))
                self.loops.append(await asyncio.create_subprocess_exec(*words, stdin=PIPE, stdout=PIPE))
                if self.pinned:
                    stay(self.loops[-1].pid, os.sched_getaffinity(pid))
            async with asyncio.timeout(BEGIN_SECONDS):
                said = [await _answer(loop) for loop in self.loops]
            if sum(one["sockets"] for one in said) != len(self.crowd.tokens):
                raise StageError(f"the hubs have {said} viewers' sockets, not {len(self.crowd.tokens)}")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for loop in self.loops:
            if loop.stdin is not None:
                loop.stdin.close()
            await loop.wait()

    async def write(self, frames: int, size: int) -> Slice:
        """So many frames of `size` bytes of payload to every viewer; returns when all have come. Raises StageError."""
        await self.crowd.mark()
        for loop in self.loops:
            if loop.stdin is not None:
                loop.stdin.write(json.dumps({"frames": frames, "size": size}).encode() + b"\n")
        said = await asyncio.gather(*(_answer(loop) for loop in self.loops))
        again = sum(one["again"] for one in said)
        count, seen = await arrived(self.crowd, frames * len(self.crowd.tokens) - again)
        cpu, partial = (sum(one[name] for one in said) for name in ("cpu", "partial"))
        return Slice(count, sum(one["written"] / one["seconds"] for one in said), seen, cpu, again, partial)


async def _answer(loop: asyncio.subprocess.Process) -> dict[str, Any]:
    line = await loop.stdout.readline() if loop.stdout is not None else b""
    found = dict(json.loads(line)) if line else {"error": "the bare loop ended; what it said is above"}
    if "error" in found:
        raise StageError(str(found["error"]))
    return found


async def arrived(crowd: Crowd, frames: int) -> tuple[int, float]:
    """Wait for so many frames since the last mark: (frames, frames a second by their receipt). Raises StageError."""
    until = time.monotonic() + ARRIVE_SECONDS
    while True:
        status = await crowd.status()
        if status.frames >= frames:
            return status.frames, status.frames / max(status.last - status.first, 1e-6)
        if time.monotonic() > until:
            raise StageError(f"{status.frames} of {frames} frames came, {status.lost} viewers were lost")
        await asyncio.sleep(LOOK_SECONDS)


async def still(crowd: Crowd, seconds: float) -> None:
    """Wait until nothing came for STILL_SECONDS, at most so long."""
    until, last, since = time.monotonic() + seconds, -1, 0.0
    while time.monotonic() < until:
        frames = (await crowd.status()).frames
        if frames != last:
            last, since = frames, time.monotonic()
        elif time.monotonic() - since > STILL_SECONDS:
            return
        await asyncio.sleep(LOOK_SECONDS)


def hub_slice(spent: Figures, seen_per_s: float, cpu: float) -> Slice:
    """A hub's slice by its own figures; of several hubs, which write at the same time, the sum of their rates."""
    rates = []
    for pid in spent.hubs:
        seconds = spent.of("live_hub_sweep_seconds_sum", pid)
        if seconds <= 0:
            raise StageError("a hub wrote nothing in a slice")
        rates.append(spent.of("live_hub_written_frames_total", pid) / seconds)
    return Slice(round(spent.of("live_hub_written_frames_total")), sum(rates), seen_per_s, cpu)


async def measure(
    count: int, seconds: float, hubs: Hubs, bare: Bare, act: Callable[[], Awaitable[float]], take: Callable[[], Awaitable[Seen]]
) -> Pairs:
    """At least `count` pairs, and more until `seconds` are over.

    `act` makes the hub write a slice and returns its frames a second by their receipt; `take` tells what has come since the last take.
    """
    found, frames, size, until = Pairs(), 0, 0, time.monotonic() + seconds
    for n in itertools.count():
        if n >= count and time.monotonic() > until:
            break
        if n % 2:
            found.bare.append(await bare.write(frames, size))
            await take()
        before, used = await hubs.read(), hubs.cpu_s()
        seen, used = await act(), hubs.cpu_s() - used
        found.hub.append(hub_slice((await hubs.read()).since(before), seen, used))
        came = (await take()).all
        frames, size = round(came.frames / len(bare.crowd.tokens)), payload(came.bytes / came.frames)
        if not n % 2:
            found.bare.append(await bare.write(frames, size))
            await take()
    return found


def payload(mean: float) -> int:
    """Bytes of payload of a frame with `mean` bytes on the wire."""
    head = 2 if mean < 128 else 4 if mean < 65540 else 10
    return round(mean) - head
