"""host's levers

Rows of a run sheet that pin what they open; batches of coupons that were taken back.

Revision 0012, after 0011, 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | Sequence[str] | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("run_row", sa.Column("pins", sa.Boolean(), server_default="false", nullable=False))
    op.create_table(
        "coupon_void",
        sa.Column("offer_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by_staff", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["by_staff"], ["staff.id"], name=op.f("fk_coupon_void_by_staff_staff")),
        sa.ForeignKeyConstraint(["offer_id"], ["offer.id"], name=op.f("fk_coupon_void_offer_id_offer")),
        sa.PrimaryKeyConstraint("offer_id", name=op.f("pk_coupon_void")),
    )


def downgrade() -> None:
    op.drop_table("coupon_void")
    op.drop_column("run_row", "pins")
