"""The WECHATPAY2-SHA256-RSA2048 scheme, both sides: what is signed, how, and how resources of notices are encrypted.

Sources: WeChat Pay API v3, "signature generation", "signature verification", "callback decryption". We verify with `cryptography`
directly and not through the wechatpayv3 SDK: that one has no freshness window, raises on a missing signature type, and pulls in httpx.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from datetime import datetime

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from live.payments.gateway import Forged

SCHEMA = "WECHATPAY2-SHA256-RSA2048"
FRESH_SECONDS = 300  # as in WeChat Pay's own Go SDK: older or newer is a replay or a wrong clock
NONCE_BYTES = 12  # of AES-GCM; WeChat Pay's nonces are 12 ASCII characters
PROBE = "WECHATPAY/SIGNTEST/"  # begins the wrong signatures WeChat Pay sends now and then to see whether we check


def nonce() -> str:
    """32 hexadecimal characters."""
    return secrets.token_hex(16)


def sign(key: RSAPrivateKey, *lines: str | bytes) -> str:
    """Base64 of the RSA-SHA256 signature of the lines, each ended by a newline."""
    return base64.b64encode(key.sign(_message(lines), PKCS1v15(), hashes.SHA256())).decode()


def true(key: RSAPublicKey, signature: str, *lines: str | bytes) -> bool:
    """Whether `signature` (base64) is `key`'s own of these lines."""
    try:
        key.verify(base64.b64decode(signature, validate=True), _message(lines), PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def signed_headers(key: RSAPrivateKey, serial: str, body: bytes, now: datetime) -> dict[str, str]:
    """The Wechatpay-* headers of an answer or a notice."""
    moment, once = str(int(now.timestamp())), nonce()
    return {
        "Wechatpay-Serial": serial,
        "Wechatpay-Timestamp": moment,
        "Wechatpay-Nonce": once,
        "Wechatpay-Signature": sign(key, moment, once, body),
    }


def verify(keys: Mapping[str, RSAPublicKey], headers: Mapping[str, str], raw: bytes, now: datetime) -> None:
    """Check the Wechatpay-* headers against the body as it arrived. Raises Forged.

    `keys`: WeChat Pay's public keys by their id, or by their certificate's serial; during a rotation both are in force.
    """
    found = {name.lower(): value for name, value in headers.items()}
    serial, moment, once, signature = (found.get(f"wechatpay-{part}", "") for part in ("serial", "timestamp", "nonce", "signature"))
    key = keys.get(serial)
    if key is None:
        raise Forged("unknown serial")
    # isdigit() alone would let through digits of other scripts, and an endless number.
    if not (moment.isascii() and moment.isdigit() and len(moment) <= 12) or abs(now.timestamp() - int(moment)) > FRESH_SECONDS:
        raise Forged("stale timestamp")
    if signature.startswith(PROBE):
        raise Forged("probe")
    if not once or "\n" in once or not true(key, signature, moment, once, raw):
        raise Forged("wrong signature")


def authorization(key: RSAPrivateKey, merchant: str, serial: str, request: tuple[str, str, bytes], now: datetime) -> str:
    """The Authorization header of a merchant's request: `request` is (method, path with query, body)."""
    method, path, body = request
    moment, once = str(int(now.timestamp())), nonce()
    signature = sign(key, method, path, moment, once, body)
    fields = {"mchid": merchant, "nonce_str": once, "signature": signature, "timestamp": moment, "serial_no": serial}
    return f"{SCHEMA} " + ",".join(f'{name}="{value}"' for name, value in fields.items())


def encrypt(v3_key: bytes, plain: bytes, associated: str) -> dict[str, str]:
    """The encrypted `resource` of a notice."""
    once = secrets.token_hex(NONCE_BYTES // 2)
    sealed = AESGCM(v3_key).encrypt(once.encode(), plain, associated.encode())
    text = base64.b64encode(sealed).decode()
    return {"algorithm": "AEAD_AES_256_GCM", "ciphertext": text, "nonce": once, "associated_data": associated}


def decrypt(v3_key: bytes, resource: Mapping[str, object]) -> bytes:
    """The document in the `resource` of a notice. Raises Forged."""
    if resource.get("algorithm") != "AEAD_AES_256_GCM":
        raise Forged("unknown algorithm")
    once, sealed, associated = resource.get("nonce"), resource.get("ciphertext"), resource.get("associated_data") or ""
    if not (isinstance(once, str) and isinstance(sealed, str) and isinstance(associated, str)):
        raise Forged("malformed resource")
    try:
        return AESGCM(v3_key).decrypt(once.encode(), base64.b64decode(sealed, validate=True), associated.encode())
    except (InvalidTag, binascii.Error, ValueError):
        raise Forged("wrong encryption") from None


def _message(lines: tuple[str | bytes, ...]) -> bytes:
    return b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)
