"""Plants every bug of `bugs.py`, each where it can be planted, and says who noticed: in the model, in the real shop, in its programs.

A bug in the model says how sharp the model's eyes are; the same bug in the scripts and functions of the shop says so of the kinds that
run those. So each side is a search of its own, which begins with the cheapest kind and ends at the first that notices. A bug counts as
caught when somebody noticed; where nobody did is said beside it (`missed_in`).
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.prove import exhaustive, kills, lines, losses, machine, simulation
from tests.prove.bugs import BUGS, Bug
from tests.prove.kinds import quiet
from tests.prove.model.scenes import SCENES
from tests.prove.patches import planted
from tests.prove.processes import Work, side_by_side

SECONDS = 1200.0  # for all of them together, on two cores; whoever was not noticed by then was not noticed


def by_walking(bug: Bug, seed: int, budget: int) -> bool:
    """Whether a small world shows it; small scenes first, each with its share of the budget."""
    with planted(bug.model):
        return any(exhaustive.walk(scene, budget // len(SCENES), random.Random(seed)).violations for scene in SCENES)


def by_playing(bug: Bug, seed: int, budget: int) -> bool:
    """Whether a show does."""
    with planted(bug.model):
        return any(simulation.play(each).violations for each in range(seed, seed + budget))


def by_serving(bug: Bug, seed: int, budget: int) -> bool:
    """Whether the real shop, with the model beside it, does."""
    with machine.serving(), planted(bug.shop):
        return bool(machine.explore(seed, budget, shrink=False).violations)


def by_losing(bug: Bug, seed: int, budget: int) -> bool:
    """Whether the real shop does, when its turnstile loses what it knew."""
    return losses.catches(bug.shop, seed, budget)


def by_queueing(bug: Bug, seed: int, budget: int) -> bool:
    """Whether teams and waitlists of the real shop show it."""
    with planted(bug.lines):
        return bool(lines.run(seed, budget).violations)


def by_killing(bug: Bug, seed: int, budget: int) -> bool:
    """Whether the real processes do, killed at every turn."""
    return bool(kills.run(seed, budget, bug).violations)


@dataclass(frozen=True, slots=True)
class Side:
    """Where bugs are planted, and the kinds that look there, the cheapest first. `alone`: they load every core."""

    name: str
    ways: tuple[tuple[str, Callable[[Bug, int, int], bool], int], ...]
    alone: bool = False

    def holds(self, bug: Bug) -> bool:
        """Whether this bug can be planted here."""
        return bool(getattr(bug, self.name) or (self.name == "house" and bug.sql))


SIDES = (
    Side("model", (
        (exhaustive.NAME, by_walking, exhaustive.BUDGETS["planted"]), (simulation.NAME, by_playing, simulation.BUDGETS["planted"]),
    )),
    Side("shop", ((machine.NAME, by_serving, machine.BUDGETS["planted"]), (losses.NAME, by_losing, losses.BUDGETS["planted"]))),
    Side("lines", ((lines.NAME, by_queueing, lines.BUDGETS["planted"]),)),
    Side("house", ((kills.NAME, by_killing, kills.BUDGETS["planted"]),), alone=True),
)  # fmt: skip


def search(name: str, side: str, seed: int) -> str:
    """The first kind that notices this bug on this side, or nothing. In a process of its own."""
    quiet()
    bug = next(each for each in BUGS if each.name == name)
    ways = next(each for each in SIDES if each.name == side).ways
    return next((kind for kind, notices, budget in ways if notices(bug, seed, budget)), "")


def run(seed: int, bugs: Sequence[Bug] = BUGS) -> Iterator[dict[str, Any]]:
    """One object per bug, in their order: `{bug, caught_by: [kinds], missed_in: [sides]}`."""
    begun = time.monotonic()
    pieces = [(bug, side) for side in SIDES for bug in bugs if side.holds(bug)]
    work = [Work(bug.name, search, (bug.name, side.name, seed), side.alone) for bug, side in pieces]
    caught: dict[tuple[str, str], str] = {}
    for number, done in side_by_side(work, until=begun + SECONDS):
        bug, side = pieces[number]
        caught[bug.name, side.name] = done.answer or ""
        seen = done.fault or done.answer or "nobody noticed"
        took = f"({done.ended - done.began:.1f} s)"
        print(f"{time.monotonic() - begun:6.1f} s  {bug.name}, in the {side.name}: {seen} {took}", file=sys.stderr)
    for bug in bugs:
        sides = [side.name for side in SIDES if side.holds(bug)]
        found = [caught.get((bug.name, side), "") for side in sides]
        missed = [side for side, kind in zip(sides, found, strict=True) if not kind]
        yield {"bug": bug.name, "caught_by": [kind for kind in found if kind], "missed_in": missed}
