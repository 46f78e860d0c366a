"""The embedded servers, with the real binaries."""

# ruff: noqa: ASYNC220, ASYNC221, ASYNC240 - a test that waits a millisecond for a file holds nobody up

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy.engine import make_url

from live.infra import binaries, embedded
from live.infra.binaries import find_postgres
from live.infra.embedded import EmbeddedError, EmbeddedServers
from live.infra.folder import hold
from tests.infra.observing import connect, nothing_left, processes_of


@pytest.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in a path with spaces whose first start is over: initdb is most of the time a test takes."""
    place = tmp_path_factory.mktemp("our new shop") / ".live"
    async with EmbeddedServers(place, redis=False, sync=False):
        pass
    return place


async def test_first_start_makes_both_servers_and_the_second_start_finds_what_was_written(tmp_path: Path) -> None:
    home = tmp_path / "a new shop" / ".live"
    servers = EmbeddedServers(home)
    await servers.start()
    redis = Redis.from_url(servers.redis_url, socket_timeout=2)
    await redis.set("kept", "yes")
    await redis.aclose()
    connection = await connect(servers.database_url)
    await connection.execute("CREATE TABLE kept (word text)")
    await connection.execute("INSERT INTO kept VALUES ('yes')")
    await connection.commit()
    await connection.close()
    await servers.stop()
    assert processes_of(home) == []

    async with EmbeddedServers(home) as again:
        redis = Redis.from_url(again.redis_url, socket_timeout=2, decode_responses=True)
        assert await redis.get("kept") == "yes"
        assert (await redis.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
        assert (await redis.config_get("appendonly"))["appendonly"] == "yes"
        await redis.aclose()
        async with await connect(again.database_url) as connection:
            asked = await connection.execute("SELECT word, current_setting('fsync'), current_setting('TimeZone') FROM kept")
            assert await asked.fetchone() == ("yes", "on", "UTC")
            assert await (await connection.execute("SHOW listen_addresses")).fetchone() == ("",)
    assert processes_of(home) == []


async def test_only_this_user_can_reach_the_sockets(home: Path) -> None:
    async with EmbeddedServers(home, sync=False):
        for folder in (home, home / "run", home / "postgres" / "data", home / "valkey", home / "log"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(home.parent.parent.stat().st_mode) == 0o700  # pytest's own; nothing above home is changed


async def test_a_socket_path_that_would_be_too_long_is_moved_to_a_short_folder_and_that_is_removed(home: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("long" * 20) / "home"
    shutil.copytree(home, deep)
    servers = EmbeddedServers(deep, sync=False)
    await servers.start()
    short = Path(str(make_url(servers.database_url).query["host"]))
    assert short.parent != deep
    assert stat.S_IMODE(short.stat().st_mode) == 0o700
    await (await connect(servers.database_url)).close()
    await servers.stop()
    assert not short.exists()


async def test_a_second_user_of_the_folder_is_refused_and_the_first_goes_on(home: Path) -> None:
    async with EmbeddedServers(home, sync=False) as first:
        with pytest.raises(EmbeddedError, match=rf"already run by process {os.getpid()}\.$"):
            await EmbeddedServers(home, sync=False).start()
        await (await connect(first.database_url)).close()


async def test_a_database_of_another_major_version_is_left_alone_and_explained(home: Path) -> None:
    version = home / "postgres" / "data" / "PG_VERSION"
    made_by = version.read_text()
    version.write_text("9\n")
    with pytest.raises(EmbeddedError, match="was made by PostgreSQL 9, and only"):
        await EmbeddedServers(home, redis=False, sync=False).start()
    version.write_text(made_by)
    async with EmbeddedServers(home, redis=False, sync=False):
        pass


async def test_without_binaries_the_error_says_what_to_install_or_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_package", lambda name: [])
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(binaries, "_postgres_here", lambda: iter(()))
    with pytest.raises(EmbeddedError, match="set LIVE_REDIS_URL"):
        await EmbeddedServers(tmp_path, database=False).start()
    with pytest.raises(EmbeddedError, match="set LIVE_DATABASE_URL"):
        await EmbeddedServers(tmp_path, redis=False).start()
    assert processes_of(tmp_path) == []


async def test_a_start_that_is_cancelled_leaves_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    home = tmp_path / "home"
    task = asyncio.create_task(EmbeddedServers(home, sync=False).start())
    while not (home / "postgres" / "data.init").exists():
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert processes_of(home) == []
    assert not (home / "postgres" / "data").exists()
    async with EmbeddedServers(home, sync=False) as servers:
        await (await connect(servers.database_url)).close()


async def test_a_server_that_dies_is_reported_with_the_end_of_its_log(home: Path) -> None:
    async with EmbeddedServers(home, sync=False) as servers:
        pid = int((home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            death = await servers.died()
        assert death.code == 137
        assert death.message.startswith("postgres ended unexpectedly (SIGKILL). The end of ")
        assert "database system is ready to accept connections" in death.message
    assert await nothing_left(home)


HOLDER = """
import asyncio, sys
from pathlib import Path
from live.infra.binaries import find_postgres
from live.infra.embedded import EmbeddedServers
async def main():
    async with EmbeddedServers(Path(sys.argv[1])) as servers:
        print(servers.redis_url, servers.database_url, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_kill_9_of_the_owner_leaves_no_process_and_sound_data(home: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", HOLDER, str(home)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    redis_url, database_url = owner.stdout.readline().split()
    servers = EmbeddedServers(home)
    servers.database_url = database_url
    connection = await connect(servers.database_url)
    await connection.execute("CREATE TABLE sold (fen bigint)")
    await connection.execute("INSERT INTO sold VALUES (990)")
    await connection.commit()
    redis = Redis.from_url(redis_url, socket_timeout=2)
    await redis.set("left", 7)
    await redis.aclose()
    owner.kill()  # with a client connected
    owner.wait()
    owner.stdout.close()
    async with servers:  # at once: it has to wait for the old servers, never to take over a live socket
        row = await (await (fresh := await connect(servers.database_url)).execute("SELECT fen FROM sold")).fetchone()
        assert row == (990,)
        await fresh.close()
        redis = Redis.from_url(servers.redis_url, socket_timeout=2)
        assert await redis.get("left") == b"7"
        await redis.aclose()
        log = (home / "log" / "postgres.log.1").read_text()
        assert "database system is shut down" in log  # a clean end, not a crash to recover from
    await connection.close()
    assert await nothing_left(home)


async def test_the_lock_of_a_dead_owner_is_waited_for_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    lock = await hold(tmp_path / "lock")
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=f"in use by process {os.getpid()}"):
        await hold(tmp_path / "lock", patience=5)
    assert time.monotonic() - began < 1
    os.close(lock)
    os.close(await hold(tmp_path / "lock"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to step down")
async def test_root_without_user_namespaces_runs_postgres_as_nobody(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = Path(tempfile.mkdtemp(prefix="live-test-"))  # not tmp_path: pytest's folders let only root in
    top.chmod(0o755)
    if subprocess.run([find_postgres(top).folder / "postgres", "--version"], user=65534, group=65534, extra_groups=[]).returncode != 0:
        pytest.skip("the Python environment is out of reach for `nobody`")
    shutil.copytree(home, home := top / "home")
    monkeypatch.setattr(embedded, "_run_as_root", lambda binary, folder: "nobody")
    async with EmbeddedServers(home, sync=False) as servers:
        await (await connect(servers.database_url)).close()
        assert (home / "postgres" / "data").stat().st_uid == 65534
    monkeypatch.undo()
    async with EmbeddedServers(home, sync=False) as servers:  # and back
        await (await connect(servers.database_url)).close()
        assert (home / "postgres" / "data").stat().st_uid == 0
    shutil.rmtree(top)
