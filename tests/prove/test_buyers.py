"""The buyers of the kind `kills`: which words of the server they take for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from live.infra.security import Tokens
from tests.conftest import SECRET
from tests.prove import buyers
from tests.prove.buyers import Buyer, Deal, Room

ORDER = {"ok": {"order": {"no": "n1"}}}
SOLD_OUT = {"no": {"code": "sold_out"}}


class Dice:
    """Nobody asks, sends twice or loses the socket unless told so."""

    def __init__(self, pause: float) -> None:
        self.pause = pause

    def random(self) -> float:
        return 0.99

    def uniform(self, *_: float) -> float:
        return self.pause

    def choice(self, found: Any) -> Any:
        return found[0]

    def sample(self, found: Any, count: int) -> list[Any]:
        return list(found)[:count]


Said = Callable[[Buyer, list[int]], None]


async def tapped(monkeypatch: pytest.MonkeyPatch, pause: float, server: Said, **shares: float) -> tuple[str, list[str], int]:
    """A tap at a server that does `server(buyer, ids sent so far)` at each try: its end, what was heard of it, how many tries."""
    for name, share in {"ANSWER_SECONDS": 0.01, "DROPPED": 0.0, "DOUBLED": 0.0, **shares}.items():
        monkeypatch.setattr(buyers, name, share)
    room: Any = Room(None, None, "r1", ())  # type: ignore[arg-type]
    ended: list[str] = []
    crowd: Any = SimpleNamespace(
        shop=SimpleNamespace(tokens=Tokens(SECRET)), taps=0, sends=0, open={}, final=lambda room, rid, code: ended.append(code)
    )
    buyer = Buyer(crowd, 1, room, 7)
    buyer.dice = Dice(pause)  # type: ignore[assignment]
    sent: list[int] = []

    def send(frame: bytes) -> None:
        sent.append(orjson.loads(frame)["id"])
        server(buyer, sent)

    buyer.socket = SimpleNamespace(send=send)  # type: ignore[assignment]
    end = await buyer.tap(Deal(1, False, 1, 0.0, 0.0))
    assert ended == [end]
    return end, [code for _, code in room.heard if code], len(sent)


def say(buyer: Buyer, number: int, reply: dict[str, Any]) -> None:
    buyer.heard(orjson.dumps({"id": number} | reply))


async def test_a_refusal_of_an_older_try_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def server(buyer: Buyer, sent: list[int]) -> None:
        if len(sent) == 2:  # units came back between the two
            say(buyer, sent[0], SOLD_OUT)
            say(buyer, sent[1], ORDER)

    assert await tapped(monkeypatch, 0.0, server) == ("booked:n1", ["booked:n1"], 2)


async def test_good_news_of_an_older_try_ends_the_tap(monkeypatch: pytest.MonkeyPatch) -> None:
    def server(buyer: Buyer, sent: list[int]) -> None:
        if len(sent) == 2:
            say(buyer, sent[0], ORDER)

    assert await tapped(monkeypatch, 0.0, server) == ("booked:n1", ["booked:n1"], 2)


async def test_a_refusal_that_comes_late_ends_the_tap_before_it_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def server(buyer: Buyer, sent: list[int]) -> None:
        asyncio.get_running_loop().call_later(0.02, say, buyer, sent[-1], SOLD_OUT)

    assert await tapped(monkeypatch, 0.2, server) == ("sold_out", ["sold_out"], 1)


async def test_of_a_tap_sent_twice_at_once_the_second_answer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def server(buyer: Buyer, sent: list[int]) -> None:
        if len(sent) == 2:
            say(buyer, sent[0], SOLD_OUT)  # from what the hub knew this tick
            say(buyer, sent[1], ORDER)

    assert await tapped(monkeypatch, 0.0, server, DOUBLED=1.0) == ("booked:n1", ["booked:n1"], 2)
