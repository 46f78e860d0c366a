"""The outbox (what SQL decided and others must learn; kinds in `outbox.py`) and a room's acts and state as SQL knows them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import SQLModel

from live.infra.columns import Moment, big, document, identity, moment, moment_or_none, words, words_or_none


class Outbox(SQLModel, table=True):
    """One thing to be told. `room` kinds are applied by the ledger and then deleted; `job` kinds are claimed by workers."""

    __tablename__ = "outbox"
    __table_args__ = (
        CheckConstraint("kind IN ('act','own','count','house','job')", name="kind"),
        Index("ix_outbox_room", "room_id", "id", postgresql_where=text("kind <> 'job'")),
        Index("ix_outbox_job", "topic", "key", "id", postgresql_where=text("kind = 'job' AND done_at IS NULL")),
    )

    id: int | None = identity()
    kind: str = words()
    topic: str = words("")
    room_id: str | None = words_or_none()
    key: str = words("")
    payload: dict[str, Any] = document(default_factory=dict)
    news: str | None = words_or_none()  # of many people, see `outbox.news_of`
    tries: int = big(0)
    error: str = words("")
    created_at: Moment = moment()
    due_at: Moment = moment()
    done_at: Moment | None = moment_or_none()


class RoomClock(SQLModel, table=True):
    """Numbers a room's acts, gapless, under this row's lock."""

    __tablename__ = "room_clock"

    room_id: str = words(primary_key=True)
    act_no: int = big(0)


class RoomState(SQLModel, table=True):
    """The room's state map as its acts made it: what a rebuilt room starts from. Counts (left, team) are not here."""

    __tablename__ = "room_state"

    room_id: str = words(primary_key=True)
    key: str = words(primary_key=True)
    value: dict[str, Any] = document(default_factory=dict)


class Pressed(SQLModel, table=True):
    """An idempotency key of a member of the staff: a hash of what was asked under it, and what was answered."""

    __tablename__ = "pressed"
    __table_args__ = (Index("ix_pressed_at", "at"),)

    who: str = words(primary_key=True)
    key: str = words(primary_key=True)
    asked: str = words()
    answer: dict[str, Any] = document(default_factory=dict)
    at: Moment = moment()
