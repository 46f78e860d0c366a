"""WeChat login: the code of `wx.login` for an openid (code2Session). The session_key is never kept, logged or passed on.

https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-login/code2Session.html
"""

from __future__ import annotations

import logging
from typing import Any

import httpx2
import structlog

from live.protocol.codes import Code, Refusal
from live.settings import Settings

TIMEOUT = httpx2.Timeout(5.0, connect=3.0)  # it answers in well under 1 s; a viewer would not wait longer
RATE_WAIT_MS = 60_000  # 45011 is counted per user and minute
OPENID_MOST = 128  # documented ones have 28 characters

# The client logs every address at INFO, and ours carries the app's secret and the login code.
logging.getLogger("httpx2").setLevel(logging.WARNING)
log = structlog.get_logger()


class WechatLogin:
    """Asks WeChat who a login code belongs to."""

    def __init__(self, settings: Settings) -> None:
        self._app_id = settings.wechat_app_id
        self._secret = settings.wechat_app_secret
        self._client = httpx2.AsyncClient(base_url=settings.wechat_api_url, timeout=TIMEOUT)

    async def openid(self, code: str) -> str:
        """The openid behind a code. Raises Refusal(WRONG_CODE, SLOW_DOWN, FORBIDDEN, BUSY or UNAVAILABLE)."""
        asked = {"appid": self._app_id, "secret": self._secret, "js_code": code, "grant_type": "authorization_code"}
        try:
            response = await self._client.get("/sns/jscode2session", params=asked)
            answer = response.json()  # served as text/plain
        except (httpx2.HTTPError, ValueError) as error:
            log.warning("wechat.login.unreachable", error=type(error).__name__)
            raise Refusal(Code.UNAVAILABLE, why="WeChat does not answer") from None
        if response.status_code != 200 or not isinstance(answer, dict):
            log.warning("wechat.login.unreachable", status=response.status_code)
            raise Refusal(Code.UNAVAILABLE, why="WeChat does not answer")
        return _openid(answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _openid(answer: dict[str, Any]) -> str:
    match answer.get("errcode", 0):
        case 0:
            openid = answer.get("openid")
            if isinstance(openid, str) and 0 < len(openid) <= OPENID_MOST:
                return openid
            raise Refusal(Code.UNAVAILABLE, why="WeChat gave no openid")
        case 40029:
            raise Refusal(Code.WRONG_CODE, why="invalid")
        case 40163:
            raise Refusal(Code.WRONG_CODE, why="used")
        case 45011:
            raise Refusal(Code.SLOW_DOWN, wait=RATE_WAIT_MS)
        case 40226:
            raise Refusal(Code.FORBIDDEN, why="risk")  # WeChat holds this user for an attacker
        case -1:
            raise Refusal(Code.BUSY)
        case other:
            log.error("wechat.login.refused", errcode=other)  # 40013, 40125: our app id or secret is wrong
            raise Refusal(Code.UNAVAILABLE, why="WeChat login is not set up")
