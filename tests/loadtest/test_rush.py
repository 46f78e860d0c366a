"""The rush: what it makes of figures, and one small storm through every process."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtest.rush import arguments, books, faults, raised

ROOT = Path(__file__).parents[2]
KEYS = {
    "offered_per_s", "confirmed_per_s", "p50_ms", "p99_ms", "sold", "oversold", "undersold", "limit_per_s", "ratio", "fsync",
    "synchronous_commit", "appendfsync",
}  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "stock", "confirmed", "taken", "found"),
    [
        (10, 5, 5, 5, {"sold": 5, "oversold": 0, "undersold": 0}),
        (10, 5, 6, 6, {"sold": 6, "oversold": 1, "undersold": 0}),
        (10, 5, 4, 4, {"sold": 4, "oversold": 0, "undersold": 1}),
        (3, 5, 3, 3, {"sold": 3, "oversold": 0, "undersold": 0}),
        (10, 5, 5, 4, {"sold": 4, "oversold": 1, "undersold": 1}),  # somebody was told so without a booking
    ],
)
def test_units_are_held_against_the_stock_and_against_what_was_said(
    wanted: int, stock: int, confirmed: int, taken: int, found: dict[str, int]
) -> None:
    assert books(wanted, stock, confirmed, taken) == found


def test_a_run_is_good_only_within_its_bounds() -> None:
    good: dict[str, Any] = {"oversold": 0, "undersold": 0, "unanswered": 0, "balanced": True, "p99_ms": 80.0, "confirmed_per_s": 900}
    free = arguments(["--rate", "10", "--seconds", "1"])
    bound = arguments(["--rate", "10", "--seconds", "1", "--max-p99-ms", "50", "--min-confirmed", "1000"])
    assert faults(good, free) == []
    assert faults(good, bound) == ["p99 is 80.0 ms, above 50", "900 confirmed a second, below 1000"]
    assert faults(good | {"oversold": 1}, free) == ["oversold is 1"]
    assert faults(good | {"undersold": 2, "unanswered": 3}, free) == ["undersold is 2", "unanswered is 3"]
    assert faults(good | {"balanced": False}, free) == ["the audit does not balance"]


def test_the_stock_is_what_is_wanted_unless_given() -> None:
    assert arguments(["--rate", "200", "--seconds", "2.5"]).stock == 500
    assert arguments(["--rate", "200", "--seconds", "2.5", "--stock", "7"]).stock == 7


def test_no_socket_needs_more_than_one_person_may_buy() -> None:
    with pytest.raises(SystemExit):
        arguments(["--rate", "1000", "--seconds", "1", "--sockets", "10"])
    assert arguments(["--rate", "1000", "--seconds", "1", "--sockets", "10", "--door", "direct"]).wanted == 1000


def test_only_the_socket_door_raises_limits() -> None:
    assert raised(arguments(["--rate", "10", "--seconds", "1", "--door", "direct"])) == {}
    limits = raised(arguments(["--rate", "20000", "--seconds", "10"]))
    assert limits["LIVE_HUB_BUYS_PER_SECOND"] == "50"
    assert limits["LIVE_HUB_SOCKETS_PER_ADDRESS"] == "4100"


@pytest.mark.show
@pytest.mark.timeout(120)
@pytest.mark.parametrize("door", ["socket", "direct"])
async def test_a_small_rush_sells_exactly_its_stock(door: str) -> None:
    words = ["--rate", "300", "--seconds", "2", "--stock", "400", "--door", door]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest.rush", *words), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    report = json.loads(output.strip().rpartition("\n")[2])
    assert report.keys() >= KEYS
    assert (report["sold"], report["confirmed"], report["oversold"], report["undersold"]) == (400, 400, 0, 0)
    assert report["refused"] == {"sold_out": 200}
    assert report["balanced"] is True
    assert (report["fsync"], report["synchronous_commit"], report["appendfsync"]) == ("on", "on", "everysec")
