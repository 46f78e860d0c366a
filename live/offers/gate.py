"""What the database itself refuses: a counter without its movements, a changed or lost movement, a changed seal.

The CHECKs say that nobody takes more than there is; this says that nobody takes anything without writing down what. So code that
forgets the till (`UPDATE allotment SET taken = taken - 1`) fails where it stands, whoever wrote it. Each rule looks once per statement,
not per row: a group of 500 orders is three statements. `TRUNCATE` is let through, for tests and for shops that begin anew.

Refusals are SQLSTATE 23514 (a CHECK's) with the rule's name as the constraint: `allotment_tied`, `allotment_kept`, `movement_kept`,
`seal_kept`, `points_kept` (points are a book too, see `people.points`).
"""

from __future__ import annotations

from sqlalchemy import Connection, MetaData, event

# After a statement, each changed row must have moved by exactly the movements numbered (old, new]: as many as the number rose (so none is
# missing: numbers are unique), the sum of HOLD, RELEASE and RESTOCK in `taken`, of ADJUST and RETURN in `total`. A new row counts from 0.
# enable_seqscan: a plan made while `movement` was small would be kept by the session, and read all of it for every group ever after.
_TIED = """
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
END $rule$"""

_KEPT = """
CREATE FUNCTION books_kept() RETURNS trigger LANGUAGE plpgsql AS $rule$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'check_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_ARGV[0],
    MESSAGE = 'rows of ' || TG_TABLE_NAME || ' are never ' || CASE TG_OP WHEN 'UPDATE' THEN 'changed' ELSE 'deleted' END;
END $rule$"""

GATE = (
    _TIED,
    _KEPT,
    "CREATE TRIGGER allotment_opened AFTER INSERT ON allotment REFERENCING NEW TABLE AS after"
    " FOR EACH STATEMENT EXECUTE FUNCTION allotment_tied()",
    "CREATE TRIGGER allotment_tied AFTER UPDATE ON allotment REFERENCING OLD TABLE AS before NEW TABLE AS after"
    " FOR EACH STATEMENT EXECUTE FUNCTION allotment_tied()",
    "CREATE TRIGGER allotment_kept BEFORE DELETE ON allotment FOR EACH STATEMENT EXECUTE FUNCTION books_kept('allotment_kept')",
    "CREATE TRIGGER movement_kept BEFORE UPDATE OR DELETE ON movement FOR EACH STATEMENT EXECUTE FUNCTION books_kept('movement_kept')",
    "CREATE TRIGGER seal_kept BEFORE UPDATE OR DELETE ON movement_seal FOR EACH STATEMENT EXECUTE FUNCTION books_kept('seal_kept')",
    "CREATE TRIGGER points_kept BEFORE UPDATE OR DELETE ON points_entry FOR EACH STATEMENT EXECUTE FUNCTION books_kept('points_kept')",
)


def guard(metadata: MetaData) -> None:
    """Let `create_all` make the rules too, after the tables. Migrations hold their own copies; a test compares what both make."""

    def made(_: MetaData, connection: Connection, **__: object) -> None:
        for statement in GATE:
            connection.exec_driver_sql(statement)

    event.listen(metadata, "after_create", made)
