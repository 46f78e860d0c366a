"""Draws and who entered them."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import SQLModel

from live.infra.columns import Moment, big, big_or_none, identity, moment, moment_or_none, words


class Draw(SQLModel, table=True):
    """`winners` prizes, each what the names say; a coupon of `off` fen from orders of `threshold` fen on
    when `off` is above 0, or so many `points`."""

    __tablename__ = "draw"
    __table_args__ = (
        CheckConstraint("phase IN ('open','drawn')", name="phase"),
        CheckConstraint("entry IN ('comment','order','follow')", name="entry"),
        CheckConstraint("winners > 0", name="winners"),
        CheckConstraint("points >= 0 AND (points = 0 OR off = 0)", name="prize"),
        CheckConstraint("(phase = 'drawn') = (drawn_at IS NOT NULL)", name="drawn"),
    )

    id: int | None = identity()
    room_id: str = words(index=True)
    phase: str = words("open")
    prize_zh: str = words()
    prize_en: str = words()
    off: int = big(0)
    threshold: int = big(0)
    points: int = big(0)
    winners: int = big()
    entry: str = words()
    word: str = words("")
    seed: str = words()
    commitment: str = words()
    opens_at: Moment = moment()
    closes_at: Moment = moment()
    drawn_at: Moment | None = moment_or_none()


class DrawPress(SQLModel, table=True):
    """Who pressed "follow and take part" while the draw was open. They are in it if they still follow when it is drawn."""

    __tablename__ = "draw_press"

    draw_id: int = big(foreign_key="draw.id", primary_key=True)
    person: str = words(primary_key=True)
    at: Moment = moment()


class DrawEntry(SQLModel, table=True):
    """Who was in it when it was drawn, once; `place` from 1 when they won."""

    __tablename__ = "draw_entry"
    __table_args__ = (UniqueConstraint("draw_id", "person"), UniqueConstraint("draw_id", "place"))

    draw_id: int = big(foreign_key="draw.id", primary_key=True)
    ticket: str = words(primary_key=True)
    person: str = words()
    place: int | None = big_or_none()
