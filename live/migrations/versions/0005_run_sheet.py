"""run sheet

A show's plan, row by row.

Revision 0005, after 0004, 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0005"
down_revision: str | Sequence[str] | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "run_sheet",
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["room_id"], ["room.id"], name=op.f("fk_run_sheet_room_id_room")),
        sa.PrimaryKeyConstraint("room_id", name=op.f("pk_run_sheet")),
    )
    op.create_table(
        "run_row",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("settings", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="PLANNED", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("offer_id", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("by_staff", sa.BigInteger(), nullable=True),
        sa.Column("key", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint("(state = 'PLANNED') = (at IS NULL)", name=op.f("ck_run_row_at")),
        sa.CheckConstraint("minute >= 0", name=op.f("ck_run_row_minute")),
        sa.CheckConstraint("state = 'STARTED' OR offer_id IS NULL", name=op.f("ck_run_row_offer")),
        sa.CheckConstraint("state IN ('PLANNED','STARTED','SKIPPED')", name=op.f("ck_run_row_state")),
        sa.ForeignKeyConstraint(["by_staff"], ["staff.id"], name=op.f("fk_run_row_by_staff_staff")),
        sa.ForeignKeyConstraint(["offer_id"], ["offer.id"], name=op.f("fk_run_row_offer_id_offer")),
        sa.ForeignKeyConstraint(["room_id"], ["run_sheet.room_id"], name=op.f("fk_run_row_room_id_run_sheet")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_row")),
    )
    op.create_index("ix_run_row_room", "run_row", ["room_id", "place"], unique=False)
    op.create_index(
        "uq_run_row_offer", "run_row", ["offer_id"], unique=True, postgresql_where=sa.text("offer_id IS NOT NULL AND kind <> 'pin'")
    )


def downgrade() -> None:
    op.drop_table("run_row")
    op.drop_table("run_sheet")
