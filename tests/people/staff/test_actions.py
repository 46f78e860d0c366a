from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from live.infra.db import Database
from live.people.staff import actions
from live.people.staff.passwords import MAX_WAITING, passwords
from live.people.tables import Staff
from live.protocol.codes import Code, Refusal
from live.stock.actions import create_store
from live.stock.tables import Location

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PASSWORD = "a long password"


async def hire(db: Database, account: str = "xiaoman", role: str = "host", store: str | None = None, password: str = PASSWORD) -> Staff:
    kept = await passwords.hash(password)
    async with db.begin() as session:
        return await actions.create(session, account=account, name=account, role=role, store=store, password_hash=kept, one_time=False)


async def rows(db: Database) -> Any:
    async with db.begin() as session:
        return [tuple(row) for row in (await session.execute(text("SELECT * FROM staff ORDER BY id"))).all()]


async def tried(db: Database, password: str, now: datetime = NOW, account: str = "xiaoman") -> Code | None:
    try:
        await actions.login(db, account, password, now)
    except Refusal as refusal:
        return refusal.code
    return None


async def test_the_right_password_logs_in_and_forgives_wrong_ones(database: Database) -> None:
    hired = await hire(database)
    before = await rows(database)
    for _ in range(4):
        assert await tried(database, "wrong") is Code.WRONG_LOGIN
    assert (await actions.login(database, "xiaoman", PASSWORD, NOW)).id == hired.id
    assert await rows(database) == before


async def test_five_wrong_in_a_row_lock_the_account_for_fifteen_minutes(database: Database) -> None:
    await hire(database)
    assert [await tried(database, "wrong") for _ in range(5)] == [Code.WRONG_LOGIN] * 5
    before = await rows(database)
    with pytest.raises(Refusal) as refusal:
        await actions.login(database, "xiaoman", PASSWORD, NOW + timedelta(minutes=5))
    assert (refusal.value.code, refusal.value.facts) == (Code.LOCKED_OUT, {"wait": 601})
    assert await rows(database) == before
    later = NOW + timedelta(minutes=15)
    assert [await tried(database, "wrong", later) for _ in range(4)] == [Code.WRONG_LOGIN] * 4
    assert await tried(database, PASSWORD, later) is None


async def test_of_many_tries_at_once_only_five_are_checked(database: Database) -> None:
    await hire(database)
    answers = await asyncio.gather(*(tried(database, f"guess {n}") for n in range(20)))
    assert sorted(answers, key=str) == [Code.LOCKED_OUT] * 15 + [Code.WRONG_LOGIN] * 5
    assert await tried(database, PASSWORD) is Code.LOCKED_OUT


