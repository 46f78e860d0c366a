"""Plants every bug of `bugs.py`, one after the other, and says which kinds notice."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from tests.prove import exhaustive, kills, machine, simulation
from tests.prove.bugs import BUGS, Bug
from tests.prove.model.scenes import SCENES
from tests.prove.patches import planted


def by_walking(bug: Bug, seed: int, budget: int) -> bool:
    """Whether a small world shows it; small scenes first, each with its share of the budget."""
    with planted(bug.model):
        return any(exhaustive.walk(scene, budget // len(SCENES), random.Random(seed)).violations for scene in SCENES)


def by_playing(bug: Bug, seed: int, budget: int) -> bool:
    """Whether a show does."""
    with planted(bug.model):
        return any(simulation.play(each).violations for each in range(seed, seed + budget))


def by_serving(bug: Bug, seed: int, budget: int) -> bool:
    """Whether the real shop, with the model beside it, does. Servers must be there."""
    with planted(bug.shop):
        return bool(machine.explore(seed, budget, shrink=False).violations)


def by_killing(bug: Bug, seed: int, budget: int) -> bool:
    """Whether processes that are killed show it."""
    return bool(kills.run(seed, budget, bug).violations)


def run(seed: int) -> Iterator[dict[str, Any]]:
    """One object per bug: `{bug, caught_by: [kinds], planted_in: [model, shop, house, sql]}`."""
    with machine.serving():
        for bug in BUGS:
            caught = []
            if bug.model:
                caught += [exhaustive.NAME] if by_walking(bug, seed, exhaustive.BUDGETS["planted"]) else []
                caught += [simulation.NAME] if by_playing(bug, seed, simulation.BUDGETS["planted"]) else []
            if bug.shop and by_serving(bug, seed, machine.BUDGETS["planted"]):
                caught.append(machine.NAME)
            if (bug.house or bug.sql) and by_killing(bug, seed, kills.BUDGETS["planted"]):
                caught.append(kills.NAME)
            sides = [side for side in ("model", "shop", "house", "sql") if getattr(bug, side)]
            yield {"bug": bug.name, "caught_by": caught, "planted_in": sides}
