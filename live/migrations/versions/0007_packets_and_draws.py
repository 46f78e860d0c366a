"""packets and draws

Red packets, the points they may hold, and draws.

Revision 0007, after 0006, 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | Sequence[str] | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def _kinds(kinds: str, without_sku: str) -> None:
    """What an offer may be; `without_sku`: which of them are of no goods."""
    for name in ("kind", "sku"):
        op.drop_constraint(op.f(f"ck_offer_{name}"), "offer")
    op.create_check_constraint(op.f("ck_offer_kind"), "offer", f"kind IN ({kinds})")
    op.create_check_constraint(op.f("ck_offer_sku"), "offer", f"(kind IN ({without_sku})) = (sku_id IS NULL)")


def upgrade() -> None:
    _kinds("'sale','coupon','group','packet'", "'coupon','packet'")
    op.create_table(
        "points_entry",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_points_entry_amount")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_points_entry")),
        sa.UniqueConstraint("cause", name=op.f("uq_points_entry_cause")),
    )
    op.create_index(op.f("ix_points_entry_person"), "points_entry", ["person"], unique=False)
    op.execute(
        "CREATE TRIGGER points_kept BEFORE UPDATE OR DELETE ON points_entry FOR EACH STATEMENT EXECUTE FUNCTION books_kept('points_kept')"
    )
    op.create_table(
        "packet_share",
        sa.Column("offer_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("rid", sa.Text(), nullable=True),
        sa.Column("intent_id", sa.Text(), nullable=True),
        sa.Column("person", sa.Text(), nullable=True),
        sa.Column("grant_id", sa.BigInteger(), nullable=True),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(rid IS NULL) = (person IS NULL)", name=op.f("ck_packet_share_person")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_packet_share_amount")),
        sa.PrimaryKeyConstraint("offer_id", "number", name=op.f("pk_packet_share")),
        sa.UniqueConstraint("offer_id", "person", name="uq_packet_share_person"),
        sa.UniqueConstraint("rid", name=op.f("uq_packet_share_rid")),
    )
    op.create_table(
        "draw",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), server_default="open", nullable=False),
        sa.Column("prize_zh", sa.Text(), nullable=False),
        sa.Column("prize_en", sa.Text(), nullable=False),
        sa.Column("off", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("threshold", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("winners", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.Column("word", sa.Text(), server_default="", nullable=False),
        sa.Column("seed", sa.Text(), nullable=False),
        sa.Column("commitment", sa.Text(), nullable=False),
        sa.Column("opens_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closes_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("drawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(phase = 'drawn') = (drawn_at IS NOT NULL)", name=op.f("ck_draw_drawn")),
        sa.CheckConstraint("entry IN ('comment','order')", name=op.f("ck_draw_entry")),
        sa.CheckConstraint("phase IN ('open','drawn')", name=op.f("ck_draw_phase")),
        sa.CheckConstraint("winners > 0", name=op.f("ck_draw_winners")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_draw")),
    )
    op.create_index(op.f("ix_draw_room_id"), "draw", ["room_id"], unique=False)
    op.create_table(
        "draw_entry",
        sa.Column("draw_id", sa.BigInteger(), nullable=False),
        sa.Column("ticket", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["draw_id"], ["draw.id"], name=op.f("fk_draw_entry_draw_id_draw")),
        sa.PrimaryKeyConstraint("draw_id", "ticket", name=op.f("pk_draw_entry")),
        sa.UniqueConstraint("draw_id", "person", name=op.f("uq_draw_entry_draw_id_person")),
        sa.UniqueConstraint("draw_id", "place", name=op.f("uq_draw_entry_draw_id_place")),
    )


def downgrade() -> None:
    """Shops that dropped packets keep them: an offer that is none of the older kinds cannot be told to be one."""
    for table in ("draw_entry", "draw", "packet_share", "points_entry"):
        op.drop_table(table)
    _kinds("'sale','coupon','group'", "'coupon'")