async def test_who_was_not_looked_at_for_the_line_was_full_did_not_try(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await hire(database)
    assert await tried(database, "wrong") is Code.WRONG_LOGIN
    before = await rows(database)
    monkeypatch.setattr(passwords, "_waiting", MAX_WAITING)  # somebody floods the door
    assert [await tried(database, PASSWORD) for _ in range(7)] == [Code.BUSY] * 7
    assert await rows(database) == before
    monkeypatch.setattr(passwords, "_waiting", 0)
    assert await tried(database, PASSWORD) is None


async def test_a_locked_account_does_not_lock_another(database: Database) -> None:
    await hire(database)
    await hire(database, "aning", "moderator")
    for _ in range(6):
        await tried(database, "wrong")
    assert await tried(database, PASSWORD, account="aning") is None


async def test_an_unknown_or_disabled_account_answers_as_a_wrong_password_and_costs_as_much(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hire(database)
    async with database.begin() as session:
        await actions.edit(session, "xiaoman", disabled=True)
    before = await rows(database)
    checked: list[str] = []
    verify = passwords._verify
    monkeypatch.setattr(passwords, "_verify", lambda kept, password: checked.append(kept) or verify(kept, password))
    assert await tried(database, PASSWORD) is Code.WRONG_LOGIN
    assert await tried(database, PASSWORD, account="nobody") is Code.WRONG_LOGIN
    assert len(checked) == 2
    assert {kept.split("$")[1:4] == before[0][5].split("$")[1:4] for kept in checked} == {True}
    assert await rows(database) == before


async def test_a_new_password_ends_other_sessions_and_the_old_one_no_longer_works(database: Database) -> None:
    await hire(database)
    changed = await actions.change_password(database, "xiaoman", PASSWORD, "another password", NOW)
    assert (changed.token_version, changed.one_time) == (2, False)
    assert await tried(database, PASSWORD) is Code.WRONG_LOGIN
    assert await tried(database, "another password") is None


@pytest.mark.parametrize(
    ("old", "new", "code", "facts"),
    [
        (PASSWORD, "too short", Code.BAD_REQUEST, {"field": "new", "why": "fewer than 10 characters"}),
        (PASSWORD, PASSWORD, Code.BAD_REQUEST, {"field": "new", "why": "is the old one"}),
        (PASSWORD, "xiaoman-of-the-shop", Code.BAD_REQUEST, {"field": "new", "why": "is the account"}),
        ("wrong", "another password", Code.WRONG_LOGIN, {}),
    ],
)
async def test_a_bad_change_of_password_changes_nothing(database: Database, old: str, new: str, code: Code, facts: dict[str, str]) -> None:
    await hire(database, "xiaoman-of-the-shop")
    before = await rows(database)
    with pytest.raises(Refusal) as refusal:
        await actions.change_password(database, "xiaoman-of-the-shop", old, new, NOW)
    assert (refusal.value.code, refusal.value.facts) == (code, facts)
    after = await rows(database)
    assert [row[5] for row in after] == [row[5] for row in before]
    assert (after == before) is (code is not Code.WRONG_LOGIN)  # a wrong old password counts as a try


@pytest.mark.parametrize(
    ("account", "role", "store", "code", "facts"),
    [
        ("xiaoman", "host", None, Code.STATE, {"state": "exists", "field": "account"}),
        ("XIAOMAN", "host", None, Code.STATE, {"state": "exists", "field": "account"}),
        ("a b", "host", None, Code.BAD_REQUEST, {"field": "account", "why": "2 to 32 of a-z 0-9 _ . -"}),
        ("clerk", "clerk", None, Code.BAD_REQUEST, {"field": "store", "why": "clerks and leaders belong to a store"}),
        ("clerk", "clerk", "nowhere", Code.NOT_FOUND, {"field": "store"}),
        ("king", "king", None, Code.BAD_REQUEST, {"field": "role", "why": "unknown role"}),
    ],
)
async def test_a_wrong_account_is_not_made(
    database: Database, account: str, role: str, store: str | None, code: Code, facts: dict[str, str]
) -> None:
    await hire(database)
    before = await rows(database)
    with pytest.raises(Refusal) as refusal:
        await hire(database, account, role, store)
    assert (refusal.value.code, refusal.value.facts) == (code, facts)
    assert await rows(database) == before


async def test_a_clerk_belongs_to_a_store(database: Database) -> None:
    async with database.begin() as session:
        await create_store(session, Location(code="jingan", name_zh="静安", name_en="Jing'an"))
    assert (await hire(database, "clerk-jingan", "clerk", "jingan")).store == "jingan"
    for role, store in (("leader", "jingan"), ("host", None)):  # a clerk's store is not an owner's or a host's
        async with database.begin() as session:
            assert (await actions.edit(session, "clerk-jingan", role=role)).store == store


async def test_an_edit_and_a_reset_end_every_session(database: Database) -> None:
    await hire(database)
    async with database.begin() as session:
        edited = await actions.edit(session, "xiaoman", name="小满", role="moderator")
    assert (edited.name, edited.role, edited.token_version) == ("小满", "moderator", 2)
    for _ in range(6):
        await tried(database, "wrong")
    kept = await passwords.hash("one-time-pass")
    async with database.begin() as session:
        again = await actions.reset(session, "xiaoman", kept)
    assert (again.one_time, again.token_version) == (True, 3)
    assert await tried(database, "one-time-pass") is None


@pytest.mark.parametrize("change", [{"disabled": True}, {"role": "host"}])
async def test_the_last_owner_stays(database: Database, change: dict[str, Any]) -> None:
    await hire(database, "zhou", "owner")
    before = await rows(database)
    async with database.begin() as session:
        with pytest.raises(Refusal) as refusal:
            await actions.edit(session, "zhou", **change)
    assert (refusal.value.code, refusal.value.facts) == (Code.STATE, {"state": "last_owner"})
    assert await rows(database) == before


async def test_two_owners_who_put_each_other_out_leave_one(database: Database) -> None:
    await hire(database, "zhou", "owner")
    await hire(database, "wang", "owner")

    async def disable(account: str) -> None:
        async with database.begin() as session:
            await actions.edit(session, account, disabled=True)

    results = await asyncio.gather(disable("zhou"), disable("wang"), return_exceptions=True)
    assert [result.facts for result in results if isinstance(result, Refusal)] == [{"state": "last_owner"}]
    assert sorted(row[7] for row in await rows(database)) == [False, True]
