"""Shares of red packets, cut when the packet is dropped."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import SQLModel

from live.infra.columns import Moment, big, big_or_none, moment_or_none, words_or_none


class PacketShare(SQLModel, table=True):
    """The `number`-th share of an offer, `amount` points or fen. It is somebody's when it has a rid; what has none at the end lapses."""

    __tablename__ = "packet_share"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("(rid IS NULL) = (person IS NULL)", name="person"),
        UniqueConstraint("offer_id", "person", name="uq_packet_share_person"),
    )

    offer_id: int = big(primary_key=True)
    number: int = big(primary_key=True)
    amount: int = big()
    rid: str | None = words_or_none(unique=True)
    intent_id: str | None = words_or_none()
    person: str | None = words_or_none()
    grant_id: int | None = big_or_none()
    taken_at: Moment | None = moment_or_none()
