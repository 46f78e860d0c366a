"""Alembic's entry. Connection or URL come in `config.attributes`; from the alembic command line, from our settings."""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from live.migrations.metadata import metadata
from live.settings import settings

# Any fixed number of ours: several processes that upgrade at once otherwise crash on creating alembic_version.
ADVISORY_LOCK = 0x11FE_C033

OPTIONS: dict[str, Any] = {
    "target_metadata": metadata,
    "compare_server_default": True,
    # CHECKs are our till, and autogenerate does not see them by default.
    "autogenerate_plugins": ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"],
}


def migrate(connection: Connection) -> None:
    """All steps in one transaction, one process at a time."""
    context.configure(connection=connection, **OPTIONS)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": ADVISORY_LOCK})
        context.run_migrations()


def database_url() -> str:
    """The URL to use when no connection was given. Raises RuntimeError when there is none."""
    url = context.config.attributes.get("url") or settings().database_url
    if not url:
        raise RuntimeError("Set LIVE_DATABASE_URL (while `live up` runs: its address is in .live/servers.json).")
    return str(url)


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()
elif (given := context.config.attributes.get("connection")) is not None:
    migrate(given)
else:
    engine = create_engine(database_url(), poolclass=NullPool)
    with engine.connect() as opened:
        migrate(opened)
    engine.dispose()
