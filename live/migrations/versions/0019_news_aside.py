"""news aside

News of many people stand beside the payload, as text that PostgreSQL neither takes apart nor packs: hundreds of them are written with every
group of orders, and read by nobody but the successor of a ledger that died. A notice is written once, with its verdict, and needs no room.

Revision 0019, after 0018, 2026-11-24.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | Sequence[str] | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("news", sa.Text(), nullable=True))
    op.execute("ALTER TABLE outbox ALTER COLUMN news SET STORAGE EXTERNAL")
    op.execute("UPDATE outbox SET news = payload->>'many', payload = '{}' WHERE kind = 'own' AND payload ? 'many'")  # a list, or its text
    op.execute("ALTER TABLE pay_notice RESET (fillfactor)")


def downgrade() -> None:
    op.execute("ALTER TABLE pay_notice SET (fillfactor = 50)")
    op.execute("UPDATE outbox SET payload = jsonb_build_object('many', CAST(news AS jsonb)) WHERE news IS NOT NULL")
    op.drop_column("outbox", "news")
