"""`live doctor`: what stands in the way on this machine and with these settings, and what to do about each."""

from __future__ import annotations

import asyncio
import json
import platform
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from live.infra.binaries import OLDEST_POSTGRES, OLDEST_REDIS
from live.infra.embedded import EmbeddedError, EmbeddedServers
from live.infra.folder import holder
from live.infra.reach import ANSWER_SECONDS, FAULTS, advice, postgres, redis_client
from live.launch import LaunchError, check_ports, check_production
from live.settings import Settings

CLOCK_SECONDS = 2.0  # phases open by Redis's clock and holds end by PostgreSQL's: more apart than this is seen by buyers
SPARE_DESCRIPTORS = 1000  # what the hub needs beside its sockets, generously
ROOM_BYTES = 1 << 30  # free disk: an embedded database takes 40 MB, a long show's log some hundred
# Lower bounds are pyproject's; redis is capped because arq 0.28 asks for redis<6, and pip silently walks arq back instead.
LIBRARIES = (
    ("arq", (0, 28), None),
    ("redis", (5, 3), (6,)),
    ("websockets", (17,), None),
    ("uvicorn", (0, 54), None),
    ("starlette", (1, 3, 1), None),
    ("sqlalchemy", (2, 1), (2, 2)),
    ("psycopg", (3, 3), None),
    ("alembic", (1, 20), None),
)


@dataclass(frozen=True)
class Check:
    """One finding; `advice` says what to do when it is not ok."""

    name: str
    ok: bool
    found: str
    advice: str = ""


def main(settings: Settings, *, as_json: bool = False) -> int:
    """Run every check and show what was found; the exit code is 1 when one failed."""
    return report(asyncio.run(examine(settings)), as_json=as_json)


def report(checks: list[Check], *, as_json: bool) -> int:
    """Show the checks, as a table or as one JSON object; returns the exit code."""
    good = all(check.ok for check in checks)
    if as_json:
        sys.stdout.write(json.dumps({"ok": good, "checks": [asdict(check) for check in checks]}, ensure_ascii=False) + "\n")
    else:
        _table(checks)
    return 0 if good else 1


async def examine(settings: Settings) -> list[Check]:
    """Every check, in the order of the table."""
    checks = [*versions(), descriptors(settings), disk(settings.home), *rules(settings)]
    if settings.redis_url:
        checks += await _reached("redis", _redis(settings.redis_url), "LIVE_REDIS_URL")
    if settings.database_url:
        checks += await _reached("postgresql", _postgres(settings.database_url), "LIVE_DATABASE_URL")
    if not (settings.redis_url and settings.database_url):
        checks.append(await _embedded(settings))
    return checks


