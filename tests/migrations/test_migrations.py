"""The schema in a real PostgreSQL: made by the migration, equal to the models, and refusing what it says it refuses."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import CheckConstraint, Connection, UniqueConstraint, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool

from live.infra.embedded import EmbeddedServers
from live.migrations.metadata import metadata
from live.migrations.upgrade import configuration, upgrade
from live.offers.gate import GATE
from tests.migrations.rows import ALLOWED, AT, BROKEN, SECOND, SOUND, Row

ROOT = Path(__file__).resolve().parents[2]
CHECKS = {str(rule.name): table.name for table in metadata.sorted_tables for rule in table.constraints if isinstance(rule, CheckConstraint)}
KEYS = {
    str(rule.name) for table in metadata.sorted_tables for rule in table.constraints if isinstance(rule, UniqueConstraint)
} | {str(index.name) for table in metadata.sorted_tables for index in table.indexes if index.unique}  # fmt: skip
SCHEMA = """
SELECT c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull
  || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '') FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
  WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
  WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal
UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1"""


@contextmanager
def opened(url: str) -> Iterator[Connection]:
    engine = create_engine(make_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def new_database(servers: EmbeddedServers, name: str) -> str:
    """An empty database of this run's server; its URL."""
    with opened(servers.database_url) as connection:
        outside = connection.execution_options(isolation_level="AUTOCOMMIT")
        outside.execute(text(f"DROP DATABASE IF EXISTS {name}"))
        outside.execute(text(f"CREATE DATABASE {name} TEMPLATE template0"))
    return str(make_url(servers.database_url).set(database=name).render_as_string(hide_password=False))


def schema(url: str) -> list[str]:
    with opened(url) as connection:
        return list(connection.execute(text(SCHEMA)).scalars())


def test_models_and_migrations_say_the_same(servers: EmbeddedServers) -> None:
    command.check(configuration(servers.database_url))


def test_a_rule_or_column_the_database_lacks_is_noticed(servers: EmbeddedServers) -> None:
    url = new_database(servers, "lacking")
    upgrade(url)
    for loss in ("ALTER TABLE allotment DROP CONSTRAINT ck_allotment_taken", "ALTER TABLE orders DROP COLUMN attribution"):
        with opened(url) as connection:
            connection.execute(text(loss))
            connection.commit()
        with pytest.raises(CommandError, match=loss.rsplit(" ", 1)[1]):
            command.check(configuration(url))


def test_the_migrations_make_every_table(servers: EmbeddedServers) -> None:
    script = ScriptDirectory.from_config(configuration(servers.database_url))
    assert [found.revision for found in script.walk_revisions()] == [f"{n:04}" for n in range(19, 0, -1)]
    with opened(servers.database_url) as connection:
        tables = set(connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars())
    assert tables == {table.name for table in metadata.sorted_tables} | {"alembic_version"}


def test_upgrading_twice_changes_nothing_and_going_down_leaves_nothing(servers: EmbeddedServers) -> None:
    url = new_database(servers, "repeated")
    upgrade(url)
    first = schema(url)
    upgrade(url)
    assert schema(url) == first
    assert first == schema(servers.database_url)
    command.downgrade(configuration(url), "base")
    assert [line for line in schema(url) if not line.split(".")[0].startswith("alembic_version") and "alembic_version" not in line] == []
    upgrade(url)
    assert schema(url) == first


def test_the_migration_makes_what_the_models_would(servers: EmbeddedServers) -> None:
    url = new_database(servers, "modelled")
    with opened(url) as connection:
        metadata.create_all(connection)
        connection.commit()
    assert schema(url) == [line for line in schema(servers.database_url) if "alembic_version" not in line]


async def test_three_processes_that_upgrade_at_once_all_succeed(servers: EmbeddedServers) -> None:
    url = await asyncio.to_thread(new_database, servers, "crowded")
    program = "import sys; from live.migrations.upgrade import upgrade; upgrade(sys.argv[1])"
    running = [await asyncio.create_subprocess_exec(sys.executable, "-c", program, url, cwd=ROOT) for _ in range(3)]
    async with asyncio.timeout(30):
        assert [await each.wait() for each in running] == [0, 0, 0]
    assert await asyncio.to_thread(schema, url) == await asyncio.to_thread(schema, servers.database_url)


