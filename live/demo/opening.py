"""What every demo begins with: settings with the simulator in WeChat's place, a shop once everything is ready, a room that is live."""

from __future__ import annotations

import asyncio
import time

import httpx2

from live.demo.seed import DemoShop, seed
from live.demo.staff import Host
from live.infra.db import Database, utc_now
from live.infra.program import Program
from live.launch import LaunchError, python
from live.payments import keys
from live.settings import Settings

READY_SECONDS = 60.0  # everything imports at once on two cores


def demo_settings(given: Settings) -> Settings:
    """These settings as a demo's: the simulator in WeChat's place, with keys of its own under home."""
    made = {name.removeprefix("LIVE_").lower(): value for name, value in keys.prepare(given.home, given.simulator_url).items()}
    if "log_level" not in given.model_fields_set:
        made["log_level"] = "WARNING"  # what the demo itself says must not scroll away
    return Settings(**(given.model_dump() | made | {"env": "demo"}))


def simulator() -> Program:
    """WeChat's place in a demo."""
    return python("simulator", "live.payments.simulator", restart=True)


async def prepare_shop(settings: Settings) -> DemoShop:
    """Wait until everything is ready, then put the shop and its pictures in place; what is there stays. Raises LaunchError."""
    await until_ready(settings)
    assert settings.database_url is not None  # filled in by the launch
    db = Database(settings.database_url, 2)
    try:
        return await seed(db, utc_now(), settings)
    finally:
        await db.close()


async def start_room(settings: Settings, shop: DemoShop) -> None:
    """Begin the show, as a host does, unless it is on."""
    host = Host(settings.web_url, "host", shop.room)
    try:
        await host.login(shop.password)
        if await host.phase() != "live":
            await host.start()
    finally:
        await host.close()


async def until_ready(settings: Settings) -> None:
    doors = [f"{settings.web_url}/readyz", f"{settings.simulator_url}/healthz"]
    deadline = time.monotonic() + READY_SECONDS
    said = ""
    async with httpx2.AsyncClient(timeout=5, trust_env=False) as http:
        while doors:
            try:
                answer = await http.get(doors[0])
                said = answer.text[:300]
                if answer.status_code == 200:
                    doors.pop(0)
                    continue
            except httpx2.TransportError as error:
                said = str(error)
            if time.monotonic() > deadline:
                raise LaunchError(f"{doors[0]} was not ready within {READY_SECONDS:g} s: {said}")
            await asyncio.sleep(0.1)
