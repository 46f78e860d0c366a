"""Writing one room frame to many sockets: the hot loop of the product.

While nothing waits in a socket's write buffer, bytes go straight to its descriptor: the event loop's transport would only queue them for
the end of the turn. A socket that does not take a frame whole falls back to its transport, which writes the rest in order, and comes back
when that is empty (`Connection.behind`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import write
from typing import TYPE_CHECKING

from live.hub import figures

if TYPE_CHECKING:
    from live.hub.connection import Connection

SLICE = 256  # sockets written per loop turn, some 1.5 ms: reads, pings and other rooms wait no longer


@dataclass(slots=True)
class Push:
    """One room frame in the variants a slow socket may get instead: None where that variant would be empty.

    `events`, `states`, `comments`: items of each lane in `full`.
    """

    full: bytes
    no_chat: bytes | None
    critical: bytes | None
    events: int = 0
    states: int = 0
    comments: int = 0

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
