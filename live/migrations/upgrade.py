"""Brings a database to the newest schema, without an alembic.ini: the script folder is found inside the package."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool


def configuration(database_url: str) -> Config:
    """Alembic's settings for this database (SQLAlchemy URL text); `env.py` reads the URL or a connection from `attributes`."""
    config = Config()
    config.set_main_option("script_location", "live:migrations")
    config.attributes["url"] = database_url
    return config


def upgrade(database_url: str) -> None:
    """Upgrade to head. Safe to run by several processes at once: `env.py` lets one at a time in."""
    # The sync engine: alembic's async template calls asyncio.run, which cannot be called inside a loop.
    engine = create_engine(make_url(database_url), poolclass=NullPool)
    config = configuration(database_url)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()
