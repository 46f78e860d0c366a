"""The web process: every noun's doors, the pages, and one place where refusals become answers. Nothing is held here."""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from live.infra import security
from live.infra.db import Database
from live.infra.redis import connect
from live.infra.security import Tokens
from live.offers import api as offers
from live.offers.waitlist import api as waitlist
from live.orders import api as orders
from live.orders.actions import payment_arrived
from live.orders.refunds import refunds_done
from live.payments import api as payments
from live.payments.notices import Notices
from live.payments.wechatpay import from_settings
from live.people import api as people
from live.people.points import api as points
from live.people.rules import MAY
from live.people.wechat import WechatLogin
from live.pickup import api as pickup
from live.pickup.queries import pickup_view
from live.promotions.draw import api as draws
from live.promotions.red_packet import api as packets
from live.promotions.team import api as team
from live.protocol.codes import Code, Refusal
from live.rooms import api as rooms
from live.rooms.run_sheet import api as run_sheet
from live.settings import Settings, settings
from live.stock import api as stock
from live.web import ops, pages

log = structlog.get_logger("web")


class SafeHeaders:
    """Headers of every answer. Scripts come from us alone; what a viewer writes is never markup."""

    def __init__(self, app: ASGIApp, config: Settings) -> None:
        self.app, self.config = app, config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add them to the answer's start."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        nonce = scope.setdefault("state", {})["nonce"] = secrets.token_urlsafe(12)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in message["headers"]}
                for name, value in self._headers(nonce, scope["path"]):
                    if name not in names:
                        message["headers"].append((name, value))
            await send(message)

        await self.app(scope, receive, with_headers)

    def _headers(self, nonce: str, path: str) -> Sequence[tuple[bytes, bytes]]:
        hub = self.config.hub_url.rsplit("/", 1)[0]
        policy = (
            f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; img-src 'self' data: blob: https:; font-src 'self';"
            f" connect-src 'self' {hub} https: ; media-src 'self' blob: https:; worker-src 'self' blob:; manifest-src 'self';"
            " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
        # Files named by content stay; ours are asked for again and answered with 304.
        cache = b"no-cache" if path.startswith(("/static/", "/media/")) else b"no-store"
        return (
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"permissions-policy", b"geolocation=(self), camera=(self), microphone=()"),
            (b"cache-control", cache),
        )


class Shop(Starlette):
    """Starlette makes the answers to faults of ours outside of every middleware; these headers are on those too."""

    def __init__(self, config: Settings, **parts: Any) -> None:
        self.config = config
        super().__init__(**parts)

    def build_middleware_stack(self) -> ASGIApp:
        """The whole stack behind the headers."""
        return SafeHeaders(super().build_middleware_stack(), self.config)


def _no(body: Mapping[str, Any], status: int) -> Response:
    return Response(orjson.dumps({"no": body}), status, media_type="application/json")


async def refused(request: Request, error: Exception) -> Response:
    """A typed refusal: `{"no": {code, retry, …}}`."""
    if not isinstance(error, Refusal):
        raise error
    answer = _no(error.body(), error.status)
    if "wait" in error.facts:
        # Facts count in milliseconds on the socket and in seconds for lock-outs; Retry-After is a hint and never too short.
        wait = int(error.facts["wait"])
        answer.headers["retry-after"] = str(max(1, wait if error.code is Code.LOCKED_OUT else math.ceil(wait / 1000)))
    return answer


async def http_error(request: Request, error: Exception) -> Response:
    """404, 405 and the like in the same shape, or as a page for people."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404 and "text/html" in request.headers.get("accept", ""):
        return pages.not_found(request)
    code = {404: Code.NOT_FOUND, 413: Code.TOO_LARGE}.get(status, Code.BAD_REQUEST)
    return _no(Refusal(code).body(), status)


async def gone(request: Request, error: Exception) -> Response:
    """The client hung up while its body was read. Nobody hears the answer, and it is no fault of ours to log."""
    return Response(status_code=400)


async def misfit(request: Request, error: Exception) -> Response:
    """What the address or the body names fits no column (NUL in a text, an id beyond 64 bits), so there is no such thing."""
    log.warning("web.misfit", path=request.url.path, error=str(getattr(error, "orig", error))[:200])
    return await http_error(request, HTTPException(404))


async def unavailable(request: Request, error: Exception) -> Response:
    """A server behind us is away: say so, and that the same call may be made again."""
    if isinstance(error, DBAPIError) and not isinstance(error, OperationalError):
        log.error("web.sql", path=request.url.path, error=str(error.orig)[:300])
        return _no({"code": "error", "retry": False}, 500)
    log.warning("web.unavailable", path=request.url.path, error=str(error)[:200])
    return _no(Refusal(Code.UNAVAILABLE).body(), 503)


async def broken(request: Request, error: Exception) -> Response:
    """A fault of ours: logged with its traceback, answered without."""
    return _no({"code": "error", "retry": False}, 500)


def pickup_part(config: Settings) -> Callable[[AsyncSession, Sequence[str]], Awaitable[Mapping[str, dict[str, Any]]]]:
    """What the pickup desk adds to an order: handed down, since orders may not import pickup."""

    async def part(session: AsyncSession, numbers: Sequence[str]) -> Mapping[str, dict[str, Any]]:
        return await pickup_view(session, numbers, config)

    return part


def make_app(config: Settings) -> Starlette:
    """The application for these settings."""
    routes = [
        *people.routes, *points.routes, *stock.routes, *rooms.routes, *run_sheet.routes, *offers.routes, *waitlist.routes, *orders.routes,
        *packets.routes, *draws.routes, *team.routes, *payments.routes, *pickup.routes, *ops.routes, *pages.routes(config),
    ]  # fmt: skip
    database_url, redis_url = config.database_url, config.redis_url
    if database_url is None or redis_url is None:
        raise SystemExit("LIVE_DATABASE_URL and LIVE_REDIS_URL must be set; `live up` starts both for you")
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        db, redis = Database(database_url, config.db_pool), connect(redis_url)
        wechat, gateway = WechatLogin(config), from_settings(config)
        try:
            yield {
                "db": db,
                "redis": redis,
                "settings": config,
                "tokens": Tokens(security.secret(config, "token_secret")),
                "gateway": gateway,
                "wechat": wechat,
                "may": MAY,
                "pickup_view": pickup_part(config),
                "notices": Notices(db, gateway, payment_arrived, refunds_done),
            }
        finally:
            await wechat.close()
            await gateway.aclose()
            await redis.aclose()
            await db.close()

    return Shop(
        config,
        routes=routes,
        exception_handlers={
            Refusal: refused, HTTPException: http_error, ClientDisconnect: gone, DataError: misfit, DBAPIError: unavailable,
            PoolTimeoutError: unavailable, RedisError: unavailable, Exception: broken,
        },
        lifespan=lifespan,
    )  # fmt: skip


def __getattr__(name: str) -> Starlette:
    """`uvicorn live.web.app:app`: made on first use, so that importing this file reads no settings."""
    if name != "app":
        raise AttributeError(name)
    return make_app(settings())
