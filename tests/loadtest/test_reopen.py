"""The reopening: how orders are dealt, when a run is bad, and one small loss of Redis in mid-sale."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from loadtest.reopen import arguments, faults, shares

ROOT = Path(__file__).parents[2]


def test_orders_are_dealt_to_the_offers_in_turn() -> None:
    assert shares(10, 4) == [3, 3, 2, 2]
    assert shares(0, 2) == [0, 0]


@pytest.mark.parametrize("words", [["--offers", "0"], ["--offers", "2", "--rooms", "3"], ["--orders", "-1"]])
def test_what_makes_no_sense_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(words)


def test_a_reopening_is_good_only_within_its_bound() -> None:
    assert faults({"balanced": True, "seconds": 1.9}, arguments([])) == []
    assert faults({"balanced": True, "seconds": 2.1}, arguments([])) == ["every offer sold again after 2.1 s, above 2"]
    assert faults({"balanced": False, "seconds": 0.1}, arguments(["--max-seconds", "9"])) == ["the audit does not balance"]


@pytest.mark.show
@pytest.mark.timeout(120)
async def test_every_offer_of_two_rooms_sells_again_after_a_loss_in_mid_sale() -> None:
    words = ["--offers", "4", "--orders", "50", "--rooms", "2", "--max-seconds", "30"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest.reopen", *words), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    report = json.loads(output.strip().rpartition("\n")[2])
    assert (report["offers"], report["orders"], report["balanced"]) == (4, 50, True)
    assert report["fence"] >= 3  # the first start, the loss after the books were written, the loss in mid-sale
    assert 0 < report["seconds"] <= report["booked_seconds"]
