"""A verdict is of one intent: its rid may have had another before, whose refusal is heard late. Success is the rid's, whoever brings it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from live.hub import dispatch
from live.offers import intake
from live.offers.reservations import Answer, Record, Tap
from live.offers.rules import rid_of
from live.settings import Settings
from tests.hub.crowd import ROOM, Viewer, until
from tests.hub.stage import Stage, a_stage

KEY = "the-one-key"
RID = rid_of("p:1", ROOM, KEY)
OLD, NEW = "1/5-0", "2/1-0"
BODY = {"order": {"no": "n", "fen": 1, "pay_until": 1}}
NO = ["sold_out", 1]


class Gatekeeper:
    """Stands for turnstile and records: answers when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[asyncio.Future[Answer]] = []
        self.record: Record | None = None
        monkeypatch.setattr(dispatch, "reserve", self._reserve)
        monkeypatch.setattr(dispatch, "records", self._records)
        monkeypatch.setattr(dispatch, "ASK_AGAIN", 0.0)

    async def _reserve(self, _: Redis, room: str, taps: list[Tap], cap: int) -> list[Answer]:
        assert [tap.rid for tap in taps] == [RID]
        self.asked.append(asyncio.get_running_loop().create_future())
        return [await self.asked[-1]]

    async def _records(self, _: Redis, room: str, rids: list[str]) -> list[Record | None]:
        return [self.record for _ in rids]


@pytest_asyncio.fixture
async def stage(settings: Settings, redis: Redis) -> AsyncIterator[Stage]:
    async with a_stage(settings, verdict_ms=60_000) as found:
        yield found


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gatekeeper:
    return Gatekeeper(monkeypatch)


async def taps(gate: Gatekeeper, viewer: Viewer) -> int:
    """A tap is on its way to the turnstile; its number."""
    before = len(gate.asked)
    number = viewer.send("buy", **{"key": KEY, "try": 2, "lines": [{"offer": 1, "qty": 1, "version": 1}], "at": ["S1"]})
    await until(lambda: len(gate.asked) > before, "a call of the turnstile")
    return number


async def says(gate: Gatekeeper, answer: Answer) -> None:
    """The turnstile's reply to the last tap is read."""
    gate.asked[-1].set_result(answer)
    for _ in range(5):
        await asyncio.sleep(0)


async def heard(stage: Stage, viewer: Viewer, number: int) -> Any:
    """What the tap was told by now: a code, an order, or None."""
    done = await viewer.ask("ping", at=1)  # on the same socket, so whatever came before is here
    assert "ok" in done
    frame = next((one for one in viewer.frames if one.get("id") == number), None)
    return frame and (frame["ok"] if "ok" in frame else frame["no"]["code"])


async def test_a_refusal_counts_for_its_own_intent_only(stage: Stage, gate: Gatekeeper) -> None:
    buyer = await stage.join("p:1")
    number = await taps(gate, buyer)
    await says(gate, Answer("OK", fence="2", intent=NEW))
    stage.hub.desk.verdict(RID, OLD, None, NO)
    assert await heard(stage, buyer, number) is None
    stage.hub.desk.verdict(RID, NEW, None, NO)
    assert await heard(stage, buyer, number) == "sold_out"
    assert (stage.hub.desk.waiting, stage.hub.desk.refused) == ({}, {})


@pytest.mark.parametrize(("mine", "told"), [(OLD, "sold_out"), (NEW, None)])
async def test_a_refusal_that_is_here_before_the_turnstiles_reply_waits_for_it(
    stage: Stage, gate: Gatekeeper, mine: str, told: str | None
) -> None:
    buyer = await stage.join("p:1")
    number = await taps(gate, buyer)
    stage.hub.desk.verdict(RID, OLD, None, NO)
    assert await heard(stage, buyer, number) is None
    await says(gate, Answer("ASK", fence=mine[0], intent=mine))
    assert await heard(stage, buyer, number) == told
    stage.hub.desk.verdict(RID, mine, BODY, [])
    assert (stage.hub.desk.waiting, stage.hub.desk.refused) == ({}, {})


async def test_success_counts_whichever_intent_brought_it(stage: Stage, gate: Gatekeeper) -> None:
    buyer = await stage.join("p:1")
    number = await taps(gate, buyer)
    stage.hub.desk.verdict(RID, OLD, BODY, [])  # and before the reply
    assert await heard(stage, buyer, number) == BODY
    await says(gate, Answer("OK", fence="2", intent=NEW))
    stage.hub.desk.verdict(RID, NEW, BODY, [])
    assert await heard(stage, buyer, number) == BODY
    assert (stage.hub.desk.waiting, stage.hub.desk.refused) == ({}, {})


