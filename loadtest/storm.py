"""One storm: taps that are due at fixed moments, and what became of each. It knows no door; a door sends taps and reports answers.

A tap is answered once, with `ok` or a refusal. Refusals that say "again" are followed by a resend of the same key, as every client does
by itself; its latency runs on from the moment the tap was due, so a server that makes people wait cannot hide it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from live.protocol.codes import RETRY

OK = "ok"
TURN = 200  # taps sent before the loop may read again: falling behind must not keep us from hearing answers
FIRST_WAIT, LONGEST_WAIT = 0.3, 8.0  # seconds a resend waits at most, doubled per try, with full jitter, as pages do


class Door(Protocol):
    """A way in. `tap(n, tries)` sends tap number n at once and never blocks; answers go to `Storm.answer`."""

    async def open(self) -> None: ...
    def tap(self, n: int, tries: int) -> None: ...
    async def close(self) -> None: ...


@dataclass
class Storm:
    """`due`: seconds from the start at which taps are meant to be sent, ascending."""

    due: Sequence[float]
    start: float = 0.0  # perf_counter of moment zero
    last_sent: float = 0.0
    resent: int = 0
    codes: list[str] = field(default_factory=list)  # per tap, empty while unanswered
    answered: list[float] = field(default_factory=list)  # perf_counter per tap
    tries: list[int] = field(default_factory=list)
    _left: int = 0
    _done: asyncio.Event = field(default_factory=asyncio.Event)
    _send: Callable[[int, int], None] | None = None

    async def run(self, door: Door, patience: float) -> None:
        """Send everything when due, then wait at most `patience` seconds for what is unanswered."""
        count = len(self.due)
        self.codes, self.answered, self.tries = [""] * count, [0.0] * count, [0] * count
        self._left, self._send = count, door.tap
        self.start = time.perf_counter() + 0.05
        sent = 0
        while sent < count:
            now, turn = time.perf_counter() - self.start, 0
            while sent < count and self.due[sent] <= now and turn < TURN:
                self.send(sent)
                sent, turn = sent + 1, turn + 1
            await asyncio.sleep(0 if turn == TURN else 0.001)
        self.last_sent = time.perf_counter()
        try:
            async with asyncio.timeout(patience):
                await self._done.wait()
        except TimeoutError:
            pass  # `unanswered` tells

    def send(self, n: int) -> None:
        """Send tap n, for the first time or again, unless it has been answered."""
        if self.codes[n] or self._send is None:
            return
        self.tries[n] += 1
        self.resent += self.tries[n] > 1
        self._send(n, self.tries[n])

    def answer(self, n: int, code: str) -> None:
        """What tap n was told: OK or the code of a refusal."""
        if self.codes[n]:
            return
        if code in RETRY:
            longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self.tries[n] - 1, 10))
            asyncio.get_running_loop().call_later(random.uniform(0, longest), self.send, n)
            return
        self.codes[n], self.answered[n] = code, time.perf_counter()
        self._left -= 1
        if self._left == 0:
            self._done.set()

    @property
    def confirmed(self) -> int:
        """How many were told that they got it."""
        return self.codes.count(OK)

    @property
    def refused(self) -> dict[str, int]:
        """Refusals by code."""
        return dict(Counter(code for code in self.codes if code not in ("", OK)))

    @property
    def unanswered(self) -> int:
        """How many were told nothing."""
        return self.codes.count("")

    def offered_per_s(self) -> float:
        """Taps a second as they were really sent."""
        return len(self.due) / max(self.last_sent - self.start, 1e-9)

    def confirmed_per_s(self) -> float:
        """Confirmations a second, from moment zero to the last of them."""
        moments = [at for at, code in zip(self.answered, self.codes, strict=True) if code == OK]
        return len(moments) / max(max(moments) - self.start, 1e-9) if moments else 0.0

    def latencies_ms(self, *, confirmed: bool) -> list[float]:
        """From the moment a tap was due to its answer, of those who got it, or of those who were refused."""
        return [
            (at - self.start - due) * 1000
            for at, due, code in zip(self.answered, self.due, self.codes, strict=True)
            if code and (code == OK) == confirmed
        ]
