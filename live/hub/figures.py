"""What a hub counts."""

from __future__ import annotations

import gc
import os
import time
from functools import cache

from prometheus_client import Counter, Gauge, Histogram

SWEEPS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.15, 0.3, 0.5, 1)

info = Gauge("live_hub_info", "This process", ["hub", "pid"])
sockets = Gauge("live_hub_sockets", "Open sockets that said hello")
rooms = Gauge("live_hub_rooms", "Rooms with a viewer on this hub")
queue = Gauge("live_hub_queue_bytes", "Bytes waiting in write buffers of sockets that are behind")
behind = Gauge("live_hub_behind", "Sockets whose write buffer is not empty")
lag = Gauge("live_hub_lag_seconds", "How late the loop came to its last once-a-second turn")
commands = Counter("live_hub_commands", "Commands read", ["type"])
refused = Counter("live_hub_refused", "Handshakes answered 503, or cut when even that is too much", ["why"])
closed = Counter("live_hub_closed", "Sockets closed", ["code"])
resumes = Counter("live_hub_resumes", "Hellos answered, by where the missed events came from", ["source"])
reads = Counter("live_hub_redis_reads", "Reads of Redis", ["what"])
offered = Counter("live_hub_offered_items", "Items times sockets they were meant for", ["lane"])
skipped = Counter("live_hub_skipped_items", "Items times sockets that were not written, and why", ["lane", "reason"])
written = Counter("live_hub_written_frames", "Room frames written to sockets")
sweep = Histogram("live_hub_sweep_seconds", "A room writing to its sockets, by what it began with", ["lane"], buckets=SWEEPS)
age = Histogram("live_hub_age_seconds", "From having read something to its last write", ["lane"], buckets=SWEEPS)
batch = Histogram("live_hub_batch", "Intents decided by one turnstile call", buckets=(1, 2, 5, 10, 20, 50, 100, 200))
line = Gauge("live_hub_line", "Taps that wait until the books have caught up")
verdicts = Histogram("live_hub_verdict_seconds", "From tap to verdict", buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 0.8, 3))
collections = Histogram("live_hub_gc_seconds", "Pauses of the garbage collector", buckets=(0.001, 0.005, 0.02, 0.05, 0.1, 0.5))


@cache
def command(kind: str) -> Counter:
    """The count of one type of command; finding it by its label would cost a tap as much as reading it."""
    return commands.labels(type=kind)


_began = 0.0


def _collecting(phase: str, _: dict[str, int]) -> None:
    global _began
    if phase == "start":
        _began = time.perf_counter()
    else:
        collections.observe(time.perf_counter() - _began)


def begin(hub: str) -> None:
    """Name this process and watch its garbage collector."""
    info.labels(hub=hub, pid=str(os.getpid())).set(1)
    if _collecting not in gc.callbacks:
        gc.callbacks.append(_collecting)
