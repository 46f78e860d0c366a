"""Who follows which room."""

from __future__ import annotations

from sqlmodel import SQLModel

from live.infra.columns import Moment, big, moment, words


class Follow(SQLModel, table=True):
    """A person and a room: `following` as they last said, `at`. The row stays when they stop, so that the sum of a room's versions only
    rises, and of two counts the newer is known."""

    __tablename__ = "follow"

    room_id: str = words(primary_key=True, foreign_key="room.id")
    person: str = words(primary_key=True, index=True)
    following: bool = True
    version: int = big(1)
    at: Moment = moment()
