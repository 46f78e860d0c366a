"""Small teams of one offer. The CHECK is the backstop of "never more members than seats"."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from live.infra.columns import Moment, big, identity, moment, moment_or_none, words
from live.offers.parties.rules import MOST_SEATS, STATES


class Party(SQLModel, table=True):
    """`held`: seats of orders not yet paid. `closes_at` is set when the opener has paid. `fills`: the shop takes seats left empty.
    `version`: rises with every change."""

    __tablename__ = "party"
    __table_args__ = (
        CheckConstraint("held >= 0 AND paid >= 0 AND held + paid <= size", name="seats"),
        CheckConstraint(f"size BETWEEN 2 AND {MOST_SEATS}", name="size"),
        CheckConstraint("state IN ('" + "','".join(STATES) + "')", name="state"),
        CheckConstraint("state <> 'success' OR (paid = size AND held = 0)", name="success"),
        Index("ix_party_due", "closes_at", postgresql_where=text("state = 'filling'")),
        Index("ix_party_offer", "offer_id", "id"),
    )

    id: int | None = identity()
    offer_id: int = big(foreign_key="offer.id")
    room_id: str = words()
    opener: str = words()
    size: int = big()
    held: int = big(0)
    paid: int = big(0)
    fills: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    state: str = words("opening")
    version: int = big(1)
    created_at: Moment = moment()
    closes_at: Moment | None = moment_or_none()


class SeatRefusal(SQLModel, table=True):
    """An intent that got no seat. It never gets one later: its buyer was told. `intent`: its handle. Kept for a day."""

    __tablename__ = "seat_refusal"
    __table_args__ = (Index("ix_seat_refusal_at", "at"),)

    room_id: str = words(primary_key=True)
    intent: str = words(primary_key=True)
    why: str = words()
    at: Moment = moment()
