"""A storm against a door of a few lines: taps are sent when due, answered once, resent when told so, and timed from when they were due."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import pytest

from loadtest.storm import OK, Storm


class FewLines:
    """Answers tap n by `script(n, tries)`, in the next turn of the loop; None: never."""

    def __init__(self, storm: Storm, script: Callable[[int, int], str | None]) -> None:
        self.storm, self.script = storm, script
        self.sent: list[tuple[int, int]] = []

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    def tap(self, n: int, tries: int) -> None:
        self.sent.append((n, tries))
        code = self.script(n, tries)
        if code is not None:
            asyncio.get_running_loop().call_soon(self.storm.answer, n, code)


async def test_every_tap_is_sent_once_and_counted_by_its_answer() -> None:
    storm = Storm([n / 1000 for n in range(100)])
    door = FewLines(storm, lambda n, _: OK if n < 60 else "sold_out")
    await storm.run(door, patience=5)
    assert door.sent == [(n, 1) for n in range(100)]
    assert (storm.confirmed, storm.refused, storm.unanswered, storm.resent) == (60, {"sold_out": 40}, 0, 0)
    assert len(storm.latencies_ms(confirmed=True)) == 60
    assert len(storm.latencies_ms(confirmed=False)) == 40
    assert 500 < storm.offered_per_s() < 1100


async def test_a_refusal_that_says_again_is_resent_with_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda least, most: most / 3)  # 100 and 200 ms
    storm = Storm([0.0])
    door = FewLines(storm, lambda _, tries: "busy" if tries < 3 else OK)
    await storm.run(door, patience=5)
    assert door.sent == [(0, 1), (0, 2), (0, 3)]
    assert (storm.confirmed, storm.resent) == (1, 2)
    assert storm.latencies_ms(confirmed=True)[0] >= 299  # both waits count as the server's


async def test_latency_counts_from_when_a_tap_was_due_not_from_when_it_was_sent() -> None:
    storm = Storm([0.0, 0.0])
    door = FewLines(storm, lambda n, _: OK)
    real = door.tap

    def stalls(n: int, tries: int) -> None:
        if n == 0:
            time.sleep(0.1)
        real(n, tries)

    door.tap = stalls  # type: ignore[method-assign]
    await storm.run(door, patience=5)
    assert min(storm.latencies_ms(confirmed=True)) >= 100


async def test_what_is_never_answered_is_told_and_only_the_first_answer_counts() -> None:
    storm = Storm([0.0, 0.0])
    await storm.run(FewLines(storm, lambda n, _: OK if n == 0 else None), patience=0.05)
    storm.answer(0, "sold_out")
    assert (storm.codes, storm.unanswered) == ([OK, ""], 1)
