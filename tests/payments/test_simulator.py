"""The simulator itself: its doors for people, its memory, its manners as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from pathlib import Path

import httpx2
import pytest

from live.infra.db import utc_now
from live.payments import keys
from live.payments.actions import open_refund
from live.payments.simulator import Simulator, bound, refusal
from live.payments.simulator_post import Conditions, Identity
from live.settings import Settings
from tests.payments.conftest import FAST, World, serving
from tests.payments.due import send_refund


async def test_a_code_gives_a_stable_openid_once(world: World) -> None:
    who = world.simulator.identity

    async def exchange(**change: str) -> dict[str, object]:
        asked = {"appid": who.app_id, "secret": who.app_secret, "js_code": "demo-lin", "grant_type": "authorization_code"} | change
        answer = await world.http.get(f"{world.simulator_url}/sns/jscode2session", params=asked)
        assert answer.status_code == 200
        document: dict[str, object] = answer.json()
        return document

    first = await exchange()
    assert len(str(first["openid"])) == 28
    assert (await exchange())["errcode"] == 40163
    assert (await exchange(js_code="demo-lin~2"))["openid"] == first["openid"]
    assert (await exchange(js_code="demo-wang"))["openid"] != first["openid"]
    for code in ("", "lin", "demo-", "demo-a b", "demo-" + "x" * 65):
        assert (await exchange(js_code=code))["errcode"] == 40029
    assert (await exchange(secret="wrong"))["errcode"] == 40125
    assert (await exchange(appid="wx"))["errcode"] == 40013


async def test_the_cashier_page_is_labelled_and_pays_by_its_button(world: World) -> None:
    attempt = await world.attempt(fen=123405)
    page = f"{world.simulator_url}/cashier/{await world.send(attempt)}"
    shown = await world.http.get(page)
    assert "模拟器" in shown.text
    assert "¥1234.05" in shown.text
    assert "明前龙井" in shown.text
    assert "立即支付" in shown.text
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    english = await world.http.get(page, headers={"Accept-Language": "en-GB"}, params={"back": f"{world.shop_url}/room/demo"})
    assert "no money moves" in english.text
    assert f'href="{world.shop_url}/room/demo"' in english.text
    assert "evil" not in (await world.http.get(page, params={"back": "http://evil.example/"})).text
    pressed = await world.http.post(f"{page}/pay?lang=en")
    assert (pressed.status_code, pressed.headers["Location"]) == (303, f"/cashier/{page.rpartition('/')[2]}?lang=en")
    assert "Paid" in (await world.http.get(page, params={"lang": "en"})).text
    await world.until(lambda: world.told("settled"), 1)
    assert (await world.http.get(f"{world.simulator_url}/cashier/wxnone")).status_code == 404


async def test_text_of_the_shop_is_text_on_the_page(world: World) -> None:
    attempt = await world.attempt()
    prepay_id = await world.send(attempt)
    world.simulator.book.prepaid[prepay_id].description = "<script>alert(1)</script>"
    assert "<script>" not in (await world.http.get(f"{world.simulator_url}/cashier/{prepay_id}")).text


async def test_the_button_pays_once(world: World) -> None:
    prepay_id = await world.send(await world.attempt())
    answers = await asyncio.gather(*(world.pay(prepay_id) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert (await world.pay("wxnone")).json() == {"paid": False, "code": "ORDER_NOT_EXIST"}


async def test_a_restart_forgets_nothing(world: World, who: Identity, tmp_path: Path) -> None:
    file = tmp_path / "book.sqlite3"
    deaf = Conditions(notice_waits=(), refund_seconds=60)
    async with serving(Simulator(who, deaf, file).app) as world.simulator_url:
        world.gateway._http.base_url = world.simulator_url
        await world.pay(await world.send(await world.attempt()))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = Simulator(who, Conditions(notice_waits=FAST, refund_seconds=0.02), file)
    async with serving(again.app) as world.simulator_url:  # and the notice it owes is delivered now
        world.gateway._http.base_url = world.simulator_url
        await world.until(lambda: world.told("settled"), 1)
        async with world.db.begin() as session:
            refund = await open_refund(session, order_no="A1001", cause="buyer", fen=1990, reason="", approved=True, now=utc_now())
        await send_refund(world.db, world.gateway, refund.id or 0, world.on_refunded, utc_now())
        await world.until(lambda: world.told("refunded"), 1)


async def test_keys_are_made_once_and_are_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = keys.prepare(home, "http://127.0.0.1:8002/")
    assert keys.prepare(home, "http://127.0.0.1:8002") == first
    assert first["LIVE_WECHAT_PAY_URL"] == "http://127.0.0.1:8002"
    assert len(first["LIVE_WECHAT_PAY_V3_KEY"]) == 32
    files = [path for path in home.rglob("*") if path.is_file()]
    assert len(files) == 6
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.rglob("*") if path.is_dir()} == {0o700}


def test_it_refuses_production_and_any_address_but_loopback() -> None:
    assert refusal(Settings()) is None
    assert "production" in str(refusal(Settings(env="production")))
    assert "loopback only" in str(refusal(Settings(host="0.0.0.0")))


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
async def test_as_a_process_it_answers_and_ends_cleanly(shop: Path, sent: signal.Signals) -> None:
    with bound("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"LIVE_HOME": str(shop), "LIVE_SIMULATOR_PORT": str(port), "LIVE_ENV": "demo"}
    command = (sys.executable, "-m", "live.payments.simulator", "--probes", "0.5")
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    async with httpx2.AsyncClient(trust_env=False, verify=False) as http, asyncio.timeout(20):
        while True:
            try:
                assert (await http.get(f"http://127.0.0.1:{port}/healthz")).json() == {"ok": True}
                break
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
    process.send_signal(sent)
    assert await process.wait() == 0


@pytest.mark.parametrize(("variable", "said"), [("ENV", b"refuses to run in production"), ("SIMULATOR_PORT", b"LIVE_SIMULATOR_PORT")])
async def test_as_a_process_it_says_why_it_does_not_start(shop: Path, variable: str, said: bytes) -> None:
    with bound("127.0.0.1", 0) as taken:
        taken.listen()
        value = {"ENV": "production", "SIMULATOR_PORT": str(taken.getsockname()[1])}[variable]
        environment = os.environ | {"LIVE_HOME": str(shop), "LIVE_ENV": "demo", f"LIVE_{variable}": value}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "live.payments.simulator", env=environment, stderr=asyncio.subprocess.PIPE
        )
        _, text = await process.communicate()
    assert (process.returncode, said in text) == (1, True)
