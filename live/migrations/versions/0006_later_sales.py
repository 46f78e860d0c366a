"""later sales

Flash sales that start later, and how each ended. Sales that were opened before started at once, and how they ended nobody wrote down.

Revision 0006, after 0005, 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | Sequence[str] | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "flash_sale",
        sa.Column("offer_id", sa.BigInteger(), nullable=False),
        sa.Column("countdown", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("countdown = 0 OR countdown BETWEEN 10 AND 300", name=op.f("ck_flash_sale_countdown")),
        sa.ForeignKeyConstraint(["offer_id"], ["offer.id"], name=op.f("fk_flash_sale_offer_id_offer")),
        sa.PrimaryKeyConstraint("offer_id", name=op.f("pk_flash_sale")),
    )
    op.create_index("ix_flash_sale_untold", "flash_sale", ["offer_id"], unique=False, postgresql_where=sa.text("told_at IS NULL"))
    op.execute("INSERT INTO flash_sale (offer_id, told_at) SELECT id, opens_at FROM offer WHERE kind = 'sale'")


def downgrade() -> None:
    op.drop_table("flash_sale")
