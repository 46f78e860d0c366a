"""`live doctor`: one sentence of advice for each thing that is wrong."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from live import doctor
from live.infra.embedded import EmbeddedServers
from live.settings import Settings


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedServers]:
    """Two servers, the database without fsync."""
    async with EmbeddedServers(tmp_path_factory.mktemp("doctor") / "home", sync=False) as running:
        yield running


async def failures(settings: Settings) -> dict[str, str]:
    """Advice by the name of each failed check."""
    return {check.name: check.advice for check in await doctor.examine(settings) if not check.ok}


async def test_servers_are_asked_for_what_the_shop_relies_on(servers: EmbeddedServers, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", redis_url=servers.redis_url, database_url=servers.database_url, hub_max_connections=10)
    checks = {check.name: check for check in await doctor.examine(settings)}
    assert [name for name, check in checks.items() if not check.ok] == ["postgresql fsync"]
    assert checks["postgresql fsync"].advice == "Set `fsync = on`: a crash may take back what a buyer was told."
    assert {"redis", "redis memory", "redis log", "redis clock", "postgresql", "postgresql commit", "postgresql clock"} <= set(checks)
    assert not (tmp_path / "home").exists()  # looking changes nothing


async def test_each_failure_says_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        found = await failures(
            Settings(
                home=tmp_path / "home",
                env="production",
                web_port=port,
                redis_url="redis://127.0.0.1:1/0",
                database_url="no address",
                hub_max_connections=10**9,
            )
        )
    assert sorted(found) == ["open files", "ports", "postgresql", "redis", "settings"]
    assert found["ports"] == f"port {port} is taken; set LIVE_WEB_PORT or --web-port."
    assert found["open files"].startswith("Run `ulimit -Hn 1000001000`")
    assert "LIVE_PICKUP_SECRET" in found["settings"]
    assert found["redis"].endswith("Start the server, or correct LIVE_REDIS_URL.")
    assert found["postgresql"].endswith("Start the server, or correct LIVE_DATABASE_URL.")


async def test_without_servers_of_its_own_the_embedded_ones_are_tried(tmp_path: Path) -> None:
    checks = await doctor.examine(Settings(home=tmp_path / "home", hub_max_connections=10))
    assert next(check for check in checks if check.name == "embedded servers").ok


async def test_the_answer_for_machines_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    code = doctor.report([doctor.Check("python", True, "3.11"), doctor.Check("disk", False, "full", "Free 1 GiB.")], as_json=True)
    assert code == 1
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is False
    assert said["checks"][1] == {"name": "disk", "ok": False, "found": "full", "advice": "Free 1 GiB."}
