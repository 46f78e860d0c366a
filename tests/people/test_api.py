from __future__ import annotations

import time

import httpx2
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra import security
from live.infra.db import Database, utc_now
from live.infra.security import Tokens
from live.settings import Settings

from .doors import code2session, doors, no

PHONE = "13800138000"


def holder(settings: Settings, answer: httpx2.Response) -> security.Identity:
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    return Tokens(settings.token_secret or "").read(answer.json()["token"])


async def phone_login(client: httpx2.AsyncClient, phone: str = PHONE, **headers: str) -> httpx2.Response:
    code = (await client.post("/v1/login/phone/code", json={"phone": phone})).json()["demo_code"]
    return await client.post("/v1/login/phone", json={"phone": phone, "code": code}, headers=headers)


async def persons(database: Database) -> int:
    async with database.begin() as session:
        return int((await session.execute(text("SELECT count(*) FROM person"))).scalar_one())


async def test_a_guest_gets_a_token_and_no_row(client: httpx2.AsyncClient, database: Database, settings: Settings) -> None:
    answer = await client.post("/v1/guest", json={"name": " 路人\u202e甲 "})
    guest = holder(settings, answer)
    assert answer.json()["you"] == {"sub": guest.sub, "name": "路人甲", "known": False}
    assert abs(answer.json()["expires"] / 1000 - time.time() - 600) < 2
    assert guest.role == "guest"
    nameless = (await client.post("/v1/guest", json={})).json()["you"]
    assert nameless["name"] == f"游客 {nameless['sub'][2:6]}"
    assert await persons(database) == 0


async def test_a_wechat_code_makes_a_known_viewer(database: Database, redis: Redis, settings: Settings) -> None:
    async with code2session({"good": {"openid": "o-1", "session_key": "never-shown"}}) as wechat:
        given = settings.model_copy(update={"wechat_api_url": wechat.url})
        async with doors(database, redis, given) as client:
            answer = await client.post("/v1/login/wechat", json={"code": "good", "name": "小满"})
            person = holder(settings, answer)
            assert answer.json()["you"] == {"sub": "p:1", "name": "小满", "known": True}
            assert (person.sub, person.role, person.known) == ("p:1", "viewer", True)
            assert "never-shown" not in answer.text
            assert "o-1" not in answer.text
            assert no(await client.post("/v1/login/wechat", json={"code": "bad"})) == (
                422,
                {"code": "wrong_code", "retry": False, "why": "invalid"},
            )
    assert await persons(database) == 1


async def test_a_phone_code_makes_a_known_viewer(client: httpx2.AsyncClient, settings: Settings, database: Database) -> None:
    answer = await phone_login(client)
    assert holder(settings, answer).sub == "p:1"
    assert answer.json()["you"] == {"sub": "p:1", "name": "顾客 1", "known": True}
    assert PHONE not in answer.text
    wrong = await client.post("/v1/login/phone", json={"phone": PHONE, "code": "000000"})
    assert no(wrong) == (422, {"code": "wrong_code", "retry": False})
    assert await persons(database) == 1


@pytest.mark.parametrize("env", ["development", "production"])
async def test_outside_the_demo_no_code_is_shown_or_kept(database: Database, redis: Redis, settings: Settings, env: str) -> None:
    async with doors(database, redis, settings.model_copy(update={"env": env})) as client:
        status, refusal = no(await client.post("/v1/login/phone/code", json={"phone": PHONE}))
    assert (status, refusal["code"], refusal["why"]) == (503, "unavailable", "No SMS sender is connected yet; please log in with WeChat.")
    async with database.begin() as session:
        assert (await session.execute(text("SELECT count(*) FROM phone_code"))).scalar_one() == 0


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/login/phone/code", {"phone": "12345"}, "phone"),
        ("/v1/login/phone", {"phone": PHONE, "code": "12345"}, "code"),
        ("/v1/login/phone", {"phone": PHONE, "code": 123456}, "code"),
        ("/v1/login/phone", {"phone": PHONE}, "code"),
        ("/v1/guest", {"name": "x" * 101}, "name"),
        ("/v1/guest", {"role": "owner"}, "role"),
        ("/v1/login/wechat", {"code": ""}, "code"),
    ],
)
async def test_a_wrong_form_names_its_field(
    client: httpx2.AsyncClient, database: Database, path: str, body: dict[str, object], field: str
) -> None:
    status, refusal = no(await client.post(path, json=body))
    assert (status, refusal["code"], refusal["field"]) == (422, "bad_request", field)
    assert await persons(database) == 0


