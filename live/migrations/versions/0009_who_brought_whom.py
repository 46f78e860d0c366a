"""who brought whom

Links people share and who opened them; group leaders and their pickup points.

Revision 0009, after 0008, 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | Sequence[str] | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def _staff(roles: str, placed: str) -> None:
    """The rules of a staff's role, with these roles, of which these belong to a store."""
    for name, rule in (("ck_staff_role", f"role IN ({roles})"), ("ck_staff_clerk_has_store", f"{placed} OR store IS NOT NULL")):
        op.drop_constraint(op.f(name), "staff", type_="check")
        op.create_check_constraint(op.f(name), "staff", rule)


def upgrade() -> None:
    op.create_table(
        "share_link",
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("sharer", sa.Text(), nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["room_id"], ["room.id"], name=op.f("fk_share_link_room_id_room")),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_share_link")),
        sa.UniqueConstraint("sharer", "room_id", name="uq_share_link_sharer"),
    )
    op.create_table(
        "share_touch",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("sharer", sa.Text(), nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("person <> sharer", name=op.f("ck_share_touch_other")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_share_touch")),
    )
    op.create_index("ix_share_touch_person", "share_touch", ["person", "id"], unique=False)
    op.create_index("ix_share_touch_sharer", "share_touch", ["sharer", "room_id"], unique=False)
    op.create_index(
        "ix_orders_credit", "orders", ["room_id", sa.literal_column("(attribution ->> 'credit')")], unique=False,
        postgresql_where=sa.text("attribution ? 'credit'"),
    )  # fmt: skip
    op.add_column("location", sa.Column("leader_point", sa.Boolean(), server_default="false", nullable=False))
    _staff("'owner','host','moderator','clerk','leader'", "role NOT IN ('clerk','leader')")


def downgrade() -> None:
    op.execute("UPDATE staff SET role = 'clerk' WHERE role = 'leader'")
    _staff("'owner','host','moderator','clerk'", "role <> 'clerk'")
    op.drop_column("location", "leader_point")
    op.drop_index("ix_orders_credit", table_name="orders")
    op.drop_table("share_touch")
    op.drop_table("share_link")
