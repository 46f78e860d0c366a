"""seats refused

Intents that got no seat of a small team, so that they never get one later.

Revision 0016, after 0015, 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | Sequence[str] | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "seat_refusal",
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("intent", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("room_id", "intent", name=op.f("pk_seat_refusal")),
    )
    op.create_index("ix_seat_refusal_at", "seat_refusal", ["at"])


def downgrade() -> None:
    op.drop_index("ix_seat_refusal_at", table_name="seat_refusal")
    op.drop_table("seat_refusal")
