"""A show's plan: acts in their order, each with the minute it is meant for, and how far the show is off it. Pure.

Minutes count from the show's start and never fall from one row to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

PLANNED, STARTED, SKIPPED = "PLANNED", "STARTED", "SKIPPED"
STATES = (PLANNED, STARTED, SKIPPED)  # the last two are for good: what was shown cannot be taken back
MOST_ROWS = 100  # a row every two and a half minutes of a four-hour show
LAST_MINUTE = 1440  # a day; a show is shorter


@dataclass(frozen=True, slots=True)
class Slot:
    """A row's place in the plan."""

    id: int
    minute: int


def placed(plan: Sequence[Slot], slot: Slot) -> list[Slot]:
    """The plan with this row (again) behind all that are not meant for later."""
    others = without(plan, slot.id)
    at = sum(1 for other in others if other.minute <= slot.minute)
    return [*others[:at], slot, *others[at:]]


def moved(plan: Sequence[Slot], row: int, before: int | None) -> list[Slot]:
    """The plan with `row` before another one (None: last). Its minute changes only as far as its new neighbours ask."""
    slot = next(each for each in plan if each.id == row)
    others = without(plan, row)
    at = next((n for n, each in enumerate(others) if each.id == before), len(others))
    least = others[at - 1].minute if at else 0
    most = others[at].minute if at < len(others) else LAST_MINUTE
    return [*others[:at], replace(slot, minute=min(max(slot.minute, least), most)), *others[at:]]


def without(plan: Sequence[Slot], row: int) -> list[Slot]:
    """The plan without a row."""
    return [each for each in plan if each.id != row]


def next_row(states: Sequence[tuple[int, str]]) -> int | None:
    """What is started next: the first row that still waits. `states`: (row, state) in the order of the plan."""
    return next((row for row, state in states if state == PLANNED), None)


def length(rows: Sequence[tuple[int, Mapping[str, Any]]]) -> int:
    """Minutes the plan takes, to the end of what runs longest. `rows`: (minute, settings); an act's `minutes` is how long it runs."""
    return max((minute + int(settings.get("minutes") or 0) for minute, settings in rows), default=0)


def late(minute: int, at_ms: int, began_ms: int | None) -> int | None:
    """Seconds a row was late (early: negative) when it started at `at_ms`. None: the show it was started in is over, or none has begun."""
    if began_ms is None or at_ms < began_ms:
        return None
    return round((at_ms - began_ms) / 1000) - minute * 60
