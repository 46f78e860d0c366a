"""Staff accounts: made by an owner with a one-time password, logged in by password, ended at once.

A try is counted before the password is checked and forgiven when it was right: otherwise a hundred tries at the same moment would
all be checked against a count of zero. Checking happens between two transactions, so that nobody waits for a hash with a row locked.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import Database
from live.people import rules
from live.people.queries import staff_by_account
from live.people.staff.passwords import passwords
from live.people.tables import Staff
from live.protocol.codes import Code, Refusal

STORE_KEY = "fk_staff_store_location"


async def login(db: Database, account: str, password: str, now: datetime) -> Staff:
    """Who logs in. Raises Refusal(WRONG_LOGIN), (BUSY) or, after 5 wrong in a row, (LOCKED_OUT wait) with `wait` in seconds."""
    async with db.begin() as session:
        kept = await _count_try(session, account, now)
    try:
        right = await passwords.matches(kept, password)
    except Refusal:  # BUSY: it was not looked at, so it was no wrong try either
        async with db.begin() as session:
            await _uncount_try(session, account)
        raise
    if not right:
        raise Refusal(Code.WRONG_LOGIN)
    async with db.begin() as session:
        return await _forgive(session, account, kept or "")


async def change_password(db: Database, account: str, old: str, new: str, now: datetime) -> Staff:
    """Take a new password; every other session of this account ends. Tries of the old one count as logins do.

    Raises Refusal(BAD_REQUEST field why), Refusal(WRONG_LOGIN) or Refusal(LOCKED_OUT wait).
    """
    if fault := rules.password_fault(new, account):
        raise Refusal(Code.BAD_REQUEST, field="new", why=fault)
    if new == old:
        raise Refusal(Code.BAD_REQUEST, field="new", why="is the old one")
    staff = await login(db, account, old, now)
    kept = await passwords.hash(new)
    async with db.begin() as session:
        row = await _locked(session, staff.account)
        if row.password_hash != staff.password_hash:
            raise Refusal(Code.STATE, state="changed")
        row.password_hash, row.one_time = kept, False
        row.token_version += 1
        return row


async def create(
    session: AsyncSession, *, account: str, name: str, role: str, store: str | None, password_hash: str, one_time: bool = True
) -> Staff:
    """A new account. Raises Refusal(BAD_REQUEST field why), Refusal(STATE) when it exists, Refusal(NOT_FOUND field) for a wrong store."""
    login_name = rules.account(account)
    if login_name is None:
        raise Refusal(Code.BAD_REQUEST, field="account", why="2 to 32 of a-z 0-9 _ . -")
    _check_role(role, store)
    values = {"account": login_name, "name": rules.display_name(name) or login_name, "role": role, "store": store}
    row = insert(Staff).values(**values, password_hash=password_hash, one_time=one_time, disabled=False)
    try:
        made = (await session.execute(row.on_conflict_do_nothing(index_elements=["account"]).returning(Staff))).scalar_one_or_none()
    except IntegrityError as error:
        raise _store_refusal(error) from None
    if made is None:
        raise Refusal(Code.STATE, state="exists", field="account")
    return made


async def edit(
    session: AsyncSession, account: str, *, name: str | None = None, role: str | None = None, store: str | None = None,
    disabled: bool | None = None,
) -> Staff:  # fmt: skip
    """Change what is given and end every session. Raises Refusal(NOT_FOUND), or Refusal(STATE) when the last owner would go."""
    if role not in (None, rules.OWNER) or disabled:
        # Locked together and in order: two owners who put each other out must not both succeed.
        owners = select(col(Staff.account)).where(col(Staff.role) == rules.OWNER, ~col(Staff.disabled))
        if list((await session.execute(owners.order_by(col(Staff.id)).with_for_update())).scalars()) == [account]:
            raise Refusal(Code.STATE, state="last_owner")
    row = await _locked(session, account)
    row.name = rules.display_name(name) or row.name
    if role not in (None, row.role, *rules.PLACED):
        row.store = None  # who belonged to a store as a clerk does not as an owner
    row.role = role or row.role
    row.store = store if store is not None else row.store
    row.disabled = row.disabled if disabled is None else disabled
    row.token_version += 1
    _check_role(row.role, row.store)
    try:
        await session.flush()
    except IntegrityError as error:
        raise _store_refusal(error) from None
    return row


async def reset(session: AsyncSession, account: str, password_hash: str) -> Staff:
    """A one-time password for somebody who lost theirs; sessions and locks end. Raises Refusal(NOT_FOUND)."""
    row = await _locked(session, account)
    row.password_hash, row.one_time, row.failures, row.locked_until = password_hash, True, 0, None
    row.token_version += 1
    return row


async def logout(session: AsyncSession, account: str) -> None:
    """End every session of this account, on every device: a cookie left somewhere must not live on."""
    (await _locked(session, account)).token_version += 1


async def _count_try(session: AsyncSession, account: str, now: datetime) -> str | None:
    """Count a try and return the hash to check; None when there is no such account. Raises Refusal(LOCKED_OUT wait)."""
    failures = case((col(Staff.locked_until).is_(None), col(Staff.failures) + 1), else_=1)  # a lock that ended starts anew
    locked: Any = case((failures >= rules.LOGIN_TRIES, now + rules.LOGIN_PAUSE), else_=None)
    ours = update(Staff).where(
        col(Staff.account) == account, ~col(Staff.disabled), or_(col(Staff.locked_until).is_(None), col(Staff.locked_until) <= now)
    )
    kept = (
        await session.execute(ours.values(failures=failures, locked_until=locked).returning(col(Staff.password_hash)))
    ).scalar_one_or_none()
    if kept is None and (row := await staff_by_account(session, account)) is not None and not row.disabled:
        until = row.locked_until or now  # None: forgiven since
        raise Refusal(Code.LOCKED_OUT, wait=int((until - now).total_seconds()) + 1)
    return kept


async def _uncount_try(session: AsyncSession, account: str) -> None:
    fewer = func.greatest(col(Staff.failures) - 1, 0)
    await session.execute(update(Staff).where(col(Staff.account) == account).values(failures=fewer, locked_until=None))


async def _forgive(session: AsyncSession, account: str, kept: str) -> Staff:
    row = await _locked(session, account)
    if row.disabled or row.password_hash != kept:
        raise Refusal(Code.WRONG_LOGIN)  # changed while we were checking
    row.failures, row.locked_until = 0, None
    return row


async def _locked(session: AsyncSession, account: str) -> Staff:
    query = select(Staff).where(col(Staff.account) == account).with_for_update()
    row = (await session.execute(query.execution_options(populate_existing=True))).scalar_one_or_none()
    if row is None:
        raise Refusal(Code.NOT_FOUND, field="account")
    return row


def _check_role(role: str, store: str | None) -> None:
    if role not in rules.ROLES:
        raise Refusal(Code.BAD_REQUEST, field="role", why="unknown role")
    if role in rules.PLACED and not store:
        raise Refusal(Code.BAD_REQUEST, field="store", why="clerks and leaders belong to a store")


def _store_refusal(error: IntegrityError) -> Refusal | IntegrityError:
    diagnosis = getattr(error.orig, "diag", None)
    return Refusal(Code.NOT_FOUND, field="store") if getattr(diagnosis, "constraint_name", None) == STORE_KEY else error
