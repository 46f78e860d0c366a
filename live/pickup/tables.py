"""What waits at a store."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import SQLModel

from live.infra.columns import Moment, big_or_none, identity, moment, moment_or_none, words


class Ticket(SQLModel, table=True):
    """One order at one store. The code itself is derived from a secret and not kept; `code_hash` finds the ticket."""

    __tablename__ = "ticket"
    __table_args__ = (
        UniqueConstraint("order_no", "location", name="uq_ticket_order"),
        CheckConstraint("state IN ('QUEUED','READY','COLLECTED','VOID')", name="state"),
    )

    id: int | None = identity()
    order_no: str = words(foreign_key="orders.no")
    room_id: str = words()
    person: str = words()
    location: str = words(foreign_key="location.code", index=True)
    code_hash: str = words(unique=True)
    state: str = words("QUEUED")
    created_at: Moment = moment()
    ready_at: Moment | None = moment_or_none()
    collected_at: Moment | None = moment_or_none()
    collected_by: int | None = big_or_none(foreign_key="staff.id")


class DeskFailure(SQLModel, table=True):
    """A wrong code typed at a desk: five in a minute lock that clerk's device out for 15 minutes."""

    __tablename__ = "desk_failure"

    id: int | None = identity()
    staff_id: int = big_or_none(index=True)
    device: str = words("")
    at: Moment = moment()
