"""Programs of the product, forked from a process that has imported what they import, for tests that start a whole house each.

Such a program runs the same module with the same arguments, environment, folder and signals as one that is started by its command. What
it does not do is to import everything again, which takes a house some ten seconds of one core. That the commands themselves start is
shown by `test_show.py` and `test_launch.py`.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from live.infra.program import Program
from loadtest.stage import ends_with_us

# Not the modules that are run by name: those would be there already, and then a second time.
IMPORTED = ["live.web.serve", "live.hub.server", "workers.main", "arq.cli", "live.payments.simulator_pages", "uvloop", "tests.nursery"]
STOP_SECONDS = 10.0  # more than any of them takes
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(IMPORTED)


def start(program: Program, env: Mapping[str, str], folder: Path) -> ForkServerProcess:
    """Run `program`, which is `python -m MODULE …`, in this folder; what it says goes to NAME.log there. It ends with us at the latest."""
    python, option, *words = program.argv
    assert (python, option) == (sys.executable, "-m")
    process = _SERVER.Process(target=_run, args=(words, dict(env), str(folder), program.name), name=program.name)
    process.start()
    return process


def end(processes: Sequence[ForkServerProcess]) -> None:
    """SIGTERM to all, and SIGKILL to who does not end by it."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(STOP_SECONDS)
        process.kill()
        process.join()


def _run(words: list[str], env: dict[str, str], folder: str, name: str) -> None:
    ends_with_us()
    os.chdir(folder)
    said = os.open(f"{name}.log", os.O_WRONLY | os.O_CREAT, 0o600)
    for descriptor in (1, 2):
        os.dup2(said, descriptor)
    os.close(said)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = list(words)
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
