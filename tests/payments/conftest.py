"""The simulator and a shop's door on real sockets."""



from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from starlette.applications import Starlette

from live.infra import outbox
from live.infra.db import Database, utc_now
from live.infra.tables import Outbox
from live.payments import api, keys
from live.payments.actions import create_attempt, send_attempt
from live.payments.notices import Notices
from live.payments.simulator import Simulator, bound, identity, server
from live.payments.simulator_post import Conditions, Identity
from live.payments.tables import PayAttempt, PayNotice, Refund
from live.payments.wechatpay import WechatPay, from_settings
from live.settings import Settings

FAST = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5)  # seconds between tries of a notice


@pytest.fixture(scope="session")
def who(shop: Path) -> Identity:
    """The simulator's keys, read once: the library checks the primes each time."""
    return identity(shop, "http://127.0.0.1:1", "http://127.0.0.1:1")


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with the demo's keys; making them anew for each test would cost half a second."""
    place = tmp_path_factory.mktemp("home")
    keys.prepare(place, "http://127.0.0.1:1")
    return place


def merchant_settings(home: Path, simulator_url: str, shop_url: str) -> Settings:
    """As the launcher hands them to every process."""
    variables = {name.removeprefix("LIVE_").lower(): value for name, value in _prepared(home).items()}
    variables |= {"wechat_pay_url": simulator_url, "wechat_api_url": simulator_url}
    return Settings(home=home, env="demo", public_web_url=shop_url, **variables)  # type: ignore[arg-type]


@lru_cache
def _prepared(home: Path) -> dict[str, str]:
    return keys.prepare(home, "http://127.0.0.1:1")


@dataclass
class World:
    """The simulator, the shop's notice door and a merchant, with a stand-in for orders that counts in the same transaction."""

    db: Database
    simulator: Simulator
    simulator_url: str
    shop_url: str
    gateway: WechatPay
    http: httpx2.AsyncClient
    wanted: bool = True  # whether orders want the money
    door: Notices = field(init=False)

    def __post_init__(self) -> None:
        """What a test puts in the place of the two callbacks is called."""
        self.door = Notices(self.db, self.gateway, lambda *said: self.on_settled(*said), lambda *said: self.on_refunded(*said))

    async def on_settled(self, session: AsyncSession, attempts: Sequence[PayAttempt], now: datetime) -> list[bool]:
        """Orders become paid; kept as rows, so that a rollback takes them along."""
        if self.wanted:
            await outbox.jobs(session, "settled", [(attempt.order_no, {}) for attempt in attempts])
        return [self.wanted] * len(attempts)

    async def on_refunded(self, session: AsyncSession, refunds: Sequence[Refund], now: datetime) -> None:
        """Orders hear that their money went back."""
        for refund in refunds:
            await outbox.job(session, "refunded", refund.out_refund_no)

    async def attempt(self, order: str = "A1001", fen: int = 1990, seconds: float = 600, **other: Any) -> PayAttempt:
        """A committed attempt the provider does not know yet."""
        now = utc_now()
        wanted: dict[str, Any] = {"payer": "openid-1", "expires_at": now + timedelta(seconds=seconds)} | other
        async with self.db.begin() as session:
            return await create_attempt(session, order_no=order, fen=fen, now=now, **wanted)

    async def send(self, attempt: PayAttempt) -> str:
        """Place it at the provider; returns the prepay id."""
        assert attempt.id is not None
        params = await send_attempt(self.db, self.gateway, attempt.id, "明前龙井 50g", utc_now())
        return params["package"].removeprefix("prepay_id=")

    async def pay(self, prepay_id: str, **body: Any) -> httpx2.Response:
        """The payer presses the button."""
        headers = {"Accept": "application/json"}
        return await self.http.post(f"{self.simulator_url}/cashier/{prepay_id}/pay", json=body, headers=headers)

    async def paid_order(self, order: str = "A1001", fen: int = 1990) -> PayAttempt:
        """An order paid and settled."""
        attempt = await self.attempt(order, fen)
        await self.pay(await self.send(attempt))
        await self.until(lambda: self.told("settled", order), 1)
        return await self.seen(attempt)

    async def seen(self, attempt: PayAttempt) -> PayAttempt:
        """The attempt as it is now."""
        async with self.db.begin() as session:
            return await session.get_one(PayAttempt, attempt.id)

    async def refunds(self) -> list[Refund]:
        """Every refund, oldest first."""
        async with self.db.begin() as session:
            return list((await session.execute(select(Refund).order_by(col(Refund.id)))).scalars())

    async def notices(self) -> list[tuple[str, str]]:
        """(event, verdict) of every notice kept."""
        async with self.db.begin() as session:
            rows = (await session.execute(select(PayNotice).order_by(col(PayNotice.at)))).scalars().all()
        return [(row.event_type, row.verdict) for row in rows]

    async def told(self, topic: str, key: str | None = None) -> int:
        """How often orders were told."""
        query = select(func.count()).select_from(Outbox).where(col(Outbox.topic) == topic)
        async with self.db.begin() as session:
            return int((await session.execute(query if key is None else query.where(col(Outbox.key) == key))).scalar_one())

    async def until(self, asked: Any, wanted: Any, seconds: float = 5.0) -> None:
        """Wait for what another process of the shop would do."""
        async with asyncio.timeout(seconds):
            while await asked() != wanted:
                await asyncio.sleep(0.01)

    async def knock(self, headers: dict[str, str], raw: bytes) -> httpx2.Response:
        """Put something through the notice door."""
        return await self.http.post(f"{self.shop_url}/v1/wechat/pay/notice", content=raw, headers=headers)


@asynccontextmanager
async def serving(app: Starlette, port: int = 0) -> AsyncIterator[str]:
    """Serve the app on a socket of its own; yields its URL."""
    listening = bound("127.0.0.1", port)
    running = server(app)
    task = asyncio.create_task(running.serve(sockets=[listening]))
    while not running.started:
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        running.should_exit = True
        await task


@pytest.fixture
async def world(database: Database, shop: Path, who: Identity) -> AsyncIterator[World]:
    """A fresh simulator and door for each test."""
    door = Starlette(routes=api.routes)
    async with serving_door(door) as shop_url:
        simulator = Simulator(
            replace(who, shop_url=shop_url), Conditions(notice_waits=FAST, refund_seconds=0.02), shop / f"{secrets.token_hex(8)}.sqlite3"
        )
        async with serving(simulator.app) as url, httpx2.AsyncClient(trust_env=False, verify=False) as http:
            gateway = from_settings(merchant_settings(shop, url, shop_url))
            assert isinstance(gateway, WechatPay)
            made = World(database, simulator, url, shop_url, gateway, http)
            door.state.world = made
            yield made
            await gateway.aclose()


@asynccontextmanager
async def serving_door(door: Starlette) -> AsyncIterator[str]:
    """The shop's door; what it needs is looked up in the world when a request comes."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            made: World = door.state.world
            scope.setdefault("state", {}).update(notices=made.door)
        await door(scope, receive, send)

    async with serving(app) as url:  # type: ignore[arg-type]
        yield url
