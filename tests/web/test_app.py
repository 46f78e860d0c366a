"""The web process as a whole: headers, pages, refusals, what operators and balancers ask."""

from __future__ import annotations

import re
import time
from pathlib import Path

import orjson
import pytest
from redis.asyncio import Redis

from live.demo.seed import PASSWORD
from live.infra.db import Database
from live.infra.embedded import EmbeddedServers
from live.infra.keys import ALIVE
from live.migrations.upgrade import upgrade
from live.protocol.codes import RETRY, STATUS, Code, Refusal
from live.settings import Settings
from live.web import app, ops
from tests.offers.shop import make_shop
from tests.web.doors import Doors, open_doors

HTML = {"accept": "text/html,application/xhtml+xml"}
PAGES = ("/", "/room/r1", "/console", "/console/r1", "/store", "/hq", "/login")


async def alive(redis: Redis, *kinds: str, ago: float = 0) -> None:
    for kind in kinds:
        await redis.zadd(ALIVE + kind, {"one": time.time() - ago})


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_runs_our_scripts_and_nobody_elses(doors: Doors, path: str) -> None:
    await make_shop(doors.db)
    answer = await doors.client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = {part.split()[0]: part.split()[1:] for part in answer.headers["content-security-policy"].split(";")}
    nonce = re.search(r"'nonce-([A-Za-z0-9_-]{16})'", " ".join(policy["script-src"]))
    assert nonce is not None
    assert policy["script-src"] == ["'self'", nonce[0]]
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == ["'none'"]
    assert policy["style-src"] == ["'self'"]
    assert "ws://127.0.0.1:8001" in policy["connect-src"]
    for inline in re.findall(r"<script(?![^>]*\ssrc=)[^>]*>", answer.text):
        assert f'nonce="{nonce[1]}"' in inline
    assert not re.search(r"\son[a-z]+=|style=\"|javascript:", answer.text)
    assert not re.search(r"(src|href)=\"(https?:)?//", answer.text)
    names = ("x-content-type-options", "referrer-policy", "cross-origin-opener-policy", "cache-control")
    assert [answer.headers[name] for name in names] == ["nosniff", "no-referrer", "same-origin", "no-store"]
    again = await doors.client.get(path)
    assert again.headers["content-security-policy"] != answer.headers["content-security-policy"]


async def test_whoever_types_the_other_name_of_this_machine_is_led_to_the_one_that_works(doors: Doors) -> None:
    """The doors and the hub know one origin, and staff could not even log in from the other."""
    await make_shop(doors.db)
    for path in PAGES:
        answer = await doors.client.get(f"{path}?next=%2Fhq&lang=en", headers={"host": "localhost:8000"})
        assert (answer.status_code, answer.headers["location"]) == (307, f"http://127.0.0.1:8000{path}?next=%2Fhq&lang=en")
    for host in ("127.0.0.1:8000", "localhost", "localhost:9000", "localhost:8000.evil.example", "shop.example"):
        assert (await doors.client.get("/login", headers={"host": host})).status_code == 200, host
    assert (await doors.client.get("/healthz", headers={"host": "localhost:8000"})).status_code == 200


async def test_every_answer_carries_the_headers_and_files_may_be_kept(doors: Doors) -> None:
    for path, status, cache in (
        ("/healthz", 200, "no-store"), ("/v1/rooms/none", 404, "no-store"), ("/v1/nothing", 404, "no-store"),
        ("/static/shared/favicon.svg", 200, "no-cache"), ("/static/none.js", 404, "no-cache"),
    ):  # fmt: skip
        answer = await doors.client.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (status, cache), path
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    kinds = [(await doors.client.get(f"/static/{name}")).headers["content-type"].split(";")[0] for name in ("sdk/live.js", "room/room.css")]
    assert kinds == ["text/javascript", "text/css"]


async def test_people_are_shown_a_page_and_programs_a_refusal(doors: Doors) -> None:
    for path in ("/nothing", "/v1/nothing", "/room/none"):
        page = await doors.client.get(path, headers=HTML)
        assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert "<html" in page.text
    for path in ("/nothing", "/v1/nothing"):
        assert await doors.ask("GET", path) == (404, {"no": {"code": "not_found", "retry": False}})
    assert await doors.ask("DELETE", "/v1/rooms/r1") == (405, {"no": {"code": "bad_request", "retry": False}})
    assert (await doors.client.get("/favicon.ico")).headers["location"] == "/static/shared/favicon.svg"


@pytest.mark.parametrize("code", list(Code))
async def test_a_refusal_says_its_code_and_whether_to_come_back(code: Code) -> None:
    answer = await app.refused(None, Refusal(code, wait=90))  # type: ignore[arg-type]
    assert answer.status_code == STATUS.get(code, 409)
    assert orjson.loads(answer.body) == {"no": {"code": code.value, "retry": code in RETRY, "wait": 90}}
    assert answer.headers["retry-after"] == ("90" if code is Code.LOCKED_OUT else "1")


