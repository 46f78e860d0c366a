"""What a host does to a room. Each writes an act, which the ledger brings to the screens."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra import outbox
from live.infra.db import epoch_ms
from live.offers.tables import Offer, Team
from live.protocol.codes import Code, Refusal
from live.protocol.events import CommentWithdrawn, Names, Pinned, RoomClosed, RoomOpened, RoomView, event, view
from live.rooms import queries, rules
from live.rooms.tables import CommentRow, Mute, Room


def _state(room: Room) -> dict[str, object]:
    title = Names(zh=room.title_zh, en=room.title_en)
    began = epoch_ms(room.started_at) if room.started_at and room.phase == "live" else None
    return view(RoomView.model_validate({"phase": room.phase, "title": title, "pin": room.pin, "began": began}))


async def create_room(session: AsyncSession, *, room_id: str, title_zh: str, title_en: str, play_url: str = "", poster: str = "") -> Room:
    """A new room, not yet live. Refusal(STATE) when the id is taken."""
    if await session.get(Room, room_id) is not None:
        raise Refusal(Code.STATE, state="exists", field="id")
    room = Room(id=room_id, title_zh=title_zh, title_en=title_en, play_url=play_url, poster=poster)
    session.add(room)
    await session.flush()
    await outbox.act(session, room_id, state={"room": _state(room)})
    return room


async def edit_room(session: AsyncSession, room_id: str, changes: dict[str, str]) -> Room:
    """Change titles, play URL or poster."""
    room = await queries.room(session, room_id, lock="update")
    for name, value in changes.items():
        setattr(room, name, value)
    await session.flush()
    await outbox.act(session, room_id, state={"room": _state(room)})
    return room


async def start_room(session: AsyncSession, room_id: str, now: datetime) -> Room:
    """The show begins."""
    room = await _go(session, room_id, "live")
    room.started_at = now
    await session.flush()
    await outbox.act(session, room_id, events=[event("room.opened", RoomOpened())], state={"room": _state(room)})
    return room


async def begin_stop(session: AsyncSession, room_id: str) -> list[Offer]:
    """The offers that end with the show, locked with their teams before any act: a payment takes team, offer and clock in this order too.

    The door ends each by the rules of its kind, then calls `stop_room`, all in one transaction.
    """
    await _may(session, room_id, "ended")
    open_ = select(Offer).where(col(Offer.room_id) == room_id, col(Offer.phase) == "open").order_by(col(Offer.id))
    ids = [offer.id for offer in (await session.execute(open_)).scalars()]
    await session.execute(select(Team).where(col(Team.offer_id).in_(ids)).order_by(col(Team.id)).with_for_update())
    locked = select(Offer).where(col(Offer.id).in_(ids), col(Offer.phase) == "open").order_by(col(Offer.id)).with_for_update(key_share=True)
    return list((await session.execute(locked.execution_options(populate_existing=True))).scalars())


async def stop_room(session: AsyncSession, room_id: str, now: datetime) -> Room:
    """The show ends."""
    room = await _go(session, room_id, "ended")
    room.ended_at = now
    room.pin = None
    await session.flush()
    await outbox.act(session, room_id, events=[event("room.closed", RoomClosed())], state={"room": _state(room)})
    return room


async def _may(session: AsyncSession, room_id: str, to: str) -> Room:
    room = await queries.room(session, room_id, lock="update")
    if not rules.may_go(room.phase, to):
        raise Refusal(Code.STATE, state=room.phase)
    return room


async def _go(session: AsyncSession, room_id: str, to: str) -> Room:
    room = await _may(session, room_id, to)
    room.phase = to
    return room


async def pin(session: AsyncSession, room_id: str, offer_id: int | None) -> Room:
    """Explain this offer now (None: nothing)."""
    room = await queries.room(session, room_id, lock="update")
    if offer_id is not None:
        offer = await session.get(Offer, offer_id)
        if offer is None or offer.room_id != room_id:
            raise Refusal(Code.NOT_FOUND, what="offer")
    room.pin = offer_id
    await session.flush()
    await outbox.act(session, room_id, events=[event("room.pinned", Pinned(offer=offer_id))], state={"room": _state(room)})
    return room


async def mute(session: AsyncSession, room_id: str, who: str, minutes: int | None, staff: int, now: datetime) -> None:
    """This viewer may not comment for so many minutes (None: for good)."""
    await queries.room(session, room_id, lock="update")  # two moderators at once: the second finds the first's row
    until = None if minutes is None else now + timedelta(minutes=minutes)
    await session.merge(Mute(room_id=room_id, who=who, until=until, by_staff=staff))
    await session.flush()
    await outbox.act(session, room_id, muted={who: epoch_ms(until) if until else rules.FOR_GOOD})


async def unmute(session: AsyncSession, room_id: str, who: str) -> None:
    """This viewer may comment again."""
    await queries.room(session, room_id, lock="update")
    found = await session.get(Mute, (room_id, who))
    if found is not None:
        await session.delete(found)
        await session.flush()
    await outbox.act(session, room_id, muted={who: 0})


async def withdraw(session: AsyncSession, room_id: str, chat_id: str, now: datetime) -> None:
    """Take a comment off every screen; the archive keeps it, marked. One not archived yet is marked by a job later."""
    await queries.room(session, room_id)
    mark = update(CommentRow).where(col(CommentRow.room_id) == room_id, col(CommentRow.chat_id) == chat_id)
    await session.execute(mark.values(withdrawn_at=now))
    gone = event("comment.withdrawn", CommentWithdrawn(id=chat_id))
    await outbox.act(session, room_id, events=[gone])
    await outbox.job(session, "comment.withdraw", f"{room_id}:{chat_id}", {"room": room_id, "id": chat_id})
