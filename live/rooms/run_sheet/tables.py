"""The run sheet of a room and its rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from live.infra.columns import Moment, big, big_or_none, document, identity, moment_or_none, words
from live.rooms.run_sheet.rules import STATES


class RunSheet(SQLModel, table=True):
    """A room's run sheet: its row is locked for every change of it. `version` counts them, so that a console asks for news only."""

    __tablename__ = "run_sheet"

    room_id: str = words(foreign_key="room.id", primary_key=True)
    version: int = big(0)


class RunRow(SQLModel, table=True):
    """One act of a show. `settings`: what its kind's form takes; `minute`: from the show's start; `place`: in the order of the plan.

    `pins`: what it opens is explained at once.
    `version` counts the changes of a row, so that nobody starts what they have not seen; `key` is that of the press that started it.
    """

    __tablename__ = "run_row"
    __table_args__ = (
        CheckConstraint("state IN ('" + "','".join(STATES) + "')", name="state"),
        CheckConstraint("(state = 'PLANNED') = (at IS NULL)", name="at"),
        CheckConstraint("state = 'STARTED' OR offer_id IS NULL", name="offer"),
        CheckConstraint("minute >= 0", name="minute"),
        Index("ix_run_row_room", "room_id", "place"),
        Index("uq_run_row_offer", "offer_id", unique=True, postgresql_where=text("offer_id IS NOT NULL AND kind <> 'pin'")),
    )

    id: int | None = identity()
    room_id: str = words(foreign_key="run_sheet.room_id")
    place: int = big()
    minute: int = big()
    kind: str = words()
    settings: dict[str, Any] = document(default_factory=dict)
    pins: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    note: str = words("")
    state: str = words("PLANNED")
    version: int = big(1)
    offer_id: int | None = big_or_none(foreign_key="offer.id")
    at: Moment | None = moment_or_none()
    by_staff: int | None = big_or_none(foreign_key="staff.id")
    key: str = words("")
