"""How often one address may knock, on a real Valkey."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from live.infra.admission import admit
from live.infra.redis import connect_buying
from live.protocol.codes import Code, Refusal

SELDOM = 0.001  # a second: nothing comes back while a test runs


def knock(redis: Redis, address: str | None) -> Any:
    client = None if address is None else SimpleNamespace(host=address)
    return SimpleNamespace(client=client, state=SimpleNamespace(redis=redis))


async def let_in(redis: Redis, address: str | None, times: int, burst: int, door: str = "guest") -> int:
    answers = await asyncio.gather(*(admit(knock(redis, address), door, SELDOM, burst) for _ in range(times)), return_exceptions=True)
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]
    assert all(answer is None or isinstance(answer, Refusal) for answer in answers)
    assert all(refusal.code is Code.SLOW_DOWN for refusal in refusals)
    return times - len(refusals)


async def test_of_two_hundred_at_once_exactly_the_burst_is_let_in(redis: Redis) -> None:
    assert await let_in(redis, "192.0.2.1", 200, burst=37) == 37
    assert await let_in(redis, "192.0.2.1", 5, burst=37) == 0
    assert await let_in(redis, "192.0.2.2", 5, burst=37) == 5  # somebody else
    assert await let_in(redis, "192.0.2.1", 5, burst=37, door="login") == 5  # another door


async def test_who_was_refused_is_told_when_and_is_let_in_then(redis: Redis) -> None:
    asking = knock(redis, "192.0.2.1")
    await admit(asking, "guest", 10.0, 1)
    with pytest.raises(Refusal) as refused:
        await admit(asking, "guest", 10.0, 1)
    assert 0 < refused.value.facts["wait"] <= 100
    await asyncio.sleep(refused.value.facts["wait"] / 1000)
    await admit(asking, "guest", 10.0, 1)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        (None, None, True),  # a Unix socket has no address
        ("no address", "no address", True),
    ],
)
async def test_an_ipv6_customer_has_one_address(redis: Redis, one: str | None, other: str | None, same: bool) -> None:
    assert await let_in(redis, one, 1, burst=1) == 1
    assert await let_in(redis, other, 1, burst=1) == (0 if same else 1)


async def test_nothing_is_kept_of_an_address_that_stays_away(redis: Redis) -> None:
    await admit(knock(redis, "192.0.2.1"), "guest", 10.0, 5)
    assert 0 < await redis.pttl("knocks:guest:192.0.2.1") <= 100


async def test_while_nobody_can_count_nobody_is_refused(redis: Redis) -> None:
    away = connect_buying("redis://127.0.0.1:1/0", timeout=0.2)
    try:
        assert await let_in(away, "192.0.2.1", 3, burst=1) == 3
    finally:
        await away.aclose()
