from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra import security
from live.infra.db import Database
from live.infra.security import Tokens
from live.people import owner
from live.people.staff.passwords import passwords
from live.settings import Settings
from tests.people.doors import doors, no

ONE_TIME, PASSWORD = "one-time-pass", "a long password"


async def first_owner(database: Database) -> None:
    kept = await passwords.hash(ONE_TIME)
    async with database.begin() as session:
        await owner.add(session, "zhou", kept)


async def log_in(client: httpx2.AsyncClient, account: str = "zhou", password: str = PASSWORD) -> httpx2.Response:
    return await client.post("/v1/staff/login", json={"account": account, "password": password})


async def settle(client: httpx2.AsyncClient, database: Database) -> None:
    """The first owner, with a password of their own."""
    await first_owner(database)
    await log_in(client, password=ONE_TIME)
    assert (await client.post("/v1/staff/password", json={"old": ONE_TIME, "new": PASSWORD})).status_code == 200


@asynccontextmanager
async def hired(client: httpx2.AsyncClient, settings: Settings, role: str = "host") -> AsyncIterator[httpx2.AsyncClient]:
    """Another browser of somebody newly hired, who has changed the password. `client` is the owner's."""
    made = (await client.post("/v1/staff", json={"account": role, "name": role, "role": role})).json()
    transport, headers = client._transport, {"origin": settings.web_url}
    other = httpx2.AsyncClient(transport=transport, base_url=settings.web_url, headers=headers)
    await log_in(other, role, made["one_time_password"])
    assert (await other.post("/v1/staff/password", json={"old": made["one_time_password"], "new": PASSWORD})).status_code == 200
    yield other  # not closed: that would close the transport both share


async def test_a_one_time_password_opens_nothing_but_the_change_of_it(client: httpx2.AsyncClient, database: Database) -> None:
    await first_owner(database)
    answer = await log_in(client, password=ONE_TIME)
    assert answer.json() == {"you": {"id": 1, "account": "zhou", "name": "zhou", "role": "owner", "store": None}, "password_change": True}
    for path in ("/v1/staff/me", "/v1/staff", "/v1/stores", "/v1/catalog"):
        assert no(await client.get(path)) == (403, {"code": "password_change", "retry": False})
    changed = await client.post("/v1/staff/password", json={"old": ONE_TIME, "new": PASSWORD})
    assert changed.json() == {"you": {"id": 1, "account": "zhou", "name": "zhou", "role": "owner", "store": None}}
    assert (await client.get("/v1/staff/me")).json() == {"you": changed.json()["you"], "rooms": [], "stores": []}
    assert "password_change" not in (await log_in(client)).json()


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(client: httpx2.AsyncClient, database: Database) -> None:
    await first_owner(database)
    cookie = (await log_in(client, password=ONE_TIME)).headers["set-cookie"].lower()
    assert cookie.startswith("live_staff=")
    assert set(cookie.split("; ")[1:]) == {"httponly", "samesite=strict", "path=/", "max-age=43200"}


async def test_the_cookie_is_secure_where_the_page_is(database: Database, redis: Redis, settings: Settings) -> None:
    await first_owner(database)
    async with doors(database, redis, settings.model_copy(update={"public_web_url": "https://shop.example"})) as client:
        assert "; secure" in (await log_in(client, password=ONE_TIME)).headers["set-cookie"].lower()


async def test_a_foreign_page_can_neither_log_in_nor_act(client: httpx2.AsyncClient, database: Database) -> None:
    await settle(client, database)
    foreign = {"origin": "https://evil.example"}
    body = {"account": "evil", "name": "evil", "role": "owner"}
    assert no(await client.post("/v1/staff", json=body, headers=foreign)) == (403, {"code": "origin", "retry": False})
    login = await client.post("/v1/staff/login", json={"account": "zhou", "password": PASSWORD}, headers=foreign)
    assert no(login) == (403, {"code": "origin", "retry": False})
    assert "set-cookie" not in login.headers
    form = await client.post("/v1/staff", content=b"{}", headers={"content-type": "text/plain"})
    assert no(form)[1]["field"] == "content-type"
    assert len((await client.get("/v1/staff")).json()["staff"]) == 1