@pytest.mark.parametrize("first", ["reply", "verdict"])
async def test_who_waited_before_waits_for_the_newer_intent(stage: Stage, gate: Gatekeeper, first: str) -> None:
    """The older one is settled, its rid is let through once more, and then its refusal is heard."""
    one, two = await stage.join("p:1"), await stage.join("p:1")
    old = await taps(gate, one)
    await says(gate, Answer("OK", fence="1", intent=OLD))
    new = await taps(gate, two)
    if first == "verdict":
        stage.hub.desk.verdict(RID, OLD, None, NO)
        assert await heard(stage, one, old) is None
    await says(gate, Answer("OK", fence="2", intent=NEW))
    stage.hub.desk.verdict(RID, OLD, None, NO)
    assert (await heard(stage, one, old), await heard(stage, two, new)) == (None, None)
    stage.hub.desk.verdict(RID, NEW, BODY, [])
    assert (await heard(stage, one, old), await heard(stage, two, new)) == (BODY, BODY)


async def test_a_second_tap_that_finds_the_first_ones_intent_shares_its_refusal(stage: Stage, gate: Gatekeeper) -> None:
    one, two = await stage.join("p:1"), await stage.join("p:1")
    old = await taps(gate, one)
    await says(gate, Answer("OK", fence="1", intent=OLD))
    digest = stage.hub.desk.waiting[RID][0].hash
    new = await taps(gate, two)
    stage.hub.desk.verdict(RID, OLD, None, NO)
    await says(gate, Answer("KNOWN", record=f"I|5-0|1|{digest}".encode()))
    assert (await heard(stage, one, old), await heard(stage, two, new)) == ("sold_out", "sold_out")


async def test_a_second_tap_that_is_turned_away_keeps_no_refusal_from_the_first(stage: Stage, gate: Gatekeeper) -> None:
    one, two = await stage.join("p:1"), await stage.join("p:1")
    old = await taps(gate, one)
    await says(gate, Answer("OK", fence="1", intent=OLD))
    new = await taps(gate, two)
    stage.hub.desk.verdict(RID, OLD, None, NO)
    await says(gate, Answer("FENCED"))
    assert (await heard(stage, one, old), await heard(stage, two, new)) == ("sold_out", "fenced")


async def test_who_lost_the_turnstiles_reply_learns_from_the_record_what_to_wait_for(stage: Stage, gate: Gatekeeper) -> None:
    buyer = await stage.join("p:1")
    number = await taps(gate, buyer)
    gate.record = Record("h", fence="1", intent=OLD)
    gate.asked[-1].set_exception(RedisConnectionError("cut"))
    stage.hub.desk.verdict(RID, NEW, None, NO)
    stage.hub.desk.verdict(RID, OLD, None, NO)
    assert await heard(stage, buyer, number) is None
    await stage.hub.desk.ask_again()
    assert await heard(stage, buyer, number) == "sold_out"


async def test_who_lost_the_reply_and_the_record_comes_again(stage: Stage, gate: Gatekeeper) -> None:
    buyer = await stage.join("p:1")
    number = await taps(gate, buyer)
    gate.asked[-1].set_exception(RedisConnectionError("cut"))
    stage.hub.desk.verdict(RID, OLD, None, NO)
    await stage.hub.desk.ask_again()
    assert await heard(stage, buyer, number) == "again"
    assert (stage.hub.desk.waiting, stage.hub.desk.refused) == ({}, {})


async def test_who_finds_the_books_behind_waits_in_line_and_is_told_so(settings: Settings, redis: Redis, gate: Gatekeeper) -> None:
    async with a_stage(settings, verdict_ms=20) as stage:
        buyer = await stage.join("p:1")
        number = await taps(gate, buyer)
        await says(gate, Answer("NO", "busy"))
        assert stage.hub.desk.waiting == {}  # no verdict will come, so nobody may take it for lost
        assert (await buyer.reply(number))["ok"]["pending"] is True
        await until(lambda: len(gate.asked) == 2, "a second call of the turnstile")
        await says(gate, Answer("OK", fence="2", intent=NEW))
        stage.hub.desk.verdict(RID, NEW, BODY, [])
        await until(lambda: any(frame.get("ok") == BODY for frame in buyer.frames), "the order")
        assert (stage.hub.desk.waiting, stage.hub.desk.refused) == ({}, {})


async def test_asking_for_a_tap_that_stands_in_line_sends_nobody_to_its_end(
    stage: Stage, gate: Gatekeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "PAUSE", 60.0)
    buyer = await stage.join("p:1")
    await taps(gate, buyer)
    await says(gate, Answer("NO", "busy"))
    assert (await buyer.ask("ask", key=KEY))["ok"]["pending"] is True
    assert len(gate.asked) == 1
