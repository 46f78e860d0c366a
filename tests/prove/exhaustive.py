"""Proof kind `model`: every order in which the steps of a small shop can happen, with every crash at every point, within given budgets.

A world reached twice is walked on from once. `runs` counts the steps taken from different worlds; `schedules` the ways from the first
step to an end that they make up, which is what would have to be run one by one without the memory.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.prove.kinds import Result, shares
from tests.prove.model.scenes import SCENES, Scene
from tests.prove.model.world import Step, World

NAME = "model"
PIECES = 4
BUDGETS = {"tiny": 4_000, "ci": 600_000, "release": 20_000_000, "planted": 600_000}


@dataclass(slots=True)
class Walk:
    """What walking one scene found. `complete`: nothing was left out for want of budget."""

    scene: str
    steps: int = 0
    worlds: int = 0
    schedules: int = 0
    ends: int = 0
    complete: bool = True
    violations: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Turn:
    """A world on the way, and what is still to be tried from it."""

    world: World
    key: int
    steps: Iterator[Step]
    came: Step | None
    ways: int = 0


def walk(scene: Scene, limit: int, dice: random.Random) -> Walk:
    """Depth first, at most `limit` steps, until the first violation."""
    found = Walk(scene.name)
    seen: dict[int, int] = {}
    first = scene.world()
    path = [_turn(first, None, dice)]
    while path:
        turn = path[-1]
        step = next(turn.steps, None)
        if step is None:
            _close(path, seen, found)
            if found.violations:
                break
            continue
        if found.steps >= limit:
            found.complete = False
            break
        found.steps += 1
        world = turn.world.clone()
        world.do(step)
        if world.history.violations:
            _report(found, path, step, world)
            break
        key = world.key()
        if key in seen:
            turn.ways += seen[key]
        else:
            seen[key] = 0  # on the way; steps make progress, so it is not met again before it is done
            path.append(_turn(world, step, dice, key))
    found.worlds = len(seen)
    found.schedules = seen.get(path[0].key, 0) if path else found.schedules
    return found


def _turn(world: World, came: Step | None, dice: random.Random, key: int = 0) -> _Turn:
    steps = world.steps()
    dice.shuffle(steps)
    return _Turn(world, key, iter(steps), came)


def _close(path: list[_Turn], seen: dict[int, int], found: Walk) -> None:
    turn = path.pop()
    if not turn.world.steps():
        found.ends += 1
        turn.ways = 1
        turn.world.done()
        if turn.world.history.violations:
            _report(found, [*path, turn], None, turn.world)
    seen[turn.key] = turn.ways
    if path:
        path[-1].ways += turn.ways
    else:
        found.schedules = turn.ways


def _report(found: Walk, path: list[_Turn], last: Step | None, world: World) -> None:
    steps = [turn.came for turn in path if turn.came is not None] + ([last] if last is not None else [])
    found.violations.append(f"{found.scene}: {world.history.violations[0]} after {steps}")


def parts(seed: int, budget: int) -> list[tuple[int, int, int, int]]:
    """Every fourth scene with its share of the budget: small ones and large ones in each piece."""
    return [(seed, share, part, PIECES) for part, share in enumerate(shares(budget, PIECES))]


def run(seed: int, budget: int, part: int = 0, pieces: int = 1) -> Result:
    """Walk every scene, the small ones to their ends; what they leave of the budget goes to the next. The seed orders the walk only."""
    result = Result(NAME, 0, seed)
    walks: list[Walk] = []
    scenes = SCENES[part::pieces]
    for n, scene in enumerate(scenes):
        spent = sum(each.steps for each in walks)
        walks.append(walk(scene, (budget - spent) // (len(scenes) - n), random.Random(seed)))
    result.runs = sum(each.steps for each in walks)
    result.violations = [violation for each in walks for violation in each.violations]
    result.facts = {
        "scenes": len(walks),
        "worlds": sum(each.worlds for each in walks),
        "schedules": sum(each.schedules for each in walks),
        "ends": sum(each.ends for each in walks),
        "complete": sum(each.complete for each in walks),
        "cut_short": [each.scene for each in walks if not each.complete],
    }
    return result
