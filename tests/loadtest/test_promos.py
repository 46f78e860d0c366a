"""The promotions under load: when a run is bad, and one small run of each scene."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtest import ladder
from loadtest.great_refund import faults
from loadtest.promos import arguments, coupon_faults

ROOT = Path(__file__).parents[2]
DROP: dict[str, Any] = {"granted": 10, "wanted": 10, "confirmed": 10, "doubles": 0, "unanswered": 0, "balanced": True, "p99_ms": 20.0}
CLIMBED: dict[str, Any] = {
    "orders": 90, "paid": 90, "refused": {}, "unanswered": 0, "not_paid": {}, "steps": 9, "steps_crossed": 9, "steps_disordered": 0,
    "steps_strange": 0, "bars_behind": 0, "critical_lost": 0, "critical_repeated": 0, "lost_sockets": 0, "group": "success", "waiting": 0,
    "owed_fen": 500, "back_fen": 500, "balanced": True, "bar_age_p99_ms": 120.0, "frames_per_viewer_per_s": 10.5,
}  # fmt: skip
BACK: dict[str, Any] = {"double": 0, "missing": 0, "balanced": True, "seconds": 100.0}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"granted": 11, "doubles": 1}, ["11 coupons granted, not 10", "10 were told so, 11 have one", "doubles is 1"]),
        ({"unanswered": 2}, ["unanswered is 2"]),
        ({"balanced": False, "p99_ms": 101.0}, ["the audit does not balance", "p99 is 101.0 ms, above 100"]),
    ],
)
def test_a_drop_is_good_only_to_the_last_coupon(change: dict[str, Any], found: list[str]) -> None:
    assert coupon_faults(DROP | change, arguments(["coupon"])) == found


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"double": 1, "missing": 2}, ["double is 1", "missing is 2"]),
        ({"balanced": False, "seconds": 121.0}, ["the audit does not balance", "it took 121.0 s, above 120"]),
    ],
)
def test_a_great_refund_is_good_only_to_the_fen(change: dict[str, Any], found: list[str]) -> None:
    assert faults(BACK | change, arguments(["refund"])) == found


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"paid": 89, "not_paid": {"late": 1}}, ["not_paid is {'late': 1}", "89 of 90 orders are paid"]),
        ({"steps_crossed": 8, "steps_disordered": 3}, ["steps_disordered is 3", "8 of 9 steps were told exactly once to everybody"]),
        ({"group": "closing", "waiting": 4, "back_fen": 400}, ["waiting is 4", "the group is closing", "400 fen go back, not 500"]),
        ({"balanced": False, "bar_age_p99_ms": 301.0}, ["the audit does not balance", "the bar's p99 is 301.0 ms, above 300"]),
        ({"frames_per_viewer_per_s": 12.1}, ["12.1 frames a viewer and second, above 12"]),
    ],
)
def test_a_ladder_is_good_only_when_every_step_and_fen_is_right(change: dict[str, Any], found: list[str]) -> None:
    assert ladder.faults(CLIMBED | change, arguments(["ladder"])) == found


@pytest.mark.parametrize(
    ("told", "crossed", "disordered", "strange", "behind"),
    [
        ({((90, 80, 70), 8): 5}, 3, 0, 0, 0),
        ({((90, 80, 70), 8): 4, ((90, 70), 8): 1}, 2, 0, 0, 0),  # one missed a step
        ({((90, 80, 70), 8): 4, ((90, 90, 80, 70), 8): 1}, 2, 0, 0, 0),  # one saw a step twice
        ({((80, 90, 70), 8): 5}, 3, 5, 0, 0),
        ({((90, 85, 80, 70), 8): 5}, 3, 0, 5, 0),
        ({((90, 80, 70), 8): 4, ((90, 80, 70), 7): 1}, 3, 0, 0, 1),
        ({((90, 80, 70), 8): 4}, 0, 0, 0, 0),  # somebody is not there
    ],
)
def test_a_step_counts_when_everybody_was_told_once(told: Any, crossed: int, disordered: int, strange: int, behind: int) -> None:
    assert ladder.crossed([90, 80, 70], 8, told, 5) == {
        "steps": 3, "steps_crossed": crossed, "steps_disordered": disordered, "steps_strange": strange, "bars_behind": behind,
    }  # fmt: skip


def test_a_commit_is_as_old_as_the_first_bar_that_shows_it() -> None:
    commits = [(10.0, 3), (10.125, 5), (10.25, 9)]
    # Two viewers get a bar after each of the first two commits, and one after both; the third commit's comes to all.
    bars = [(10.0625, 0, 3, 2), (10.25, 3, 5, 2), (10.375, 0, 5, 1), (10.625, 5, 9, 3)]
    assert ladder.bar_ages(commits, bars) == {625: 2, 1250: 2, 2500: 1, 3750: 1 + 3}  # buckets of 0.1 ms


@pytest.mark.parametrize(
    "words",
    [[], ["ladder", "--viewers", "0"], ["ladder", "--rate", "1", "--seconds", "2"], ["coupon", "--claims", "0"],
     ["refund", "--members", "0"]],
)
def test_what_makes_no_sense_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(words)


async def ran(*words: str) -> tuple[int | None, str]:
    """Exit code and output of a program."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    return process.returncode, output.strip()


async def report(*words: str) -> dict[str, Any]:
    code, output = await ran("-m", "loadtest.promos", *words)
    assert code == 0, output
    return dict(json.loads(output.rpartition("\n")[2]))


SMALL = ("ladder", "--viewers", "60", "--rate", "100", "--seconds", "1", "--max-bar-p99-ms", "60000", "--max-frames", "1000")
TWICE = """
import sys
from live.promotions.group_buy import actions
from loadtest.promos import main
count_in = actions._count_in
actions._count_in = lambda *what: [fen for fen in count_in(*what) for _ in range(2)]
sys.exit(main())
"""


@pytest.mark.show
@pytest.mark.timeout(120)
async def test_a_small_ladder_is_climbed_step_by_step_in_everybodys_sight() -> None:
    found = await report(*SMALL)
    assert (found["paid"], found["steps"], found["steps_crossed"], found["group"]) == (100, 9, 9, "success")
    assert found["bar_age_p99_ms"] > 0


@pytest.mark.show
@pytest.mark.timeout(120)
async def test_a_step_that_is_told_twice_is_found() -> None:
    code, output = await ran("-c", TWICE, *SMALL)
    assert code == 1
    assert "FAULT 0 of 9 steps were told exactly once to everybody" in output


@pytest.mark.show
@pytest.mark.timeout(120)
async def test_a_small_drop_grants_exactly_its_coupons() -> None:
    found = await report("coupon", "--claims", "400", "--seconds", "1", "--total", "150", "--max-p99-ms", "60000")
    assert (found["granted"], found["doubles"], found["refused"]) == (150, 0, {"sold_out": 250})


@pytest.mark.show
@pytest.mark.timeout(120)
async def test_a_small_group_is_paid_back_to_the_fen() -> None:
    found = await report("refund", "--members", "30", "--max-seconds", "100")
    assert (found["fen"], found["orders"], found["double"], found["missing"]) == (30 * 9900, {"REFUNDED": 30}, 0, 0)