async def test_a_logout_ends_every_session_and_socket_at_once(
    client: httpx2.AsyncClient, database: Database, redis: Redis, settings: Settings
) -> None:
    await settle(client, database)
    socket = (await client.post("/v1/staff/socket", json={"room": "demo"})).json()
    identity = Tokens(settings.token_secret or "").read(socket["token"])
    assert (identity.sub, identity.role, identity.room, socket["hub_url"]) == ("s:1", "owner", "demo", settings.hub_url)
    stolen = client.cookies["live_staff"]
    assert (await client.post("/v1/staff/logout", json={})).json() == {}
    assert "live_staff" not in client.cookies
    client.cookies.set("live_staff", stolen, domain="127.0.0.1")
    assert no(await client.get("/v1/staff/me")) == (401, {"code": "unauthorised", "retry": False})
    assert security.revoked(identity, await redis.get(security.not_before_key("s:1")))


async def test_a_changed_role_counts_at_once_and_a_disabled_account_is_out(
    client: httpx2.AsyncClient, database: Database, settings: Settings, redis: Redis
) -> None:
    await settle(client, database)
    async with hired(client, settings) as host:
        assert (await host.get("/v1/catalog")).status_code == 200
        assert no(await host.get("/v1/staff")) == (403, {"code": "forbidden", "retry": False, "role": "host"})
        edited = await client.post("/v1/staff/edit", json={"account": "host", "role": "moderator"})
        assert edited.json()["staff"]["role"] == "moderator"
        assert no(await host.get("/v1/catalog"))[1]["code"] == "unauthorised"
        await log_in(host, "host")
        assert no(await host.get("/v1/catalog"))[1] == {"code": "forbidden", "retry": False, "role": "moderator"}
        await client.post("/v1/staff/edit", json={"account": "host", "disabled": True})
        assert no(await host.get("/v1/staff/me"))[1]["code"] == "unauthorised"
        assert no(await log_in(host, "host")) == (401, {"code": "wrong_login", "retry": False})
    assert await redis.get(security.not_before_key("s:2")) is not None


async def test_a_reset_gives_a_one_time_password(client: httpx2.AsyncClient, database: Database, settings: Settings) -> None:
    await settle(client, database)
    async with hired(client, settings) as host:
        answer = (await client.post("/v1/staff/reset", json={"account": "host"})).json()
        assert no(await host.get("/v1/staff/me"))[1]["code"] == "unauthorised"
        assert (await log_in(host, "host", answer["one_time_password"])).json()["password_change"] is True
    assert no(await client.post("/v1/staff/reset", json={"account": "nobody"})) == (
        404,
        {"code": "not_found", "retry": False, "field": "account"},
    )


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/staff", {"account": "a b", "name": "x", "role": "host"}, "account"),
        ("/v1/staff", {"account": "new", "name": "x", "role": "king"}, "role"),
        ("/v1/staff", {"account": "new", "name": "x", "role": "clerk"}, "store"),
        ("/v1/staff/socket", {"room": "no/room"}, "room"),
        ("/v1/staff/password", {"old": PASSWORD, "new": "short"}, "new"),
        ("/v1/staff/login", {"account": "zhou", "password": ""}, "password"),
    ],
)
async def test_a_wrong_form_names_its_field_and_changes_nothing(
    client: httpx2.AsyncClient, database: Database, path: str, body: dict[str, str], field: str
) -> None:
    await settle(client, database)
    status, refusal = no(await client.post(path, json=body))
    assert (status, refusal["code"], refusal["field"]) == (422, "bad_request", field)
    async with database.begin() as session:
        assert (await session.execute(text("SELECT account, failures, token_version FROM staff"))).all() == [("zhou", 0, 2)]


async def test_a_locked_account_says_how_long(client: httpx2.AsyncClient, database: Database) -> None:
    await first_owner(database)
    for _ in range(5):
        assert no(await log_in(client, password="wrong")) == (401, {"code": "wrong_login", "retry": False})
    status, refusal = no(await log_in(client, password=ONE_TIME))
    assert (status, refusal["code"]) == (429, "locked_out")
    assert 899 <= refusal["wait"] <= 900


async def test_a_socket_asked_for_slowly_is_ended_by_what_happened_meanwhile(database: Database, redis: Redis, settings: Settings) -> None:
    async with doors(database, redis, settings) as client:
        await settle(client, database)
        async with hired(client, settings) as host:

            async def slowly() -> AsyncIterator[bytes]:
                yield b'{"room": '
                assert (await client.post("/v1/staff/edit", json={"account": "host", "disabled": True})).status_code == 200
                yield b'"demo"}'

            answer = await host.post("/v1/staff/socket", content=slowly(), headers={"content-type": "application/json"})
            identity = Tokens(str(settings.token_secret)).read(answer.json()["token"])
            assert security.revoked(identity, await redis.get(security.not_before_key(identity.sub)))
