"""The promotions under load: when a run is bad, and one small run of each scene."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtest.great_refund import faults
from loadtest.promos import arguments, coupon_faults

ROOT = Path(__file__).parents[2]
DROP: dict[str, Any] = {"granted": 10, "wanted": 10, "confirmed": 10, "doubles": 0, "unanswered": 0, "balanced": True, "p99_ms": 20.0}
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


@pytest.mark.parametrize("words", [[], ["coupon", "--claims", "0"], ["refund", "--members", "0"]])
def test_what_makes_no_sense_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(words)


async def report(*words: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest.promos", *words), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return dict(json.loads(output.strip().rpartition("\n")[2]))


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
