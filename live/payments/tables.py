"""Money in and out. Orders are named by their number; this noun knows nothing else of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import SQLModel

from live.infra.columns import Moment, big, big_or_none, document, identity, moment, moment_or_none, words, words_or_none


class PayAttempt(SQLModel, table=True):
    """One try to pay an order. `out_trade_no` is ours and unique at the provider; exactly one attempt of an order may win."""

    __tablename__ = "pay_attempt"
    __table_args__ = (
        CheckConstraint("state IN ('NEW','SENT','SUCCEEDED','CLOSED','FAILED')", name="state"),
        CheckConstraint("fen > 0", name="fen"),
        Index("uq_pay_attempt_winner", "order_no", unique=True, postgresql_where=text("winner")),
        {"postgresql_with": {"fillfactor": 70}},  # room to become SENT
    )

    id: int | None = identity()
    order_no: str = words(index=True)
    out_trade_no: str = words(unique=True)
    payer: str = words("")  # openid at the provider
    fen: int = big()  # asked for; what was really paid, where a person sent back another amount
    state: str = words("NEW")
    winner: bool = False
    prepay_id: str = words("")
    transaction_id: str | None = words_or_none(unique=True)
    expires_at: Moment = moment()
    paid_at: Moment | None = moment_or_none()
    created_at: Moment = moment()


class PayNotice(SQLModel, table=True):
    """A notice of the provider, kept once by its id."""

    __tablename__ = "pay_notice"

    id: str = words(primary_key=True)
    event_type: str = words()
    body: dict[str, Any] = document(default_factory=dict)
    verdict: str = words("")
    at: Moment = moment()


class PayException(SQLModel, table=True):
    """A reconciliation exception: what the provider said about money contradicts our books, and a person decides what becomes of it.

    Kept once for each thing said of a number, however often it is said again. `ask_at`: when the provider is next worth asking.
    """

    __tablename__ = "pay_exception"
    __table_args__ = (
        CheckConstraint("state IN ('OPEN','REFUNDED','ACCEPTED','NOTED')", name="state"),
        CheckConstraint("(state = 'OPEN') = (decided_at IS NULL)", name="decided"),
        Index("uq_pay_exception_said", "out_trade_no", "verdict", "told", unique=True),
        Index("ix_pay_exception_open", "order_no", postgresql_where=text("state = 'OPEN'")),
    )

    id: int | None = identity()
    out_trade_no: str = words()
    order_no: str | None = words_or_none()  # None: a number that is not ours
    verdict: str = words()
    expected: dict[str, Any] = document(default_factory=dict)
    told: dict[str, Any] = document(default_factory=dict)
    state: str = words("OPEN")
    times: int = big(1)
    at: Moment = moment()
    last_at: Moment = moment()
    ask_at: Moment = moment()
    note: str = words("")
    by_staff: int | None = big_or_none(foreign_key="staff.id")
    decided_at: Moment | None = moment_or_none()  # without a member of the staff: it healed


class Refund(SQLModel, table=True):
    """Money that goes back. One per (order, cause); `out_refund_no` is derived from them, so a repeat refunds once."""

    __tablename__ = "refund"
    __table_args__ = (
        UniqueConstraint("order_no", "cause", name="uq_refund_cause"),
        CheckConstraint("state IN ('REQUESTED','DECLINED','APPROVED','SENT','DONE','FAILED')", name="state"),
        CheckConstraint("fen > 0", name="fen"),
        Index("ix_refund_due", "id", postgresql_where=text("state IN ('APPROVED','SENT')")),
    )

    id: int | None = identity()
    order_no: str = words(index=True)
    cause: str = words()  # buyer, ladder, group_failed, late, loser, mismatch
    out_trade_no: str = words()
    out_refund_no: str = words(unique=True)
    fen: int = big()
    total: int = big()  # what the attempt was paid with; the provider asks for it
    reason: str = words("")
    state: str = words("REQUESTED")
    provider_id: str | None = words_or_none(unique=True)
    version: int = big(1)
    created_at: Moment = moment()
    due_at: Moment = moment()
    done_at: Moment | None = moment_or_none()
