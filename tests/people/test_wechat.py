from __future__ import annotations

import logging
from typing import Any

import pytest
from structlog.testing import capture_logs

from live.people import wechat as module
from live.people.wechat import WechatLogin
from live.protocol.codes import Code, Refusal
from live.settings import Settings

from .doors import code2session

GOOD = {"openid": "o6zAJs3oh85Zb1lJE8oWix57vny0", "session_key": "tiihtNczf5v6AKRyjwEUhQ==", "unionid": "u"}


def login(url: str) -> WechatLogin:
    return WechatLogin(Settings(wechat_api_url=url, wechat_app_id="wx123", wechat_app_secret="app-secret"))


async def test_a_code_is_exchanged_for_an_openid_and_nothing_else_leaves(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with code2session({"good": GOOD}) as wechat:
        client = login(wechat.url)
        with capture_logs() as events:
            assert await client.openid("good") == GOOD["openid"]
        await client.close()
    wanted = {
        "path": "/sns/jscode2session",
        "appid": "wx123",
        "secret": "app-secret",
        "js_code": "good",
        "grant_type": "authorization_code",
    }
    assert wechat.asked == [wanted]
    assert events == []
    logged = " ".join(record.getMessage() for record in caplog.records if record.name.startswith("httpx"))
    assert "app-secret" not in logged
    assert "tiihtNczf5v6" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "code", "facts"),
    [
        ({"errcode": 40029, "errmsg": "invalid code"}, Code.WRONG_CODE, {"why": "invalid"}),
        ({"errcode": 40163, "errmsg": "code been used"}, Code.WRONG_CODE, {"why": "used"}),
        ({"errcode": 45011, "errmsg": "api minute-quota reach limit"}, Code.SLOW_DOWN, {"wait": 60_000}),
        ({"errcode": 40226, "errmsg": "code blocked"}, Code.FORBIDDEN, {"why": "risk"}),
        ({"errcode": -1, "errmsg": "system error"}, Code.BUSY, {}),
        ({"errcode": 40013, "errmsg": "invalid appid"}, Code.UNAVAILABLE, {"why": "WeChat login is not set up"}),
        ({"session_key": "x"}, Code.UNAVAILABLE, {"why": "WeChat gave no openid"}),
        ({"openid": ""}, Code.UNAVAILABLE, {"why": "WeChat gave no openid"}),
        ([1], Code.UNAVAILABLE, {"why": "WeChat does not answer"}),
        (b"<html>", Code.UNAVAILABLE, {"why": "WeChat does not answer"}),
    ],
)
async def test_each_refusal_of_wechat_is_one_of_ours(answer: Any, code: Code, facts: dict[str, Any]) -> None:
    async with code2session({"c": answer}) as wechat:
        client = login(wechat.url)
        with pytest.raises(Refusal) as refusal:
            await client.openid("c")
        await client.close()
    assert (refusal.value.code, refusal.value.facts) == (code, facts)


async def test_a_wechat_that_hangs_up_and_one_that_is_not_there_are_unavailable() -> None:
    async with code2session({}) as wechat:
        wechat.silent = True
        client = login(wechat.url)
        with pytest.raises(Refusal) as refusal:
            await client.openid("c")
        await client.close()
    assert refusal.value.code is Code.UNAVAILABLE
    client = login(wechat.url)  # its server is gone
    with pytest.raises(Refusal) as refusal:
        await client.openid("c")
    await client.close()
    assert (refusal.value.code, refusal.value.facts) == (Code.UNAVAILABLE, {"why": "WeChat does not answer"})
    assert (module.TIMEOUT.read, module.TIMEOUT.connect) == (5.0, 3.0)
