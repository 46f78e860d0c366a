"""room to change

Rows that are changed soon after they are written find room beside themselves, so that their indexes need no second entry: a notice gets
its verdict in its own transaction, an attempt becomes SENT when the provider has it. What is in the pages already stays as it is.

Revision 0018, after 0017, 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Sequence

from alembic import op

revision: str = "0018"
down_revision: str | Sequence[str] | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("ALTER TABLE pay_notice SET (fillfactor = 50)")
    op.execute("ALTER TABLE pay_attempt SET (fillfactor = 70)")


def downgrade() -> None:
    op.execute("ALTER TABLE pay_attempt RESET (fillfactor)")
    op.execute("ALTER TABLE pay_notice RESET (fillfactor)")
