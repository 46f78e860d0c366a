"""The client against the simulator, and against servers that lie, stall or vanish."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra.db import utc_now
from live.payments import signing, wechatpay
from live.payments.gateway import Forged, NoGateway, Payment, RefundState
from live.payments.simulator_post import Identity
from live.payments.wechatpay import WechatPay, from_settings
from live.protocol.codes import Code, Refusal
from live.settings import Settings
from tests.payments.conftest import World, merchant_settings, serving


async def prepay(gateway: WechatPay, **other: Any) -> str:
    asked: dict[str, Any] = {
        "out_trade_no": "A1001-1", "fen": 1990, "description": "明前龙井", "payer": "openid-1",
        "expires_at": utc_now() + timedelta(minutes=5),
    }  # fmt: skip
    return await gateway.prepay(**asked | other)


async def test_an_order_lives_and_is_asked_about(world: World) -> None:
    assert await world.gateway.query("A1001-1") == Payment("NOT_FOUND")
    prepay_id = await prepay(world.gateway)
    assert await prepay(world.gateway) == prepay_id
    assert await world.gateway.query("A1001-1") == Payment("NOTPAY", None, 1990)
    await world.pay(prepay_id)
    paid = await world.gateway.query("A1001-1")
    assert (paid.state, paid.fen, len(paid.transaction_id or "")) == ("SUCCESS", 1990, 28)
    assert paid.paid_at is not None
    assert abs(paid.paid_at - utc_now()) < timedelta(seconds=5)
    assert await world.gateway.close("A1001-1") == "paid"


async def test_closing_twice_or_what_is_not_there_is_closed(world: World) -> None:
    await prepay(world.gateway)
    assert [await world.gateway.close("A1001-1") for _ in range(2)] == ["closed", "closed"]
    assert (await world.gateway.query("A1001-1")).state == "CLOSED"
    assert await world.gateway.close("B2002-1") == "closed"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"fen": 0}, "PARAM_ERROR"),
        ({"payer": ""}, "PARAM_ERROR"),
        ({"out_trade_no": "A1"}, "PARAM_ERROR"),
        ({"out_trade_no": "A 1001-1"}, "PARAM_ERROR"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "PARAM_ERROR"),
        ({"description": ""}, "PARAM_ERROR"),
    ],
)
async def test_a_wrong_order_is_refused_with_the_providers_code(world: World, change: dict[str, Any], why: str) -> None:
    with pytest.raises(Refusal) as refused:
        await prepay(world.gateway, **change)
    assert (refused.value.code, refused.value.facts) == (Code.GATEWAY, {"why": why})
    assert world.simulator.book.trades == {}


async def test_a_number_is_not_used_for_two_orders(world: World) -> None:
    await prepay(world.gateway)
    with pytest.raises(Refusal) as refused:
        await prepay(world.gateway, fen=1)
    assert refused.value.facts == {"why": "OUT_TRADE_NO_USED"}


async def test_a_long_description_is_clipped_to_what_the_provider_takes(world: World) -> None:
    await prepay(world.gateway, description="茶" * 300)
    assert world.simulator.book.trades["A1001-1"].description == "茶" * 42


async def test_refunds_at_the_provider(world: World) -> None:
    refund = {"out_trade_no": "A1001-1", "out_refund_no": "R-1", "fen": 990, "total": 1990, "reason": "退" * 200}
    await world.pay(await prepay(world.gateway))
    assert await world.gateway.query_refund("R-1") == RefundState("NOT_FOUND")
    made = await world.gateway.refund(**refund)  # type: ignore[arg-type]
    assert made.state == "PROCESSING"
    assert (await world.gateway.refund(**refund | {"reason": ""})).provider_id == made.provider_id  # type: ignore[arg-type]
    await asyncio.sleep(0.1)
    assert await world.gateway.query_refund("R-1") == RefundState("SUCCESS", made.provider_id)
    assert (await world.gateway.query("A1001-1")).state == "REFUND"
    for change, why in (
        ({"fen": 991}, "INVALID_REQUEST"),
        ({"out_refund_no": "R-2", "fen": 1001}, "INVALID_REQUEST"),
        ({"out_refund_no": "R-2", "total": 2000}, "INVALID_REQUEST"),
        ({"out_refund_no": "R-2", "out_trade_no": "B2002-1"}, "RESOURCE_NOT_EXISTS"),
    ):
        with pytest.raises(Refusal) as refused:
            await world.gateway.refund(**refund | change)  # type: ignore[arg-type]
        assert refused.value.facts == {"why": why}
    assert world.simulator.book.trades["A1001-1"].refunded == 990


async def test_the_simulator_believes_the_merchants_key_only(world: World, shop: Path) -> None:
    for change in ({"wechat_pay_key_file": shop / "simulator/private_key.pem"}, {"wechat_pay_serial": "X"}, {"wechat_pay_merchant": "1"}):
        settings = merchant_settings(shop, world.simulator_url, world.shop_url).model_copy(update=change)
        stranger = from_settings(settings)
        with pytest.raises(Refusal) as refused:
            await prepay(stranger)  # type: ignore[arg-type]
        assert refused.value.facts == {"why": "SIGN_ERROR"}
        await stranger.aclose()
    altered = {"Authorization": signing.authorization(world.gateway._key, world.gateway.merchant, world.gateway._serial,
               ("POST", "/v3/pay/transactions/jsapi", b"{}"), utc_now())}  # fmt: skip
    answer = await world.http.post(f"{world.simulator_url}/v3/pay/transactions/jsapi", content=b'{"a":1}', headers=altered)
    assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")
    assert world.simulator.book.trades == {}


async def whys(shop: Path, lies: list[Callable[[], Response]]) -> list[object]:
    """What queries come to when the provider's place is taken by somebody else."""
    lying = iter(lies)

    async def endpoint(request: Request) -> Response:
        return next(lying)()

    found: list[object] = []
    async with serving(Starlette(routes=[Route("/{path:path}", endpoint, methods=["GET", "POST"])])) as url:
        gateway = from_settings(merchant_settings(shop, url, "http://127.0.0.1:1"))
        for _ in lies:
            with pytest.raises(Refusal) as refused:
                await gateway.query("A1001-1")
            assert refused.value.code is Code.GATEWAY
            found.append(refused.value.facts["why"])
        await gateway.aclose()
    return found


