"""hot rows

Rows that come with every order lose what costs them: foreign keys (a trigger per row), a surrogate id and indexes nobody reads.

Revision 0002, after 0001, 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | Sequence[str] | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

KEYS = (
    ("fk_orders_location_location", "orders", "location", "location", "code"),
    ("fk_order_line_order_no_orders", "order_line", "orders", "order_no", "no"),
    ("fk_movement_offer_id_offer", "movement", "offer", "offer_id", "id"),
    ("fk_quota_offer_id_offer", "quota", "offer", "offer_id", "id"),
    ("fk_coupon_grant_offer_id_offer", "coupon_grant", "offer", "offer_id", "id"),
)  # name, table, table pointed to, column, column pointed to


def upgrade() -> None:
    for name, table, *_ in KEYS:
        op.drop_constraint(name, table, type_="foreignkey")
    op.drop_index("ix_movement_offer_location", table_name="movement")
    op.drop_constraint("pk_movement", "movement", type_="primary")
    op.drop_constraint("uq_movement_move_no", "movement", type_="unique")
    op.drop_column("movement", "id")
    op.create_primary_key("pk_movement", "movement", ["offer_id", "location", "move_no"])
    op.drop_index("ix_orders_team", table_name="orders")
    op.create_index("ix_orders_team", "orders", ["team_id", "id"], unique=False, postgresql_where=sa.text("team_id IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("ix_orders_team", table_name="orders")
    op.create_index("ix_orders_team", "orders", ["team_id", "id"], unique=False)
    op.drop_constraint("pk_movement", "movement", type_="primary")
    op.create_unique_constraint("uq_movement_move_no", "movement", ["offer_id", "location", "move_no"])
    op.add_column("movement", sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False))
    op.create_primary_key("pk_movement", "movement", ["id"])
    op.create_index("ix_movement_offer_location", "movement", ["offer_id", "location"], unique=False)
    for name, table, other, column, target in KEYS:
        op.create_foreign_key(name, table, other, [column], [target])
