"""tied and sealed

The counters are tied to their movements by the database itself, movements are kept, sealed and watched. The rules are a copy of
`live/offers/gate.py` as it was: a migration does not change with the code.

Revision 0003, after 0002, 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | Sequence[str] | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

GATE = (
    """
CREATE FUNCTION allotment_tied() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $rule$
DECLARE
  wrong record;
BEGIN
  IF TG_OP = 'INSERT' THEN
    SELECT a.offer_id, a.location INTO wrong FROM after a CROSS JOIN LATERAL (
      SELECT count(*) AS n, coalesce(sum(m.qty) FILTER (WHERE m.kind IN ('HOLD','RELEASE','RESTOCK')), 0) AS taken FROM movement m
      WHERE m.offer_id = a.offer_id AND m.location = a.location AND m.move_no <= a.move_no) s
    WHERE s.n <> a.move_no OR s.taken <> a.taken LIMIT 1;
  ELSE
    SELECT coalesce(a.offer_id, b.offer_id) AS offer_id, coalesce(a.location, b.location) AS location INTO wrong
    FROM before b FULL JOIN after a ON a.offer_id = b.offer_id AND a.location = b.location CROSS JOIN LATERAL (
      SELECT count(*) AS n, coalesce(sum(m.qty) FILTER (WHERE m.kind IN ('HOLD','RELEASE','RESTOCK')), 0) AS taken,
        coalesce(sum(m.qty) FILTER (WHERE m.kind IN ('ADJUST','RETURN')), 0) AS total FROM movement m
      WHERE m.offer_id = a.offer_id AND m.location = a.location AND m.move_no > b.move_no AND m.move_no <= a.move_no) s
    WHERE a.offer_id IS NULL OR b.offer_id IS NULL OR s.n <> a.move_no - b.move_no
      OR s.taken <> a.taken - b.taken OR s.total <> a.total - b.total LIMIT 1;
  END IF;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = 'allotment_tied',
      MESSAGE = 'allotment of offer ' || wrong.offer_id || ' at ' || wrong.location || ' changed otherwise than its movements say';
  END IF;
  RETURN NULL;
END $rule$""",
    """
CREATE FUNCTION books_kept() RETURNS trigger LANGUAGE plpgsql AS $rule$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'check_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_ARGV[0],
    MESSAGE = 'rows of ' || TG_TABLE_NAME || ' are never ' || CASE TG_OP WHEN 'UPDATE' THEN 'changed' ELSE 'deleted' END;
END $rule$""",
    "CREATE TRIGGER allotment_opened AFTER INSERT ON allotment REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION allotment_tied()",
    "CREATE TRIGGER allotment_tied AFTER UPDATE ON allotment REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION allotment_tied()",
    "CREATE TRIGGER allotment_kept BEFORE DELETE ON allotment FOR EACH STATEMENT EXECUTE FUNCTION books_kept('allotment_kept')",
    "CREATE TRIGGER movement_kept BEFORE UPDATE OR DELETE ON movement FOR EACH STATEMENT EXECUTE FUNCTION books_kept('movement_kept')",
    "CREATE TRIGGER seal_kept BEFORE UPDATE OR DELETE ON movement_seal FOR EACH STATEMENT EXECUTE FUNCTION books_kept('seal_kept')",
)


def upgrade() -> None:
    op.create_table(
        "movement_seal",
        sa.Column("offer_id", sa.BigInteger(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("from_no", sa.BigInteger(), nullable=False),
        sa.Column("to_no", sa.BigInteger(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("0 < from_no AND from_no <= to_no", name=op.f("ck_movement_seal_range")),
        sa.PrimaryKeyConstraint("offer_id", "location", "from_no", name=op.f("pk_movement_seal")),
    )
    op.create_table(
        "watched",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("millis", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("balanced", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("terms", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("suspects", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_watched")),
    )
    op.add_column("drift", sa.Column("finding", sa.Text(), nullable=True))
    op.add_column("drift", sa.Column("healed_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "uq_drift_open", "drift", ["room_id", "finding"], unique=True, postgresql_where=sa.text("healed_at IS NULL")
    )
    op.create_check_constraint(op.f("ck_movement_move_no"), "movement", "move_no > 0")
    for statement in GATE:
        op.execute(statement)


def downgrade() -> None:
    for trigger, table in (
        ("movement_kept", "movement"), ("allotment_kept", "allotment"), ("allotment_tied", "allotment"), ("allotment_opened", "allotment"),
    ):
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    op.drop_constraint(op.f("ck_movement_move_no"), "movement", type_="check")
    op.drop_index("uq_drift_open", table_name="drift", postgresql_where=sa.text("healed_at IS NULL"))
    op.drop_column("drift", "healed_at")
    op.drop_column("drift", "finding")
    op.drop_table("watched")
    op.drop_table("movement_seal")
    op.execute("DROP FUNCTION books_kept()")
    op.execute("DROP FUNCTION allotment_tied()")
