"""The simulator's post: notices signed and encrypted, repeated until answered 2xx, some of them twice, some deliberately forged."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx2
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from live.payments import signing
from live.payments.simulator_book import Book, Letter, china

ANSWER_SECONDS = 5.0  # WeChat Pay waits as long for an answer
AT_ONCE = 32  # notices on their way at the same time

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Identity:
    """Who the simulator is and for whom."""

    app_id: str
    app_secret: str
    merchant: str
    merchant_serial: str
    merchant_key: RSAPublicKey
    v3_key: bytes
    public_key_id: str
    key: RSAPrivateKey
    shop_url: str  # where the cashier page may lead back to


@dataclass
class Conditions:
    """How the simulated world behaves; tests change it while it runs."""

    # WeChat Pay's 15 s, 15 s, 30 s, 3 min … over a day, scaled down so that a demo shows a repeat within its first minute.
    notice_waits: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
    duplicates: float = 0.0  # share of notices sent a second time although answered
    probes: float = 0.0  # share of notices preceded by one with a wrong signature
    refunds_per_second: int = 100
    refund_seconds: float = 0.3  # from PROCESSING to its end
    refund_status: str = "SUCCESS"  # or ABNORMAL, CLOSED
    chance: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - not a secret


class Post:
    """Owns every task of the simulator: deliveries, and refunds that take a while. `stop` ends them."""

    def __init__(self, identity: Identity, conditions: Conditions, book: Book) -> None:
        self._identity = identity
        self._conditions = conditions
        self._book = book
        self._tasks: set[asyncio.Task[None]] = set()
        self._desk = asyncio.Semaphore(AT_ONCE)
        # verify: notices go to plain HTTP on loopback only, and reading the certificates of the world takes 0.1 s.
        self._http = httpx2.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False, verify=False)

    def later(self, work: Coroutine[None, None, None]) -> None:
        """Do it in the background, until `stop`."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def send(self, url: str, event: str, original: str, document: dict[str, object]) -> None:
        """Write a notice and start delivering it."""
        letter = Letter(secrets.token_hex(18), url, event, original, document, time.time())
        self._book.keep(letter)
        self.later(self._deliver(letter))

    def resume(self) -> None:
        """Go on with what a stopped simulator had not delivered."""
        for letter in list(self._book.letters.values()):
            if not letter.delivered:
                self.later(self._deliver(letter))

    async def stop(self) -> None:
        """End every task and close the connections."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    async def transmit(self, letter: Letter, forged: bool = False) -> int:
        """Send it once; returns the answer's status, 0 when there was none."""
        raw = self.envelope(letter)
        headers = signing.signed_headers(self._identity.key, self._identity.public_key_id, raw, datetime.now(UTC))
        if forged:
            headers["Wechatpay-Signature"] = signing.PROBE + headers["Wechatpay-Signature"]
        try:
            async with self._desk:
                answer = await self._http.post(letter.url, content=raw, headers=headers | {"Content-Type": "application/json"})
        except httpx2.HTTPError:
            return 0
        return answer.status_code

    def envelope(self, letter: Letter) -> bytes:
        """The body of a notice: a fresh encryption of the same document."""
        resource = signing.encrypt(self._identity.v3_key, orjson.dumps(letter.document), letter.original)
        return orjson.dumps(
            {
                "id": letter.id,
                "create_time": china(letter.created),
                "event_type": letter.event,
                "resource_type": "encrypt-resource",
                "summary": "支付成功" if letter.original == "transaction" else "退款通知",
                "resource": resource | {"original_type": letter.original},
            }
        )

    async def _deliver(self, letter: Letter) -> None:
        chance = self._conditions.chance
        if chance.random() < self._conditions.probes and 200 <= await self.transmit(letter, forged=True) < 300:
            log.error("the shop accepted a forged notice", notice=letter.id)
        for wait in self._conditions.notice_waits:
            await asyncio.sleep(wait)
            letter.sent += 1
            if 200 <= await self.transmit(letter) < 300:
                letter.delivered = True
                self._book.keep(letter)
                if chance.random() < self._conditions.duplicates:
                    await self.transmit(letter)
                return
        log.warning("notice given up", notice=letter.id, sent=letter.sent)
