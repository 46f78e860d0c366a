"""small teams

Many small teams on one offer of kind group, and the orders that sit in them.

Revision 0010, after 0009, 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | Sequence[str] | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "party",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("offer_id", sa.BigInteger(), nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("opener", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("paid", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fills", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("state", sa.Text(), server_default="opening", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closes_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("held >= 0 AND paid >= 0 AND held + paid <= size", name=op.f("ck_party_seats")),
        sa.CheckConstraint("size BETWEEN 2 AND 50", name=op.f("ck_party_size")),
        sa.CheckConstraint("state IN ('opening','filling','closing','success','filled','failed')", name=op.f("ck_party_state")),
        sa.CheckConstraint("state <> 'success' OR (paid = size AND held = 0)", name=op.f("ck_party_success")),
        sa.ForeignKeyConstraint(["offer_id"], ["offer.id"], name=op.f("fk_party_offer_id_offer")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_party")),
    )
    op.create_index("ix_party_due", "party", ["closes_at"], unique=False, postgresql_where=sa.text("state = 'filling'"))
    op.create_index("ix_party_offer", "party", ["offer_id", "id"], unique=False)
    op.add_column("orders", sa.Column("party_id", sa.BigInteger(), nullable=True))
    op.create_index("ix_orders_party", "orders", ["party_id", "id"], unique=False, postgresql_where=sa.text("party_id IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("ix_orders_party", table_name="orders")
    op.drop_column("orders", "party_id")
    op.drop_table("party")
