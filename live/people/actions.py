"""Viewers become known: by an openid, by a phone, by both. Guests have no row.

A wrong code is counted, so it is an answer (None) and not a Refusal, which would roll the count back; the door refuses after the commit.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.security import keyed_hash, same
from live.people import rules
from live.people.tables import Person, PhoneCode
from live.protocol.codes import Code, Refusal

PURPOSE = "phone code"


async def login_openid(session: AsyncSession, openid: str, name: str, now: datetime) -> Person:
    """The person with this openid, made when new. `name`: cleaned already; empty keeps the old one."""
    values = {"openid": openid, "created_at": now, "first_touch": {}}
    row = insert(Person).values(**values).on_conflict_do_nothing(index_elements=["openid"])
    await session.execute(row)
    person = (await session.execute(select(Person).where(col(Person.openid) == openid).with_for_update())).scalar_one()
    return _named(person, name)


async def send_code(session: AsyncSession, phone: str, key: str, now: datetime) -> str:
    """A new code for this phone; only its keyed hash is kept, and it ends the one before.

    Raises Refusal(SLOW_DOWN wait) within a minute of the last, Refusal(LIMIT allowed) after 10 a day.
    """
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"{PURPOSE} {phone}", 0))))
    day = now - timedelta(days=1) + rules.CODE_LIFE  # rows hold when they end, not when they were made
    await session.execute(delete(PhoneCode).where(col(PhoneCode.expires_at) <= day))  # nobody needs these numbers any more
    made = select(PhoneCode).where(col(PhoneCode.phone) == phone).order_by(col(PhoneCode.id).desc())
    earlier = list((await session.execute(made)).scalars())
    if earlier and (free := earlier[0].expires_at - rules.CODE_LIFE + rules.CODE_PAUSE) > now:
        raise Refusal(Code.SLOW_DOWN, wait=int((free - now).total_seconds() * 1000) + 1)
    if len(earlier) >= rules.CODES_A_DAY:
        raise Refusal(Code.LIMIT, allowed=rules.CODES_A_DAY)
    code = f"{secrets.randbelow(1_000_000):06d}"
    session.add(PhoneCode(phone=phone, code_hash=keyed_hash(key, PURPOSE, phone, code), expires_at=now + rules.CODE_LIFE))
    return code


async def login_phone(
    session: AsyncSession, *, phone: str, code: str, name: str, current: tuple[int, int] | None, key: str, now: datetime
) -> Person | None:
    """The person with this phone, made when new; None when the code is wrong, old, used or tried too often.

    `current`: id and token version of the person who is asking: the phone becomes theirs. Raises Refusal(STATE) when it is another's.
    """
    latest = select(PhoneCode).where(col(PhoneCode.phone) == phone).order_by(col(PhoneCode.id).desc()).limit(1).with_for_update()
    row = (await session.execute(latest)).scalar_one_or_none()
    if row is None or row.used_at is not None or row.expires_at <= now or row.tries >= rules.CODE_TRIES:
        return None
    row.tries += 1
    if not same(row.code_hash, keyed_hash(key, PURPOSE, phone, code)):
        return None
    row.used_at = now
    person = await _attached(session, phone, *current) if current else await _with_phone(session, phone, now)
    row.person_id = person.id
    return _named(person, name)


async def _attached(session: AsyncSession, phone: str, person_id: int, version: int) -> Person:
    person = await session.get(Person, person_id, with_for_update=True)
    if person is None or person.token_version != version:
        raise Refusal(Code.UNAUTHORISED)
    owner = (await session.execute(select(col(Person.id)).where(col(Person.phone) == phone))).scalar_one_or_none()
    if owner not in (None, person_id):
        raise Refusal(Code.STATE, state="phone_taken")
    person.phone = phone
    return person


async def _with_phone(session: AsyncSession, phone: str, now: datetime) -> Person:
    values = {"phone": phone, "created_at": now, "first_touch": {}}
    await session.execute(insert(Person).values(**values).on_conflict_do_nothing(index_elements=["phone"]))
    return (await session.execute(select(Person).where(col(Person.phone) == phone).with_for_update())).scalar_one()


def _named(person: Person, name: str) -> Person:
    person.name = name or person.name or f"顾客 {person.id}"
    return person
