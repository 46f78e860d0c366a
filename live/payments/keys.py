"""Keys of the demo's merchant and of its simulator, made once under `home`; never used in production."""

from __future__ import annotations

import secrets
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key

from live.infra.folder import private_folder, write_private
from live.settings import settings

RSA_BITS = 2048  # what WeChat Pay issues
APP_ID = "wxdemo0000000000"
MERCHANT = "1900000000"
SERIAL = "DEMO0000000000000000000000000000MERCHANT"
PUBLIC_KEY_ID = "PUB_KEY_ID_DEMO"

SIMULATOR_KEY = Path("simulator/private_key.pem")
SIMULATOR_MERCHANT_KEY = Path("simulator/merchant_public_key.pem")
MERCHANT_KEY = Path("secrets/wechat_pay_merchant_key.pem")
PUBLIC_KEY = Path("secrets/wechat_pay_public_key.pem")


def prepare(home: Path, url: str | None = None) -> dict[str, str]:
    """Make both key pairs and the shared secrets where they are missing; returns the LIVE_WECHAT_* variables for every process.

    `url` is where the simulator answers, default by the settings. Files have mode 0600. Called by the launcher, before its children.
    """
    home = home.absolute()
    private_folder(home / "secrets")
    private_folder(home / "simulator")
    _pair(home / MERCHANT_KEY, home / SIMULATOR_MERCHANT_KEY)
    _pair(home / SIMULATOR_KEY, home / PUBLIC_KEY)
    where = (url or settings().simulator_url).rstrip("/")
    return {
        "LIVE_WECHAT_API_URL": where,
        "LIVE_WECHAT_APP_ID": APP_ID,
        "LIVE_WECHAT_APP_SECRET": _word(home / "secrets" / "wechat_app_secret"),
        "LIVE_WECHAT_PAY_URL": where,
        "LIVE_WECHAT_PAY_MERCHANT": MERCHANT,
        "LIVE_WECHAT_PAY_KEY_FILE": str(home / MERCHANT_KEY),
        "LIVE_WECHAT_PAY_SERIAL": SERIAL,
        "LIVE_WECHAT_PAY_V3_KEY": _word(home / "secrets" / "wechat_pay_v3_key"),
        "LIVE_WECHAT_PAY_PUBLIC_KEY_FILE": str(home / PUBLIC_KEY),
        "LIVE_WECHAT_PAY_PUBLIC_KEY_ID": PUBLIC_KEY_ID,
    }


def private_key(path: Path) -> RSAPrivateKey:
    """An RSA private key of a PEM file. Raises ValueError with a sentence, OSError when it cannot be read."""
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError(f"{path} is not an RSA private key.")
    return key


def public_key(path: Path) -> RSAPublicKey:
    """An RSA public key of a PEM file. Raises ValueError with a sentence, OSError when it cannot be read."""
    key = serialization.load_pem_public_key(path.read_bytes())
    if not isinstance(key, RSAPublicKey):
        raise ValueError(f"{path} is not an RSA public key.")
    return key


def _pair(private: Path, public: Path) -> None:
    if not private.exists():
        key = generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        write_private(private, pem.decode())
    # Always written anew: it must be the other half even when a start was interrupted between the two files.
    half = private_key(private).public_key()
    pem = half.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_private(public, pem.decode())


def _word(path: Path) -> str:
    """32 characters, the size of a v3 key."""
    if not path.exists():
        write_private(path, secrets.token_hex(16) + "\n")
    return path.read_text(encoding="utf-8").strip()
