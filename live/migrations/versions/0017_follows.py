"""follows

Who follows a room; draws entered by following it, and draws of points.

Revision 0017, after 0016, 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | Sequence[str] | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def _entries(names: str) -> None:
    op.drop_constraint(op.f("ck_draw_entry"), "draw")
    op.create_check_constraint(op.f("ck_draw_entry"), "draw", f"entry IN ({names})")


def upgrade() -> None:
    op.create_table(
        "follow",
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("following", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["room_id"], ["room.id"], name=op.f("fk_follow_room_id_room")),
        sa.PrimaryKeyConstraint("room_id", "person", name=op.f("pk_follow")),
    )
    op.create_index(op.f("ix_follow_person"), "follow", ["person"], unique=False)
    op.create_table(
        "draw_press",
        sa.Column("draw_id", sa.BigInteger(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["draw_id"], ["draw.id"], name=op.f("fk_draw_press_draw_id_draw")),
        sa.PrimaryKeyConstraint("draw_id", "person", name=op.f("pk_draw_press")),
    )
    _entries("'comment','order','follow'")
    op.add_column("draw", sa.Column("points", sa.BigInteger(), server_default="0", nullable=False))
    op.create_check_constraint(op.f("ck_draw_prize"), "draw", "points >= 0 AND (points = 0 OR off = 0)")


def downgrade() -> None:
    """Shops that drew by following keep those draws: their entry cannot be told as another."""
    op.drop_constraint(op.f("ck_draw_prize"), "draw")
    op.drop_column("draw", "points")
    _entries("'comment','order'")
    op.drop_table("draw_press")
    op.drop_table("follow")
