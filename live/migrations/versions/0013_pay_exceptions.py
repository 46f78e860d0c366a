"""pay exceptions

What a payment provider said that contradicts our books, for a person to decide.

Revision 0013, after 0012, 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0013"
down_revision: str | Sequence[str] | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "pay_exception",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("out_trade_no", sa.Text(), nullable=False),
        sa.Column("order_no", sa.Text(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("expected", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("told", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("state", sa.Text(), server_default="OPEN", nullable=False),
        sa.Column("times", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ask_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("by_staff", sa.BigInteger(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'OPEN') = (decided_at IS NULL)", name=op.f("ck_pay_exception_decided")),
        sa.CheckConstraint("state IN ('OPEN','REFUNDED','ACCEPTED','NOTED')", name=op.f("ck_pay_exception_state")),
        sa.ForeignKeyConstraint(["by_staff"], ["staff.id"], name=op.f("fk_pay_exception_by_staff_staff")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pay_exception")),
    )
    op.create_index("uq_pay_exception_said", "pay_exception", ["out_trade_no", "verdict", "told"], unique=True)
    op.create_index("ix_pay_exception_open", "pay_exception", ["order_no"], postgresql_where=sa.text("state = 'OPEN'"))


def downgrade() -> None:
    op.drop_table("pay_exception")
