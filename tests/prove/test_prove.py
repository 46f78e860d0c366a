"""The proof itself: a small helping of each kind, and bugs that must be noticed."""

from __future__ import annotations

import random

import pytest

from tests.prove import exhaustive, machine, simulation
from tests.prove.__main__ import show
from tests.prove.bugs import BUGS, Bug
from tests.prove.kinds import Kind
from tests.prove.model.scenes import SCENES, Scene
from tests.prove.patches import Code, MissingError, planted

SEED = 7
TWICE = next(bug for bug in BUGS if bug.name == "a release booked twice")


def scene(name: str) -> Scene:
    return next(each for each in SCENES if each.name == name)


@pytest.mark.parametrize("kind", [exhaustive, simulation], ids=lambda kind: kind.NAME)
def test_a_small_helping_of_the_model_finds_nothing(kind: Kind) -> None:
    result = kind.run(SEED, kind.BUDGETS["tiny"])
    assert result.violations == []
    assert result.runs > 0


def test_the_real_shop_and_the_model_stay_the_same_step_by_step() -> None:
    result = machine.run(SEED, machine.BUDGETS["tiny"])
    assert result.violations == []
    assert result.facts["steps"] > 0


def test_small_scenes_are_walked_to_their_ends() -> None:
    walk = exhaustive.walk(scene("a limit of one"), 10_000, random.Random(SEED))
    assert (walk.complete, walk.violations) == (True, [])
    assert 1 < walk.ends < walk.worlds < walk.steps < walk.schedules


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_can_be_planted_and_is_taken_out_again(bug: Bug) -> None:
    assert bug.model or bug.shop
    for _ in range(2):  # a bug left behind would not be found to plant again
        with planted((*bug.model, *bug.shop)):
            pass


def test_a_bug_whose_place_is_gone_cannot_be_planted() -> None:
    with pytest.raises(MissingError), planted((Code("live.offers.till:return_rid", "no such text", ""),)):
        pass


def test_a_planted_bug_is_noticed_by_both_ways_through_the_model_and_its_show_is_shrunk() -> None:
    with planted(TWICE.model):
        assert any(exhaustive.walk(each, 4_000, random.Random(SEED)).violations for each in SCENES)
        seed = next(each for each in range(1, 400) if simulation.play(each).violations)
        long = simulation.play(seed)
        rule, steps = simulation.shrink(long)
        assert len(steps) < len(long.steps)
        assert rule.partition(":")[0] == long.violations[0].partition(":")[0]
        assert not show(seed)
    assert show(seed)


def test_the_same_seed_gives_the_same_show() -> None:
    assert simulation.play(SEED) == simulation.play(SEED)
