"""Persons and staff, read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.people.tables import Person, Staff


async def person(session: AsyncSession, person_id: int) -> Person | None:
    """A known viewer."""
    return await session.get(Person, person_id)


async def staff_by_account(session: AsyncSession, account: str) -> Staff | None:
    """One of the staff."""
    return (await session.execute(select(Staff).where(col(Staff.account) == account))).scalar_one_or_none()


async def has_staff(session: AsyncSession) -> bool:
    """Whether anybody works here yet: a shop without an owner has to begin."""
    return (await session.execute(select(col(Staff.id)).limit(1))).first() is not None


async def all_staff(session: AsyncSession) -> list[Staff]:
    """Everybody who works or worked here, by account."""
    return list((await session.execute(select(Staff).order_by(col(Staff.account)))).scalars())


def staff_view(staff: Staff) -> dict[str, Any]:
    """STAFF of the wire."""
    return {"id": staff.id, "account": staff.account, "name": staff.name, "role": staff.role, "store": staff.store}


async def surroundings(session: AsyncSession) -> dict[str, Any]:
    """Rooms and stores a console offers to choose from. By name of the table: both are higher nouns and cannot be imported here."""
    rooms = (await session.execute(text("SELECT id, title_zh, title_en, phase FROM room ORDER BY created_at DESC, id LIMIT 200"))).all()
    stores = (await session.execute(text("SELECT code, name_zh, name_en FROM location WHERE active ORDER BY code"))).all()
    return {
        "rooms": [{"id": room, "title": {"zh": zh, "en": en}, "phase": phase} for room, zh, en, phase in rooms],
        "stores": [{"code": code, "name": {"zh": zh, "en": en}} for code, zh, en in stores],
    }
