"""The two doors: their frames are the protocol's, and what the turnstile says is read as the hub reads it."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from live.infra.embedded import EmbeddedServers
from live.offers.reservations import Answer
from live.protocol.commands import Buy, Hello, parse
from loadtest.doors import _final, bare_limit, buy, hello
from loadtest.storm import OK


def test_our_frames_are_commands_of_the_protocol() -> None:
    first, second = parse(hello("token", "storm")), parse(buy(41, 2, offer=7))
    assert isinstance(first, Hello)
    assert isinstance(second, Buy)
    assert (second.id, second.d.key, second.d.tries, second.d.at, second.d.lines[0].offer) == (42, "storm-00000041", 2, ["S1"], 7)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer("OK", fence="1"), None),
        (Answer("ASK", fence="1"), None),
        (Answer("NO", code="sold_out"), "sold_out"),
        (Answer("FENCED"), "fenced"),
        (Answer("KNOWN", record=b"I|1-0|1|h"), None),
        (Answer("KNOWN", record=b'D|h|{"order":{}}'), OK),
    ],
)
def test_only_answers_without_a_verdict_to_come_are_final(answer: Answer, code: str | None) -> None:
    assert _final(answer) == code


async def test_the_bare_script_is_measured_and_leaves_nothing_behind(servers: EmbeddedServers, redis: Redis) -> None:
    await redis.set("mine", "1")
    assert await bare_limit(servers.redis_url, 0.1) > 200
    assert await redis.keys("*") == [b"mine"]
