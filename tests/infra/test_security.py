from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis

from live.infra import security
from live.infra.security import SecretMissingError, Tokens, client_address, keyed_hash
from live.protocol.codes import Code, Refusal
from live.settings import Settings

KEY = "k" * 64


def refused(code: Code, **facts: Any) -> Any:
    """Expect this refusal with these facts."""
    return pytest.raises(Refusal, check=lambda refusal: refusal.code is code and refusal.facts == facts)


@dataclass
class Asked:
    """A request as security reads it."""

    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    state: Any = None
    raw: list[bytes] = field(default_factory=list)

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces."""
        for piece in self.raw:
            yield piece


def state(settings: Settings | None = None) -> SimpleNamespace:
    return SimpleNamespace(tokens=Tokens(KEY), settings=settings or Settings(), may={"pin": frozenset({"host"})}, db=None)


def test_a_token_gives_back_who_it_was_issued_to() -> None:
    token = Tokens(KEY).issue("p:7", "viewer", "小满", seconds=600, room="demo", version=3)
    identity = Tokens(KEY).read(token)
    assert (identity.sub, identity.role, identity.name, identity.room, identity.store, identity.version) == (
        "p:7",
        "viewer",
        "小满",
        "demo",
        None,
        3,
    )
    assert (identity.known, identity.staff, identity.id) == (True, False, 7)
    assert 0 <= identity.exp - time.time() - 599 <= 1


def test_a_guest_is_not_known_and_has_no_row() -> None:
    identity = Tokens(KEY).read(Tokens(KEY).issue("g:ab12", "guest", "游客", seconds=600))
    assert not identity.known
    with pytest.raises(ValueError, match="no row"):
        _ = identity.id


def test_a_token_past_its_end_is_expired_and_the_refresh_door_may_still_read_it() -> None:
    token = Tokens(KEY).issue("p:7", "viewer", "A", seconds=-5)
    with refused(Code.EXPIRED):
        Tokens(KEY).read(token)
    assert Tokens(KEY).read(token, grace=60).sub == "p:7"
    with refused(Code.EXPIRED):
        Tokens(KEY).read(Tokens(KEY).issue("p:7", "viewer", "A", seconds=-61), grace=60)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "not.a.token",
        Tokens("another" * 8).issue("p:7", "viewer", "A", seconds=86_400),
        jwt.encode({"sub": "p:7", "exp": 9_999_999_999, "iat": 1, "aud": "socket"}, KEY, algorithm="HS256"),
        jwt.encode({"sub": "p:7", "exp": 9_999_999_999, "iat": 1, "aud": "socket"}, KEY, algorithm="HS512"),
        jwt.encode({"sub": "p:7", "exp": 9_999_999_999, "iat": 1, "aud": "socket"}, None, algorithm="none"),
        Tokens(KEY).issue("s:1", "owner", "A", seconds=86_400, audience="session"),
    ],
    ids=["empty", "no token", "other key", "facts missing", "other algorithm", "unsigned", "cookie as token"],
)
def test_what_we_did_not_sign_for_this_use_is_unauthorised(token: str) -> None:
    with refused(Code.UNAUTHORISED):
        Tokens(KEY).read(token)


def test_the_secret_before_is_still_read_and_never_issued() -> None:
    old = Tokens("old" * 16)
    both = Tokens(KEY, "old" * 16)
    assert both.read(old.issue("p:1", "viewer", "A", seconds=60)).sub == "p:1"
    with refused(Code.UNAUTHORISED):
        old.read(both.issue("p:1", "viewer", "A", seconds=60))


def test_a_secret_is_made_once_and_only_for_us_to_read(home: Path) -> None:
    settings = Settings(home=home, token_secret=None)
    made = security.secret(settings, "token_secret")
    assert len(made) >= 32
    assert security.secret(settings, "token_secret") == made
    assert stat.S_IMODE((home / "secrets" / "token_secret").stat().st_mode) == 0o600
    assert security.secret(Settings(home=home, token_secret="given"), "token_secret") == "given"


@pytest.mark.parametrize("given", [None, "short"])
def test_production_makes_no_secret_and_takes_no_short_one(home: Path, given: str | None) -> None:
    with pytest.raises(SecretMissingError, match="LIVE_TOKEN_SECRET"):
        security.secret(Settings(env="production", home=home, token_secret=given), "token_secret")
    assert not home.exists()


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("9.9.9.9", ["1.1.1.1"], "9.9.9.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6", "1.1.1.1, 10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1", ["1.1.1.1, rubbish"], "10.0.0.1"),
        ("10.0.0.1", ["rubbish, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["2001:DB8::1"], "2001:db8::1"),
    ],
)
def test_an_address_is_believed_only_from_our_own_proxies(peer: str, forwarded: list[str], client: str) -> None:
    assert client_address(peer, forwarded, frozenset({"10.0.0.1", "10.0.0.2"})) == client


def test_a_keyed_hash_depends_on_key_purpose_and_the_limits_of_its_parts() -> None:
    hashes = {keyed_hash(KEY, "a", "bc"), keyed_hash(KEY, "ab", "c"), keyed_hash("other", "a", "bc"), keyed_hash(KEY, "a", "b", "c")}
    assert len(hashes) == 4
    assert keyed_hash(KEY, "a", "bc") in hashes


@pytest.mark.parametrize("header", [None, "", "Basic abc", "Bearer ", "Bearer nonsense"])
def test_a_door_without_a_token_is_closed(header: str | None) -> None:
    with refused(Code.UNAUTHORISED):
        security.bearer(Asked(headers={} if header is None else {"authorization": header}, state=state()))


@pytest.mark.parametrize(("sub", "role"), [("g:ab", "guest"), ("s:1", "host")])
def test_buying_asks_guests_and_staff_who_they_are(sub: str, role: str) -> None:
    token = Tokens(KEY).issue(sub, role, "A", seconds=60)
    asked = Asked(headers={"authorization": f"Bearer {token}"}, state=state())
    assert security.bearer(asked).sub == sub
    with refused(Code.IDENTIFY):
        security.known(asked)


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid")
    n: int


async def test_a_body_is_read_strictly() -> None:
    assert (await security.body(Asked(raw=[b'{"n"', b": 1}"]), Form)).n == 1


@pytest.mark.parametrize(
    ("raw", "facts"),
    [
        (b"", {"field": "body", "why": "not JSON"}),
        (b"\xff\xfe", {"field": "body", "why": "not JSON"}),
        (b'{"n": 1', {"field": "body", "why": "not JSON"}),
        (b"[" * 100_000, {"field": "body", "why": "not JSON"}),
        (b'{"n": "1"}', {"field": "n", "why": "int_type"}),
        (b'{"n": 1.5}', {"field": "n", "why": "int_type"}),
        (b"{}", {"field": "n", "why": "missing"}),
        (b'{"n": 1, "m": 2}', {"field": "m", "why": "extra_forbidden"}),
        (b"[1]", {"field": "body", "why": "model_type"}),
        (b'{"n": 1, "t": "\\u0000"}', {"field": "body", "why": "contains NUL"}),
    ],
)
async def test_a_wrong_body_names_the_field(raw: bytes, facts: dict[str, str]) -> None:
    with refused(Code.BAD_REQUEST, **facts):
        await security.body(Asked(raw=[raw]), Form)


async def test_a_body_is_not_read_beyond_its_limit() -> None:
    asked = Asked(raw=[b" " * 100, b" " * 100, b'{"n": 1}'])
    with refused(Code.TOO_LARGE, limit=150):
        await security.body(asked, Form, limit=150)


ORIGINS = [
    None,
    "null",
    "http://127.0.0.1:8000.evil.example",
    "http://evil.example",
    "https://127.0.0.1:8000",
    "http://127.0.0.1:8001",
    "http://127.0.0.1",
    "http://127.0.0.1:8000/",
    "HTTP://127.0.0.1:8000",
    "http://localhost:8000",
]


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_foreign_page_cannot_use_the_staff_cookie(method: str, origin: str | None) -> None:
    cookie = Tokens(KEY).issue("s:1", "host", "A", seconds=60, audience="session")
    headers = {"content-type": "application/json"} | ({"origin": origin} if origin is not None else {})
    with refused(Code.ORIGIN):
        await security.staff(Asked(method, headers, {security.COOKIE: cookie}, state()), "pin")


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_a_form_cannot_use_the_staff_cookie(kind: str | None) -> None:
    headers = {"origin": "http://127.0.0.1:8000"} | ({"content-type": kind} if kind else {})
    with refused(Code.BAD_REQUEST, field="content-type", why="application/json only"):
        await security.staff(Asked("POST", headers, {}, state()), "pin")


async def test_a_viewers_or_a_sockets_token_is_no_staff_cookie() -> None:
    for token in (
        "",
        "x",
        Tokens(KEY).issue("s:1", "host", "A", seconds=60),
        Tokens(KEY).issue("p:1", "viewer", "A", seconds=60, audience="session"),
    ):
        with refused(Code.UNAUTHORISED):
            await security.staff(Asked(cookies={security.COOKIE: token}, state=state()), "pin")


async def test_an_act_nobody_was_given_is_an_error_of_ours() -> None:
    with pytest.raises(KeyError):
        await security.staff(Asked(state=state()), "fly")


async def test_a_revocation_tells_the_hubs_and_ends_older_tokens_only(redis: Redis) -> None:
    async with redis.pubsub() as heard:
        await heard.subscribe(security.CHANNEL)
        await heard.get_message(timeout=1)
        before = Tokens(KEY).read(Tokens(KEY).issue("s:1", "host", "A", seconds=600))
        await asyncio.sleep(0.005)
        await security.revoke(redis, "s:1", datetime.now(UTC))
        await asyncio.sleep(0.005)
        after = Tokens(KEY).read(Tokens(KEY).issue("s:1", "host", "A", seconds=600))
        message = await heard.get_message(ignore_subscribe_messages=True, timeout=1)
    kept = await redis.get(security.not_before_key("s:1"))
    assert message is not None
    assert message["data"] == b"s:1"
    assert (security.revoked(before, kept), security.revoked(after, kept), security.revoked(before, None)) == (True, False, False)
    assert 86_390 <= await redis.ttl(security.not_before_key("s:1")) <= 86_400
