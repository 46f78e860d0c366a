"""`live up` as a process of its own, with small programs in place of ours and the real servers."""

# ruff: noqa: ASYNC240 - a test that waits a millisecond for a file holds nobody up

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from live import launch
from live.infra.folder import hold, secret
from live.launch import LaunchError
from live.settings import Settings
from live.settings import settings as read_settings
from tests.infra.observing import connect, nothing_left, processes_of

# argv: the kind of run. Two programs answer /healthz, as web and hub do; their addresses come through the environment.
LAUNCHER = """
import asyncio, os, sys
from dataclasses import replace
from live import launch
from live.settings import Settings
PAGE = '''
import asyncio, os, sys
async def answer(reader, writer):
    await reader.readline()
    writer.write(b"HTTP/1.1 200 OK\\\\r\\\\n\\\\r\\\\n")
    writer.close()
async def main():
    assert os.environ["LIVE_REDIS_URL"].startswith("unix://") and len(os.environ["LIVE_TOKEN_SECRET"]) > 32
    async with await asyncio.start_server(answer, "127.0.0.1", int(os.environ[sys.argv[1]])) as server:
        await server.serve_forever()
asyncio.run(main())
'''
home = os.environ["LIVE_HOME"]
programs = [
    launch.Program(name, (sys.executable, "-c", PAGE, f"LIVE_{name.upper()}_PORT", home), restart=True) for name in ("web", "hub")
]
async def scenario(running):
    running.last_line = '{"balanced": true}'
    await running.start(launch.Program("crowd", ("/bin/sh", "-c", "echo cheering; sleep 30", home)))
    await asyncio.sleep(0.2)
    return 5
extra = {"scenario": scenario} if "scenario" in sys.argv else {}
try:
    code = asyncio.run(launch.up(Settings(), programs=programs, migrate=False, fresh="fresh" in sys.argv, **extra))
except launch.LaunchError as error:
    sys.exit(f"live: {error}")
sys.exit(code)
"""


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port: int = door.getsockname()[1]
        return port


class Shop:
    """A home and two ports, and the launchers started there."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("LIVE_")} | {
            "LIVE_HOME": str(home),
            "LIVE_WEB_PORT": str(free_port()),
            "LIVE_HUB_PORT": str(free_port()),
        }
        self.said = ""

    async def launch(self, *kind: str) -> asyncio.subprocess.Process:
        """Start a launcher; returns at once."""
        argv = [sys.executable, "-c", LAUNCHER, *kind]
        out = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(*argv, env=self.env, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out)

    async def running(self, *kind: str) -> asyncio.subprocess.Process:
        """Start a launcher and wait until everything is up."""
        process = await self.launch(*kind)
        assert process.stdout is not None
        self.said = ""
        async with asyncio.timeout(20):
            while "running; Ctrl-C" not in self.said:
                line = (await process.stdout.readline()).decode()
                assert line, self.said + (await process.communicate())[1].decode()
                self.said += line
        return process

    async def refused(self, *kind: str) -> str:
        """Start a launcher that must fail by itself; returns its sentence."""
        out, errors = await asyncio.wait_for((process := await self.launch(*kind)).communicate(), 10)
        assert process.returncode == 1
        assert out == b""
        return errors.decode()

    def settings(self) -> Settings:
        """The settings a command in this folder would have."""
        return Settings(home=self.home, web_port=int(self.env["LIVE_WEB_PORT"]), hub_port=int(self.env["LIVE_HUB_PORT"]))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for these tests, in a path with a space: each start after the first takes a tenth of a second."""
    return tmp_path_factory.mktemp("our shop") / ".live"


