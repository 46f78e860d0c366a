"""The launcher of processes, run as a process of its own and ended in every way."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from live.infra.program import Program
from live.infra.supervisor import Log, NotReadyError, StoppedError, Supervisor, wait_http
from tests.infra.observing import nothing_left, processes_of

# argv: folder, then one shell script a program. The folder stands in every command line, so leftovers are found by it.
LAUNCHER = """
import asyncio, sys
from live.infra.program import Program
from live.infra.supervisor import Log, StoppedError, Supervisor
async def main():
    async with Supervisor(Log()) as supervisor:
        for number, script in enumerate(sys.argv[2:]):
            restart = script.startswith("#restart")
            stop = ((15, 0.3),) if "trap" in script else ((15, 5.0),)
            argv = ("/bin/sh", "-c", script, sys.argv[1])
            await supervisor.start(Program(f"p{number}", argv, restart=restart, stop=stop))
        supervisor.ready = True
        try:
            await supervisor.unless_stopped(asyncio.sleep(30))
        except StoppedError as stopped:
            code = stopped.code
    sys.exit(code)
asyncio.run(main())
"""
QUIET = "echo up; while :; do sleep 0.1; done"


class Run:
    """One launcher process and what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.said = ""

    async def until(self, text: str, times: int = 1) -> None:
        """Read until `text` was said so often."""
        assert self.process.stdout is not None
        async with asyncio.timeout(10):
            while self.said.count(text) < times:
                line = await self.process.stdout.readline()
                assert line, f"ended without saying {text!r}:\n{self.said}"
                self.said += line.decode()

    async def code(self) -> int:
        """The exit code, after reading the rest."""
        assert self.process.stdout is not None
        async with asyncio.timeout(10):
            self.said += (await self.process.stdout.read()).decode()
            return await self.process.wait()


async def launch(folder: Path, *scripts: str, **options: object) -> Run:
    """Start the launcher with one shell program for each script."""
    argv = [sys.executable, "-c", LAUNCHER, str(folder), *scripts]
    out = asyncio.subprocess.PIPE
    return Run(await asyncio.create_subprocess_exec(*argv, stdout=out, stderr=asyncio.subprocess.STDOUT, **options), folder)  # type: ignore[arg-type]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_signal_stops_everything_and_gives_its_exit_code(tmp_path: Path, number: signal.Signals, code: int) -> None:
    run = await launch(tmp_path, QUIET, QUIET)
    await run.until("up", 2)
    run.process.send_signal(number)
    assert await run.code() == code
    assert f"stopping on {number.name}" in run.said
    assert processes_of(tmp_path) == []


async def test_kill_9_of_the_launcher_leaves_no_process(tmp_path: Path) -> None:
    run = await launch(tmp_path, QUIET, "trap '' TERM INT; " + QUIET)
    await run.until("up", 2)
    run.process.kill()
    await run.process.wait()
    assert await nothing_left(tmp_path, 2)


async def test_a_program_that_ends_by_itself_stops_the_others_and_its_code_is_ours(tmp_path: Path) -> None:
    run = await launch(tmp_path, QUIET, "sleep 0.3; exit 7")
    assert await run.code() == 7
    assert "p1 ended unexpectedly (code 7); stopping everything" in run.said
    assert processes_of(tmp_path) == []


async def test_a_program_that_ends_well_but_too_early_is_still_a_failure(tmp_path: Path) -> None:
    assert await (await launch(tmp_path, "exit 0")).code() == 1


async def test_a_killed_program_gives_the_code_of_its_signal(tmp_path: Path) -> None:
    run = await launch(tmp_path, "kill -9 $$")
    assert await run.code() == 137
    assert "p0 ended unexpectedly (SIGKILL)" in run.said


async def test_a_program_deaf_to_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    run = await launch(tmp_path, f"trap '' TERM; (trap '' TERM; exec sleep 1000; : {tmp_path}) & " + QUIET)
    await run.until("up")
    began = time.monotonic()
    run.process.send_signal(signal.SIGTERM)
    assert await run.code() == 143
    assert 0.3 <= time.monotonic() - began < 2
    assert processes_of(tmp_path) == []


