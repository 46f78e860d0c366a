"""Who waits for an offer that is sold out, in the order they came."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import SQLModel

from live.infra.columns import Moment, big, document, identity, moment, words, words_or_none
from live.offers.waitlist.rules import STATES


class WaitlistLine(SQLModel, table=True):
    """The line of one offer: its row is locked for every change of it, so places are given in the order of commits.

    `waiting`: how many stand in it; `last`: the last place that was given; `version` counts what the room is told.
    """

    __tablename__ = "waitlist_line"
    __table_args__ = (CheckConstraint("waiting >= 0", name="waiting"),)

    offer_id: int = big(foreign_key="offer.id", primary_key=True)
    waiting: int = big(0)
    last: int = big(0)
    version: int = big(1)


class Waitlist(SQLModel, table=True):
    """One wish, at most one that waits for a person and offer. `at`: acceptable stores; `fen`: the most it may cost, one unit.

    `cause` is the movement that brought back what it was given, so that a repeat finds it again; `why` a SKIPPED one was passed over.
    """

    __tablename__ = "waitlist"
    __table_args__ = (
        CheckConstraint("state IN ('" + "','".join(STATES) + "')", name="state"),
        CheckConstraint("qty > 0", name="qty"),
        CheckConstraint("(state = 'GIVEN') = (order_no IS NOT NULL)", name="given"),
        Index("uq_waitlist_waiting", "offer_id", "person", unique=True, postgresql_where=text("state = 'WAITING'")),
        Index("uq_waitlist_place", "offer_id", "place", unique=True, postgresql_where=text("state = 'WAITING'")),
        Index("ix_waitlist_cause", "cause", postgresql_where=text("cause IS NOT NULL")),
        Index("ix_waitlist_person", "person", "id"),
    )

    id: int | None = identity()
    offer_id: int = big()
    room_id: str = words()
    person: str = words()
    place: int = big()
    qty: int = big()
    at: list[Any] = document("[]", default_factory=list)
    fen: int = big()
    price_version: int = big()
    state: str = words("WAITING")
    version: int = big(1)
    order_no: str | None = words_or_none()
    why: str | None = words_or_none()
    cause: str | None = words_or_none()
    since: Moment = moment()
