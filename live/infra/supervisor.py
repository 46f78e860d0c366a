"""Runs the processes of `live up`: starts them tied to this one, puts their lines into one log, stops them in order.

Plain asyncio, because honcho leaves processes behind on SIGKILL, SIGHUP and a closed pipe. Which programs there are is not decided
here (`live/launch.py`), nor how the embedded servers are made (`live/infra/embedded.py`).
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from live.infra.program import Program, end, exit_code, how_it_ended, signal_group, spawn

T = TypeVar("T")
RESTART_FIRST, RESTART_CAP = 0.2, 5.0  # seconds before a restart: doubled each time, up to the cap
STEADY_SECONDS = 10.0  # a program that lived this long starts again with the first, short wait
LINE_BYTES = 1 << 20  # a longer line loses its beginning: no line of ours comes near this
PIPE_BYTES = 4096  # a pipe that select() calls writable takes this much without blocking (PIPE_BUF)


class NotReadyError(RuntimeError):
    """A program did not answer in time. The text is a sentence for the user."""


class StoppedError(Exception):
    """The run is over before the awaited thing was; `code` is the exit code to leave with."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


async def wait_http(url: str, seconds: float) -> None:
    """Return once `GET url` answers with a 2xx status; raises NotReadyError after `seconds`. Race it by `Supervisor.unless_stopped`."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    request = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):  # a listener that does not answer is asked anew
                reader, writer = await asyncio.open_connection(host, port)
                try:
                    writer.write(request)
                    status = await reader.readline()
                finally:
                    writer.close()
                if status.split(b" ", 2)[1:2] and status.split(b" ", 2)[1].startswith(b"2"):
                    return
        await asyncio.sleep(0.05)
    raise NotReadyError(f"{url} did not answer within {seconds:g} s; the lines above say why.")


class Log:
    """The one output: `name | line`. Never blocks the loop on a slow reader, and survives a reader that went away."""

    COLOURS = (36, 33, 32, 35, 34, 96, 93, 92)  # ANSI; red is left for what fails

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._colour = os.isatty(descriptor) and not os.environ.get("NO_COLOR")
        self._names: dict[str, int] = {}
        self._lock = asyncio.Lock()  # a line longer than PIPE_BYTES is written in pieces
        self._closed = False
        self.on_broken: Callable[[], None] = lambda: None
        self.closing = False  # set while stopping: a reader that stands still is then given up after half a second

    async def say(self, name: str, line: str) -> None:
        """One line of the process `name`."""
        number = self._names.setdefault(name, len(self._names))
        label = f"{name:<10}"
        if self._colour:
            label = f"\x1b[{self.COLOURS[number % len(self.COLOURS)]}m{label}\x1b[0m"
        await self.write(f"{label}| {line}\n")

    async def write(self, text: str) -> None:
        """The text as it is."""
        data = text.encode(errors="replace")
        async with self._lock:
            while data and not self._closed and await self._writable():
                try:
                    data = data[os.write(self._descriptor, data[:PIPE_BYTES]) :]
                except OSError:  # EPIPE: `live up | head`; EIO: the terminal is gone
                    self._close()

    async def _writable(self) -> bool:
        waited = 0.0
        while not select.select([], [self._descriptor], [], 0)[1]:
            if self.closing and waited >= 0.5:
                self._closed = True
                return False
            await asyncio.sleep(0.02)
            waited += 0.02
        return True

    def _close(self) -> None:
        self._closed = True
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._descriptor)  # what Python still flushes at exit must not fail again
        os.close(null)
        self.on_broken()


class Supervisor:
    """The programs of one run. Use as an async context manager on the main thread; leaving it stops every program.

    The first reason to stop wins: a signal (130, 143, 129), an unexpected exit, a closed output (141), or `stop()`.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self, log: Log) -> None:
        self.log = log
        self.code: int | None = None
        self.reason = ""
        self.ready = False  # until the caller sets it, the end of any program is a failed start
        self._stopping = asyncio.Event()
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._caught: list[signal.Signals] = []
        log.on_broken = lambda: self.stop(128 + signal.SIGPIPE)

    async def __aenter__(self) -> Self:
        for number in self.SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # started by nohup: stay deaf to the hang-up
                asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)
                self._caught.append(number)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_programs()
        for number in self._caught:
            asyncio.get_running_loop().remove_signal_handler(number)

    def stop(self, code: int, reason: str = "") -> None:
        """End the run with this exit code. Later calls change nothing."""
        if self.code is None:
            self.code, self.reason = code, reason
            self.log.closing = True
            self._stopping.set()

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stopping.is_set():  # asked twice: programs are not waited for. The servers still end cleanly
            for process in self._processes.values():
                signal_group(process, signal.SIGKILL)
        self.stop(128 + number, f"stopping on {number.name}")

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`; when the run is stopped first, `work` is cancelled, awaited, and StoppedError raised."""
        task, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if self.code is None or (task.done() and not task.cancelled() and task.exception() is None):
                return await task
            raise StoppedError(self.code)
        finally:
            for each in (task, stopping):
                each.cancel()
            await asyncio.gather(task, stopping, return_exceptions=True)

    async def start(self, program: Program) -> None:
        """Start it and watch it to the end of the run. Raises OSError when it cannot be started."""
        process, relay = await self._spawn(program)
        self._tasks.append(asyncio.create_task(self._keep(program, process, relay), name=f"keep {program.name}"))

    async def run_to_end(self, program: Program) -> int:
        """Run it, its lines in the log, and return its return code."""
        process, relay = await self._spawn(program)
        try:
            return await process.wait()
        finally:
            await self._finish(program, process, relay)

    async def stop_programs(self) -> None:
        """End all programs at once; returns when the last is gone. The servers are the caller's to stop, afterwards."""
        self.stop(0)
        for line in self.reason.splitlines():
            await self.log.say("live", line)
        self.reason = ""
        await asyncio.gather(*self._tasks)
        self._tasks.clear()

    async def _spawn(self, program: Program) -> tuple[asyncio.subprocess.Process, asyncio.Task[None]]:
        # A pipe of our own: asyncio's `wait()` on one of its pipes also waits for grandchildren that hold it open.
        read_end, write_end = os.pipe()
        try:
            process = await spawn(program, write_end)
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self._processes[program.name] = process
        return process, asyncio.create_task(self._relay(program.name, read_end), name=f"log {program.name}")

    async def _relay(self, name: str, read_end: int) -> None:
        reader = asyncio.StreamReader(limit=LINE_BYTES)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", 0))
        try:
            while True:
                try:
                    line = await reader.readline()
                except ValueError:
                    line = f"(the first {LINE_BYTES} bytes or more of this line were left out)\n".encode()
                if not line:
                    return
                await self.log.say(name, line.decode(errors="replace").rstrip("\r\n"))
        finally:
            transport.close()

    async def _finish(self, program: Program, process: asyncio.subprocess.Process, relay: asyncio.Task[None]) -> None:
        await end(program, process)
        await asyncio.wait({relay}, timeout=1)  # its last lines; a grandchild elsewhere may hold the pipe for ever
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)

    async def _keep(self, program: Program, process: asyncio.subprocess.Process, relay: asyncio.Task[None]) -> None:
        pause = RESTART_FIRST
        while True:
            started = time.monotonic()
            with suppress(StoppedError):
                await self.unless_stopped(process.wait())
            await self._finish(program, process, relay)
            if self._stopping.is_set():
                return
            how = how_it_ended(process.returncode or 0)
            if not (program.restart and self.ready):
                self.stop(exit_code(process.returncode or 0), f"{program.name} ended unexpectedly ({how}); stopping everything")
                return
            pause = RESTART_FIRST if time.monotonic() - started > STEADY_SECONDS else pause
            await self.log.say(program.name, f"ended ({how}); starting it again in {pause:g} s")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
                    return
            pause = min(pause * 2, RESTART_CAP)
            try:
                process, relay = await self._spawn(program)
            except OSError as error:  # its file is gone
                self.stop(1, f"{program.name} cannot be started again: {error}; stopping everything")
                return
