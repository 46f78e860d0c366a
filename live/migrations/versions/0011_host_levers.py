"""host's levers

Rows of a run sheet that pin what they open.

Revision 0011, after 0010, 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | Sequence[str] | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("run_row", sa.Column("pins", sa.Boolean(), server_default="false", nullable=False))


def downgrade() -> None:
    op.drop_column("run_row", "pins")