async def test_a_phone_joins_the_person_whose_token_comes_with_it(database: Database, redis: Redis, settings: Settings) -> None:
    async with (
        code2session({"good": {"openid": "o-1"}}) as wechat,
        doors(database, redis, settings.model_copy(update={"wechat_api_url": wechat.url})) as client,
    ):
        token = (await client.post("/v1/login/wechat", json={"code": "good"})).json()["token"]
        assert holder(settings, await phone_login(client, authorization=f"Bearer {token}")).sub == "p:1"
        assert no(await phone_login(client, "13900139000", authorization="Bearer rubbish"))[0] == 401
    async with database.begin() as session:
        assert (await session.execute(text("SELECT openid, phone FROM person"))).all() == [("o-1", PHONE)]


async def test_a_guests_token_does_not_hinder_a_login(client: httpx2.AsyncClient, settings: Settings) -> None:
    token = (await client.post("/v1/guest", json={})).json()["token"]
    assert holder(settings, await phone_login(client, authorization=f"Bearer {token}")).sub == "p:1"


async def test_a_token_is_refreshed_for_the_same_person(client: httpx2.AsyncClient, settings: Settings) -> None:
    for first in (await client.post("/v1/guest", json={"name": "甲"}), await phone_login(client)):
        before = holder(settings, first)
        after = holder(settings, await client.post("/v1/token/refresh", headers={"authorization": f"Bearer {first.json()['token']}"}))
        assert (after.sub, after.role, after.name, after.since) == (before.sub, before.role, before.name, before.since)


@pytest.mark.parametrize(("ago", "since", "status"), [(3600, 3600, 200), (86_500, 86_500, 401), (60, 31 * 86_400, 401)])
async def test_a_sleeping_phone_refreshes_within_a_day_and_a_login_ends_after_thirty(
    client: httpx2.AsyncClient, settings: Settings, ago: int, since: int, status: int
) -> None:
    await phone_login(client)
    token = Tokens(settings.token_secret or "").issue("p:1", "viewer", "A", seconds=-ago, since=int(time.time()) - since)
    answer = await client.post("/v1/token/refresh", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == status
    if status == 401:
        assert answer.json()["no"]["code"] == "expired"


async def test_what_was_ended_is_not_refreshed(client: httpx2.AsyncClient, settings: Settings, database: Database, redis: Redis) -> None:
    token = (await phone_login(client)).json()["token"]
    guest = (await client.post("/v1/guest", json={})).json()
    staff = Tokens(settings.token_secret or "").issue("s:1", "host", "A", seconds=60)
    await security.revoke(redis, guest["you"]["sub"], utc_now())
    async with database.begin() as session:
        await session.execute(text("UPDATE person SET token_version = 2"))
    for each in (token, guest["token"], staff):
        answer = no(await client.post("/v1/token/refresh", headers={"authorization": f"Bearer {each}"}))
        assert answer == (401, {"code": "unauthorised", "retry": False})


async def test_one_address_knocks_so_often_and_no_more(database: Database, redis: Redis, settings: Settings) -> None:
    tight = {"guest_burst": 2, "login_burst": 3, "guests_per_second": 0.001, "logins_per_second": 0.001}
    async with doors(database, redis, settings.model_copy(update=tight)) as client:
        for _ in range(2):
            assert (await client.post("/v1/guest", json={})).status_code == 200
        status, refusal = no(await client.post("/v1/guest", json={}))
        assert (status, refusal["code"], refusal["retry"]) == (429, "slow_down", True)
        assert refusal["wait"] > 0
        assert (await phone_login(client)).status_code == 200  # another door: a code, and the login
        await client.post("/v1/staff/login", json={"account": "owner", "password": "wrong"})
        for path, body in (
            ("/v1/login/phone/code", {"phone": PHONE}), ("/v1/login/phone", {"phone": PHONE, "code": "000000"}),
            ("/v1/login/wechat", {"code": "x"}), ("/v1/staff/login", {"account": "owner", "password": "wrong"}),
        ):  # fmt: skip
            assert no(await client.post(path, json=body))[1]["code"] == "slow_down", path
