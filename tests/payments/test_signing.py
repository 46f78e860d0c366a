"""Signatures and encryption: the round trip, and several hundred ways to spoil it."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from live.payments import keys, signing
from live.payments.gateway import Forged
from live.payments.wechatpay import WechatPay

NOW = datetime(2026, 11, 22, 13, 0, tzinfo=UTC)
V3_KEY = b"0123456789abcdef0123456789abcdef"
PAID = {"mchid": "1900000000", "appid": "wx1", "out_trade_no": "A1001-1", "trade_state": "SUCCESS", "transaction_id": "42"}


def merchant(shop: Path, now: datetime = NOW) -> WechatPay:
    """A merchant whose clock stands still; it knows two keys of the provider, as during a rotation."""
    provider = keys.public_key(shop / keys.PUBLIC_KEY)
    other = keys.private_key(shop / keys.MERCHANT_KEY).public_key()
    return WechatPay(
        url="http://127.0.0.1:1",
        notify_url="http://127.0.0.1:1/notice",
        app_id="wx1",
        merchant="1900000000",
        serial="S",
        key=keys.private_key(shop / keys.MERCHANT_KEY),
        v3_key=V3_KEY,
        provider_keys={"PUB_KEY_ID_1": provider, "OLD_SERIAL": other},
        clock=lambda: now,
    )


def notice(shop: Path, serial: str = "PUB_KEY_ID_1", signed: datetime = NOW, v3_key: bytes = V3_KEY) -> tuple[dict[str, str], bytes]:
    resource = signing.encrypt(v3_key, orjson.dumps(PAID), "transaction")
    raw = orjson.dumps({"id": "EV-1", "event_type": "TRANSACTION.SUCCESS", "resource": resource})
    key = keys.private_key(shop / (keys.SIMULATOR_KEY if serial == "PUB_KEY_ID_1" else keys.MERCHANT_KEY))
    return signing.signed_headers(key, serial, raw, signed), raw


async def test_a_true_notice_opens_under_either_key_and_any_header_case(shop: Path) -> None:
    for serial in ("PUB_KEY_ID_1", "OLD_SERIAL"):
        headers, raw = notice(shop, serial)
        for spelt in (headers, {name.lower(): value for name, value in headers.items()}):
            opened = merchant(shop).open_notice(spelt, raw)
            assert (opened.id, opened.event_type, opened.resource) == ("EV-1", "TRANSACTION.SUCCESS", PAID)


@pytest.mark.parametrize(("seconds", "opens"), [(-301, False), (-300, True), (0, True), (300, True), (301, False), (86400, False)])
async def test_a_notice_is_good_for_300_seconds_either_way(shop: Path, seconds: int, opens: bool) -> None:
    headers, raw = notice(shop, signed=NOW + timedelta(seconds=seconds))
    if opens:
        assert merchant(shop).open_notice(headers, raw).id == "EV-1"
    else:
        with pytest.raises(Forged, match="stale timestamp"):
            merchant(shop).open_notice(headers, raw)


Spoil = Callable[[random.Random, dict[str, str], bytes], tuple[dict[str, str], bytes]]


def flip_a_bit(chance: random.Random, headers: dict[str, str], raw: bytes) -> tuple[dict[str, str], bytes]:
    at = chance.randrange(len(raw))
    return headers, raw[:at] + bytes([raw[at] ^ (1 << chance.randrange(8))]) + raw[at + 1 :]


def cut_the_body(chance: random.Random, headers: dict[str, str], raw: bytes) -> tuple[dict[str, str], bytes]:
    return headers, raw[: chance.randrange(len(raw))]


def rewrite_the_body(chance: random.Random, headers: dict[str, str], raw: bytes) -> tuple[dict[str, str], bytes]:
    return headers, chance.choice([raw + b" ", raw + b"\n", b" " + raw, orjson.dumps(orjson.loads(raw), option=orjson.OPT_INDENT_2)])


def change_a_header(chance: random.Random, headers: dict[str, str], raw: bytes) -> tuple[dict[str, str], bytes]:
    name = chance.choice(sorted(headers))
    value = headers[name]
    at = chance.randrange(len(value))
    letters = "0123456789" if name == "Wechatpay-Timestamp" else "ABCDEFabcdef0123456789+/=_\n "
    return headers | {name: value[:at] + chance.choice([c for c in letters if c != value[at]]) + value[at + 1 :]}, raw


def drop_a_header(chance: random.Random, headers: dict[str, str], raw: bytes) -> tuple[dict[str, str], bytes]:
    gone = chance.choice(sorted(headers))
    return {name: value for name, value in headers.items() if name != gone}, raw


def odd_signature(chance: random.Random, headers: dict[str, str], raw: bytes) -> tuple[dict[str, str], bytes]:
    odd = ["", "=", "签名", "A" * 10_000, base64.b64encode(b"\0" * 256).decode(), signing.PROBE + headers["Wechatpay-Signature"]]
    return headers | {"Wechatpay-Signature": chance.choice(odd)}, raw


def odd_timestamp(chance: random.Random, headers: dict[str, str], raw: bytes) -> tuple[dict[str, str], bytes]:
    odd = ["", "now", "-1", "1e9", "١٧٩٥٣٥٢٤٠٠", "9" * 5000, "0x6", " ", f"{NOW.timestamp()}"]
    return headers | {"Wechatpay-Timestamp": chance.choice(odd)}, raw


def move_a_newline(chance: random.Random, headers: dict[str, str], raw: bytes) -> tuple[dict[str, str], bytes]:
    """The signed text is lines: nonce and body must not be cut elsewhere and mean the same."""
    at = chance.randrange(1, len(raw))
    return headers | {"Wechatpay-Nonce": f"{headers['Wechatpay-Nonce']}\n{raw[:at].decode()}"}, raw[at:]


SPOILS: list[Spoil] = [
    flip_a_bit, cut_the_body, rewrite_the_body, change_a_header, drop_a_header, odd_signature, odd_timestamp, move_a_newline,
]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
async def test_no_spoiled_notice_opens(shop: Path, spoil: Spoil) -> None:
    chance = random.Random(20261122)
    mine, true = merchant(shop), notice(shop)
    assert mine.open_notice(*true).id == "EV-1"
    for _ in range(50):
        headers, raw = spoil(chance, *true)
        with pytest.raises(Forged):
            mine.open_notice(headers, raw)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b"{", b"\xff", b'{"id":1,"event_type":"x","resource":{}}', b'{"id":"1","event_type":"x","resource":[]}',
     b'{"id":"1","event_type":"x","resource":{}}', b'{"id":"","event_type":"x","resource":{"algorithm":"AEAD_AES_256_GCM"}}',
     b'{"id":"1","event_type":"x","resource":{"algorithm":"AEAD_AES_256_GCM","nonce":1,"ciphertext":"","associated_data":""}}',
     b'{"id":"1","event_type":"x","resource":{"algorithm":"AEAD_AES_256_GCM","nonce":"","ciphertext":"","associated_data":""}}',
     b'{"id":"1","event_type":"x","resource":{"algorithm":"AEAD_AES_256_GCM","nonce":"123456789012","ciphertext":"%%","associated_data":""}}'],
)  # fmt: skip
async def test_signed_nonsense_is_refused_too(shop: Path, body: bytes) -> None:
    headers = signing.signed_headers(keys.private_key(shop / keys.SIMULATOR_KEY), "PUB_KEY_ID_1", body, NOW)
    with pytest.raises(Forged):
        merchant(shop).open_notice(headers, body)


async def test_a_resource_under_another_v3_key_is_refused(shop: Path) -> None:
    with pytest.raises(Forged, match="wrong encryption"):
        merchant(shop).open_notice(*notice(shop, v3_key=b"f" * 32))


async def test_pay_params_carry_the_signature_wechat_checks(shop: Path) -> None:
    params = merchant(shop).pay_params("wx201410272009395522657a690389285100")
    assert set(params) == {"appId", "timeStamp", "nonceStr", "package", "signType", "paySign"}
    assert (params["signType"], params["package"]) == ("RSA", "prepay_id=wx201410272009395522657a690389285100")
    lines = (params["appId"], params["timeStamp"], params["nonceStr"], params["package"])
    public = keys.private_key(shop / keys.MERCHANT_KEY).public_key()
    assert signing.true(public, params["paySign"], *lines)
    assert not signing.true(public, params["paySign"], *lines[:3], "prepay_id=other")
