"""Composes `live up`: checks, servers, migration, programs, and their end. Which process is run how stands in `live/infra`.

Everything a child must know goes through its environment; nothing is handed over in files but `servers.json`, by which other commands
in the same folder (`live audit`, `live import`) find the embedded servers.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import json
import os
import resource
import shutil
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from live.infra.embedded import EmbeddedError, EmbeddedServers
from live.infra.folder import HeldError, hold, holder, private_folder, secret, write_private
from live.infra.program import Program
from live.infra.supervisor import Log, NotReadyError, StoppedError, Supervisor, wait_http
from live.settings import Settings
from live.settings import settings as read_settings

SECRETS = ("token_secret", "pickup_secret")
SHORTEST_SECRET = 32  # characters: what 24 random bytes make in base64, beyond guessing
READY_SECONDS = 60.0  # a cold disk needs some 10 s to import everything in four processes
DESCRIPTORS = 65_536  # what we raise the soft limit to, where allowed: one per socket, and the hub holds most of them
PAGES = (("viewer", "/"), ("console", "/console"), ("store desk", "/store"))
_LOCKS = ("lock", "servers.lock")  # never deleted: a lock file that is gone while held locks nobody out


class LaunchError(RuntimeError):
    """The launch cannot go on. The text is one sentence for the user that says what to do."""


@dataclass
class Running:
    """What `on_ready` and `scenario` are given: everything is up, `settings` and `env` are complete."""

    settings: Settings
    env: Mapping[str, str]
    supervisor: Supervisor
    last_line: str | None = field(default=None)  # written without prefix once everything has stopped

    async def say(self, line: str, name: str = "live") -> None:
        """A line of the common log."""
        await self.supervisor.log.say(name, line)

    async def start(self, program: Program) -> None:
        """One more program, stopped with the others."""
        await self.supervisor.start(program if program.env is not None else replace(program, env=self.env))


Hook = Callable[[Running], Awaitable[None]]
Scenario = Callable[[Running], Awaitable[int]]


def python(name: str, module: str, *arguments: str, restart: bool = False) -> Program:
    """A program that is a Python module, run by this very interpreter; its environment is filled in by `up`."""
    return Program(name, (sys.executable, "-m", module, *arguments), restart=restart)


def usual_programs(hubs: int = 1) -> list[Program]:
    """The Procfile, `hubs` hubs on one port. Each may be lost at any moment (DESIGN.md, section 2), so each is restarted."""
    return [
        python("web", "live.cli", "web", restart=True),
        *(python("hub" if n == 1 else f"hub{n}", "live.cli", "hub", restart=True) for n in range(1, hubs + 1)),
        python("ledger", "live.cli", "ledger", restart=True),
        python("worker", "arq", "workers.main.WorkerSettings", restart=True),
    ]


async def up(
    settings: Settings,
    *,
    fresh: bool = False,
    confirm: Callable[[str], bool] | None = None,
    programs: Sequence[Program] | None = None,
    extra: Sequence[Program] = (),
    on_ready: Hook | None = None,
    scenario: Scenario | None = None,
    pages: Sequence[tuple[str, str]] = PAGES,
    migrate: bool = True,
) -> int:
    """Run everything until a signal, an unexpected end, or the end of `scenario`, whose result is the exit code.

    `confirm` asks the user on a terminal before `fresh` deletes what `live demo` did not make; None means nobody can be asked.
    `programs` replaces the usual ones; a program with env=None gets ours. Raises LaunchError.
    """
    check_production(settings)
    home = prepare_home(settings.home)
    try:
        lock = await hold(home / "lock", patience=0.2)
    except HeldError as error:
        raise LaunchError(f"`live` already runs in {home} as process {error.pid}; stop it first, or set LIVE_HOME.") from None
    try:
        check_ports(settings, simulator=any(program.name == "simulator" for program in extra))
        await reach(settings.redis_url, settings.database_url)
        if fresh:
            await empty(home, confirm)
        if settings.env == "demo" and not (home / "postgres").exists():
            write_private(home / "demo", "made by `live demo`; `live demo --fresh` may delete this folder\n")
        raise_descriptor_limit()
        chosen = [*(usual_programs(settings.hubs) if programs is None else programs), *extra]
        return await _Launch(settings.model_copy(update={"home": home}), chosen, on_ready, scenario, pages, migrate).run()
    except (EmbeddedError, NotReadyError) as error:
        raise LaunchError(str(error)) from None
    finally:
        os.close(lock)


async def reach(redis_url: str | None, database_url: str | None) -> None:
    """The servers that are named answer. Raises LaunchError."""
    if redis_url is None and database_url is None:
        return  # the embedded ones need none of this
    from live.infra.reach import UnreachableError, answers

    try:
        await answers(redis_url, database_url)
    except UnreachableError as error:
        raise LaunchError(str(error)) from None


@dataclass
class _Launch:
    settings: Settings
    programs: Sequence[Program]
    on_ready: Hook | None
    scenario: Scenario | None
    pages: Sequence[tuple[str, str]]
    migrate: bool

    async def run(self) -> int:
        home = self.settings.home
        servers = EmbeddedServers(home, redis=self.settings.redis_url is None, database=self.settings.database_url is None)
        log, last_line = Log(), None
        async with Supervisor(log) as supervisor:
            watch: asyncio.Task[None] | None = None
            try:
                await supervisor.unless_stopped(servers.start())
                watch = asyncio.create_task(_watch(servers, supervisor), name="watch servers")
                running = self._complete(servers, supervisor)
                code = await supervisor.unless_stopped(self._show(running))
                last_line = running.last_line
            except StoppedError as stopped:
                code = stopped.code
            finally:  # programs, then Valkey, then PostgreSQL; signals are still caught, so this is not cut short
                await supervisor.stop_programs()
                if watch is not None:
                    watch.cancel()
                (home / "servers.json").unlink(missing_ok=True)
                await servers.stop()
        if last_line is not None:
            await log.write(last_line + "\n")
        return code

    def _complete(self, servers: EmbeddedServers, supervisor: Supervisor) -> Running:
        """Fill in what was made here: addresses of the servers, secrets."""
        made: dict[str, str] = {}
        if self.settings.redis_url is None:
            made["redis_url"] = servers.redis_url
        if self.settings.database_url is None:
            made["database_url"] = servers.database_url
        if self.settings.env != "production":  # there, check_production has seen them all
            made |= {name: secret(self.settings.home, name) for name in SECRETS if not getattr(self.settings, name)}
        settings = self.settings.model_copy(update=made)
        return Running(settings, environment(settings), supervisor)

    async def _show(self, running: Running) -> int:
        if self.migrate:
            await running.say("migrating the database")
            program = python("migrate", "live.cli", "migrate")
            code = await running.supervisor.run_to_end(replace(program, env=running.env))
            if code != 0:
                raise LaunchError(f"The migration of the database failed (code {code}); the lines above say why.")
        write_servers_file(running.settings)
        for program in self.programs:
            await running.start(program)
        for port in (running.settings.web_port, running.settings.hub_port):
            await wait_http(f"http://{_reachable(running.settings.host)}:{port}/healthz", READY_SECONDS)
        running.supervisor.ready = True
        if self.on_ready is not None:
            await self.on_ready(running)
        for name, path in self.pages:
            await running.say(f"{name:<11} {running.settings.web_url}{path}")
        if self.scenario is not None:
            return await self.scenario(running)
        await running.say("running; Ctrl-C stops everything")
        await asyncio.Event().wait()  # until the run is stopped, which cancels this
        return 0


async def _watch(servers: EmbeddedServers, supervisor: Supervisor) -> None:
    death = await servers.died()
    supervisor.stop(death.code, death.message)


def environment(settings: Settings) -> dict[str, str]:
    """Our environment with every setting in it, so that a child reads exactly these."""
    env = dict(os.environ, PYTHONUNBUFFERED="1")
    for name, value in settings.model_dump().items():
        if value is None:
            env.pop(f"LIVE_{name.upper()}", None)
        else:
            env[f"LIVE_{name.upper()}"] = str(value)
    return env


def missing_for_production(settings: Settings) -> list[str]:
    """What production asks for and does not find, as phrases that name the setting."""
    missing = [f"LIVE_{name.upper()} (its own server)" for name in ("redis_url", "database_url") if not getattr(settings, name)]
    weak = [name for name in SECRETS if len(getattr(settings, name) or "") < SHORTEST_SECRET]
    missing += [f"LIVE_{name.upper()} (at least {SHORTEST_SECRET} random characters)" for name in weak]
    if settings.wechat_pay_url.rstrip("/") == settings.simulator_url or "//127.0.0.1" in settings.wechat_pay_url:
        missing.append("LIVE_WECHAT_PAY_URL (the pay simulator is not for production)")
    return missing


def check_production(settings: Settings) -> None:
    """Production starts nothing embedded and makes no secrets; only production may be reached from outside. Raises LaunchError."""
    if settings.env == "production":
        if missing := missing_for_production(settings):
            raise LaunchError(f"LIVE_ENV=production needs: {'; '.join(missing)}.")
    elif not is_loopback(settings.host):
        raise LaunchError(f"LIVE_HOST {settings.host} can be reached from outside; that needs LIVE_ENV=production (now {settings.env}).")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _reachable(host: str) -> str:
    """An address to ask ourselves at: the wildcards are not addresses, and IPv6 wants brackets in a URL."""
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{host}]" if ":" in host else host


def check_ports(settings: Settings, *, simulator: bool = False) -> None:
    """Every port can be listened on. Raises LaunchError naming the first that cannot, and its setting."""
    doors = [(settings.web_port, "LIVE_WEB_PORT or --web-port"), (settings.hub_port, "LIVE_HUB_PORT or --hub-port")]
    doors += [(settings.simulator_port, "LIVE_SIMULATOR_PORT")] if simulator else []
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with ExitStack() as stack:  # all held until the last is tried: two doors on one port are found too
        for port, setting in doors:
            door = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections in TIME_WAIT are no obstacle
            try:
                door.bind((settings.host, port))
                door.listen(1)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise LaunchError(f"port {port} is taken; set {setting}") from None
                raise LaunchError(f"{settings.host}:{port} cannot be listened on ({error.strerror}); set LIVE_HOST or {setting}") from None


def prepare_home(home: Path) -> Path:
    """Make the state folder with mode 0700; a folder that is somebody else's is not touched. Returns its absolute path."""
    home = home.expanduser().absolute()
    ours = any((home / name).exists() for name in (*_LOCKS, "secrets"))
    if home.exists() and not ours and (not home.is_dir() or any(home.iterdir())):
        raise LaunchError(f"LIVE_HOME {home} is not empty and was not made by `live`; give it a folder of its own.")
    return private_folder(home)