def test_the_migration_can_be_printed_as_sql(servers: EmbeddedServers) -> None:
    config = configuration(servers.database_url)
    config.output_buffer = io.StringIO()
    command.upgrade(config, "head", sql=True)
    printed = config.output_buffer.getvalue()
    assert printed.count("CREATE TABLE ") == len(metadata.sorted_tables) + 1
    assert [name for name in CHECKS if f"CONSTRAINT {name} CHECK" not in printed] == []
    assert [rule for rule in GATE if rule not in printed] == []


def test_the_rules_of_the_database_stand_in_every_schema(servers: EmbeddedServers) -> None:
    made = "\n".join(schema(servers.database_url))
    assert made.count("CREATE TRIGGER ") == sum(rule.startswith("CREATE TRIGGER ") for rule in GATE) == 6
    assert made.count("CREATE OR REPLACE FUNCTION ") == 2


# The rules themselves: alembic compares CHECKs by name only, so each is tried with rows it must refuse.


@pytest.fixture(scope="module")
def till(servers: EmbeddedServers) -> Iterator[Connection]:
    """A migrated database with one sound row in each table that has a rule, in a transaction that is never committed."""
    url = new_database(servers, "till")
    upgrade(url)
    with opened(url) as connection:
        connection.begin()
        for name, row in SOUND.items():
            put(connection, name, row)
        put(connection, "location", {**SOUND["location"], "code": "S2"})
        put(connection, "offer", {**SOUND["offer"], "id": 2})
        yield connection
        connection.rollback()


def put(connection: Connection, table: str, row: Row) -> None:
    """Insert with moments filled in; other absent columns take the database's own default."""
    columns = metadata.tables[table].columns
    connection.execute(metadata.tables[table].insert().values({"created_at": AT} | row if "created_at" in columns else row))


def refused_by(connection: Connection, table: str, row: Row) -> tuple[str, str]:
    """(SQLSTATE, constraint) that refused the row; the table is as it was."""
    before = connection.execute(metadata.tables[table].select()).all()
    point = connection.begin_nested()
    with pytest.raises(IntegrityError) as found:
        put(connection, table, row)
    point.rollback()
    assert connection.execute(metadata.tables[table].select()).all() == before
    error: Any = found.value.orig
    return error.sqlstate, error.diag.constraint_name


def test_no_rule_is_without_a_row_that_breaks_it() -> None:
    assert set(BROKEN) == set(CHECKS)
    assert {name for name in SECOND if not name.startswith("pk_")} == KEYS


@pytest.mark.parametrize(("rule", "change"), [(rule, change) for rule, changes in BROKEN.items() for change in changes])
def test_a_row_that_breaks_the_rule_is_refused(till: Connection, rule: str, change: Row) -> None:
    assert refused_by(till, CHECKS[rule], {**SOUND[CHECKS[rule]], **change}) == ("23514", rule)


@pytest.mark.parametrize("key", SECOND)
def test_what_may_exist_once_exists_once(till: Connection, key: str) -> None:
    table, change = SECOND[key]
    if key == "uq_person_phone":
        till.execute(text("UPDATE person SET phone = '13800001234'"))
    assert refused_by(till, table, {**SOUND[table], **change}) == ("23505", key)


@pytest.mark.parametrize("what", ALLOWED)
def test_what_the_shop_needs_is_let_in(till: Connection, what: str) -> None:
    table, change = ALLOWED[what]
    point = till.begin_nested()
    put(till, table, {**SOUND[table], **change})
    point.rollback()


@pytest.mark.parametrize(
    ("table", "change", "rule"),
    [("allotment", "taken = taken + 1", "ck_allotment_taken"), ("quota", "used = used + 1", "ck_quota_used"),
     ("team", "held = held + 1", "ck_team_seats"), ("stock", "allotted = allotted + 1", "ck_stock_allotted"),
     ("orders", "refunded = refunded + 1", "ck_orders_refunded")],
)  # fmt: skip
def test_one_unit_too_many_is_refused_by_the_row_that_is_full(till: Connection, table: str, change: str, rule: str) -> None:
    point = till.begin_nested()
    with pytest.raises(IntegrityError) as found:
        till.execute(text(f"UPDATE {table} SET {change}"))
    point.rollback()
    error: Any = found.value.orig
    assert (error.sqlstate, error.diag.constraint_name) == ("23514", rule)
