"""One child process: how it is started tied to this one, and how it is ended. Nothing here knows which programs there are."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

RunAs = Literal["self", "namespace", "nobody"]

NOBODY = 65534  # the user id of `nobody` on Linux, and the one PostgreSQL sees inside the user namespace
_PR_SET_PDEATHSIG, _CLONE_NEWUSER = 1, 0x10000000
_LIBC = ctypes.CDLL(None, use_errno=True)  # loaded before any fork, so the child need not


@dataclass(frozen=True)
class Program:
    """One process to run. `env` is its whole environment; None means ours."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    restart: bool = False  # started again when it ends by itself, once everything was ready
    # (signal, seconds to wait) in this order, then SIGKILL. 8 s: arq needs up to 7.6 s when its Redis is gone.
    stop: tuple[tuple[int, float], ...] = ((signal.SIGTERM, 8.0),)
    death_signal: int = signal.SIGKILL  # sent by the kernel when we die. Our programs may be lost at any moment, so the surest one
    run_as: RunAs = "self"
    keep_open: tuple[int, ...] = ()  # descriptors it inherits, such as a lock that must last as long as it does


def tied(death_signal: int, run_as: RunAs = "self") -> Callable[[], None]:
    """A `preexec_fn`: the child gets `death_signal` when this process dies, however it dies.

    With `run_as="namespace"`, root becomes user 65534 inside a user namespace of its own: files stay root's outside, and PostgreSQL,
    which refuses root, runs. The order matters: a change of credentials clears the death signal.
    """
    parent = os.getpid()

    def in_child() -> None:
        if run_as == "namespace":
            _enter_namespace()
        if sys.platform == "linux":
            if _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "prctl")
            if os.getppid() != parent:  # we died between fork and prctl
                os._exit(1)

    return in_child


def _enter_namespace() -> None:
    if _LIBC.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for file, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} 0 1"), ("gid_map", f"{NOBODY} 0 1")):
        descriptor = os.open(f"/proc/self/{file}", os.O_WRONLY)
        os.write(descriptor, text.encode())
        os.close(descriptor)


async def spawn(program: Program, output: int) -> asyncio.subprocess.Process:
    """Start `program` in a session of its own, so Ctrl-C reaches only us; both its outputs go to the descriptor `output`."""
    # The death signal belongs to the thread that forked: from a worker thread the child would die with that thread.
    assert threading.current_thread() is threading.main_thread(), "children are started from the main thread"
    user: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if program.run_as == "nobody" else {}
    return await asyncio.create_subprocess_exec(
        *program.argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=asyncio.subprocess.STDOUT,
        env=program.env,
        cwd=program.cwd,
        start_new_session=True,
        preexec_fn=tied(program.death_signal, program.run_as),
        pass_fds=program.keep_open,
        **user,
    )


def signal_group(process: asyncio.subprocess.Process, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # gone already; macOS says EPERM for a zombie's group
        os.killpg(process.pid, number)


async def end(program: Program, process: asyncio.subprocess.Process) -> int:
    """Stop the process and everything left in its group; returns its return code."""
    for number, seconds in program.stop:
        if process.returncode is None:
            signal_group(process, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await process.wait()
    signal_group(process, signal.SIGKILL)  # itself when it would not end, and children it forgot
    return await process.wait()


def exit_code(returncode: int) -> int:
    """The shell's code for an unexpected end: 128 + signal when killed, and never 0, for a program that ends early has failed."""
    return 128 - returncode if returncode < 0 else max(returncode, 1)


def how_it_ended(returncode: int) -> str:
    """`code 3` or `SIGKILL`, for messages."""
    if returncode >= 0:
        return f"code {returncode}"
    with suppress(ValueError):
        return signal.Signals(-returncode).name
    return f"signal {-returncode}"
