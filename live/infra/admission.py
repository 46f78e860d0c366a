"""How often one address may knock at the doors that ask for no login. What a known person may do is limited per person."""

from __future__ import annotations

import ipaddress
import math
from typing import Any, Protocol

import structlog
from redis.exceptions import RedisError

from live.infra.redis import Script
from live.protocol.codes import Code, Refusal

log = structlog.get_logger("web")

_allow = Script("live.infra", "allow")


class Request(Protocol):
    """What is read of an HTTP request. `client`: the address and port it came from, as the proxies we trust say it."""

    @property
    def client(self) -> Any: ...
    @property
    def state(self) -> Any: ...


async def admit(request: Request, door: str, per_second: float, burst: int, who: str | None = None) -> None:
    """Count this call against its address, or against the person `who`: `burst` at once, `per_second` in the long run.

    Refusal(SLOW_DOWN wait), in ms.

    While Redis is away everybody is let in: a login needs SQL alone, and a limit nobody can count must not close the shop.
    """
    key = f"knocks:{door}:{who or _network(request.client.host if request.client else '')}"
    try:
        wait = int(await _allow(request.state.redis, [key], [round(1_000_000 / per_second), burst]))
    except (RedisError, OSError) as error:
        log.warning("knocks not counted", door=door, error=repr(error)[:200])
        return
    if wait:
        raise Refusal(Code.SLOW_DOWN, wait=math.ceil(wait / 1000))


def _network(address: str) -> str:
    """What counts as one address: of IPv6 a whole /64, which is what a single customer is given."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address
