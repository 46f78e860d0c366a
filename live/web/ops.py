"""What operators and balancers ask: alive, ready, metrics, and the audit."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import cache
from typing import Any

from alembic.script import ScriptDirectory
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra import observe, security
from live.infra.doors import json as _json
from live.infra.keys import ALIVE
from live.migrations.upgrade import configuration
from live.offers.audit import audit
from live.offers.watch import figures
from live.payments import exceptions
from live.protocol.codes import Code, Refusal

SEEN_SECONDS = 10  # a process that has not been heard of for so long counts as gone


async def healthz(request: Request) -> Response:
    """GET /healthz: this process answers."""
    return _json({"ok": True})


@cache
def _head() -> str | None:
    """The newest revision. Every migration's file is read for it, so once a process."""
    return ScriptDirectory.from_config(configuration("")).get_current_head()


async def readyz(request: Request) -> Response:
    """GET /readyz: 200 when Redis, SQL, migrations, ledger and worker are there and commits are durable; else 503 with what is missing."""
    state = request.state
    checks: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    try:
        now = time.time()
        for kind in ("ledger", "worker"):
            checks[kind] = await state.redis.zcount(ALIVE + kind, now - SEEN_SECONDS, "+inf") > 0
        facts["appendfsync"] = "unknown"
        with suppress(ResponseError):  # hosted servers forbid CONFIG
            facts["appendfsync"] = (await state.redis.config_get("appendfsync")).get("appendfsync", "unknown")
        checks["redis"] = True
    except (RedisError, OSError):
        checks |= {"redis": False}
    try:
        async with state.db.connection() as connection:
            for name in ("fsync", "synchronous_commit"):
                facts[name] = (await connection.execute(text(f"SHOW {name}"))).scalar_one()
            version = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
        durable = facts["fsync"] == "on" and facts["synchronous_commit"] != "off"
        checks |= {"database": True, "migrations": version == _head(), "durable": durable}
    except (SQLAlchemyError, OSError):
        checks |= {"database": False}
    ready = all(checks.values())
    return _json({"ready": ready, "checks": checks, **facts}, 200 if ready else 503)


async def metrics(request: Request) -> Response:
    """GET /metrics: for loopback, or with `Authorization: Bearer <LIVE_METRICS_TOKEN>`."""
    # What comes by a proxy on this machine comes from anywhere, whether we were told of that proxy or not.
    near = "x-forwarded-for" not in request.headers and request.client is not None and request.client.host in ("127.0.0.1", "::1")
    token = request.state.settings.metrics_token
    given = request.headers.get("authorization", "")
    if not near and not (token and security.same(given, f"Bearer {token}")):
        raise Refusal(Code.FORBIDDEN)
    body, kind = observe.metrics()
    with suppress(SQLAlchemyError, OSError):  # this process's own figures are worth reading when the database is away
        body += await figures(request.state.db) + await exceptions.figures(request.state.db)
    return Response(body, media_type=kind)


async def books(request: Request) -> Response:
    """GET /v1/audit: do the books balance?"""
    await security.staff(request, "audit")
    return _json(await audit(request.state.db, request.state.redis))


routes = [
    Route("/healthz", healthz),
    Route("/readyz", readyz),
    Route("/metrics", metrics),
    Route("/v1/audit", books),
]
