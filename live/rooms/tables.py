"""Rooms, their comments and who may not speak."""

from __future__ import annotations

from sqlalchemy import CheckConstraint
from sqlmodel import SQLModel

from live.infra.columns import Moment, big_or_none, identity, moment, moment_or_none, words


class Room(SQLModel, table=True):
    """A private live room."""

    __tablename__ = "room"
    __table_args__ = (
        CheckConstraint("phase IN ('draft','live','ended')", name="phase"),
        CheckConstraint("id ~ '^[a-z0-9_-]{1,32}$'", name="id"),
    )

    id: str = words(primary_key=True)
    title_zh: str = words()
    title_en: str = words()
    play_url: str = words("")
    poster: str = words("")
    phase: str = words("draft")
    pin: int | None = big_or_none()
    created_at: Moment = moment()
    started_at: Moment | None = moment_or_none()
    ended_at: Moment | None = moment_or_none()


class CommentRow(SQLModel, table=True):
    """A comment, archived from the room's stream. Withdrawn ones are marked, never deleted."""

    __tablename__ = "comment"

    id: int | None = identity()
    room_id: str = words(index=True)
    chat_id: str = words()
    stream_id: str = words()
    who: str = words()
    name: str = words("")
    text: str = words()
    shown: bool = True
    withdrawn_at: Moment | None = moment_or_none()
    said_at: Moment = moment()


class Mute(SQLModel, table=True):
    """Who may not comment in a room, and until when (None: for good)."""

    __tablename__ = "mute"

    room_id: str = words(primary_key=True)
    who: str = words(primary_key=True)
    until: Moment | None = moment_or_none()
    by_staff: int | None = big_or_none()
