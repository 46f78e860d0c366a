"""What a host does, as rows: each verb one act more, in order, and the state that a new viewer is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from live.infra.db import Database, epoch_ms
from live.infra.keys import room_key
from live.protocol.codes import Code, Refusal
from live.rooms import actions, rules
from tests.offers.shop import NOW, book_all, books, make_shop, sale
from tests.web.doors import holdings

TITLE = {"zh": "茶会", "en": "Tea party"}
LIVE = {"phase": "live", "title": {"zh": "间", "en": "Room"}, "pin": None, "notice": "", "began": epoch_ms(NOW)}


async def acts(db: Database, room: str = "r1") -> list[dict[str, Any]]:
    """Payloads of the acts that wait for the ledger, oldest first."""
    async with db.connection() as connection:
        query = text("SELECT payload FROM outbox WHERE kind = 'act' AND room_id = :r ORDER BY id")
        return list((await connection.execute(query, {"r": room})).scalars())


async def kept(db: Database, key: str = "room", room: str = "r1") -> Any:
    """A state key as SQL keeps it."""
    async with db.connection() as connection:
        query = text("SELECT value FROM room_state WHERE room_id = :r AND key = :k")
        return (await connection.execute(query, {"r": room, "k": key})).scalar_one_or_none()


async def row(db: Database, room: str = "r1") -> Any:
    async with db.connection() as connection:
        return (await connection.execute(text("SELECT * FROM room WHERE id = :r"), {"r": room})).mappings().one()


async def refused(db: Database, verb: Callable[[AsyncSession], Awaitable[object]]) -> Refusal:
    """The refusal of a verb that changed nothing."""
    before = await holdings(db)
    with pytest.raises(Refusal) as found:
        async with db.begin() as session:
            await verb(session)
    assert await holdings(db) == before
    return found.value


async def test_a_new_room_is_a_draft_with_its_first_act(database: Database) -> None:
    async with database.begin() as session:
        await actions.create_room(session, room_id="tea", title_zh="茶会", title_en="Tea party", play_url="/live/tea.m3u8")
    found = await row(database, "tea")
    assert (found["phase"], found["play_url"], found["poster"], found["pin"]) == ("draft", "/live/tea.m3u8", "", None)
    state = {"phase": "draft", "title": TITLE, "pin": None, "notice": "", "began": None}
    assert await acts(database, "tea") == [{"no": 1, "events": [], "state": {"room": state}, "offers": {}, "muted": {}}]
    assert await kept(database, room="tea") == state


async def test_a_taken_name_is_refused(database: Database) -> None:
    await make_shop(database)
    refusal = await refused(database, lambda session: actions.create_room(session, room_id="r1", title_zh="x", title_en="x"))
    assert (refusal.code, refusal.facts) == (Code.STATE, {"state": "exists", "field": "id"})


async def test_every_verb_is_the_next_act_and_leaves_its_state(database: Database) -> None:
    await make_shop(database)  # acts 1 and 2: created, started
    offer = await sale(database, {"S1": 5})  # act 3
    steps: list[tuple[Callable[[AsyncSession], Awaitable[object]], list[Any], dict[str, Any], dict[str, int]]] = [
        (lambda s: actions.pin(s, "r1", offer), [["room.pinned", {"offer": offer}]], {"room": LIVE | {"pin": offer}}, {}),
        (
            lambda s: actions.edit_room(s, "r1", {"title_zh": "茶会", "title_en": "Tea party"}),
            [], {"room": LIVE | {"pin": offer, "title": TITLE}}, {},
        ),
        (lambda s: actions.pin(s, "r1", None), [["room.pinned", {"offer": None}]], {"room": LIVE | {"title": TITLE}}, {}),
        (lambda s: actions.mute(s, "r1", "p:1", 10, 7, NOW), [], {}, {"p:1": epoch_ms(NOW + timedelta(minutes=10))}),
        (lambda s: actions.mute(s, "r1", "g:x", None, 7, NOW), [], {}, {"g:x": rules.FOR_GOOD}),
        (lambda s: actions.unmute(s, "r1", "p:1"), [], {}, {"p:1": 0}),
        (lambda s: actions.withdraw(s, "r1", "c1-1", NOW), [["comment.withdrawn", {"id": "c1-1"}]], {}, {}),
        (
            lambda s: actions.stop_room(s, "r1", NOW),
            [["room.closed", {}]], {"room": LIVE | {"phase": "ended", "title": TITLE, "began": None}}, {},
        ),
        (lambda s: actions.start_room(s, "r1", NOW), [["room.opened", {}]], {"room": LIVE | {"title": TITLE}}, {}),
    ]  # fmt: skip
    for step, (verb, events, state, muted) in enumerate(steps):
        async with database.begin() as session:
            await verb(session)
        last = (await acts(database))[-1]
        assert last == {"no": 4 + step, "events": events, "state": state, "offers": {}, "muted": muted}
    assert [act["no"] for act in await acts(database)] == list(range(1, 13))
    assert await kept(database) == LIVE | {"title": TITLE}


async def test_acts_that_were_rolled_back_leave_no_gap(database: Database) -> None:
    await make_shop(database)
    async with AsyncSession(database.engine) as session:
        await actions.pin(session, "r1", None)
        await session.rollback()  # the door failed
    async with database.begin() as session:
        await actions.pin(session, "r1", None)
    assert [act["no"] for act in await acts(database)] == [1, 2, 3]


async def test_acts_reach_the_screens_in_order(database: Database, redis: Redis) -> None:
    await make_shop(database)
    ledger = await books(database, redis)
    async with database.begin() as session:
        await actions.mute(session, "r1", "p:1", None, 1, NOW)
        await actions.withdraw(session, "r1", "c1-1", NOW)
        await actions.stop_room(session, "r1", NOW)
    await book_all(ledger)
    log = [fields[b"t"] for _, fields in await redis.xrange(room_key("r1", "log"))]
    assert log == [b"comment.withdrawn", b"room.closed"]
    assert await redis.hgetall(room_key("r1", "muted")) == {b"p:1": str(rules.FOR_GOOD).encode()}
    assert await acts(database) == []
    async with database.begin() as session:
        await actions.unmute(session, "r1", "p:1")
    await book_all(ledger)
    assert await redis.hgetall(room_key("r1", "muted")) == {}


async def test_many_moderators_mute_one_person_at_once(database: Database) -> None:
    await make_shop(database)

    async def mute(staff: int) -> None:
        async with database.begin() as session:
            await (actions.mute(session, "r1", "p:1", staff, staff, NOW) if staff % 3 else actions.unmute(session, "r1", "p:1"))

    await asyncio.gather(*(mute(staff) for staff in range(1, 13)))
    told = [act["muted"]["p:1"] for act in await acts(database) if act["muted"]]
    assert len(told) == 12


async def test_a_show_is_started_and_stopped_once(database: Database) -> None:
    await make_shop(database)
    refusal = await refused(database, lambda session: actions.start_room(session, "r1", NOW))
    assert (refusal.code, refusal.facts) == (Code.STATE, {"state": "live"})
    async with database.begin() as session:
        await actions.stop_room(session, "r1", NOW)
    refusal = await refused(database, lambda session: actions.stop_room(session, "r1", NOW))
    assert (refusal.code, refusal.facts) == (Code.STATE, {"state": "ended"})


async def test_a_draft_cannot_be_stopped(database: Database) -> None:
    async with database.begin() as session:
        await actions.create_room(session, room_id="tea", title_zh="茶", title_en="Tea")
    refusal = await refused(database, lambda session: actions.stop_room(session, "tea", NOW))
    assert (refusal.code, refusal.facts) == (Code.STATE, {"state": "draft"})


async def test_stopping_names_the_open_offers_and_drops_the_pin(database: Database) -> None:
    await make_shop(database)
    first, second = await sale(database, {"S1": 5}), await sale(database, {"S2": 5})
    async with database.begin() as session:
        await actions.pin(session, "r1", first)
        offers = await actions.begin_stop(session, "r1")
        room = await actions.stop_room(session, "r1", NOW)
    assert ([offer.id for offer in offers], room.pin, room.ended_at) == ([first, second], None, NOW)


async def test_only_an_offer_of_this_room_is_pinned(database: Database) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    async with database.begin() as session:
        await actions.create_room(session, room_id="other", title_zh="x", title_en="x")
    for room, wanted in (("other", offer), ("r1", 999)):
        refusal = await refused(database, lambda session, room=room, wanted=wanted: actions.pin(session, room, wanted))
        assert (refusal.code, refusal.facts) == (Code.NOT_FOUND, {"what": "offer"})


async def test_a_room_there_is_not_is_refused_by_every_verb(database: Database) -> None:
    await make_shop(database)
    verbs: list[Callable[[AsyncSession], Awaitable[object]]] = [
        lambda s: actions.edit_room(s, "none", {"title_zh": "x"}), lambda s: actions.start_room(s, "none", NOW),
        lambda s: actions.stop_room(s, "none", NOW), lambda s: actions.pin(s, "none", None),
        lambda s: actions.mute(s, "none", "p:1", 1, 1, NOW), lambda s: actions.unmute(s, "none", "p:1"),
        lambda s: actions.withdraw(s, "none", "c1-1", NOW),
    ]  # fmt: skip
    for verb in verbs:
        refusal = await refused(database, verb)
        assert (refusal.code, refusal.facts) == (Code.NOT_FOUND, {"what": "room"})


async def test_a_mute_is_one_row_that_the_last_word_decides(database: Database) -> None:
    await make_shop(database)
    async with database.begin() as session:
        await actions.mute(session, "r1", "p:1", 10, 7, NOW)
        await actions.mute(session, "r1", "p:1", None, 8, NOW)
    async with database.connection() as connection:
        found = (await connection.execute(text("SELECT who, until, by_staff FROM mute"))).all()
    assert [tuple(each) for each in found] == [("p:1", None, 8)]
    async with database.begin() as session:
        await actions.unmute(session, "r1", "p:1")
        await actions.unmute(session, "r1", "p:2")  # nobody muted them: said again, no harm
    async with database.connection() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM mute"))).scalar_one() == 0


async def test_a_withdrawn_comment_is_marked_and_kept(database: Database) -> None:
    await make_shop(database)
    async with database.connection() as connection:
        await connection.execute(text(
            "INSERT INTO comment (room_id, chat_id, stream_id, who, text, shown) VALUES ('r1','c1-1','1-0','p:1','x',true),"
            " ('r1','c2-1','2-0','p:1','y',true), ('r2','c1-1','1-0','p:1','z',true)"
        ))  # fmt: skip
    async with database.begin() as session:
        await actions.withdraw(session, "r1", "c1-1", NOW)
    async with database.connection() as connection:
        found = (await connection.execute(text("SELECT text FROM comment WHERE withdrawn_at = :n"), {"n": NOW})).scalars().all()
        total = (await connection.execute(text("SELECT count(*) FROM comment"))).scalar_one()
        job = (await connection.execute(text("SELECT topic, key, payload FROM outbox WHERE kind = 'job'"))).one()
    assert (found, total) == (["x"], 3)
    assert tuple(job) == ("comment.withdraw", "r1:c1-1", {"room": "r1", "id": "c1-1"})
