"""Make a link; open one.

The tree has no cycle by construction: a person gets an inviter only while nobody came through a link of theirs. Opening locks the
opener's row for itself and the sharer's row as shared, so whichever of two happens first, the other sees it; and a path, once another
path is built on it, never changes.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy import exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import epoch_ms
from live.people.sharing import rules
from live.people.sharing.tables import ShareLink, ShareTouch
from live.people.tables import Person
from live.protocol.codes import Code, Refusal

TOKEN_BYTES = 12  # 96 bits in 16 characters of A-Z a-z 0-9 - _, which a mini-program's scene (32 at most) may carry


async def link(session: AsyncSession, room_id: str, sharer: str) -> str:
    """The token of this sharer's link to this room, made when asked first. Refusal(NOT_FOUND)."""
    row = insert(ShareLink).values(token=secrets.token_urlsafe(TOKEN_BYTES), sharer=sharer, room_id=room_id)
    try:
        await session.execute(row.on_conflict_do_nothing(constraint="uq_share_link_sharer"))
    except IntegrityError:
        raise Refusal(Code.NOT_FOUND, what="room") from None
    mine = select(col(ShareLink.token)).where(col(ShareLink.sharer) == sharer, col(ShareLink.room_id) == room_id)
    return str((await session.execute(mine)).scalar_one())


async def open_link(session: AsyncSession, token: str, person_id: int, now: datetime) -> ShareTouch:
    """This person came by this link. The first one opened makes their place in the tree, unless they brought somebody themselves before.

    Refusal(NOT_FOUND), (STATE self) for one's own link, (LIMIT allowed) after 20 different touches in a day.
    """
    found = await session.get(ShareLink, token)
    if found is None:
        raise Refusal(Code.NOT_FOUND, what="share")
    subject = f"p:{person_id}"
    if found.sharer == subject:
        raise Refusal(Code.STATE, state="self")
    person, above = await _both(session, person_id, found.sharer)
    mine = select(ShareTouch).where(col(ShareTouch.person) == subject).order_by(col(ShareTouch.id).desc())
    last = (await session.execute(mine.limit(1))).scalar_one_or_none()
    if last is not None and (last.sharer, last.room_id) == (found.sharer, found.room_id) and last.at > now - rules.SAME:
        return last
    today = select(func.count()).where(col(ShareTouch.person) == subject, col(ShareTouch.at) > now - timedelta(days=1))
    if (await session.execute(today)).scalar_one() >= rules.TOUCHES_A_DAY:
        raise Refusal(Code.LIMIT, allowed=rules.TOUCHES_A_DAY)
    brought = select(exists().where(col(ShareTouch.sharer) == subject))
    if not person.first_touch and not (await session.execute(brought)).scalar_one():
        path = rules.path(found.sharer, above)
        person.first_touch = {"by": found.sharer, "room": found.room_id, "at": epoch_ms(now), "path": path}
    touch = ShareTouch(person=subject, sharer=found.sharer, room_id=found.room_id, at=now)
    session.add(touch)
    await session.flush()
    return touch


async def _both(session: AsyncSession, person_id: int, sharer: str) -> tuple[Person, list[str]]:
    """The opener's row, locked, and the sharer's inviters, fixed; rows are locked in the order of their ids. Staff have no inviter."""
    one = select(Person).execution_options(populate_existing=True)
    locks = {person_id: one.where(col(Person.id) == person_id).with_for_update(key_share=True)}
    if sharer.startswith("p:"):
        other = int(sharer[2:])
        locks[other] = one.where(col(Person.id) == other).with_for_update(read=True)
    rows = {number: (await session.execute(locks[number])).scalar_one_or_none() for number in sorted(locks)}
    person = rows.pop(person_id)
    if person is None:
        raise Refusal(Code.UNAUTHORISED)
    above = next((list(row.first_touch.get("path", ())) for row in rows.values() if row is not None), [])
    return person, above
