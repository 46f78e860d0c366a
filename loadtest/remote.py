"""Load programs talk to this machine only, unless told otherwise: nobody storms somebody else's shop by a slip of the keyboard."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from urllib.parse import urlsplit


def loopback(url: str) -> bool:
    """Whether only this machine answers at this address."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
