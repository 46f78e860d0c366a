"""Draws on a real database: who is in, who wins, who is told."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra.db import Database, epoch_ms, utc_now
from live.infra.keys import room_key
from live.infra.outbox import news_of, room_state
from live.promotions.draw import rules
from live.promotions.draw.actions import close_draw, close_room, draw_winners, open_draw
from live.promotions.draw.queries import draw as draw_of
from live.promotions.draw.queries import entrants, of_person, proof
from live.protocol.codes import Code, Refusal
from tests.offers.shop import make_shop
from tests.promotions.red_packet.stage import one, rows
from tests.web.doors import holdings
from workers.sweeps import clear, draw_due
from workers.tools import Tools

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CLOSED = NOW + timedelta(minutes=5, seconds=1)
TERMS: dict[str, Any] = {
    "prize": ("龙井一盒", "A box of Longjing"), "off": 0, "threshold": 0, "winners": 3, "entry": "comment", "word": "抽我", "minutes": 5,
}  # fmt: skip


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


async def drop(db: Database, seed: str | None = "seed", now: datetime = NOW, **changed: Any) -> int:
    """Open a draw in room r1."""
    async with db.begin() as session:
        found = await open_draw(session, room_id="r1", now=now, seed=seed, **TERMS | changed)
        return int(found.id or 0)


async def say(db: Database, who: str, words: str, at: datetime, withdrawn: bool = False, room: str = "r1") -> None:
    """A comment in the archive."""
    row = {"r": room, "w": who, "t": words, "at": at, "gone": at if withdrawn else None}
    insert = (
        "INSERT INTO comment (room_id, chat_id, stream_id, who, text, shown, said_at, withdrawn_at)"
        " VALUES (:r, 'c', '0-1', :w, :t, false, :at, :gone)"
    )
    async with db.connection() as connection:
        await connection.execute(text(insert), row)


async def draw(db: Database, number: int, now: datetime = CLOSED) -> list[str]:
    async with db.begin() as session:
        return await draw_winners(session, number, now)


async def entered(db: Database, number: int) -> set[str]:
    async with db.begin() as session:
        found = await entrants(session, await draw_of(session, number))
        assert len(found) == len(set(found))
        return set(found)


async def test_who_said_the_word_in_time_is_in_once_and_nobody_else(database: Database) -> None:
    await make_shop(database)
    number = await drop(database, word="Win")
    for who, words, at in (
        ("p:1", "please, WIN me", 0), ("p:1", "win win", 9), ("p:2", "win", 299), ("p:3", "lose", 5), ("g:4", "win", 5),
        ("s:1", "win", 5), ("p:5", "win", -1), ("p:6", "win", 300), ("p:8", "win", 5),
    ):  # fmt: skip
        await say(database, who, words, after(at))
    await say(database, "p:7", "win", after(5), withdrawn=True)
    await say(database, "p:9", "win", after(5), room="other")
    async with database.connection() as connection:
        await connection.execute(text("INSERT INTO mute (room_id, who) VALUES ('r1', 'p:8'), ('other', 'p:1')"))
    assert await entered(database, number) == {"p:1", "p:2"}
    async with database.begin() as session:
        found = [await of_person(session, number, who) for who in ("p:2", "p:3")]
    assert [one["entered"] for one in found] == [True, False]


async def test_a_paid_order_of_this_room_enters_and_one_that_goes_back_does_not(database: Database) -> None:
    await make_shop(database)
    number = await drop(database, entry="order", word="")
    insert = text(
        "INSERT INTO orders (no, rid, intent_id, room_id, person, location, state, fen, pay_until, paid_at)"
        " VALUES (:n, :n, '1', :r, :p, 'S1', :s, 100, :at, :paid)"
    )
    async with database.connection() as connection:
        for n, (who, state, paid, room) in enumerate(
            [("p:1", "ALLOCATED", 5, "r1"), ("p:1", "READY", 9, "r1"), ("p:2", "GROUP_WAIT", 9, "r1"), ("p:3", "AWAIT_PAY", None, "r1"),
             ("p:4", "REFUNDED", 5, "r1"), ("p:5", "ALLOCATED", -5, "r1"), ("p:6", "ALLOCATED", 5, "other")]
        ):  # fmt: skip
            await connection.execute(
                insert, {"n": f"A{n}", "r": room, "p": who, "s": state, "at": NOW, "paid": None if paid is None else after(paid)}
            )
    assert await entered(database, number) == {"p:1", "p:2"}


async def test_the_winners_are_those_of_the_rule_everybody_can_check_them_and_they_are_told_once(database: Database) -> None:
    await make_shop(database)
    number = await drop(database)
    for person in range(1, 31):
        await say(database, f"p:{person}", "抽我抽我", after(5))
    async with database.begin() as session:
        before = await proof(session, number)
    assert (before["commitment"], before["seed"], before["tickets"], before["winners"]) == (rules.commitment("seed"), None, None, None)
    assert await one(database, "SELECT count(*) FROM outbox WHERE payload::text LIKE '%\"seed\"%' AND kind = 'act'") == 0
    won = await draw(database, number)
    tickets = {rules.ticket(rules.commitment("seed"), f"p:{n}"): f"p:{n}" for n in range(1, 31)}
    assert won == [tickets[ticket] for ticket in rules.winners("seed", tickets, 3)]
    async with database.begin() as session:
        found = await proof(session, number)
        card = await room_state(session, "r1", f"draw:{number}")
        places = [(await of_person(session, number, who))["place"] for who in won]
    assert rules.proof_fault(found, before["commitment"]) is None
    assert (len(found["tickets"]), found["winners"]) == (30, rules.winners("seed", tickets, 3))
    assert places == [1, 2, 3]
    assert card is not None
    assert (card["phase"], card["entrants"], [each["name"] for each in card["won"]]) == ("drawn", 30, ["P**"] * 3)
    told = news_of("", {}, (await rows(database, "SELECT news FROM outbox WHERE kind = 'own'"))[0][0])
    assert [(who, body["t"], body["prize"]["zh"]) for who, _, _, body in told] == [(who, "prize", "龙井一盒") for who in won]
    events = await one(database, "SELECT payload->'events' FROM outbox WHERE kind = 'act' ORDER BY id DESC LIMIT 1")
    assert [(kind, body["entrants"]) for kind, body in events] == [("draw.done", 30)]
    state = await holdings(database)
    with pytest.raises(Refusal) as refused:
        await draw(database, number)
    assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": "drawn"})
    assert await holdings(database) == state


async def test_two_workers_that_draw_at_once_draw_once_and_each_winner_has_one_coupon(database: Database) -> None:
    await make_shop(database)
    number = await drop(database, prize=("", ""), off=800, threshold=2_000, winners=5)
    for person in range(1, 13):
        await say(database, f"p:{person}", "抽我", after(1))

    async def try_it() -> list[str]:
        try:
            return await draw(database, number)
        except Refusal:
            return []

    answers = [one for one in await asyncio.gather(*(try_it() for _ in range(5))) if one]
    assert len(answers) == 1
    grants = await rows(database, "SELECT person, off, threshold, state, offer_id FROM coupon_grant")
    assert sorted(grants) == sorted((who, 800, 2_000, "CLAIMED", 0) for who in answers[0])
    assert await one(database, "SELECT count(*) FROM draw_entry WHERE place IS NOT NULL") == 5


async def test_a_draw_nobody_entered_ends_without_winners(database: Database) -> None:
    await make_shop(database)
    number = await drop(database)
    assert await draw(database, number) == []
    async with database.begin() as session:
        assert rules.proof_fault(await proof(session, number)) is None


@pytest.mark.parametrize(
    ("changed", "field"),
    [({"winners": 0}, "winners"), ({"winners": 101}, "winners"), ({"word": ""}, "word"), ({"entry": "order"}, "word"),
     ({"entry": "raffle"}, "entry"), ({"minutes": 0}, "minutes"), ({"prize": ("", "")}, "prize_zh"), ({"prize": ("茶", "")}, "prize_en"),
     ({"off": 100}, "prize_zh"), ({"points": 5}, "points"), ({"prize": ("", ""), "points": 1_000_001}, "points"),
     ({"prize": ("", ""), "points": 5, "off": 100}, "points"), ({"prize": ("", ""), "points": -5}, "points"),
     ({"entry": "follow"}, "word"), ({"prize": ("", ""), "off": 500, "threshold": 400}, "off")],
)  # fmt: skip
async def test_a_draw_that_is_not_sound_is_refused_by_field_and_changes_nothing(
    database: Database, changed: dict[str, Any], field: str
) -> None:
    await make_shop(database)
    before = await holdings(database)
    with pytest.raises(Refusal) as refused:
        await drop(database, **changed)
    assert (refused.value.code, refused.value.facts["field"]) == (Code.BAD_REQUEST, field)
    assert await holdings(database) == before


async def test_it_is_not_drawn_before_it_closes_and_closed_once(database: Database) -> None:
    await make_shop(database)
    number = await drop(database)
    with pytest.raises(Refusal):
        await draw(database, number, after(299))
    async with database.begin() as session:
        await close_draw(session, number, after(10))
    with pytest.raises(Refusal) as refused:
        async with database.begin() as session:
            await close_draw(session, number, after(11))
    assert refused.value.facts == {"state": "closed"}
    await say(database, "p:1", "抽我", after(9))
    await say(database, "p:2", "抽我", after(12))
    assert await draw(database, number, after(13)) == ["p:1"]


async def test_the_end_of_the_show_closes_its_draws(database: Database) -> None:
    await make_shop(database)
    numbers = [await drop(database), await drop(database)]
    async with database.begin() as session:
        await close_room(session, "r1", after(20))
    assert await rows(database, "SELECT id, closes_at FROM draw ORDER BY id") == [(number, after(20)) for number in numbers]


async def test_the_clock_draws_when_every_comment_of_the_time_is_archived(database: Database, redis: Redis, given: Tools) -> None:
    await make_shop(database)
    began = utc_now()
    number = await drop(database, now=began)

    async def comment(person: int, at: datetime) -> None:
        said: Any = {"id": f"c{person}", "who": f"p:{person}", "name": "明", "text": "抽我", "at": epoch_ms(at), "shown": "0", "demo": "0"}
        await redis.xadd(room_key("r1", "chat:all"), said)

    closes = began + timedelta(minutes=5)
    await comment(1, began + timedelta(seconds=1))
    await comment(2, closes - timedelta(milliseconds=1))  # not on everybody's screen, for the room was too loud; in the draw all the same
    await comment(3, closes + timedelta(milliseconds=1))
    assert await draw_due(given, closes) == 0
    async with database.connection() as archivist:  # somebody else is at it and has not come to the end
        await archivist.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('archive:r1', 0))"))
        assert await draw_due(given, closes + timedelta(seconds=2)) == 0
    assert await draw_due(given, closes + timedelta(seconds=3)) == 1
    assert await draw_due(given, closes + timedelta(seconds=4)) == 0
    assert await rows(database, "SELECT person FROM draw_entry ORDER BY person") == [("p:1",), ("p:2",)]
    await clear(given, closes + timedelta(minutes=11))
    async with database.begin() as session:
        assert await room_state(session, "r1", f"draw:{number}") is None
