"""What a flash sale has beside its offer: the countdown before it, and how it ended."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import SQLModel

from live.infra.columns import Moment, big, moment_or_none


class FlashSale(SQLModel, table=True):
    """One row per offer of kind `sale`. Its state is not here: it follows from these facts, the offer's, and the clock (`rules.state`)."""

    __tablename__ = "flash_sale"
    __table_args__ = (
        CheckConstraint("countdown = 0 OR countdown BETWEEN 10 AND 300", name="countdown"),
        Index("ix_flash_sale_untold", "offer_id", postgresql_where=text("told_at IS NULL")),
    )

    offer_id: int = big(foreign_key="offer.id", primary_key=True)
    countdown: int = big(0)  # seconds before the offer opens; 0: it was opened at once
    told_at: Moment | None = moment_or_none()  # when the room was told that it started
    stopped_at: Moment | None = moment_or_none()  # by hand; None: it goes on, or its time was over
