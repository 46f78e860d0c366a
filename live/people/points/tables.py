"""Points people hold: a book that only grows. What somebody has is the sum of their entries."""

from __future__ import annotations

from sqlalchemy import CheckConstraint
from sqlmodel import SQLModel

from live.infra.columns import Moment, big, identity, moment, words


class PointsEntry(SQLModel, table=True):
    """Points that came (or, below 0, went). `cause` stands once in the book, so nothing is credited twice."""

    __tablename__ = "points_entry"
    __table_args__ = (CheckConstraint("amount <> 0", name="amount"),)

    id: int | None = identity()
    person: str = words(index=True)
    amount: int = big()
    cause: str = words(unique=True)
    at: Moment = moment()
