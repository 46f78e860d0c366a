"""A house of real processes for each test, and a Chromium that fails the test on anything its console calls an error."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright
from redis.asyncio import Redis
from sqlalchemy import text

from live.demo.opening import demo_settings, simulator
from live.demo.seed import DemoShop, seed
from live.infra.db import Database, utc_now
from live.infra.program import Program
from live.infra.supervisor import wait_http
from live.launch import environment, usual_programs
from live.settings import Settings
from tests import nursery
from tests.conftest import need

START_SECONDS = 30.0  # five processes import everything at once on two cores
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
DESK: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}


@dataclass
class Visits:
    """Opens pages and keeps what they complain about: messages of the console (a broken policy is one) and uncaught errors."""

    browser: Browser
    base: str
    contexts: list[BrowserContext] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    async def phone(self, path: str) -> Page:
        """A page on a phone of its own."""
        return await self._open(path, PHONE)

    async def desk(self, path: str) -> Page:
        """A page on a desk's screen of its own."""
        return await self._open(path, DESK)

    async def staff(self, account: str, password: str, path: str, *, phone: bool = False) -> Page:
        """A page of somebody who has just logged in."""
        page = await (self.phone if phone else self.desk)(f"/login?next={path}")
        await page.locator("[autocomplete=username]").fill(account)
        await page.locator("[autocomplete=current-password]").fill(password)
        await page.locator("button[type=submit]").click()
        await page.wait_for_url(f"{self.base}{path}")
        return page

    def watch(self, page: Page) -> None:
        """Hear what this page complains about."""

        def said(message: ConsoleMessage) -> None:
            if message.type == "error":
                self.complaints.append(f"{page.url}: {message.text} {message.location.get('url', '')}")

        page.on("console", said)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))

    async def _open(self, path: str, screen: dict[str, Any]) -> Page:
        context = await self.browser.new_context(**screen, base_url=self.base, locale="zh-CN", timezone_id="Asia/Shanghai")
        context.on("page", self.watch)
        context.set_default_timeout(10_000)
        self.contexts.append(context)
        page = await context.new_page()
        await page.goto(path)
        return page


@pytest_asyncio.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """One browser for all tests; each opens contexts of its own."""
    found = shutil.which("chromium")
    need(found, "Chromium")
    options = ["--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=options)
        yield browser
        await browser.close()


@pytest.fixture
def house_settings(settings: Settings) -> Settings:
    """Settings of this test's processes: ports of their own, the simulator in WeChat's place."""
    doors = [socket.socket() for _ in range(3)]
    try:
        for door in doors:
            door.bind(("127.0.0.1", 0))
        web, hub, wechat = (door.getsockname()[1] for door in doors)
    finally:
        for door in doors:
            door.close()
    return demo_settings(settings.model_copy(update={"web_port": web, "hub_port": hub, "simulator_port": wechat}))


@asynccontextmanager
async def running(settings: Settings, programs: Sequence[Program]) -> AsyncIterator[None]:
    """These programs, one log each under home; ended with everything they started."""
    bare = {name: value for name, value in environment(settings).items() if not name.startswith("LIVE_TEST")}
    env = bare | {"LIVE_LOG_LEVEL": "WARNING"}
    started = [nursery.start(program, env, settings.home) for program in programs]
    try:
        yield
    finally:
        await asyncio.to_thread(nursery.end, started)


async def all_up(settings: Settings, also: Sequence[str] = ()) -> None:
    """Wait until web, hub and the servers `also` answer, and web sees ledger and worker. `/readyz` itself stays 503: no fsync here."""
    for url in (f"http://127.0.0.1:{settings.hub_port}/healthz", f"{settings.web_url}/healthz", *also):
        await wait_http(url, START_SECONDS)
    async with asyncio.timeout(START_SECONDS), httpx2.AsyncClient(trust_env=False) as http:
        while True:
            checks = (await http.get(f"{settings.web_url}/readyz")).json()["checks"]
            if checks.get("ledger") and checks.get("worker"):
                return
            await asyncio.sleep(0.1)


@dataclass(frozen=True)
class House:
    """A running demo shop whose room is not live yet."""

    settings: Settings
    shop: DemoShop


@pytest_asyncio.fixture
async def house(database: Database, redis: Redis, house_settings: Settings, cheap_passwords: None) -> AsyncIterator[House]:
    """Every process of the Procfile and the simulator, on this run's servers; the demo's shop and staff."""
    shop = await seed(database, utc_now(), house_settings)
    async with database.begin() as session:  # ffmpeg makes the demo's video after its start: without it, each page would ask in vain
        await session.execute(text("UPDATE room SET play_url = ''"))
    async with running(house_settings, [*usual_programs(), simulator()]):
        await all_up(house_settings, [f"{house_settings.simulator_url}/healthz"])
        yield House(house_settings, shop)


@pytest_asyncio.fixture
async def empty_house(database: Database, redis: Redis, house_settings: Settings) -> AsyncIterator[Settings]:
    """Every process of the Procfile over an empty database, as after a first `live up`."""
    settings = house_settings.model_copy(update={"env": "development"})
    async with running(settings, usual_programs()):
        await all_up(settings)
        yield settings


@pytest_asyncio.fixture
async def visits(chromium: Browser, house_settings: Settings) -> AsyncIterator[Visits]:
    """Pages of this test. Fails it when one of them complained."""
    found = Visits(chromium, house_settings.web_url)
    yield found
    for context in found.contexts:
        await context.close()
    assert found.complaints == []
