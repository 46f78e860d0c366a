"""Work side by side: every end is told, nothing is waited for without end, and nobody is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.prove import simulation
from tests.prove.__main__ import report
from tests.prove.errands import dies, hangs, raises, twice
from tests.prove.kinds import Result, parts, shares, whole
from tests.prove.processes import Work, side_by_side

ROOT = Path(__file__).parents[2]


def test_each_end_is_told_whatever_it_is() -> None:
    work = [Work("a", twice, (4,)), Work("b", raises), Work("c", dies), Work("d", hangs, seconds=1.0), Work("e", twice, (5,), alone=True)]
    ended = dict(side_by_side(work, cores=2))
    assert (ended[0].answer, ended[0].fault, ended[4].answer) == (8, "", 10)
    assert "LookupError: nowhere" in ended[1].fault
    assert ended[2].fault == "its process ended with SIGKILL"
    assert ended[3].fault == "not done after 1 s"


def test_who_loads_every_core_has_them_alone() -> None:
    work = [Work("a", twice, (1,)), Work("b", twice, (2,), alone=True), Work("c", twice, (3,))]
    ended = dict(side_by_side(work, cores=2))
    assert ended[0].ended <= ended[1].began
    assert ended[1].ended <= ended[2].began


def test_what_has_not_begun_at_the_end_of_the_time_never_does() -> None:
    ended = dict(side_by_side([Work("a", hangs), Work("b", twice, (1,))], cores=1, until=time.monotonic() + 1.0))
    assert ended.keys() == {0}


def test_a_piece_that_dies_is_a_violation_of_its_kind(capsys: pytest.CaptureFixture[str]) -> None:
    ended = dict(side_by_side([Work("simulation", dies)]))
    assert not report(simulation, 7, [ended[0]])
    said = capsys.readouterr()
    assert '"kind":"simulation","runs":0,"violations":1,"seed":7' in said.out
    assert "simulation: its process ended with SIGKILL" in said.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whoever_stops_the_whole_stops_every_piece_in_order(number: int, tmp_path: Path) -> None:
    marks = [tmp_path / name for name in ("a", "b")]
    code = (
        "from tests.prove.processes import Work, side_by_side\nfrom tests.prove.errands import hangs\n"
        f"print(*side_by_side([Work(m, hangs, (m,)) for m in {[str(mark) for mark in marks]!r}], cores=2))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        while not all(mark.exists() and mark.read_text("utf-8") == "begun" for mark in marks):
            time.sleep(0.05)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        process.wait(20)
        assert psutil.wait_procs(family, 20)[1] == []
        assert [mark.read_text("utf-8") for mark in marks] == ["ended in order"] * 2
    finally:
        process.kill()
        process.wait()


def test_a_kind_is_divided_alike_on_every_machine_and_whole_again_afterwards() -> None:
    assert shares(10, 4) == [2, 2, 3, 3]
    assert shares(2, 4) == [1, 1]
    given = parts(simulation, 7, 10)
    assert given == [(7, 2), (9, 2), (11, 3), (14, 3)]
    result = whole([simulation.run(*each) for each in given])
    assert result == simulation.run(7, 10)
    lost = whole([Result("k", 1, 7, ["x"], {"n": 2, "s": ["a"]}), Result("k", 3, 9, [], {"n": 5, "s": ["b"], "m": 1})])
    assert lost == Result("k", 4, 7, ["x"], {"n": 7, "s": ["a", "b"], "m": 1})
