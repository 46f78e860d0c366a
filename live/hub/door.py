"""Who may come in, and who has been here too long without a word. Everything is counted before any work is done for a socket."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from live.hub import figures
from live.hub.limits import Bucket
from live.settings import Settings

if TYPE_CHECKING:
    from live.hub.connection import Connection

RESERVE = 256  # descriptors kept free for Redis, /metrics and for answering 503: a hub that dies must not drown this one
LAST = 32  # of those, kept for ourselves: beyond it a socket is cut without an answer
SLOTS = 64  # seconds; a deadline further away is looked at again then


class Wheel:
    """Deadlines of all sockets, one second a slot: no timer per socket, and nobody is looked at before it is due. Also the list of all."""

    def __init__(self, now: float) -> None:
        self.slots: list[set[Connection]] = [set() for _ in range(SLOTS)]
        self.at = math.floor(now)
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Connection]:
        for slot in self.slots:
            yield from tuple(slot)

    def put(self, connection: Connection, deadline: float) -> None:
        """Look at this socket at `deadline` (monotonic seconds), up to a second later, or in a minute if that is sooner."""
        moment = min(max(math.ceil(deadline), self.at + 1), self.at + SLOTS - 1)
        connection.slot = moment % SLOTS
        self.slots[connection.slot].add(connection)
        self.size += 1

    def drop(self, connection: Connection) -> None:
        """Forget this socket."""
        if connection.slot >= 0:
            self.slots[connection.slot].discard(connection)
            connection.slot = -1
            self.size -= 1

    def move(self, connection: Connection, deadline: float) -> None:
        """Another deadline. Nothing happens for a socket that is gone."""
        if connection.slot >= 0:
            self.drop(connection)
            self.put(connection, deadline)

    def due(self, now: float) -> list[Connection]:
        """Sockets whose moment has come, still in the wheel: drop or move each."""
        found: list[Connection] = []
        while self.at < math.floor(now):
            self.at += 1
            found.extend(self.slots[self.at % SLOTS])
        return found


class Door:
    """Counts sockets and handshakes against the limits."""

    def __init__(self, settings: Settings) -> None:
        now = time.monotonic()
        self.settings = settings
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:  # one descriptor per viewer, and the usual soft limit is 1024
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.most = hard - LAST
        self.capacity = min(settings.hub_max_connections, hard - RESERVE)
        self.wheel = Wheel(now)
        self.handshakes = Bucket(settings.hub_handshakes_per_second, settings.hub_handshakes_per_second, now)
        self.addresses: dict[str, int] = {}
        self.behind: set[Connection] = set()  # write buffer not empty
        self.shut = False

    def enter(self, connection: Connection) -> bool:
        """A socket was accepted. False when not even a refusal can be written to it."""
        if len(self.wheel) >= self.most:
            figures.refused.labels(why="cut").inc()
            return False
        self.wheel.put(connection, connection.deadline)
        return True

    def full(self) -> bool:
        """Whether a handshake is to be answered 503, asked before anything of it is read."""
        if self.shut:
            why = "drain"
        elif len(self.wheel) > self.capacity:
            why = "sockets"
        elif self.handshakes.take(time.monotonic()):
            why = "handshakes"
        else:
            return False
        figures.refused.labels(why=why).inc()
        return True

    def admits(self, connection: Connection) -> bool:
        """Whether one more socket of this address fits."""
        count = self.addresses.get(connection.address, 0) + 1
        if count > self.settings.hub_sockets_per_address:
            figures.refused.labels(why="address").inc()
            return False
        self.addresses[connection.address] = count
        connection.admitted = True
        return True

    def leave(self, connection: Connection) -> None:
        """A socket is gone."""
        self.wheel.drop(connection)
        self.behind.discard(connection)
        if not connection.admitted:
            return
        count = self.addresses.get(connection.address, 0) - 1
        if count > 0:
            self.addresses[connection.address] = count
        else:
            self.addresses.pop(connection.address, None)
