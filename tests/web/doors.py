"""The whole web application, as it is served, in the loop of the tests; a browser before it; and what the database holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from live.infra.db import Database
from live.infra.security import COOKIE, Tokens
from live.migrations.metadata import metadata
from live.settings import Settings
from live.web.app import make_app

FORMS = "application/x-www-form-urlencoded"
Answer = tuple[int, Any]


@dataclass
class Doors:
    """`app` behind its middleware; `tokens` sign as it does."""

    app: Starlette
    client: httpx2.AsyncClient
    settings: Settings
    tokens: Tokens
    db: Database

    async def hire(self, role: str, **more: Any) -> str:
        """A new member of the staff; the cookie of a session. `more`: columns of the row (store, one_time, disabled)."""
        row = {"role": role, "account": role, "name": role, "store": None, "one_time": False, "disabled": False, "token_version": 1} | more
        names = ", ".join(row)
        query = f"INSERT INTO staff ({names}, password_hash) VALUES ({', '.join(f':{name}' for name in row)}, '-') RETURNING id"
        async with self.db.connection() as connection:
            number = (await connection.execute(text(query), row)).scalar_one()
        token = self.tokens.issue(f"s:{number}", role, role, seconds=600, store=row["store"], audience="session")
        return f"{COOKIE}={token}"

    async def ask(self, method: str, path: str, body: Any = None, cookie: str = "", **headers: str) -> Answer:
        """(status, JSON) of a request as a page of ours sends it."""
        given = {"origin": self.settings.web_url, "cookie": cookie} | {name.replace("_", "-"): value for name, value in headers.items()}
        given = {name: value for name, value in given.items() if value}
        if method == "GET":
            body = None
        answer = await self.client.request(method, path, json=body, headers=given)
        return answer.status_code, answer.json()


@asynccontextmanager
async def open_doors(settings: Settings, db: Database, peer: str = "127.0.0.1") -> AsyncIterator[Doors]:
    """The app with its own lifespan (its own pool and client), as uvicorn would run it. `peer`: where requests come from."""
    app = make_app(settings)
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "state": dict(state)}, receive, send)

        transport = httpx2.ASGITransport(app=with_state, client=(peer, 4242), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=settings.web_url) as client:
            yield Doors(app, client, settings, Tokens(str(settings.token_secret)), db)


_ALL = " UNION ALL ".join(
    f"SELECT '{table.name}' AS name, count(*) AS n, coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') AS h FROM {table.name} t"
    for table in metadata.sorted_tables
)


async def holdings(db: Database) -> dict[str, tuple[int, str]]:
    """Rows and content hash of every table: equal before and after a refusal."""
    async with db.connection() as connection:
        return {name: (int(n), digest) for name, n, digest in (await connection.execute(text(_ALL))).all()}
