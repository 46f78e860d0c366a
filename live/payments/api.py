"""The provider's door: payment and refund notices."""

from __future__ import annotations

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from live.payments.gateway import Forged
from live.payments.wechatpay import NOTICE_PATH

NOTICE_BYTES = 64 * 1024  # real ones are below 4 KiB

log = structlog.get_logger(__name__)


async def wechat_notice(request: Request) -> JSONResponse:
    """POST: 200 when it is booked, was booked before or is kept for a person to look at; 401 when it is not the provider's.

    Anything else (our database is away) is a 5xx: the provider repeats the notice for a day.
    """
    raw = bytearray()
    async for chunk in request.stream():  # untouched: the signature is over these very bytes
        raw += chunk
        if len(raw) > NOTICE_BYTES:
            return _answer(413, "TOO_LARGE", "body too large")
    try:
        verdict = await request.state.notices.take(request.headers, bytes(raw))
    except Forged as error:
        # Not an error of ours: WeChat Pay sends wrong signatures now and then to see whether we check.
        log.info("notice refused", why=str(error))
        return _answer(401, "SIGN_ERROR", "signature not accepted")
    log.info("notice", verdict=verdict)
    return _answer(200, "SUCCESS", "")


def _answer(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"code": code, "message": message}, status)


routes = [Route(NOTICE_PATH, wechat_notice, methods=["POST"])]
