from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra import security
from live.infra.db import Database
from live.infra.security import Tokens
from live.settings import Settings
from tests.people.doors import doors, no

from .shop import HEADER, line

STORE = {"code": "a", "name_zh": "甲店", "name_en": "A", "lat": 31.2, "lon": 121, "hours": "08:00-22:00"}


@pytest_asyncio.fixture
async def client(database: Database, redis: Redis, settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """An owner's browser."""
    async with doors(database, redis, settings) as opened:
        await become(opened, database, settings, "owner")
        yield opened


async def become(client: httpx2.AsyncClient, database: Database, settings: Settings, role: str, store: str | None = None) -> None:
    """Carry the cookie of a member of staff with this role."""
    made = "INSERT INTO staff (account, role, store, password_hash, one_time, disabled)"
    made += " VALUES (:role, :role, :store, '', false, false) RETURNING id"
    async with database.begin() as session:
        number = (await session.execute(text(made), {"role": role, "store": store})).scalar_one()
    cookie = Tokens(settings.token_secret or "").issue(f"s:{number}", role, role, seconds=60, audience="session")
    client.cookies.set(security.COOKIE, cookie)


async def rows(database: Database, table: str) -> int:
    async with database.begin() as session:
        return int((await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())


async def test_an_owner_makes_a_store_imports_goods_and_sees_them(client: httpx2.AsyncClient) -> None:
    made = await client.post("/v1/stores", json=STORE)
    view = {
        "code": "a",
        "name": {"zh": "甲店", "en": "A"},
        "address": {"zh": "", "en": ""},
        "lat": 31.2,
        "lon": 121.0,
        "hours": "08:00-22:00",
        "leader_point": False,
    }
    assert (made.status_code, made.json()) == (201, view)
    assert no(await client.post("/v1/stores", json=STORE)) == (409, {"code": "state", "retry": False, "state": "exists", "field": "code"})
    assert (await client.get("/v1/stores")).json() == {"stores": [view]}
    csv = "\n".join([HEADER.removesuffix(",stock:b"), line(a=5).removesuffix(",")])
    assert (await client.post("/v1/import", json={"csv": csv})).json() == {"categories": 1, "products": 1, "skus": 1, "stock": 1}
    assert (await client.get("/v1/catalog")).json() == {
        "skus": [
            {
                "id": 1,
                "code": "pear-1",
                "name": {"zh": "一个", "en": "one"},
                "title": {"zh": "梨 一个", "en": "Pear one"},
                "product": {"code": "pear", "name": {"zh": "梨", "en": "Pear"}},
                "category": "fruit",
                "picture": "",
                "fen": 1990,
                "stock": {"a": {"on_hand": 5, "allotted": 0, "free": 5}},
            }
        ]
    }


async def test_a_wrong_file_is_answered_with_its_rows(client: httpx2.AsyncClient, database: Database) -> None:
    answer = no(await client.post("/v1/import", json={"csv": "a,b\n1,2\n"}))
    assert answer[0] == 422
    assert answer[1]["code"] == "rows"
    assert {"row": 1, "field": "price", "why": "column is missing"} in answer[1]["errors"]
    assert await rows(database, "sku") == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [({"code": "a b"}, "code"), ({"lat": 91}, "lat"), ({"lon": "x"}, "lon"), ({"name_zh": " "}, "name_zh"), ({"x": 1}, "x")],
)
async def test_a_wrong_store_names_its_field(client: httpx2.AsyncClient, database: Database, change: dict[str, object], field: str) -> None:
    status, refusal = no(await client.post("/v1/stores", json=STORE | change))
    assert (status, refusal["code"], refusal["field"]) == (422, "bad_request", field)
    assert await rows(database, "location") == 0


async def test_a_file_beyond_any_limit_is_not_read(client: httpx2.AsyncClient) -> None:
    status, refusal = no(await client.post("/v1/import", json={"csv": "x" * (5 * 1024 * 1024)}))
    assert (status, refusal["code"]) == (413, "too_large")
    lone = await client.post("/v1/import", content=b'{"csv": "\\ud800"}', headers={"content-type": "application/json"})
    assert no(lone)[1]["why"] == "not JSON"


@pytest.mark.parametrize(
    ("role", "may"),
    [("host", {"/v1/stores", "/v1/catalog"}), ("moderator", set()), ("clerk", set())],
)
async def test_only_an_owner_changes_the_shop(
    client: httpx2.AsyncClient, database: Database, settings: Settings, role: str, may: set[str]
) -> None:
    await client.post("/v1/stores", json=STORE | {"code": "c"})
    await become(client, database, settings, role, "c" if role == "clerk" else None)
    before = await rows(database, "location")
    for path, body in (("/v1/stores", STORE), ("/v1/import", {"csv": HEADER})):
        assert no(await client.post(path, json=body)) == (403, {"code": "forbidden", "retry": False, "role": role})
    assert await rows(database, "location") == before
    for path in ("/v1/stores", "/v1/catalog"):
        assert (await client.get(path)).status_code == (200 if path in may else 403)
