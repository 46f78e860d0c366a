"""WeChat Pay API v3 for one merchant, JSAPI (mini-program and H5): the shop's gateway, over httpx2 and `cryptography`.

The same code speaks to WeChat and to the simulator. Nothing here is logged but the provider's error codes: bodies hold openids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, cast, get_args
from urllib.parse import quote

import httpx2
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from live.infra.db import utc_now
from live.payments import keys, rules, signing
from live.payments.gateway import Closing, Forged, Gateway, NoGateway, Notice, Payment, PaymentState, RefundState, RefundStatus
from live.protocol.codes import Code, Refusal
from live.settings import Settings

NOTICE_PATH = "/v1/wechat/pay/notice"
TIMEOUT_SECONDS = 8.0  # a buyer waits behind it; WeChat Pay answers within one or two
CONNECTIONS = 20  # enough for 100 refunds/s at 200 ms each; every request looks at all of them
ANSWER_BYTES = 256 * 1024  # the largest answer is a few KiB
DESCRIPTION_BYTES = 127  # WeChat Pay's limit
CHINA = timezone(timedelta(hours=8))
V3_KEY_BYTES = 32

# Old and new spellings of WeChat Pay's codes are both in use.
PAID = frozenset({"ORDERPAID", "ORDER_PAID"})
CLOSED = frozenset({"ORDER_CLOSED", "ORDERCLOSED"})
PAYING = frozenset({"USERPAYING", "USER_PAYING"})
ABSENT = frozenset({"ORDER_NOT_EXIST", "ORDERNOTEXIST", "RESOURCE_NOT_EXISTS"})

log = structlog.get_logger(__name__)
Answer = tuple[int, dict[str, Any]]


class WechatPay:
    """One merchant at WeChat Pay. `provider_keys`: WeChat Pay's public keys by id or serial; two during a rotation."""

    def __init__(
        self,
        *,
        url: str,
        notify_url: str,
        app_id: str,
        merchant: str,
        serial: str,
        key: RSAPrivateKey,
        v3_key: bytes,
        provider_keys: Mapping[str, RSAPublicKey],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        if len(v3_key) != V3_KEY_BYTES:
            raise ValueError(f"LIVE_WECHAT_PAY_V3_KEY must have {V3_KEY_BYTES} bytes, not {len(v3_key)}.")
        self.app_id = app_id
        self.merchant = merchant
        self._notify_url = notify_url
        self._serial = serial
        self._key = key
        self._v3_key = v3_key
        self._provider_keys = dict(provider_keys)
        self._clock = clock
        limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        # trust_env off: a proxy or a .netrc of the machine must not come between us and the money.
        self._http = httpx2.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False, follow_redirects=False)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def prepay(self, *, out_trade_no: str, fen: int, description: str, payer: str, expires_at: datetime) -> str:
        """POST /v3/pay/transactions/jsapi. Sent again with the same arguments it answers with a prepay id again."""
        body = {
            "appid": self.app_id,
            "mchid": self.merchant,
            "description": rules.clip(description, DESCRIPTION_BYTES),
            "out_trade_no": out_trade_no,
            "time_expire": expires_at.astimezone(CHINA).isoformat(timespec="seconds"),
            "notify_url": self._notify_url,
            "amount": {"total": fen, "currency": "CNY"},
            "payer": {"openid": payer},
        }
        status, answer = await self._call("POST", "/v3/pay/transactions/jsapi", body)
        prepay_id = answer.get("prepay_id")
        if status != 200 or not isinstance(prepay_id, str) or not prepay_id:
            raise self._refused("prepay", status, answer)
        return prepay_id

    def pay_params(self, prepay_id: str) -> dict[str, str]:
        """Arguments of `wx.requestPayment`, signed with the merchant's key."""
        moment, once, package = str(int(self._clock().timestamp())), signing.nonce(), f"prepay_id={prepay_id}"
        signature = signing.sign(self._key, self.app_id, moment, once, package)
        return {
            "appId": self.app_id,
            "timeStamp": moment,
            "nonceStr": once,
            "package": package,
            "signType": "RSA",
            "paySign": signature,
        }

    async def query(self, out_trade_no: str) -> Payment:
        """GET by our number. An answer about another merchant, app or number is refused."""
        status, answer = await self._call("GET", f"{_trade_path(out_trade_no)}?mchid={self.merchant}")
        if status == 404 and answer.get("code") in ABSENT:
            return Payment("NOT_FOUND")
        ours = (answer.get("mchid"), answer.get("appid"), answer.get("out_trade_no")) == (self.merchant, self.app_id, out_trade_no)
        if status != 200 or not ours:
            raise self._refused("query", status, answer)
        return payment_of(answer)

    async def close(self, out_trade_no: str) -> Closing:
        """Close by our number. 204 is closed; a refusal for a reason we do not know is settled by a query."""
        status, answer = await self._call("POST", f"{_trade_path(out_trade_no)}/close", {"mchid": self.merchant})
        code = answer.get("code", "")
        if status == 204 or code in CLOSED:
            return "closed"
        if code in PAID:
            return "paid"
        if code in PAYING:
            return "paying"
        if not 400 <= status < 500:
            raise self._refused("close", status, answer)
        outcome: dict[PaymentState, Closing] = {
            "SUCCESS": "paid", "REFUND": "paid", "USERPAYING": "paying", "CLOSED": "closed", "NOT_FOUND": "closed",
        }  # fmt: skip
        result = outcome.get((await self.query(out_trade_no)).state)
        if result is None:  # still payable, and it will not close: it stays as it is and is tried again
            raise self._refused("close", status, answer)
        return result

    async def refund(self, *, out_trade_no: str, out_refund_no: str, fen: int, total: int, reason: str) -> RefundState:
        """POST /v3/refund/domestic/refunds; the same number refunds once."""
        body = {
            "out_trade_no": out_trade_no,
            "out_refund_no": out_refund_no,
            "reason": rules.clip(reason, rules.REASON_BYTES),
            "notify_url": self._notify_url,
            "amount": {"refund": fen, "total": total, "currency": "CNY"},
        }
        if not reason:
            del body["reason"]  # an empty one is refused
        status, answer = await self._call("POST", "/v3/refund/domestic/refunds", body)
        if status != 200 or answer.get("out_refund_no") != out_refund_no:
            raise self._refused("refund", status, answer)
        return refund_of(answer)

    async def query_refund(self, out_refund_no: str) -> RefundState:
        """GET by our number."""
        status, answer = await self._call("GET", f"/v3/refund/domestic/refunds/{quote(out_refund_no, safe='')}")
        if status == 404 and answer.get("code") in ABSENT:
            return RefundState("NOT_FOUND")
        if status != 200 or answer.get("out_refund_no") != out_refund_no:
            raise self._refused("query_refund", status, answer)
        return refund_of(answer)

    def open_notice(self, headers: Mapping[str, str], raw: bytes) -> Notice:
        """Known serial, fresh timestamp, RSA-SHA256 over the body as it arrived, AES-256-GCM of the resource. Raises Forged."""
        signing.verify(self._provider_keys, headers, raw, self._clock())
        envelope = _document(raw)
        identity, event, resource = envelope.get("id"), envelope.get("event_type"), envelope.get("resource")
        if not (isinstance(identity, str) and identity and isinstance(event, str) and isinstance(resource, dict)):
            raise Forged("malformed envelope")
        return Notice(identity, event, _document(signing.decrypt(self._v3_key, resource)))

    async def _call(self, method: Literal["GET", "POST"], path: str, body: dict[str, Any] | None = None) -> Answer:
        """One signed request; returns (status, document). Raises Refusal(GATEWAY) for what cannot be believed or answered."""
        content = orjson.dumps(body) if body is not None else b""
        headers = {
            "Authorization": signing.authorization(self._key, self.merchant, self._serial, (method, path, content), self._clock()),
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": "live-commerce",
            "Wechatpay-Serial": next(iter(self._provider_keys)),  # asks for answers signed with this key
        }
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):  # httpx2's own is per read: a trickle would never end
                response = await self._http.request(method, path, content=content, headers=headers)
        except (httpx2.HTTPError, TimeoutError) as error:
            log.warning("wechatpay unreachable", method=method, error=type(error).__name__)
            raise Refusal(Code.GATEWAY, why="unreachable") from error
        raw = response.content
        if len(raw) > ANSWER_BYTES:
            raise Refusal(Code.GATEWAY, why="too large an answer")
        # Refusals may come unsigned (the one for a wrong signature of ours does). "Paid" is never concluded from one: the caller queries.
        if response.is_success or "wechatpay-signature" in response.headers:
            self._believe(response, raw)
        if response.status_code == 429 or response.status_code >= 500:
            raise self._refused(method, response.status_code, _loose(raw))
        return response.status_code, _loose(raw)

    def _believe(self, response: httpx2.Response, raw: bytes) -> None:
        try:
            signing.verify(self._provider_keys, response.headers, raw, self._clock())
        except Forged as error:
            log.error("wechatpay answer not believed", why=str(error), status=response.status_code)
            raise Refusal(Code.GATEWAY, why="signature") from error

    def _refused(self, verb: str, status: int, answer: Mapping[str, Any]) -> Refusal:
        code = str(answer.get("code", ""))[:64]
        log.warning("wechatpay refused", verb=verb, status=status, code=code)
        return Refusal(Code.GATEWAY, why=code or f"status {status}")


