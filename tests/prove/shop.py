"""The whole shop as its own processes, each of which may be killed, frozen and started again: servers, two hubs, two ledgers, a worker,
web and the payment simulator, started by the product's own commands in a temporary folder."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import psycopg
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

import live
from live.infra.db import Database
from live.infra.embedded import EmbeddedServers
from live.infra.folder import holder
from live.infra.program import Program, signal_group, spawn
from live.infra.redis import connect
from live.infra.security import Tokens
from live.infra.supervisor import wait_http
from live.launch import python
from live.migrations.upgrade import upgrade
from live.offers.reservations import unsettled
from live.payments import keys
from loadtest.stage import free_port
from tests.prove.launcher import VARIABLE

ROOT = Path(live.__file__).parents[1]
AWAY = (SQLAlchemyError, psycopg.Error, RedisError, OSError, TimeoutError)  # what a killed server looks like from here
READY_SECONDS = 60.0  # a small machine imports everything in eight processes
IMPORT_SECONDS = 1.5
BY_ITSELF = 0.3  # seconds before a program that ended by itself (arq does, without its Redis) is started again
HUBS, LEDGERS = ("hub1", "hub2"), ("ledger1", "ledger2")
LIMITS = {
    # A few buyers stand for a crowd.
    "LIVE_HUB_BUYS_PER_SECOND": "50", "LIVE_HUB_BUY_BURST": "500", "LIVE_HUB_COMMANDS_PER_SECOND": "100", "LIVE_HUB_COMMAND_BURST": "1000",
}  # fmt: skip


@dataclass(slots=True)
class Running:
    """A program that is kept running. `pause`: seconds it stays away after it ended."""

    program: Program
    process: asyncio.subprocess.Process
    pause: float = BY_ITSELF
    since: float = field(default_factory=time.monotonic)
    keeper: asyncio.Task[None] | None = None


class Shop:
    """From `start` to `stop`; nothing is left behind. `bug`: planted in every program by `launcher`."""

    def __init__(self, bug: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kills-"))
        self.bug = bug
        # In folders of their own, so that either can be killed and started again alone.
        self.valkey = EmbeddedServers(self.folder / "v", database=False)
        self.postgres = EmbeddedServers(self.folder / "p", redis=False)
        self.programs: dict[str, Running] = {}
        self.restarts = 0
        self.closing = False
        self.ports = {name: free_port() for name in (*HUBS, "web", "simulator")}
        self.tokens = Tokens(secrets.token_urlsafe(32))
        self.db: Database
        self.redis: Redis

    # its life

    async def start(self) -> None:
        """Everything at once: importing takes the longest, and no program minds a database that is not there yet."""
        await asyncio.gather(self.valkey.start(), self.postgres.start())
        self.db, self.redis = Database(self.postgres.database_url, pool=4), connect(self.valkey.redis_url)
        env = self._environment()
        for name, program in self._programs().items():
            where = env | {"PGAPPNAME": name, "LIVE_HUB_PORT": str(self.ports.get(name, 0))}
            await self._start(name, replace(program, env=where, cwd=ROOT))
        upgrade(self.postgres.database_url)

    async def ready(self) -> None:
        """Every door answers."""
        for port in self.ports.values():
            await wait_http(f"http://127.0.0.1:{port}/healthz", READY_SECONDS)

    async def stop(self) -> None:
        """Kill the programs (each may be lost at any moment), end the servers, delete the folder."""
        self.closing = True
        for running in self.programs.values():
            signal_group(running.process, signal.SIGKILL)
            if running.keeper is not None:
                running.keeper.cancel()
        await asyncio.gather(*(running.keeper for running in self.programs.values() if running.keeper), return_exceptions=True)
        for running in self.programs.values():
            signal_group(running.process, signal.SIGKILL)  # one that was being started meanwhile
            await running.process.wait()
        if hasattr(self, "db"):
            await self.db.close()
            await self.redis.aclose()
        await asyncio.gather(self.valkey.stop(), self.postgres.stop())
        shutil.rmtree(self.folder, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        bare = {name: value for name, value in os.environ.items() if not name.startswith(("LIVE_", "PG"))}
        home = self.folder / "home"
        home.mkdir(mode=0o700)
        (home / "log").mkdir()
        simulator = f"http://127.0.0.1:{self.ports['simulator']}"
        found = bare | LIMITS | keys.prepare(home, simulator) | {
            "PYTHONPATH": str(ROOT), "LIVE_ENV": "demo", "LIVE_HOME": str(home), "LIVE_LOG_LEVEL": "WARNING",
            "LIVE_REDIS_URL": self.valkey.redis_url, "LIVE_DATABASE_URL": self.postgres.database_url,
            "LIVE_WEB_PORT": str(self.ports["web"]), "LIVE_SIMULATOR_PORT": str(self.ports["simulator"]),
            "LIVE_TOKEN_SECRET": self.tokens._secrets[0], "LIVE_PICKUP_SECRET": secrets.token_urlsafe(32),
        }  # fmt: skip
        return found | ({VARIABLE: self.bug} if self.bug else {})

    def _programs(self) -> Mapping[str, Program]:
        found = {name: python(name, "live.cli", name.rstrip("12")) for name in (*LEDGERS, *HUBS)}
        found["worker"] = python("worker", "arq", "workers.main.WorkerSettings")
        found["web"] = python("web", "live.cli", "web")
        found["simulator"] = python("simulator", "live.payments.simulator")
        if not self.bug:
            return found
        start = (sys.executable, "-m")
        return {name: replace(one, argv=(*start, "tests.prove.launcher", *one.argv[2:])) for name, one in found.items()}

    # programs

    async def _start(self, name: str, program: Program) -> None:
        running = self.programs[name] = Running(program, await self._spawn(program))
        running.keeper = asyncio.create_task(self._keep(running), name=f"keep {name}")

    async def _spawn(self, program: Program) -> asyncio.subprocess.Process:
        output = os.open(self.folder / "home" / "log" / f"{program.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return await spawn(program, output)
        finally:
            os.close(output)

    async def _keep(self, running: Running) -> None:
        while not self.closing:
            await running.process.wait()
            pause, running.pause = running.pause, BY_ITSELF
            await asyncio.sleep(pause)
            if not self.closing:
                running.process, running.since = await self._spawn(running.program), time.monotonic()
                self.restarts += 1

    def at_work(self, name: str) -> bool:
        """Whether the program lives, and has for long enough to be past its imports."""
        running = self.programs[name]
        return running.process.returncode is None and time.monotonic() - running.since > IMPORT_SECONDS

    def kill(self, name: str, away: float) -> None:
        """SIGKILL; it is started again after `away` seconds."""
        self.programs[name].pause = away
        signal_group(self.programs[name].process, signal.SIGKILL)

    def freeze(self, name: str) -> None:
        """SIGSTOP: it does nothing more, and nobody is told."""
        signal_group(self.programs[name].process, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        signal_group(self.programs[name].process, signal.SIGCONT)

    # servers

    async def kill_valkey(self, away: float) -> None:
        """SIGKILL, and on the same data again."""
        await self._again(self.valkey, [self._server(self.valkey)], away)

    async def kill_postgres(self, away: float, whole: bool) -> None:
        """SIGKILL to the postmaster alone, whose children then end by themselves, or to all of them; and on the same data again."""
        postmaster = self._server(self.postgres)
        children = postmaster.children(recursive=True) if whole else []
        await self._again(self.postgres, [postmaster, *children], away)

    def _server(self, server: EmbeddedServers) -> psutil.Process:
        return psutil.Process(server._children[0].process.pid)

    async def _again(self, server: EmbeddedServers, processes: Sequence[psutil.Process], away: float) -> None:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        await server._children[0].ended
        await asyncio.sleep(away)
        await server.stop()
        async with asyncio.timeout(READY_SECONDS):
            while holder(server.home / "servers.lock") is not None:  # children of a dead postmaster are still ending
                await asyncio.sleep(0.01)
        await server.start()

    # aiming

    async def owner(self, room: str) -> str:
        """The ledger that holds the room's lease, "" when nobody does or nobody can tell."""
        query = """SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory'
          AND l.granted AND (CAST(l.classid AS bigint) << 32 | CAST(l.objid AS bigint)) = hashtextextended(:room, 7) LIMIT 1"""
        with suppress(*AWAY):
            async with self.db.connection() as connection:
                return str((await connection.execute(text(query), {"room": f"room:{room}"})).scalar_one_or_none() or "")
        return ""

    async def booking(self, name: str, room: str) -> str:
        """What a frozen ledger was at: `transaction` with intents in it, `pending` intents read and not settled, or nothing of the kind."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = :name AND state = 'idle in transaction'"
        with suppress(*AWAY):
            if not await unsettled(self.redis, room, 1):
                return ""
            async with self.db.connection() as connection:
                inside = (await connection.execute(text(query), {"name": name})).scalar_one()
            return "transaction" if inside else "pending"
        return ""

    async def end_leases(self, name: str) -> None:
        """Cut the connection by which a ledger holds its rooms: what the lease's timeout does to one that is frozen for long."""
        query = """SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
          WHERE a.application_name = :name AND EXISTS (SELECT 1 FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory')"""
        with suppress(*AWAY):
            async with self.db.connection() as connection:
                await connection.execute(text(query), {"name": name})
