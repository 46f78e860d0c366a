"""The doors of people and stock with real state behind them, in the loop of the tests; and a WeChat that answers code2Session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import orjson
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from live.infra.db import Database
from live.infra.security import Tokens, secret
from live.people import api, rules
from live.people.wechat import WechatLogin
from live.protocol.codes import Refusal
from live.settings import Settings
from live.stock import api as stock_api


@asynccontextmanager
async def doors(db: Database, redis: Redis, settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser on our own page: sends its Origin, keeps its cookies."""
    state: dict[str, Any] = {"db": db, "redis": redis, "settings": settings, "may": rules.MAY}
    state |= {"tokens": Tokens(secret(settings, "token_secret")), "wechat": WechatLogin(settings)}
    app = Starlette(routes=[*api.routes, *stock_api.routes], exception_handlers={Refusal: _refused})
    transport = httpx2.ASGITransport(app=_with_state(app, state))
    async with httpx2.AsyncClient(transport=transport, base_url=settings.web_url, headers={"origin": settings.web_url}) as client:
        yield client
    await state["wechat"].close()


def _with_state(app: ASGIApp, state: dict[str, Any]) -> ASGIApp:
    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    return run


async def _refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return Response(orjson.dumps({"no": refusal.body()}), refusal.status, media_type="application/json")


def no(response: httpx2.Response) -> tuple[int, dict[str, Any]]:
    """Status and refusal of an answer."""
    return response.status_code, response.json()["no"]


@dataclass
class Code2Session:
    """A server that speaks code2Session. `answers`: code → body; `asked`: the queries it got."""

    answers: dict[str, Any]
    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    silent: bool = False

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        url = urlsplit(head.split(b" ", 2)[1].decode())
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.asked.append({"path": url.path, **query})
        if not self.silent:
            answer = self.answers.get(query["js_code"], {"errcode": 40029, "errmsg": "invalid code"})
            body = answer if isinstance(answer, bytes) else orjson.dumps(answer)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def code2session(answers: dict[str, Any]) -> AsyncIterator[Code2Session]:
    """Such a server on a free port of loopback."""
    wechat = Code2Session(answers)
    server = await asyncio.start_server(wechat.handle, "127.0.0.1", 0)
    wechat.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wechat
    finally:
        server.close()
        await server.wait_closed()