def payment_of(document: Mapping[str, Any]) -> Payment:
    """A Payment from a transaction document, of a query or of a notice. Raises Refusal(GATEWAY) when it makes no sense."""
    state = document.get("trade_state")
    if state == "REVOKED":  # of code payments only; nothing can arrive any more
        state = "CLOSED"
    if state not in get_args(PaymentState) or state == "NOT_FOUND":
        raise Refusal(Code.GATEWAY, why="unknown trade_state")
    amount = document.get("amount")
    total = amount.get("total", 0) if isinstance(amount, dict) and amount.get("currency", "CNY") == "CNY" else 0
    transaction = document.get("transaction_id")
    if state == "SUCCESS" and not (isinstance(transaction, str) and transaction):
        raise Refusal(Code.GATEWAY, why="no transaction_id")
    return Payment(
        cast("PaymentState", state),
        transaction if isinstance(transaction, str) and transaction else None,
        total if type(total) is int else 0,
        _moment(document.get("success_time")),
    )


def refund_of(document: Mapping[str, Any]) -> RefundState:
    """A RefundState from a refund document; notices say `refund_status`, answers `status`."""
    state = document.get("status") or document.get("refund_status")
    if state not in get_args(RefundStatus) or state == "NOT_FOUND":
        raise Refusal(Code.GATEWAY, why="unknown refund status")
    identity = document.get("refund_id")
    return RefundState(cast("RefundStatus", state), identity if isinstance(identity, str) and identity else None)