@pytest.fixture
async def shop(home: Path) -> AsyncIterator[Shop]:
    """A shop with free ports. Whatever the test did, nothing of it may still run."""
    yield Shop(home)
    assert await nothing_left(home), processes_of(home)


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No LIVE_ variables, and whatever the test sets is forgotten."""
    before = {name: value for name, value in os.environ.items() if name.startswith("LIVE_")}
    for name in before:
        del os.environ[name]
    yield
    for name in [name for name in os.environ if name.startswith("LIVE_")]:
        del os.environ[name]
    os.environ.update(before)
    read_settings.cache_clear()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_signal_ends_the_whole_shop_cleanly(shop: Shop, number: signal.Signals, code: int) -> None:
    process = await shop.running()
    assert f"console     http://127.0.0.1:{shop.env['LIVE_WEB_PORT']}/console" in shop.said
    process.send_signal(number)
    await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == code
    assert processes_of(shop.home) == []
    assert "database system is shut down" in (shop.home / "log" / "postgres.log").read_text()
    assert not (shop.home / "servers.json").exists()


async def test_a_signal_during_the_first_start_ends_it_cleanly_too(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "home")
    process = await shop.launch()
    while not (shop.home / "postgres" / "data.init").exists():
        await asyncio.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 143
    assert processes_of(shop.home) == []


@pytest.mark.usefixtures("environ")
async def test_kill_9_leaves_no_process_and_the_next_start_has_the_data_and_the_same_secrets(shop: Shop) -> None:
    unset = shop.settings()
    process = await shop.running()
    launch.attach(unset)
    settings = read_settings()
    assert settings.redis_url
    assert settings.token_secret == (shop.home / "secrets" / "token_secret").read_text().strip()
    assert settings.database_url
    async with await connect(settings.database_url) as connection:
        await connection.execute("CREATE TABLE sold (fen bigint)")
        await connection.execute("INSERT INTO sold VALUES (990)")
    redis = Redis.from_url(settings.redis_url, socket_timeout=2)
    await redis.set("left", 7)
    process.kill()
    await process.communicate()
    assert await nothing_left(shop.home, 3)
    await redis.aclose()

    with pytest.raises(LaunchError, match="Nothing runs in"):  # servers.json is still there, and is not believed
        launch.attach(unset)
    again = await shop.running()
    async with await connect(settings.database_url) as connection:
        assert await (await connection.execute("SELECT fen FROM sold")).fetchall() == [(990,)]
    redis = Redis.from_url(settings.redis_url, socket_timeout=2)
    assert await redis.get("left") == b"7"
    await redis.aclose()
    assert secret(shop.home, "token_secret") == settings.token_secret
    for file in ("servers.json", "secrets/token_secret", "secrets/pickup_secret"):
        assert stat.S_IMODE((shop.home / file).stat().st_mode) == 0o600
    again.terminate()
    await again.communicate()


async def test_a_second_launcher_in_the_folder_is_refused_with_the_pid_of_the_first(shop: Shop) -> None:
    process = await shop.running()
    other = Shop(shop.home)  # other ports: the folder is what is taken
    said = await other.refused()
    assert said == f"live: `live` already runs in {shop.home} as process {process.pid}; stop it first, or set LIVE_HOME.\n"
    assert process.returncode is None
    process.terminate()
    await process.communicate()


async def test_a_taken_port_is_named_with_its_setting_before_anything_starts(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "home")
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        shop.env["LIVE_HUB_PORT"] = str(port)
        assert await shop.refused() == f"live: port {port} is taken; set LIVE_HUB_PORT or --hub-port\n"
    shop.env["LIVE_HUB_PORT"] = shop.env["LIVE_WEB_PORT"]
    assert "is taken; set LIVE_HUB_PORT" in await shop.refused()
    assert sorted(path.name for path in shop.home.iterdir()) == ["lock"]


@pytest.mark.parametrize(
    ("name", "address"), [("LIVE_REDIS_URL", "redis://127.0.0.1:1/0"), ("LIVE_REDIS_URL", "nonsense"),
                          ("LIVE_DATABASE_URL", "postgresql+psycopg://shop:secret@127.0.0.1:1/shop"), ("LIVE_DATABASE_URL", "nonsense")],
)  # fmt: skip
async def test_a_server_that_does_not_answer_is_named_before_anything_starts(tmp_path: Path, name: str, address: str) -> None:
    given = {"redis_url": None, "database_url": None} | {name.removeprefix("LIVE_").lower(): address}
    with pytest.raises(LaunchError) as refused:
        await launch.up(Settings(home=tmp_path / "home", web_port=free_port(), hub_port=free_port(), **given), programs=[])
    assert str(refused.value).endswith(f". Start the server, or correct {name}.")
    assert "secret" not in str(refused.value)
    assert not (tmp_path / "home" / "postgres").exists()


async def test_a_killed_hub_is_started_again_and_a_killed_database_ends_everything(shop: Shop) -> None:
    process = await shop.running()
    assert process.stdout is not None
    hub = next(line for line in processes_of(shop.home) if "LIVE_HUB_PORT" in line)
    os.kill(int(hub.split()[0]), signal.SIGKILL)
    async with asyncio.timeout(5):
        while b"hub       | ended (SIGKILL); starting it again" not in await process.stdout.readline():
            pass
        while sum("LIVE_HUB_PORT" in line for line in processes_of(shop.home)) == 0:
            await asyncio.sleep(0.05)
    assert process.returncode is None
    os.kill(int((shop.home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
    out, _ = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 137
    assert "postgres ended unexpectedly (SIGKILL). The end of " in out.decode()


async def test_a_scenario_decides_the_exit_code_and_its_line_is_the_last(shop: Shop) -> None:
    process = await shop.launch("scenario")
    out, errors = await asyncio.wait_for(process.communicate(), 15)
    assert (process.returncode, errors) == (5, b"")
    lines = out.decode().splitlines()
    assert "crowd     | cheering" in lines
    assert json.loads(lines[-1]) == {"balanced": True}


async def test_fresh_deletes_a_demo_and_refuses_anything_else_without_a_terminal(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "home")
    (shop.home / "postgres" / "data").mkdir(parents=True)
    (shop.home / "postgres" / "data" / "PG_VERSION").touch()
    os.close(await hold(shop.home / "lock"))
    assert "was not made by `live demo`" in await shop.refused("fresh")
    assert (shop.home / "postgres" / "data" / "PG_VERSION").exists()
    with pytest.raises(LaunchError, match="left as it is"):
        await launch.empty(shop.home, lambda question: False)
    assert (shop.home / "postgres" / "data" / "PG_VERSION").exists()
    (shop.home / "demo").touch()
    await launch.empty(shop.home, None)
    assert sorted(path.name for path in shop.home.iterdir()) == ["lock", "servers.lock"]


@pytest.mark.usefixtures("environ")
async def test_production_refuses_and_lists_everything_that_is_missing(tmp_path: Path) -> None:
    production = Settings(env="production", home=tmp_path / "home", host="0.0.0.0", token_secret="short")
    with pytest.raises(LaunchError) as refused:
        await launch.up(production)
    for name in ("LIVE_REDIS_URL", "LIVE_DATABASE_URL", "LIVE_TOKEN_SECRET", "LIVE_PICKUP_SECRET"):
        assert name in str(refused.value)
    with pytest.raises(LaunchError, match=r"^LIVE_HOST 0\.0\.0\.0 can be reached from outside; that needs LIVE_ENV=production"):
        await launch.up(Settings(home=tmp_path / "home", host="0.0.0.0"))
    assert not (tmp_path / "home").exists()


async def test_a_folder_of_somebody_else_is_not_taken_as_home(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(LaunchError, match="is not empty and was not made by `live`"):
        await launch.up(Settings(home=tmp_path))
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.usefixtures("environ")
def test_the_environment_of_a_child_reads_back_as_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings(home=tmp_path, env="demo", web_port=9001, hub_hello_seconds=1.5, redis_url="unix:///a%20b?db=0", wechat_app_id="wx1")
    for name, value in launch.environment(given).items():
        monkeypatch.setenv(name, value)
    assert Settings() == given


def test_addresses_of_an_ipv6_host_have_brackets() -> None:
    settings = Settings(host="::1", web_port=8000, hub_port=8001, public_web_url=None, public_hub_url=None, allowed_origins="")
    assert (settings.web_url, settings.hub_url, settings.origins) == ("http://[::1]:8000", "ws://[::1]:8001/ws", ["http://[::1]:8000"])
