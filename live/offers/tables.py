"""The till: everything scarce. The CHECKs and unique keys here are the claim "nobody oversells" (decision 0001)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from live.infra.columns import Moment, big, big_or_none, document, identity, moment, moment_or_none, words, words_or_none
from live.offers.gate import guard


class Fence(SQLModel, table=True):
    """One integer per room, raised whenever Redis may have lost something. Intents of older fences are never booked."""

    __tablename__ = "fence"

    room_id: str = words(primary_key=True)
    fence: int = big(1)


class Offer(SQLModel, table=True):
    """N of something, at most k per person, open from-to. `terms` is what its promotion adds (tiers, coupon value, minimum)."""

    __tablename__ = "offer"
    __table_args__ = (
        CheckConstraint("kind IN ('sale','coupon','group','packet')", name="kind"),
        CheckConstraint("phase IN ('open','ended')", name="phase"),
        CheckConstraint("fen >= 0", name="fen"),
        CheckConstraint("per_person > 0", name="per_person"),
        CheckConstraint("(kind IN ('coupon','packet')) = (sku_id IS NULL)", name="sku"),
    )

    id: int | None = identity()
    room_id: str = words(index=True)
    kind: str = words()
    phase: str = words("open")
    sku_id: int | None = big_or_none(foreign_key="sku.id")
    fen: int = big(0)
    price_version: int = big(1)
    per_person: int = big(1)
    hold_seconds: int = big(600)
    opens_at: Moment = moment()
    closes_at: Moment | None = moment_or_none()
    terms: dict[str, Any] = document(default_factory=dict)
    created_at: Moment = moment()


class Allotment(SQLModel, table=True):
    """Units of an offer at a location (`-` where there is none). Held and sold are folds of order states."""

    __tablename__ = "allotment"
    __table_args__ = (CheckConstraint("0 <= taken AND taken <= total", name="taken"),)

    offer_id: int = big(foreign_key="offer.id", primary_key=True)
    location: str = words(primary_key=True)
    total: int = big()
    taken: int = big(0)
    move_no: int = big(0)  # of the last movement; gapless, given under this row's lock


class Movement(SQLModel, table=True):
    """Each change of an allotment, once per (rid, offer, kind). `qty` changes `taken` (HOLD, RELEASE, RESTOCK) or `total`.

    Rows that come with every order have no foreign keys: a key is a trigger per row, and nothing they point to is ever deleted.
    """

    __tablename__ = "movement"
    __table_args__ = (
        UniqueConstraint("rid", "offer_id", "kind", name="uq_movement_cause"),
        CheckConstraint("kind IN ('HOLD','RELEASE','RESTOCK','ADJUST','RETURN')", name="kind"),
        CheckConstraint("move_no > 0", name="move_no"),  # with the key and the tie: what is counted can never be added again
    )

    offer_id: int = big(primary_key=True)
    location: str = words(primary_key=True)
    move_no: int = big(primary_key=True)
    kind: str = words()
    qty: int = big()
    rid: str = words()
    at: Moment = moment()


class Quota(SQLModel, table=True):
    """Units of an offer one person has. `allowed` stands beside it so that the database can refuse."""

    __tablename__ = "quota"
    __table_args__ = (CheckConstraint("0 <= used AND used <= allowed", name="used"),)

    offer_id: int = big(primary_key=True)
    person: str = words(primary_key=True)
    used: int = big(0)
    allowed: int = big()


class Team(SQLModel, table=True):
    """Seats of a group buy: a seat is held when the order is placed and paid when it is paid. `version` counts changes for the bar."""

    __tablename__ = "team"
    __table_args__ = (
        CheckConstraint("held >= 0 AND paid >= 0 AND held + paid <= size", name="seats"),
        CheckConstraint("state IN ('filling','closing','success','failed')", name="state"),
    )

    id: int | None = identity()
    offer_id: int = big(foreign_key="offer.id", unique=True)
    size: int = big()
    held: int = big(0)
    paid: int = big(0)
    minimum: int = big(1)
    state: str = words("filling")
    version: int = big(1)
    closes_at: Moment | None = moment_or_none()


class MovementSeal(SQLModel, table=True):
    """A range of an allotment's movements, sealed: `hash` covers them and the seal before (see `chain.py`). Ranges follow each other."""

    __tablename__ = "movement_seal"
    __table_args__ = (CheckConstraint("0 < from_no AND from_no <= to_no", name="range"),)

    offer_id: int = big(primary_key=True)
    location: str = words(primary_key=True)
    from_no: int = big(primary_key=True)
    to_no: int = big()
    previous: str = words()
    hash: str = words()
    at: Moment = moment()


class Drift(SQLModel, table=True):
    """A mismatch the audit or the till found. Never deleted. `finding` names what the watch found: it is open until `healed_at`, and
    written once while it is open; what the till refused happened at a moment and has neither."""

    __tablename__ = "drift"
    __table_args__ = (Index("uq_drift_open", "room_id", "finding", unique=True, postgresql_where=text("healed_at IS NULL")),)

    id: int | None = identity()
    room_id: str = words()
    offer_id: int | None = big_or_none()
    what: str = words()
    facts: dict[str, Any] = document(default_factory=dict)
    at: Moment = moment()
    finding: str | None = words_or_none()
    healed_at: Moment | None = moment_or_none()


class Watched(SQLModel, table=True):
    """The watch's last look at a room (`scope` is its id) or at the stores' stock (`*`), and what the next look needs of it."""

    __tablename__ = "watched"

    scope: str = words(primary_key=True)
    began_at: Moment | None = moment_or_none()  # a look is under way since; one that never ended is given up after a while
    tried_at: Moment | None = moment_or_none()  # of the last look
    at: Moment | None = moment_or_none()  # of the last look that could tell
    millis: int = big(0)  # how long the last one took
    balanced: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    terms: list[dict[str, Any]] = document("[]", default_factory=list)
    suspects: dict[str, Any] = document(default_factory=dict)  # mismatch -> [in how many looks in a row, what must stay the same]
    asked_at: Moment | None = moment_or_none()  # when a rebuild was last asked for


guard(SQLModel.metadata)