def from_settings(settings: Settings) -> Gateway:
    """The gateway these settings describe; one that refuses when no merchant is set. Raises ValueError when only part of it is."""
    wanted = {
        "wechat_app_id": settings.wechat_app_id,
        "wechat_pay_key_file": settings.wechat_pay_key_file,
        "wechat_pay_serial": settings.wechat_pay_serial,
        "wechat_pay_v3_key": settings.wechat_pay_v3_key,
        "wechat_pay_public_key_file": settings.wechat_pay_public_key_file,
        "wechat_pay_public_key_id": settings.wechat_pay_public_key_id,
    }
    if not settings.wechat_pay_merchant:
        return NoGateway()
    if missing := [f"LIVE_{name.upper()}" for name, value in wanted.items() if not value]:
        raise ValueError(f"WeChat Pay needs {', '.join(missing)} as well.")
    assert settings.wechat_pay_key_file is not None
    assert settings.wechat_pay_public_key_file is not None
    return WechatPay(
        url=settings.wechat_pay_url,
        notify_url=settings.web_url + NOTICE_PATH,
        app_id=settings.wechat_app_id,
        merchant=settings.wechat_pay_merchant,
        serial=settings.wechat_pay_serial,
        key=keys.private_key(settings.wechat_pay_key_file),
        v3_key=settings.wechat_pay_v3_key.encode(),
        provider_keys={settings.wechat_pay_public_key_id: keys.public_key(settings.wechat_pay_public_key_file)},
    )


def _trade_path(out_trade_no: str) -> str:
    return f"/v3/pay/transactions/out-trade-no/{quote(out_trade_no, safe='')}"


def _document(raw: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise Forged("not JSON") from None
    if not isinstance(found, dict):
        raise Forged("not an object")
    return found


def _loose(raw: bytes) -> dict[str, Any]:
    """The answer's document; an empty one for an empty or unreadable body."""
    try:
        found = orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None
