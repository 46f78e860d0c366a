"""who waits

Lines before sales that are sold out. Sales that were opened before have none.

Revision 0004, after 0003, 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | Sequence[str] | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "waitlist_line",
        sa.Column("offer_id", sa.BigInteger(), nullable=False),
        sa.Column("waiting", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.CheckConstraint("waiting >= 0", name=op.f("ck_waitlist_line_waiting")),
        sa.ForeignKeyConstraint(["offer_id"], ["offer.id"], name=op.f("fk_waitlist_line_offer_id_offer")),
        sa.PrimaryKeyConstraint("offer_id", name=op.f("pk_waitlist_line")),
    )
    op.create_table(
        "waitlist",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("offer_id", sa.BigInteger(), nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("qty", sa.BigInteger(), nullable=False),
        sa.Column("at", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.Column("price_version", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="WAITING", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("order_no", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(state = 'GIVEN') = (order_no IS NOT NULL)", name=op.f("ck_waitlist_given")),
        sa.CheckConstraint("qty > 0", name=op.f("ck_waitlist_qty")),
        sa.CheckConstraint("state IN ('WAITING','GIVEN','LEFT','SKIPPED','CLOSED')", name=op.f("ck_waitlist_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_waitlist")),
    )
    op.create_index("ix_waitlist_cause", "waitlist", ["cause"], unique=False, postgresql_where=sa.text("cause IS NOT NULL"))
    op.create_index("ix_waitlist_person", "waitlist", ["person", "id"], unique=False)
    op.create_index("uq_waitlist_place", "waitlist", ["offer_id", "place"], unique=True, postgresql_where=sa.text("state = 'WAITING'"))
    op.create_index("uq_waitlist_waiting", "waitlist", ["offer_id", "person"], unique=True, postgresql_where=sa.text("state = 'WAITING'"))


def downgrade() -> None:
    op.drop_table("waitlist")
    op.drop_table("waitlist_line")
