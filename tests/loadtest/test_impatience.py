"""The impatient crowd: who taps again and where, what makes a run bad, and one small rush of it through every process."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtest.impatience import AGAIN, Crowd, arguments, faults

ROOT = Path(__file__).parents[2]


def test_a_quarter_taps_again_half_of_them_elsewhere_and_a_few_with_a_new_key() -> None:
    crowd = Crowd.draw(1000, 0.25, 2.0, 7)
    assert crowd == Crowd.draw(1000, 0.25, 2.0, 7)
    assert (len(crowd.first), len(crowd.same)) == (1000, 125)
    assert [sum(key == wanted for _, _, key in crowd.other) for wanted in ("tap", "new")] == [125, 20]
    people = [buyer for _, buyer in crowd.same] + [buyer for _, buyer, _ in crowd.other]
    assert len(set(people)) == len(people)  # nobody does two of these things
    pauses = [moment - crowd.first[buyer] for moment, buyer, *_ in [*crowd.same, *crowd.other]]
    assert all(AGAIN[0] <= pause <= AGAIN[1] for pause in pauses)


@pytest.mark.parametrize("words", [["--buyers", "0", "--stock", "1"], ["--buyers", "9", "--stock", "1", "--retry", "1"]])
def test_what_makes_no_sense_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(words)


def test_a_run_is_good_only_without_doubles_and_mistakes() -> None:
    counts = dict.fromkeys(("oversold", "undersold", "unanswered", "doubles", "mistaken"), 0)
    good: dict[str, Any] = counts | {"balanced": True, "p99_ms": 9.0}
    options = arguments(["--buyers", "9", "--stock", "1", "--max-p99-ms", "8"])
    assert faults(good, arguments(["--buyers", "9", "--stock", "1"])) == []
    assert faults(good | {"doubles": 1, "mistaken": 2}, options) == ["doubles is 1", "mistaken is 2", "p99 is 9.0 ms, above 8"]
    assert faults(good | {"balanced": False, "p99_ms": 1.0}, options) == ["the audit does not balance"]


@pytest.mark.show
@pytest.mark.timeout(120)
async def test_four_hundred_impatient_buyers_get_exactly_forty_units() -> None:
    words = ["--buyers", "400", "--stock", "40", "--retry", "0.25", "--seconds", "1"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest.rush", *words), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    report = json.loads(output.strip().rpartition("\n")[2])
    assert (report["sold"], report["winners"], report["doubles"], report["mistaken"]) == (40, 40, 0, 0)
    assert (report["taps"], report["answered"], report["unanswered"]) == (508, 458, 0)
    assert report["balanced"] is True
