"""Links people share, and who opened them. Subjects as in tokens: `p:<id>` a person, `s:<id>` one of the staff (a guide)."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlmodel import SQLModel

from live.infra.columns import Moment, identity, moment, words


class ShareLink(SQLModel, table=True):
    """One link per sharer and room."""

    __tablename__ = "share_link"
    __table_args__ = (UniqueConstraint("sharer", "room_id", name="uq_share_link_sharer"),)

    token: str = words(primary_key=True)
    sharer: str = words()
    room_id: str = words(foreign_key="room.id")
    created_at: Moment = moment()


class ShareTouch(SQLModel, table=True):
    """Somebody opened somebody's link. Rows are only added, so what held at the moment of an order can be read at any time."""

    __tablename__ = "share_touch"
    __table_args__ = (
        CheckConstraint("person <> sharer", name="other"),
        Index("ix_share_touch_person", "person", "id"),
        Index("ix_share_touch_sharer", "sharer", "room_id"),
    )

    id: int | None = identity()
    person: str = words()
    sharer: str = words()
    room_id: str = words()
    at: Moment = moment()
