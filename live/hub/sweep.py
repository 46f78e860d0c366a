"""Writing room frames to many sockets: the hot loop of the product.

While nothing waits in a socket's write buffer, bytes go straight to its descriptor: the event loop's transport would only queue them for
the end of the turn. A socket that does not take a frame whole falls back to its transport, which writes the rest in order, and comes back
when that is empty (`Connection.catch_up`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from os import write
from typing import TYPE_CHECKING

from live.hub import figures

if TYPE_CHECKING:
    from live.hub.connection import Connection

SLICE = 200  # sockets written per loop turn, some 2 ms: reads, pings and other rooms wait no longer
HURRY = 20  # while news is being read that will overtake: a read of Redis takes some ten turns


class Push:
    """One or more room frames in the variants a slow socket may get instead: None where that variant would be empty.

    `events`, `states`, `comments`: items of each lane in `full`. `lane` names what it is told as.
    """

    __slots__ = ("born", "comments", "critical", "events", "frames", "full", "lane", "left", "no_chat", "states", "took")

    def __init__(
        self, lane: str, full: bytes, no_chat: bytes | None, critical: bytes | None, *, events: int = 0, states: int = 0, comments: int = 0
    ) -> None:
        self.lane, self.full, self.no_chat, self.critical = lane, full, no_chat, critical
        self.events, self.states, self.comments = events, states, comments
        self.frames = 1
        self.born = time.monotonic()
        self.left = 0  # stretches that are still to be written with it
        self.took = 0.0  # seconds until everybody had it

    @staticmethod
    def together(pushes: Sequence[Push]) -> Push:
        """All of these in one write."""
        if len(pushes) == 1:
            return pushes[0]
        found = Push(
            pushes[0].lane,
            b"".join(one.full for one in pushes),
            _join(one.no_chat for one in pushes),
            _join(one.critical for one in pushes),
            events=sum(one.events for one in pushes),
            states=sum(one.states for one in pushes),
            comments=sum(one.comments for one in pushes),
        )
        found.frames = len(pushes)
        return found

    def take(self, other: Push) -> None:
        """From the next socket on, write what that one has."""
        self.full, self.no_chat, self.states, self.comments = other.full, other.no_chat, other.states, other.comments

    def offered(self, sockets: int) -> None:
        """Count what is about to be offered to so many sockets."""
        for lane, items in (("critical", self.events), ("state", self.states), ("chat", self.comments)):
            if items:
                figures.offered.labels(lane=lane).inc(items * sockets)

    def skipped(self, reason: str, *, chat: bool = True, state: bool = False, critical: bool = False, sockets: int = 1) -> None:
        """Count what a socket is not sent."""
        for lane, items, is_skipped in (
            ("chat", self.comments, chat), ("state", self.states, state), ("critical", self.events, critical),
        ):  # fmt: skip
            if items and is_skipped:
                figures.skipped.labels(lane=lane, reason=reason).inc(items * sockets)


def _join(frames: Iterable[bytes | None]) -> bytes | None:
    return b"".join(frame for frame in frames if frame is not None) or None


class Stretch:
    """Sockets that are still to be written the same, from number `at` on: critical frames in order, then at most one tick."""

    __slots__ = ("at", "pushes", "sockets", "whole")

    def __init__(self, sockets: Sequence[Connection], push: Push) -> None:
        self.sockets, self.at, self.pushes = sockets, 0, [push]
        self.whole: Push | None = None
        push.left += 1

    def put(self, push: Push) -> None:
        """One more critical frame, before the tick."""
        self.pushes.insert(len(self.pushes) - (self.pushes[-1].lane == "tick"), push)
        self.whole = None
        push.left += 1

    def remaining(self) -> Sequence[Connection]:
        """Those not yet written."""
        return self.sockets[self.at :]

    def end(self) -> None:
        """Written, or given up."""
        for push in self.pushes:
            push.left -= 1
            if not push.left:
                push.took = time.monotonic() - push.born
                figures.age.labels(lane=push.lane).observe(push.took)


class Sweep:
    """What one room still has to write, and to whom.

    A critical frame overtakes: whoever still waits for a tick, or for an earlier event, gets both in one write; whoever was passed gets it
    afterwards. So it takes no longer to reach everybody than one sweep, and a tick under way no longer than without it.
    """

    def __init__(self) -> None:
        self.stretches: deque[Stretch] = deque()
        self.later: deque[tuple[Push, Sequence[Connection]]] = deque()

    def tick(self, push: Push, sockets: Sequence[Connection]) -> None:
        """State and chat to these."""
        push.offered(len(sockets))
        if sockets:
            self.stretches.append(Stretch(sockets, push))

    def critical(self, push: Push, sockets: Sequence[Connection], apart: bool = False) -> None:
        """An event to everybody. `apart`: not in one write with what is on its way."""
        if self.later or (apart and self.stretches):
            push.offered(len(sockets))
            self.later.append((push, sockets))
            return
        waiting: set[Connection] = set()
        for stretch in self.stretches:
            stretch.put(push)
            waiting.update(stretch.remaining())
        passed = tuple(one for one in sockets if one not in waiting) if waiting else sockets
        push.offered(len(waiting) + len(passed))
        if passed:
            self.stretches.append(Stretch(passed, push))

    def give_up(self) -> None:
        """The log began anew: what is not yet written is older than the reset that follows."""
        for stretch in self.stretches:
            Push.together(stretch.pushes).skipped("reset", state=True, critical=True, sockets=len(stretch.remaining()))
        for push, sockets in self.later:
            push.skipped("reset", state=True, critical=True, sockets=len(sockets))
        self.stretches.clear()
        self.later.clear()

    def changed(self, push: Push) -> int:
        """A tick changes on its way. Returns how many sockets still wait for it."""
        found = 0
        for stretch in self.stretches:
            if push in stretch.pushes:
                stretch.whole = None
                found += len(stretch.remaining())
        return found

    async def run(self, between: Callable[[], Awaitable[bool]]) -> None:
        """Write everything. Between slices the loop turns, and `between` may bring more; it says whether it is about to."""
        if not self.stretches:
            return
        started, lane, size = time.monotonic(), self.stretches[0].pushes[-1].lane, SLICE
        while self.stretches or self.later:
            if not self.stretches:
                push, sockets = self.later.popleft()
                self.stretches.append(Stretch(sockets, push))
            stretch = self.stretches[0]
            whole = stretch.whole = stretch.whole or Push.together(stretch.pushes)
            some = stretch.sockets[stretch.at : stretch.at + size]
            stretch.at += len(some)
            figures.written.inc((len(some) - push_all(some, whole)) * whole.frames)
            if stretch.at >= len(stretch.sockets):
                self.stretches.popleft()
                stretch.end()
            if self.stretches or self.later:
                await asyncio.sleep(0)
                size = HURRY if await between() else SLICE
        figures.sweep.labels(lane=lane).observe(time.monotonic() - started)


def push_all(sockets: Sequence[Connection], push: Push) -> int:
    """Write to every socket what it can take now. Returns how many were written nothing."""
    frame = push.full
    size, missed = len(frame), 0
    for connection in sockets:
        fd = connection.fd
        if fd < 0:
            missed += not connection.push_behind(push)
            continue
        try:
            written = write(fd, frame)
        except BlockingIOError:
            connection.fall_behind(frame)
        except OSError:  # reset by the peer: the transport will hear of it from the loop
            connection.fd = -1
            push.skipped("gone", state=True, critical=True)
            missed += 1
        else:
            if written != size:
                connection.fall_behind(frame[written:])
    return missed
