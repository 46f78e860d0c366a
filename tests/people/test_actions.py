from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from live.infra.db import Database
from live.people import actions
from live.people.tables import Person, PhoneCode
from live.protocol.codes import Code, Refusal

KEY = "k" * 32
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PHONE, OTHER = "13800138000", "13900139000"


async def send(db: Database, phone: str = PHONE, now: datetime = NOW) -> str:
    async with db.begin() as session:
        return await actions.send_code(session, phone, KEY, now)


async def enter(
    db: Database, code: str, *, phone: str = PHONE, now: datetime = NOW, current: tuple[int, int] | None = None, name: str = ""
) -> Person | None:
    async with db.begin() as session:
        return await actions.login_phone(session, phone=phone, code=code, name=name, current=current, key=KEY, now=now)


async def everything(db: Database) -> Any:
    async with db.begin() as session:
        persons = [tuple(row) for row in (await session.execute(text("SELECT * FROM person ORDER BY id"))).all()]
        codes = [tuple(row) for row in (await session.execute(text("SELECT * FROM phone_code ORDER BY id"))).all()]
    return str(persons), codes


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


async def test_an_openid_is_one_person_however_often_it_logs_in_at_once(database: Database) -> None:
    async def login() -> int | None:
        async with database.begin() as session:
            return (await actions.login_openid(session, "openid-1", "", NOW)).id

    ids = await asyncio.gather(*(login() for _ in range(20)))
    assert set(ids) == {ids[0]}
    async with database.begin() as session:
        assert [person.openid for person in (await session.execute(select(Person))).scalars()] == ["openid-1"]


async def test_a_name_is_kept_until_another_is_given(database: Database) -> None:
    async with database.begin() as session:
        first = await actions.login_openid(session, "openid-1", "", NOW)
        assert first.name == f"顾客 {first.id}"
    for given, kept in (("小满", "小满"), ("", "小满")):
        async with database.begin() as session:
            assert (await actions.login_openid(session, "openid-1", given, NOW)).name == kept


async def test_the_right_code_makes_a_person_and_works_once(database: Database) -> None:
    code = await send(database)
    person = await enter(database, code, name="小满")
    assert person is not None
    assert (person.phone, person.openid, person.name) == (PHONE, None, "小满")
    before = await everything(database)
    assert await enter(database, code) is None
    assert await everything(database) == before
    async with database.begin() as session:
        assert (await session.execute(select(PhoneCode.person_id, PhoneCode.tries))).one() == (person.id, 1)


async def test_the_code_itself_is_not_kept(database: Database) -> None:
    code = await send(database)
    assert len(code) == 6
    assert code not in str(await everything(database))


async def test_five_wrong_tries_end_a_code(database: Database) -> None:
    code = await send(database)
    for _ in range(5):
        assert await enter(database, wrong(code)) is None
    assert await enter(database, code) is None
    async with database.begin() as session:
        assert (await session.execute(select(PhoneCode.tries, PhoneCode.used_at))).one() == (5, None)
        assert (await session.execute(select(Person))).first() is None


async def test_of_many_guesses_at_once_only_five_are_looked_at(database: Database) -> None:
    code = await send(database)
    await asyncio.gather(*(enter(database, wrong(code)) for _ in range(15)))
    async with database.begin() as session:
        assert (await session.execute(select(PhoneCode.tries))).scalar_one() == 5
    assert await enter(database, code) is None


async def test_a_code_lives_five_minutes_and_a_new_one_ends_it(database: Database) -> None:
    code = await send(database)
    assert await enter(database, code, now=NOW + timedelta(minutes=5)) is None
    newer = await send(database, now=NOW + timedelta(minutes=1))
    if newer != code:
        assert await enter(database, code, now=NOW + timedelta(minutes=1)) is None
    assert await enter(database, newer, now=NOW + timedelta(minutes=5)) is not None


async def test_a_phone_gets_one_code_a_minute_and_ten_a_day(database: Database) -> None:
    await send(database)
    before = await everything(database)
    with pytest.raises(Refusal) as refusal:
        await send(database, now=NOW + timedelta(seconds=30))
    assert (refusal.value.code, refusal.value.facts) == (Code.SLOW_DOWN, {"wait": 30_001})
    assert await everything(database) == before
    for minute in range(1, 10):
        await send(database, now=NOW + timedelta(minutes=minute))
    with pytest.raises(Refusal) as refusal:
        await send(database, now=NOW + timedelta(minutes=10))
    assert (refusal.value.code, refusal.value.facts) == (Code.LIMIT, {"allowed": 10})
    await send(database, OTHER, NOW + timedelta(minutes=10))
    await send(database, now=NOW + timedelta(days=1))


async def test_of_many_requests_at_once_one_code_is_sent(database: Database) -> None:
    results = await asyncio.gather(*(send(database) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 1
    assert [result.code for result in results if isinstance(result, Refusal)] == [Code.SLOW_DOWN] * 9


async def test_numbers_are_forgotten_after_a_day(database: Database) -> None:
    await send(database)
    await send(database, OTHER, NOW + timedelta(days=1))
    async with database.begin() as session:
        assert list((await session.execute(select(PhoneCode.phone))).scalars()) == [OTHER]


async def test_a_phone_joins_the_person_who_is_logged_in(database: Database) -> None:
    async with database.begin() as session:
        mine = await actions.login_openid(session, "openid-1", "小满", NOW)
    assert mine.id is not None
    both = await enter(database, await send(database), current=(mine.id, 1))
    assert both is not None
    assert (both.id, both.openid, both.phone, both.name) == (mine.id, "openid-1", PHONE, "小满")
    again = await enter(database, await send(database, now=NOW + timedelta(minutes=1)), now=NOW + timedelta(minutes=1))
    assert again is not None
    assert again.id == mine.id


async def test_a_phone_of_somebody_else_is_not_taken_from_them(database: Database) -> None:
    theirs = await enter(database, await send(database))
    async with database.begin() as session:
        mine = await actions.login_openid(session, "openid-1", "小满", NOW)
    assert theirs is not None
    assert mine.id is not None
    later = NOW + timedelta(minutes=1)
    code = await send(database, now=later)
    before = await everything(database)
    with pytest.raises(Refusal) as refusal:
        await enter(database, code, now=later, current=(mine.id, 1))
    assert (refusal.value.code, refusal.value.facts) == (Code.STATE, {"state": "phone_taken"})
    assert await everything(database) == before


async def test_an_ended_session_can_add_no_phone(database: Database) -> None:
    async with database.begin() as session:
        mine = await actions.login_openid(session, "openid-1", "小满", NOW)
    assert mine.id is not None
    async with database.begin() as session:
        await session.execute(text("UPDATE person SET token_version = token_version + 1 WHERE id = :id"), {"id": mine.id})
    code = await send(database)
    before = await everything(database)
    with pytest.raises(Refusal) as refusal:
        await enter(database, code, current=(mine.id, 1))
    assert refusal.value.code is Code.UNAUTHORISED
    assert await everything(database) == before