async def empty(home: Path, confirm: Callable[[str], bool] | None) -> None:
    """Delete what is in the folder, if `live demo` made it or the user says so. The caller holds its lock. Raises LaunchError."""
    content = _content(home)
    if content and home / "demo" not in content:
        if confirm is None:
            raise LaunchError(f"{home} was not made by `live demo`, so --fresh does not delete it without a terminal to ask on.")
        if not confirm(f"Delete the database, secrets and everything else in {home}?"):
            raise LaunchError(f"{home} was left as it is.")
    servers = await hold(home / "servers.lock", patience=15.0)  # those of a killed launcher are still ending
    for path in content:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    os.close(servers)


def _content(home: Path) -> list[Path]:
    return [path for path in home.iterdir() if path.name not in _LOCKS]


def raise_descriptor_limit() -> None:
    """Allow our children as many open files as this user may have: the hub needs one per viewer, and the usual soft limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS has a limit below the one it reports
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def write_servers_file(settings: Settings) -> None:
    """Leave `home/servers.json` (mode 0600) for `attach`: addresses, and where the secrets are."""
    names = ("env", "redis_url", "database_url", "queue_url", "host", "web_port", "hub_port", "simulator_port")
    values = {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}
    kept = {name: str(settings.home / "secrets" / name) for name in SECRETS if (settings.home / "secrets" / name).exists()}
    write_private(settings.home / "servers.json", json.dumps({"pid": os.getpid(), "settings": values, "secrets": kept}, indent=2) + "\n")


def attach(settings: Settings) -> None:
    """Point this process at the servers of the `live up` that runs in the same folder, where the settings name none of their own.

    It sets the environment and forgets the cached settings, so call it first and read `live.settings.settings()` afterwards.
    Raises LaunchError when nothing runs there.
    """
    if settings.redis_url and settings.database_url:
        return
    home = settings.home.expanduser().absolute()
    try:
        if holder(home / "lock") is None:
            raise FileNotFoundError
        found = json.loads((home / "servers.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        message = f"Nothing runs in {home}: start it with `live up`, or set LIVE_REDIS_URL and LIVE_DATABASE_URL."
        raise LaunchError(message) from None
    values = found["settings"] | {name: Path(place).read_text(encoding="utf-8").strip() for name, place in found["secrets"].items()}
    for name, value in values.items():
        if name not in settings.model_fields_set or getattr(settings, name) is None:
            os.environ[f"LIVE_{name.upper()}"] = str(value)
    read_settings.cache_clear()
