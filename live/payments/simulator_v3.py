"""The simulator's WeChat Pay API v3: JSAPI order, query, close, refund and refund query, with WeChat Pay's own codes and statuses."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.payments import rules, signing
from live.payments.simulator_book import Book, Return, Trade
from live.payments.simulator_post import Conditions, Identity, Post
from live.payments.wechatpay import DESCRIPTION_BYTES

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
PREPAY_SECONDS = 7200  # a prepay id lives two hours, whatever time_expire says
REFUND_NO = re.compile(r"[A-Za-z0-9_\-|*@]{1,64}")

Handler = Callable[[Request, bytes], Awaitable[dict[str, Any] | None]]


class Wrong(Exception):
    """An answer of WeChat Pay that is not a success: {code, message}."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class V3:
    """The signed half of the simulator."""

    def __init__(self, identity: Identity, conditions: Conditions, book: Book, post: Post) -> None:
        self._identity, self._conditions, self._book, self._post = identity, conditions, book, post
        self._refund_times: deque[float] = deque()

    def routes(self) -> list[Route]:
        """Its doors."""
        trade = "/v3/pay/transactions/out-trade-no/{no}"
        return [
            Route("/v3/pay/transactions/jsapi", self._signed(self._order), methods=["POST"]),
            Route(trade, self._signed(self._query), methods=["GET"]),
            Route(f"{trade}/close", self._signed(self._close), methods=["POST"]),
            Route("/v3/refund/domestic/refunds", self._signed(self._refund), methods=["POST"]),
            Route("/v3/refund/domestic/refunds/{no}", self._signed(self._query_refund), methods=["GET"]),
        ]

    def current(self, trade: Trade) -> Trade:
        """The trade, closed if its time has run out."""
        if trade.state == "NOTPAY" and time.time() >= trade.expires:
            trade.state = "CLOSED"
            self._book.keep(trade)
        return trade

    def pay(self, trade: Trade) -> None:
        """The payer has paid: the state changes and the notice goes out. Raises Wrong when it cannot be paid."""
        if trade.state != "USERPAYING" and self.current(trade).state != "NOTPAY":
            raise Wrong(409, "ORDERPAID" if trade.transaction_id else "ORDER_CLOSED", STATE_REFUSED[trade.state])
        trade.state, trade.paid = "SUCCESS", time.time()
        trade.transaction_id = "42" + "".join(secrets.choice("0123456789") for _ in range(26))
        self._book.keep(trade)
        document = trade.document(self._identity.app_id, self._identity.merchant)
        self._post.send(trade.notify_url, "TRANSACTION.SUCCESS", "transaction", document)

    def pay_slowly(self, trade: Trade, seconds: float) -> None:
        """The payer is typing the password for so long. Raises Wrong when it cannot be paid."""
        if self.current(trade).state != "NOTPAY":
            raise Wrong(409, "ORDERPAID" if trade.transaction_id else "ORDER_CLOSED", STATE_REFUSED[trade.state])
        trade.state = "USERPAYING"

        async def typed() -> None:
            await asyncio.sleep(seconds)
            if trade.state == "USERPAYING":  # else somebody pressed the button meanwhile
                self.pay(trade)

        self._post.later(typed())

    def resume(self) -> None:
        """Finish refunds that a stopped simulator was working on."""
        for made in self._book.returns.values():
            if made.status == "PROCESSING":
                self._post.later(self._finish(made))

    def _signed(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            raw = await request.body()
            try:
                self._merchant_signed(request, raw)
                answer = await handler(request, raw)
                status, content = (204, b"") if answer is None else (200, orjson.dumps(answer))
            except Wrong as wrong:
                status, content = wrong.status, orjson.dumps({"code": wrong.code, "message": wrong.message})
            headers = signing.signed_headers(self._identity.key, self._identity.public_key_id, content, datetime.now(UTC))
            return Response(content, status, headers | {"Request-ID": secrets.token_hex(12)}, "application/json")

        return endpoint

    def _merchant_signed(self, request: Request, raw: bytes) -> None:
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        path = request.scope["raw_path"].decode("ascii")
        if request.scope["query_string"]:
            path += "?" + request.scope["query_string"].decode("ascii")
        moment, once = fields.get("timestamp", ""), fields.get("nonce_str", "")
        known = (fields.get("mchid"), fields.get("serial_no")) == (self._identity.merchant, self._identity.merchant_serial)
        fresh = moment.isdigit() and abs(time.time() - int(moment)) <= signing.FRESH_SECONDS
        lines = (request.method, path, moment, once, raw)
        if (
            scheme != signing.SCHEMA
            or not known
            or not fresh
            or not signing.true(self._identity.merchant_key, fields.get("signature", ""), *lines)
        ):
            raise Wrong(401, "SIGN_ERROR", "签名错误")

    async def _order(self, request: Request, raw: bytes) -> dict[str, Any]:
        body = _body(raw)
        if (body.get("appid"), body.get("mchid")) != (self._identity.app_id, self._identity.merchant):
            raise Wrong(400, "APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配")
        number, amount, payer = body.get("out_trade_no"), body.get("amount"), body.get("payer")
        described, url = body.get("description"), body.get("notify_url")
        fen = amount.get("total") if isinstance(amount, dict) else None
        openid = payer.get("openid") if isinstance(payer, dict) else None
        _require(isinstance(number, str) and rules.TRADE_NO.fullmatch(number) is not None, "out_trade_no")
        _require(type(fen) is int and fen > 0, "amount.total")
        _require(isinstance(openid, str) and 0 < len(openid) <= 128, "payer.openid")
        _require(isinstance(described, str) and 0 < len(described.encode()) <= DESCRIPTION_BYTES, "description")
        _require(isinstance(url, str) and urlsplit(url).hostname in LOOPBACK, "notify_url")
        expires = min(_expires(body.get("time_expire")), time.time() + PREPAY_SECONDS)
        old = self._book.trades.get(str(number))
        if old is not None:
            return self._again(old, (described, openid, fen))
        trade = Trade(str(number), f"wx{secrets.token_hex(17)}", str(described), str(openid), int(fen or 0), str(url), expires)
        self._book.keep(trade)
        return {"prepay_id": trade.prepay_id}

    def _again(self, trade: Trade, told: tuple[object, ...]) -> dict[str, Any]:
        if told != (trade.description, trade.openid, trade.fen):
            raise Wrong(403, "OUT_TRADE_NO_USED", "商户订单号重复")
        if self.current(trade).transaction_id:
            raise Wrong(400, "ORDERPAID", "订单已支付")
        if trade.state == "CLOSED":
            raise Wrong(400, "ORDER_CLOSED", "订单已关闭")
        return {"prepay_id": trade.prepay_id}

    async def _query(self, request: Request, raw: bytes) -> dict[str, Any]:
        if request.query_params.get("mchid") != self._identity.merchant:
            raise Wrong(400, "MCH_NOT_EXISTS", "商户号不存在")
        return self._trade(request).document(self._identity.app_id, self._identity.merchant)

    async def _close(self, request: Request, raw: bytes) -> None:
        if _body(raw).get("mchid") != self._identity.merchant:
            raise Wrong(400, "MCH_NOT_EXISTS", "商户号不存在")
        trade = self._trade(request)
        if trade.transaction_id:
            raise Wrong(400, "ORDERPAID", "订单已支付")
        if trade.state == "USERPAYING":
            raise Wrong(202, "USERPAYING", "用户支付中，需要输入密码")
        if trade.state == "CLOSED":
            raise Wrong(400, "ORDER_CLOSED", "订单已关闭")
        trade.state = "CLOSED"
        self._book.keep(trade)

    async def _refund(self, request: Request, raw: bytes) -> dict[str, Any]:
        self._pace()
        body = _body(raw)
        number, amount = body.get("out_refund_no"), body.get("amount")
        _require(isinstance(number, str) and REFUND_NO.fullmatch(number) is not None, "out_refund_no")
        _require(isinstance(amount, dict) and type(amount.get("refund")) is int and amount["refund"] > 0, "amount.refund")
        assert isinstance(amount, dict)
        _require(len(str(body.get("reason", "-")).encode()) in range(1, rules.REASON_BYTES + 1), "reason")
        _require(amount.get("currency") == "CNY", "amount.currency")
        trade = self._book.trades.get(str(body.get("out_trade_no")))
        if trade is None or not trade.transaction_id:
            raise Wrong(404, "RESOURCE_NOT_EXISTS", "订单不存在")
        if amount.get("total") != trade.fen:
            raise Wrong(400, "INVALID_REQUEST", "订单金额不一致")
        old = self._book.returns.get(str(number))
        if old is not None:
            return self._refund_again(old, trade, int(amount["refund"]))
        if trade.refunded + amount["refund"] > trade.fen:
            raise Wrong(400, "INVALID_REQUEST", "累计退款金额大于支付金额")
        url = str(body.get("notify_url") or trade.notify_url)
        _require(urlsplit(url).hostname in LOOPBACK, "notify_url")
        refund_id = "50" + "".join(secrets.choice("0123456789") for _ in range(27))
        made = Return(str(number), trade.out_trade_no, trade.transaction_id, refund_id, amount["refund"], trade.fen, url, time.time())
        trade.refunded += made.fen
        trade.state = "REFUND"
        self._book.keep(trade)
        self._book.keep(made)
        self._post.later(self._finish(made))
        return made.document()

    def _refund_again(self, made: Return, trade: Trade, fen: int) -> dict[str, Any]:
        if (made.out_trade_no, made.fen) != (trade.out_trade_no, fen):
            raise Wrong(400, "INVALID_REQUEST", "订单金额或退款金额与之前请求不一致，请核实后再试")
        if made.status == "ABNORMAL":  # a failed refund is tried again under its own number
            made.status = "PROCESSING"
            self._book.keep(made)
            self._post.later(self._finish(made))
        return made.document()

    async def _finish(self, made: Return) -> None:
        await asyncio.sleep(self._conditions.refund_seconds)
        made.status, made.done = self._conditions.refund_status, time.time()
        self._book.keep(made)
        self._post.send(made.notify_url, f"REFUND.{made.status}", "refund", made.notice(self._identity.merchant))

    async def _query_refund(self, request: Request, raw: bytes) -> dict[str, Any]:
        made = self._book.returns.get(request.path_params["no"])
        if made is None:
            raise Wrong(404, "RESOURCE_NOT_EXISTS", "退款单不存在")
        return made.document()

    def _trade(self, request: Request) -> Trade:
        trade = self._book.trades.get(request.path_params["no"])
        if trade is None:
            raise Wrong(404, "ORDER_NOT_EXIST", "订单不存在")
        return self.current(trade)

    def _pace(self) -> None:
        now = time.monotonic()
        while self._refund_times and self._refund_times[0] <= now - 1:
            self._refund_times.popleft()
        if len(self._refund_times) >= self._conditions.refunds_per_second:
            raise Wrong(429, "FREQUENCY_LIMITED", "频率限制")
        self._refund_times.append(now)


STATE_REFUSED = {"SUCCESS": "订单已支付", "REFUND": "订单已退款", "CLOSED": "订单已关闭", "USERPAYING": "用户支付中", "NOTPAY": ""}


def _body(raw: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise Wrong(400, "PARAM_ERROR", "参数错误") from None
    if not isinstance(found, dict):
        raise Wrong(400, "PARAM_ERROR", "参数错误")
    return found


def _require(holds: bool, field: str) -> None:
    if not holds:
        raise Wrong(400, "PARAM_ERROR", f"参数错误: {field}")


def _expires(text: object) -> float:
    """Epoch seconds of an RFC 3339 time in the future; two hours from now when none is given."""
    if text is None:
        return time.time() + PREPAY_SECONDS
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise Wrong(400, "PARAM_ERROR", "参数错误: time_expire") from None
    _require(moment.tzinfo is not None and moment.timestamp() > time.time(), "time_expire")
    return moment.timestamp()