def versions() -> Iterator[Check]:
    """Python and the libraries whose versions matter."""
    yield Check("python", sys.version_info >= (3, 11), platform.python_version(), "Install Python 3.11 or newer.")
    for name, least, below in LIBRARIES:
        wanted = f"{name}>={_dotted(least)}" + (f",<{_dotted(below)}" if below else "")
        advice = f"Run: pip install '{wanted}'"
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Check(name, False, "not installed", advice)
            continue
        numbers = tuple(int(part) for part in found.split(".") if part.isdigit())
        yield Check(name, numbers >= least and (below is None or numbers < below), found, advice)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def descriptors(settings: Settings) -> Check:
    """The hub holds one open file per viewer. `live up` raises the soft limit itself, so the hard one counts."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = settings.hub_max_connections + SPARE_DESCRIPTORS
    advice = f"Run `ulimit -Hn {wanted}` as root (or LimitNOFILE={wanted} in systemd), or lower LIVE_HUB_MAX_CONNECTIONS."
    return Check("open files", hard == resource.RLIM_INFINITY or hard >= wanted, f"{hard} allowed, {wanted} wanted", advice)


def disk(home: Path) -> Check:
    """Free space where the state folder is, or will be."""
    place = home.expanduser().absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    return Check("disk", free >= ROOM_BYTES, f"{free / (1 << 30):.1f} GiB free at {place}", "Free 1 GiB, or set LIVE_HOME elsewhere.")


def rules(settings: Settings) -> Iterator[Check]:
    """What `live up` would refuse before it starts anything."""
    try:
        check_production(settings)
        yield Check("settings", True, f"LIVE_ENV={settings.env}")
    except LaunchError as error:
        yield Check("settings", False, f"LIVE_ENV={settings.env}", str(error))
    doors = f"{settings.web_port} and {settings.hub_port}"
    if (pid := holder(settings.home.expanduser().absolute() / "lock")) is not None:
        yield Check("ports", True, f"{doors}: in use by `live up` itself (process {pid})")
        return
    try:
        check_ports(settings)
        yield Check("ports", True, f"{doors} are free")
    except LaunchError as error:
        yield Check("ports", False, doors, f"{error}.")


async def _reached(name: str, asking: Awaitable[list[Check]], setting: str) -> list[Check]:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await asking
    except FAULTS as error:
        return [Check(name, False, "not reachable", advice(error, setting))]


def _clock(name: str, theirs: float, before: float) -> Check:
    # Their reading was taken between `before` and now: the middle is the best guess of the same moment here.
    apart = theirs - (before + time.time()) / 2
    return Check(f"{name} clock", abs(apart) <= CLOCK_SECONDS, f"{apart:+.3f} s", "Run a time service (chrony) on both machines.")


async def _redis(url: str) -> list[Check]:
    client = redis_client(url)
    try:
        before = time.time()
        seconds, micros = await client.time()
        clock = _clock("redis", seconds + micros / 1e6, before)
        info = await client.info()  # not CONFIG GET, which hosted servers forbid
    finally:
        await client.aclose()
    version = str(info["redis_version"])
    real = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {version}"
    policy, logged = str(info.get("maxmemory_policy", "unknown")), info.get("aof_enabled") == 1
    new_enough = tuple(int(part) for part in version.split(".")[:2]) >= OLDEST_REDIS
    return [
        Check("redis", new_enough, real, f"Use Redis {_dotted(OLDEST_REDIS)} or newer, or Valkey."),
        Check("redis memory", policy == "noeviction", policy, "Set `maxmemory-policy noeviction`: an evicted counter stops sales."),
        Check(
            "redis log",
            logged,
            f"appendonly {'yes' if logged else 'no'}",
            "Set `appendonly yes`: else a restart stops sales for a rebuild.",
        ),
        clock,
    ]


async def _postgres(url: str) -> list[Check]:
    async with await postgres(url) as connection:
        before = time.time()
        asked = await connection.execute(
            "SELECT extract(epoch FROM clock_timestamp())::float8, current_setting('server_version_num')::int,"
            " current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit')"
        )
        row = await asked.fetchone()
    assert row is not None, "a SELECT without FROM gives one row"
    now, number, version, fsync, synchronous = row
    lose = "a crash may take back what a buyer was told"
    return [
        Check("postgresql", number >= OLDEST_POSTGRES * 10_000, str(version), f"Use PostgreSQL {OLDEST_POSTGRES} or newer."),
        Check("postgresql fsync", fsync == "on", str(fsync), f"Set `fsync = on`: {lose}."),
        Check("postgresql commit", synchronous != "off", f"synchronous_commit {synchronous}", f"Set `synchronous_commit = on`: {lose}."),
        _clock("postgresql", float(now), before),
    ]


async def _embedded(settings: Settings) -> Check:
    """Start the embedded servers once, in a folder of their own that is thrown away."""
    wanted = {"redis": not settings.redis_url, "database": not settings.database_url}
    with tempfile.TemporaryDirectory(prefix="live-doctor-") as folder:
        began = time.monotonic()
        try:
            async with EmbeddedServers(Path(folder) / "home", **wanted, sync=False):
                return Check("embedded servers", True, f"started in {time.monotonic() - began:.1f} s")
        except EmbeddedError as error:
            return Check("embedded servers", False, "do not start", str(error))


def _table(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_edge=False, pad_edge=False)
    for heading in ("", "check", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        mark = "[green]ok[/]" if check.ok else "[bold red]no[/]"
        table.add_row(mark, check.name, check.found, "" if check.ok else check.advice)
    Console().print(table)
