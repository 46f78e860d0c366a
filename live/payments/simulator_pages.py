"""What people and mini-programs see of the simulator: the cashier page, and code2Session for logging in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from html import escape
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from live.payments.simulator_book import Book, Trade
from live.payments.simulator_post import Identity
from live.payments.simulator_v3 import V3, Wrong

CODE = re.compile(r"demo-([^~\s]{1,64})(~\S{1,64})?")  # demo-<name>, or demo-<name>~<anything> to log in again
CODES_KEPT = 100_000  # used codes remembered; a real one lives 5 min
LONGEST_TYPING = 60.0  # seconds a payer may be told to take

TEXT = {
    "zh": {
        "label": "微信支付模拟器：演示环境，不会真的扣款", "title": "收银台（模拟）", "order": "商户订单号", "pay": "立即支付",
        "SUCCESS": "支付成功", "REFUND": "已退款", "CLOSED": "订单已关闭", "USERPAYING": "支付中…", "back": "返回商店",
        "absent": "没有这笔订单", "other": "English",
    },
    "en": {
        "label": "WeChat Pay simulator: a demo, no money moves", "title": "Cashier (simulated)", "order": "Merchant order", "pay": "Pay",
        "SUCCESS": "Paid", "REFUND": "Refunded", "CLOSED": "Order closed", "USERPAYING": "Paying…", "back": "Back to the shop",
        "absent": "There is no such order", "other": "中文",
    },
}  # fmt: skip

PAGE = """<!doctype html><html lang="{lang}"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>
*{{box-sizing:border-box}}body{{margin:0;font:16px/1.5 system-ui,sans-serif;background:#f4f4f4;color:#191919}}
main{{max-width:420px;margin:0 auto;padding:16px}}.label{{background:#fff3cd;border:2px dashed #a66a00;color:#6b4400;padding:10px;
text-align:center;border-radius:8px;font-weight:600}}.card{{background:#fff;border-radius:12px;margin-top:16px;padding:24px 16px;
text-align:center;overflow-wrap:anywhere}}.fen{{font-size:40px;font-weight:700;margin:8px 0}}.small{{color:#666;font-size:13px}}
button,.back{{display:block;width:100%;min-height:48px;border:0;border-radius:8px;font-size:18px;margin-top:16px}}
button{{background:#067a3e;color:#fff}}.back{{line-height:48px;background:#e7e7e7;color:#191919;text-decoration:none}}
.state{{font-size:22px;font-weight:600;color:#067a3e}}.other{{display:block;text-align:center;margin-top:16px;color:#444}}
</style></head><body><main><p class="label">{label}</p><section class="card">{card}</section>
<a class="other" href="?{switch}">{other}</a></main></body></html>"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


class Pages:
    """The unsigned half of the simulator."""

    def __init__(self, identity: Identity, book: Book, v3: V3) -> None:
        self._identity, self._book, self._v3 = identity, book, v3
        self._used: dict[str, None] = {}

    def routes(self) -> list[Route]:
        """Its doors."""
        return [
            Route("/healthz", self._healthy),
            Route("/sns/jscode2session", self._session),
            Route("/cashier/{prepay_id}", self._cashier),
            Route("/cashier/{prepay_id}/pay", self._pay, methods=["POST"]),
        ]

    async def _healthy(self, request: Request) -> Response:
        return JSONResponse({"ok": True})

    async def _session(self, request: Request) -> Response:
        """code2Session: always 200; a name has one openid for ever, a code is good once."""
        asked = request.query_params
        if asked.get("appid") != self._identity.app_id:
            return JSONResponse({"errcode": 40013, "errmsg": "invalid appid"})
        if not hmac.compare_digest(asked.get("secret", "").encode(), self._identity.app_secret.encode()):
            return JSONResponse({"errcode": 40125, "errmsg": "invalid appsecret"})
        code = asked.get("js_code", "")
        name = CODE.fullmatch(code)
        if name is None or asked.get("grant_type") != "authorization_code":
            return JSONResponse({"errcode": 40029, "errmsg": "invalid code"})
        if code in self._used:
            return JSONResponse({"errcode": 40163, "errmsg": "code been used"})
        self._used[code] = None
        if len(self._used) > CODES_KEPT:
            del self._used[next(iter(self._used))]
        digest = hashlib.sha256(f"{self._identity.app_id}\n{name[1]}".encode()).digest()
        openid = "o" + base64.urlsafe_b64encode(digest).decode()[:27]
        return JSONResponse({"openid": openid, "session_key": base64.b64encode(secrets.token_bytes(16)).decode()})

    async def _cashier(self, request: Request) -> Response:
        trade = self._book.prepaid.get(request.path_params["prepay_id"])
        return self._page(request, self._v3.current(trade) if trade is not None else None)

    async def _pay(self, request: Request) -> Response:
        trade = self._book.prepaid.get(request.path_params["prepay_id"])
        machine = "application/json" in request.headers.get("accept", "")
        if trade is None:
            return JSONResponse({"paid": False, "code": "ORDER_NOT_EXIST"}, 404) if machine else self._page(request, None)
        try:
            seconds = await _seconds(request) if machine else 0.0
            if seconds > 0:
                self._v3.pay_slowly(trade, seconds)
                return JSONResponse({"paid": False, "code": "USERPAYING"}, 202)
            self._v3.pay(trade)
        except Wrong as wrong:
            if machine:
                return JSONResponse({"paid": False, "code": wrong.code}, wrong.status)
        if machine:
            return JSONResponse({"paid": True})
        return RedirectResponse(f"/cashier/{trade.prepay_id}?{urlencode(self._kept(request))}", 303)  # a reload must not pay again

    def _page(self, request: Request, trade: Trade | None) -> Response:
        lang = self._language(request)
        words = TEXT[lang]
        kept = self._kept(request)
        card = [f"<p>{words['absent']}</p>"]
        if trade is not None:
            card = [
                f"<h1>{words['title']}</h1><p>{escape(trade.description)}</p>",
                f'<p class="fen">¥{trade.fen // 100}.{trade.fen % 100:02d}</p>',
                f'<p class="small">{words["order"]} {escape(trade.out_trade_no)}</p>',
            ]
            if trade.state == "NOTPAY":
                card.append(f'<form method="post" action="/cashier/{escape(trade.prepay_id)}/pay?{escape(urlencode(kept))}">')
                card.append(f"<button>{words['pay']}</button></form>")
            else:
                card.append(f'<p class="state" role="status">{words[trade.state]}</p>')
        if kept.get("back"):
            card.append(f'<a class="back" href="{escape(kept["back"])}">{words["back"]}</a>')
        switch = escape(urlencode(kept | {"lang": "en" if lang == "zh" else "zh"}))
        text = PAGE.format(lang=lang, card="".join(card), switch=switch, **{k: words[k] for k in ("title", "label", "other")})
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        return HTMLResponse(text, 200 if trade is not None else 404, headers)

    def _language(self, request: Request) -> str:
        asked = request.query_params.get("lang", "")
        if asked in TEXT:
            return asked
        return "en" if request.headers.get("accept-language", "").lower().startswith("en") else "zh"

    def _kept(self, request: Request) -> dict[str, str]:
        """Query parameters that stay: the language asked for, and the way back to the shop (nowhere else)."""
        kept = {"lang": self._language(request)} if "lang" in request.query_params else {}
        back = request.query_params.get("back", "")
        if back.startswith(self._identity.shop_url + "/"):
            kept["back"] = back
        return kept


async def _seconds(request: Request) -> float:
    """How long the payer types: `{"seconds": n}` in the body, 0 without one."""
    raw = await request.body()
    try:
        asked = orjson.loads(raw).get("seconds", 0) if raw else 0
        return min(max(float(asked), 0.0), LONGEST_TYPING)
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
        raise Wrong(400, "PARAM_ERROR", "参数错误") from None