async def test_a_program_that_may_restart_does_so_and_the_others_go_on(tmp_path: Path) -> None:
    run = await launch(tmp_path, QUIET, "#restart\necho again; sleep 0.2; exit 3")
    await run.until("again", 2)
    assert "ended (code 3); starting it again in 0.2 s" in run.said
    await run.until("again in 0.4 s")  # each time later, up to the cap
    run.process.send_signal(signal.SIGTERM)
    assert await run.code() == 143
    assert "unexpectedly" not in run.said
    assert processes_of(tmp_path) == []


async def test_a_reader_that_goes_away_ends_the_run(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", LAUNCHER, str(tmp_path), "while :; do echo line; sleep 0.01; done"]
    read_end, write_end = os.pipe()
    process = await asyncio.create_subprocess_exec(*argv, stdout=write_end, stderr=asyncio.subprocess.PIPE)
    os.close(write_end)
    assert (await asyncio.to_thread(os.read, read_end, 4)) == b"p0  "
    os.close(read_end)  # as `live up | head` does
    assert process.stderr is not None
    async with asyncio.timeout(5):
        assert await process.stderr.read() == b""
        assert await process.wait() == 141
    assert processes_of(tmp_path) == []


async def test_a_reader_that_stands_still_does_not_keep_it_from_stopping(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    argv = [sys.executable, "-c", LAUNCHER, str(tmp_path), "yes | head -c 300000; sleep 100"]
    process = await asyncio.create_subprocess_exec(*argv, stdout=write_end)
    os.close(write_end)
    await asyncio.sleep(0.6)  # by then the pipe of 64 KiB is full
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(8):
        assert await process.wait() == 143
    os.close(read_end)
    assert processes_of(tmp_path) == []


@pytest.fixture
def output(tmp_path: Path) -> Iterator[tuple[Log, Path]]:
    """A log that writes into a file, and the file."""
    file = tmp_path / "output"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    yield Log(descriptor), file
    os.close(descriptor)


async def test_lines_carry_the_name_of_their_program_and_long_ones_come_whole(output: tuple[Log, Path]) -> None:
    log, file = output
    async with Supervisor(log) as supervisor:
        assert await supervisor.run_to_end(Program("long", (sys.executable, "-c", "print('x' * 200_000)"))) == 0
        assert await supervisor.run_to_end(Program("both", ("/bin/sh", "-c", "echo out; echo err >&2; exit 3"))) == 3
        assert await supervisor.run_to_end(Program("huge", (sys.executable, "-c", "print('x' * 2_000_000 + chr(10) + 'next')"))) == 0
    lines = file.read_text().splitlines()
    assert lines[:3] == [f"long      | {'x' * 200_000}", "both      | out", "both      | err"]
    assert lines[-1] == "huge      | next"
    assert lines[3] == "huge      | (the first 1048576 bytes or more of this line were left out)"


async def test_waiting_for_a_page_ends_when_it_answers_and_not_before(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/healthz"
    with pytest.raises(NotReadyError, match=r"did not answer within 0\.2 s"):
        await wait_http(url, 0.2)
    answers = [b"HTTP/1.1 503 Busy\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answers.pop(0))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", unused_tcp_port):
        await wait_http(url, 5)
    assert answers == []


async def test_waiting_ends_at_once_when_the_program_waited_for_has_ended(output: tuple[Log, Path]) -> None:
    began = time.monotonic()
    async with Supervisor(output[0]) as supervisor:
        await supervisor.start(Program("web", ("/bin/sh", "-c", "exit 4"), restart=True))  # not ready yet: not started again
        with pytest.raises(StoppedError) as stopped:
            await supervisor.unless_stopped(wait_http("http://127.0.0.1:9/healthz", 30))
    assert stopped.value.code == 4
    assert time.monotonic() - began < 2
