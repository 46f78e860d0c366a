"""coupons with conditions

A coupon may take a percentage, look at some goods only, be for new customers, and end. Those given out before have no condition.

Revision 0008, after 0007, 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0008"
down_revision: str | Sequence[str] | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("coupon_grant", sa.Column("percent", sa.BigInteger(), nullable=True))
    op.add_column("coupon_grant", sa.Column("scope", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False))
    op.add_column("coupon_grant", sa.Column("audience", sa.Text(), server_default="all", nullable=False))
    op.add_column("coupon_grant", sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(op.f("ck_coupon_grant_percent"), "coupon_grant", "percent BETWEEN 1 AND 99")
    op.create_check_constraint(op.f("ck_coupon_grant_audience"), "coupon_grant", "audience IN ('all','new')")
    op.drop_constraint(op.f("ck_coupon_grant_state"), "coupon_grant", type_="check")
    op.create_check_constraint(
        op.f("ck_coupon_grant_state"), "coupon_grant", "state IN ('CLAIMED','LOCKED','USED','EXPIRED','VOID')"
    )
    ends = sa.text("state = 'CLAIMED' AND valid_until IS NOT NULL")
    op.create_index("ix_coupon_grant_ends", "coupon_grant", ["valid_until"], unique=False, postgresql_where=ends)


def downgrade() -> None:
    op.drop_index("ix_coupon_grant_ends", table_name="coupon_grant")
    op.execute("UPDATE coupon_grant SET state = 'VOID' WHERE state = 'EXPIRED'")  # the nearest the older shop knows
    op.drop_constraint(op.f("ck_coupon_grant_state"), "coupon_grant", type_="check")
    op.create_check_constraint(op.f("ck_coupon_grant_state"), "coupon_grant", "state IN ('CLAIMED','LOCKED','USED','VOID')")
    for column in ("valid_until", "audience", "scope", "percent"):
        op.drop_column("coupon_grant", column)