def paid(who: Identity, **other: Any) -> bytes:
    document = {
        "mchid": who.merchant, "appid": who.app_id, "out_trade_no": "A1001-1", "trade_state": "SUCCESS", "transaction_id": "42",
        "amount": {"total": 1990, "currency": "CNY"},
    }  # fmt: skip
    return orjson.dumps(document | other)


async def test_answers_that_cannot_be_believed_are_no_answers(shop: Path, who: Identity) -> None:
    def answer(body: bytes, sign: bytes | None = None, age: int = 0, serial: str = who.public_key_id, status: int = 200) -> Response:
        when = datetime.now(UTC) - timedelta(seconds=age)
        headers = {} if sign == b"" else signing.signed_headers(who.key, serial, body if sign is None else sign, when)
        return Response(body, status, headers, "application/json")

    lies: list[tuple[Callable[[], Response], str]] = [
        (lambda: answer(paid(who), sign=b""), "signature"),
        (lambda: answer(paid(who), sign=paid(who, out_trade_no="B")), "signature"),
        (lambda: answer(paid(who), age=301), "signature"),
        (lambda: answer(paid(who), serial="PUB_KEY_ID_OTHER"), "signature"),
        (lambda: answer(paid(who, mchid="1")), "status 200"),
        (lambda: answer(paid(who, appid="wx2")), "status 200"),
        (lambda: answer(paid(who, out_trade_no="B2002-1")), "status 200"),
        (lambda: answer(paid(who, trade_state="HAPPY")), "unknown trade_state"),
        (lambda: answer(b"<html>"), "status 200"),
        (lambda: answer(b"[]"), "status 200"),
        (lambda: answer(b'{"code":"SYSTEM_ERROR"}', sign=b"", status=500), "SYSTEM_ERROR"),
        (lambda: answer(b"", sign=b"", status=502), "status 502"),
        (lambda: answer(b'{"code":"ORDER_NOT_EXIST"}', sign=b"{}", status=404), "signature"),
        (lambda: Response(status_code=302, headers={"Location": "http://127.0.0.1:1/"}), "status 302"),
        (lambda: answer(b"x" * (wechatpay.ANSWER_BYTES + 1)), "too large an answer"),
    ]
    assert await whys(shop, [lie for lie, _ in lies]) == [why for _, why in lies]


async def test_nobody_there_and_somebody_who_stalls(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wechatpay, "TIMEOUT_SECONDS", 0.2)
    gone = from_settings(merchant_settings(shop, "http://127.0.0.1:1", "http://127.0.0.1:1"))
    with pytest.raises(Refusal) as refused:
        await gone.query("A1001-1")
    assert refused.value.facts == {"why": "unreachable"}
    await gone.aclose()

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.05)

    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as slow:
        url = f"http://127.0.0.1:{slow.sockets[0].getsockname()[1]}"
        gateway = from_settings(merchant_settings(shop, url, "http://127.0.0.1:1"))
        with pytest.raises(Refusal) as refused:
            await gateway.query("A1001-1")
        assert refused.value.facts == {"why": "unreachable"}
        await gateway.aclose()


async def test_a_shop_without_a_merchant_runs_and_says_so(shop: Path) -> None:
    settings = merchant_settings(shop, "http://127.0.0.1:1", "http://127.0.0.1:1")
    gateway = from_settings(Settings(wechat_pay_merchant=""))
    assert isinstance(gateway, NoGateway)
    with pytest.raises(Refusal) as refused:
        await gateway.query("A1001-1")
    assert refused.value.code is Code.UNAVAILABLE
    with pytest.raises(Forged):
        gateway.open_notice({}, b"{}")
    with pytest.raises(ValueError, match="LIVE_WECHAT_PAY_SERIAL"):
        from_settings(settings.model_copy(update={"wechat_pay_serial": ""}))
    with pytest.raises(ValueError, match="must have 32 bytes, not 5"):
        from_settings(settings.model_copy(update={"wechat_pay_v3_key": "short"}))
