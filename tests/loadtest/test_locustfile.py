"""Locust as a process, never imported: importing it patches sockets. A few users against a real house, and whom it refuses to storm."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from loadtest.stage import house, open_sale, owner
from tests.conftest import need

ROOT = Path(__file__).parents[2]


async def locust(host: str, *words: str, env: Mapping[str, str] | None = None) -> tuple[int | None, str]:
    """Run the locustfile; exit code and output."""
    need(importlib.util.find_spec("locust") and importlib.util.find_spec("websocket"), "locust with websocket-client")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless", "--only-summary", "--host", host, *words),
        cwd=ROOT, env={**os.environ, **(env or {})}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output = (await process.communicate())[0].decode()
    return process.returncode, output


async def test_a_server_elsewhere_is_not_stormed_by_accident() -> None:
    code, output = await locust("http://shop.example", "-u", "1", "-t", "1s")
    assert code == 1
    assert "http://shop.example is not on this machine; say --allow-remote if the server is yours" in output


@pytest.mark.show
@pytest.mark.timeout(120)
async def test_viewers_buyers_and_claimers_find_no_failure() -> None:
    async with house({"LIVE_ENV": "demo"}) as found, owner(found) as boss:
        await open_sale(boss, "demo", stock=5, per_person=2)
        await boss.post("/v1/rooms/demo/coupons", {"off": 500, "threshold": 1000, "total": 3, "per_person": 1})
        code, output = await locust(found.web_url, "-u", "10", "-r", "10", "-t", "6s", env=found.env)
    assert code == 0, output
    summary = json.loads(next(line for line in output.splitlines() if line.startswith('{"requests"')))
    assert (summary["failures"], summary["balanced"], summary["verdict"]) == (0, True, "good")
    for act in ("WS       hello", "CMD      buy", "CMD      claim", "CMD      like", "PUSH     comment"):
        assert act in output
