"""`live demo` as its users start it: every process of the Procfile, real servers, public doors."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import live
from live.demo.client import Viewer
from live.demo.doors import Doors

pytestmark = [pytest.mark.show, pytest.mark.timeout(150)]
ROOT = Path(live.__file__).parents[1]


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """An environment in which everything temporary and every home lies in `folder`."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("LIVE_")}
    return bare | {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT), "LIVE_HOME": str(folder / ".live")} | settings


def left_behind(folder: Path) -> list[str]:
    """Living processes that work in the folder, name it, or have it in their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            home = process.environ().get("LIVE_HOME", "")
            if str(folder) in home or str(folder) in " ".join(process.cmdline()) or process.cwd().startswith(str(folder)):
                found.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
    return found


def nothing_left(folder: Path) -> bool:
    """Wait up to 5 s until no process of the folder lives."""
    deadline = time.monotonic() + 5
    while left_behind(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def free_ports(count: int) -> list[str]:
    """Ports nobody listens on just now."""
    doors = [socket.socket() for _ in range(count)]
    try:
        for door in doors:
            door.bind(("127.0.0.1", 0))
        return [str(door.getsockname()[1]) for door in doors]
    finally:
        for door in doors:
            door.close()


def test_a_whole_show_by_script_balances_and_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "live.cli", "demo", "--once"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["balanced"] is True
    assert report["viewers"] >= 200
    assert report["paid"] == report["collected"] + report["refunded"]
    assert "Traceback" not in done.stdout + done.stderr
    assert nothing_left(tmp_path), left_behind(tmp_path)
    assert list(tmp_path.iterdir()) == []  # neither a home nor anything temporary


async def test_a_demo_has_a_labelled_crowd_and_an_open_offer_and_ends_on_a_signal(tmp_path: Path) -> None:
    web, hub, wechat = free_ports(3)
    env = environment(tmp_path, LIVE_WEB_PORT=web, LIVE_HUB_PORT=hub, LIVE_SIMULATOR_PORT=wechat)
    command = [sys.executable, "-m", "live.cli", "demo", "--viewers", "20"]
    demo = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = ""
    try:
        assert demo.stdout is not None
        async with asyncio.timeout(60):
            while "running; Ctrl-C" not in said:
                line = (await demo.stdout.readline()).decode()
                assert line, said
                said += line
        assert f"http://127.0.0.1:{web}/room/demo" in said
        assert "demo-pass-2026" in said
        doors = Doors(f"http://127.0.0.1:{web}")
        guest = await (await Viewer(doors, f"ws://127.0.0.1:{hub}/ws", "一位客人").as_guest()).join("demo")
        comment = await guest.until(lambda: list(guest.mirror.chat), "a comment of the crowd", 40)
        assert comment[0]["demo"] is True
        assert comment[0]["name"].startswith(("演示观众", "Demo viewer"))
        await guest.until(lambda: guest.mirror.open("sale"), "a sale of the demo's host", 20)
        await guest.until(lambda: guest.mirror.viewers == 21, "a crowd of twenty and a guest", 20)
        await guest.leave()
        await doors.close()
    finally:
        if demo.returncode is None:
            demo.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            rest = (await demo.communicate())[0].decode()
    assert demo.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in said + rest
    assert nothing_left(tmp_path), left_behind(tmp_path)
