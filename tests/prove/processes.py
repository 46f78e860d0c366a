"""Work done side by side, each piece in a process of its own, as many at once as there are cores.

A process that dies, or does not come to an end, is an answer like any other (`Done.fault`): nobody waits for it. All of them end with
this one, however it ends, and are given time to end their servers first.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from live.infra.program import how_it_ended
from loadtest.stage import ends_with_us

CORES = os.cpu_count() or 1
STOP_SECONDS = 20.0  # what a process may need to end its servers and delete its folder
SPAWN = multiprocessing.get_context("spawn")  # not fork: a process begins with what it imports, and with nothing of its neighbours


@dataclass(frozen=True, slots=True)
class Work:
    """`act(*args)`, importable by name, its answer picklable. `alone`: it loads every core by itself. `seconds`: it may take so long."""

    name: str
    act: Callable[..., Any]
    args: tuple[Any, ...] = ()
    alone: bool = False
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """How a piece ended: `answer`, unless `fault` says why there is none. Moments are `time.monotonic()`."""

    answer: Any
    fault: str
    began: float
    ended: float


@dataclass(slots=True)
class _Running:
    number: int
    process: SpawnProcess
    pipe: Connection
    began: float
    due: float | None


def side_by_side(pieces: Sequence[Work], cores: int = CORES, until: float | None = None) -> Iterator[tuple[int, Done]]:
    """Each piece's number and how it ended, as they end. Begun in the order given; closing the generator ends what runs.

    `until`: the moment (`time.monotonic()`) at which what runs is late, and what has not begun never will.
    """
    running: list[_Running] = []
    begun = 0
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, so that what follows `finally` is done
    try:
        while begun < len(pieces) or running:
            if until is not None and time.monotonic() >= until:
                begun = len(pieces)
            while begun < len(pieces) and _room(pieces[begun], pieces, running, cores):
                running.append(_begin(begun, pieces[begun], until))
                begun += 1
            for each in _ended(running) if running else ():
                done = _done(each)
                running.remove(each)
                yield each.number, done
    finally:
        _end(running)
        signal.signal(signal.SIGTERM, before)


def _room(piece: Work, pieces: Sequence[Work], running: Sequence[_Running], cores: int) -> bool:
    return not running or (len(running) < cores and not piece.alone and not any(pieces[each.number].alone for each in running))


def _begin(number: int, work: Work, until: float | None) -> _Running:
    ours, theirs = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=_child, args=(theirs, os.getpid(), work.act, work.args), name=work.name)
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    now = time.monotonic()
    due = min((moment for moment in (work.seconds and now + work.seconds, until) if moment is not None), default=None)
    return _Running(number, process, ours, now, due)


def _child(pipe: Connection, parent: int, act: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """In the process: Ctrl-C at the terminal is the parent's to pass on, so that servers are ended once and in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ends_with_us()
    os.dup2(2, 1)  # the parent's output is answers only
    if os.getppid() != parent:
        sys.exit(1)
    try:
        pipe.send((act(*args), ""))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:  # noqa: BLE001 - whatever it was, it is told
        pipe.send((None, traceback.format_exc()))


def _ended(running: Sequence[_Running]) -> list[_Running]:
    """Wait until one has answered, is gone, or is late."""
    now = time.monotonic()
    due = min((each.due for each in running if each.due is not None), default=None)
    ready = wait([each.pipe for each in running], None if due is None else max(0.0, due - now))
    late = time.monotonic()
    return [each for each in running if each.pipe in ready or (each.due is not None and each.due <= late)]


def _done(each: _Running) -> Done:
    told, ended = each.pipe.poll(), time.monotonic()
    answer, fault = None, f"not done after {ended - each.began:.0f} s"
    if told:
        try:
            answer, fault = each.pipe.recv()
        except EOFError:
            each.process.join(STOP_SECONDS)
            fault = f"its process ended with {how_it_ended(each.process.exitcode or 0)}"
    _end([each], told)
    return Done(answer, fault, each.began, ended)


def _end(running: Sequence[_Running], told: bool = False) -> None:
    """Stop them; `told`: they have answered and are about to end by themselves."""
    for each in running:
        if not told:
            each.process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for each in running:
        with suppress(KeyboardInterrupt):  # a second Ctrl-C does not leave servers behind either
            each.process.join(max(0.0, deadline - time.monotonic()))
        if each.process.exitcode is None:
            each.process.kill()
            each.process.join()
        each.pipe.close()