async def test_nobody_is_asked_back_sooner_than_the_refusal_says() -> None:
    waits = {Code.LOCKED_OUT: {1: "1", 840: "840"}, Code.SLOW_DOWN: {0: "1", 1: "1", 1000: "1", 1001: "2", 59_400: "60"}}
    for code, found in waits.items():
        for wait, seconds in found.items():
            answer = await app.refused(None, Refusal(code, wait=wait))  # type: ignore[arg-type]
            assert answer.headers["retry-after"] == seconds, (code, wait)


async def test_a_fault_of_ours_is_told_without_its_traceback(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fault(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(ops, "audit", fault)
    cookie = await doors.hire("owner")
    answer = await doors.client.get("/v1/audit", headers={"cookie": cookie})
    assert (answer.status_code, answer.json()) == (500, {"no": {"code": "error", "retry": False}})
    fine = await doors.client.get("/healthz")
    added = ("content-security-policy", "x-content-type-options", "referrer-policy", "cross-origin-opener-policy", "permissions-policy")
    told = [[re.sub("nonce-[^']+", "", one.headers[name]) for name in (*added, "cache-control")] for one in (answer, fine)]
    assert told[0] == told[1]


async def test_healthz_answers_whatever_is_away(settings: Settings, database: Database, tmp_path: Path) -> None:
    away = {"database_url": f"postgresql+psycopg://postgres@/postgres?host={tmp_path}", "redis_url": f"unix://{tmp_path}/none.sock"}
    unavailable = (503, {"no": {"code": "unavailable", "retry": True}})
    async with open_doors(settings.model_copy(update=away), database) as doors:
        assert await doors.ask("GET", "/healthz") == (200, {"ok": True})
        assert await doors.ask("GET", "/v1/rooms/r1") == unavailable
        token = doors.tokens.issue("s:1", "owner", "", seconds=60, audience="session")
        assert await doors.ask("POST", "/v1/rooms/r1/start", {}, f"live_staff={token}") == unavailable
        assert await doors.ask("GET", "/readyz") == (503, {"ready": False, "checks": {"redis": False, "database": False}})
    async with open_doors(settings.model_copy(update={"redis_url": away["redis_url"]}), database) as doors:
        person = f"Bearer {doors.tokens.issue('p:1', 'viewer', '', seconds=60)}"
        assert await doors.ask("GET", "/v1/me/intents/r1/12345678", authorization=person) == unavailable


async def test_readyz_names_what_is_missing(doors: Doors, redis: Redis) -> None:
    there = {"redis": True, "database": True, "migrations": True, "durable": False}  # the servers of the tests run without fsync
    for kinds, missing in (((), {"ledger": False, "worker": False}), (("ledger",), {"ledger": True, "worker": False})):
        await alive(redis, *kinds)
        status, answer = await doors.ask("GET", "/readyz")
        assert (status, answer["ready"], answer["checks"]) == (503, False, there | missing)
        assert (answer["fsync"], answer["synchronous_commit"], answer["appendfsync"]) == ("off", "on", "everysec")
    await redis.flushall()
    await alive(redis, "ledger", "worker", ago=ops.SEEN_SECONDS + 1)
    assert (await doors.ask("GET", "/readyz"))[1]["checks"] == there | {"ledger": False, "worker": False}


async def test_readyz_is_200_when_all_is_there_and_durable(settings: Settings, database: Database, redis: Redis, tmp_path: Path) -> None:
    await alive(redis, "ledger", "worker")
    async with EmbeddedServers(tmp_path / "durable", redis=False) as servers:
        durable = settings.model_copy(update={"database_url": servers.database_url})
        async with open_doors(durable, database) as doors:
            status, answer = await doors.ask("GET", "/readyz")
            assert (status, answer["checks"]["database"]) == (503, False)  # no schema yet
            upgrade(servers.database_url)
            checks = dict.fromkeys(("ledger", "worker", "redis", "database", "migrations", "durable"), True)
            facts = {"fsync": "on", "synchronous_commit": "on", "appendfsync": "everysec"}
            assert await doors.ask("GET", "/readyz") == (200, {"ready": True, "checks": checks, **facts})


@pytest.mark.parametrize(
    ("peer", "token", "given", "status"),
    [
        ("127.0.0.1", None, "", 200), ("::1", "abc", "", 200), ("10.0.0.1", None, "", 403), ("10.0.0.1", "abc", "", 403),
        ("10.0.0.1", "abc", "Bearer abd", 403), ("10.0.0.1", "abc", "abc", 403), ("10.0.0.1", "abc", "Bearer abc", 200),
        ("10.0.0.1", None, "Bearer None", 403), ("10.0.0.1", "", "Bearer ", 403), ("10.0.0.1", "abc", "Bearer ü", 403),
    ],
)  # fmt: skip
async def test_metrics_are_for_loopback_or_whoever_has_the_token(
    settings: Settings, database: Database, peer: str, token: str | None, given: str, status: int
) -> None:
    async with open_doors(settings.model_copy(update={"metrics_token": token}), database, peer) as doors:
        answer = await doors.client.get("/metrics", headers=[(b"authorization", given.encode())] if given else [])
        assert answer.status_code == status
        assert ("process_" in answer.text) is (status == 200)


async def test_metrics_are_not_for_whoever_comes_by_a_proxy_on_this_machine(doors: Doors) -> None:
    assert (await doors.client.get("/metrics", headers={"x-forwarded-for": "203.0.113.9"})).status_code == 403


async def test_a_redis_that_forbids_config_is_ready(settings: Settings, database: Database, redis: Redis) -> None:
    await redis.acl_setuser("hosted", enabled=True, nopass=True, categories=["+@all"], commands=["-config"], keys=["*"], channels=["*"])
    try:
        url = settings.redis_url or ""
        hosted = settings.model_copy(update={"redis_url": f"{url}{'&' if '?' in url else '?'}username=hosted&password=any"})
        async with open_doors(hosted, database) as doors:
            status, answer = await doors.ask("GET", "/readyz")
            assert (answer["checks"]["redis"], answer["appendfsync"]) == (True, "unknown"), status
    finally:
        await redis.acl_deluser("hosted")


async def test_media_gives_files_below_its_folder_only(doors: Doors, home: Path) -> None:
    media = home / "media"
    (media / "hls").mkdir(parents=True)
    (media / "hls" / "live.m3u8").write_text("#EXTM3U")
    (home / "secrets").mkdir()
    (home / "secrets" / "token_secret").write_text("secret")
    (media / "way out").symlink_to(home / "secrets")
    given = await doors.client.get("/media/hls/live.m3u8")
    assert (given.status_code, given.text, given.headers["content-type"]) == (200, "#EXTM3U", "application/vnd.apple.mpegurl")
    for path in (
        "../secrets/token_secret", "%2e%2e/secrets/token_secret", "..%2fsecrets%2ftoken_secret", "hls/../../secrets/token_secret",
        "%2fetc/passwd", "/etc/passwd", "way%20out/token_secret", "hls", "", "none.svg", "..%5csecrets%5ctoken_secret",
    ):  # fmt: skip
        answer = await doors.client.get(f"/media/{path}")
        assert answer.status_code == 404, path
        assert "secret" not in answer.text
    for path in ("/static/../pyproject.toml", "/static/%2e%2e/pyproject.toml", "/static/..%2fpyproject.toml"):
        assert (await doors.client.get(path)).status_code == 404, path


@pytest.mark.parametrize(
    ("query", "cookie", "accept", "shown"),
    [
        ("", "", "", "zh"), ("", "", "en-GB,en;q=0.9", "en"), ("", "", "fr,en", "zh"), ("", "lang=en", "zh-CN", "en"),
        ("?lang=zh", "lang=en", "en", "zh"), ("?lang=xx", "", "", "zh"), ("?lang=xx", "lang=en", "zh", "zh"),
        ("?lang=%3Cscript%3E", "", "en", "en"),
    ],
)  # fmt: skip
async def test_a_visitor_chooses_the_language(doors: Doors, query: str, cookie: str, accept: str, shown: str) -> None:
    headers = {name: value for name, value in (("cookie", cookie), ("accept-language", accept)) if value}
    answer = await doors.client.get(f"/login{query}", headers=headers)
    assert re.search(r"<html[^>]*\slang=\"([a-zA-Z-]+)\"", answer.text)[1][:2] == shown  # type: ignore[index]
    assert "<script>" not in answer.text


async def test_the_demos_passwords_are_shown_in_the_demo_only(settings: Settings, database: Database) -> None:
    for env, there in (("demo", True), ("development", False), ("production", False)):
        async with open_doors(settings.model_copy(update={"env": env}), database) as doors:
            for path in ("/", "/login", "/console", "/hq"):
                text = (await doors.client.get(path)).text
                assert (PASSWORD in text) is (there and path == "/"), (env, path)


async def test_a_rooms_title_is_text_on_the_page_and_never_markup(doors: Doors) -> None:
    await make_shop(doors.db)
    cookie = await doors.hire("host")
    title = "</script><img src=x onerror=alert(1)>"
    assert (await doors.ask("POST", "/v1/rooms/r1", {"title_zh": title, "title_en": title}, cookie))[0] == 200
    for path in ("/", "/room/r1"):
        assert "<img src=x" not in (await doors.client.get(path)).text


def test_the_app_needs_its_servers_named() -> None:
    with pytest.raises(SystemExit, match="LIVE_DATABASE_URL and LIVE_REDIS_URL"):
        app.make_app(Settings(database_url=None, redis_url="unix:///x"))
    with pytest.raises(AttributeError):
        app.__getattr__("application")
