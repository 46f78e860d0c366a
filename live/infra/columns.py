"""Column shorthands of every `tables.py`: 64-bit ids and fen, aware timestamps, JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Identity, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from live.infra.db import TIMESTAMP


def identity() -> Any:
    """A 64-bit id given by the database. Gaps mean nothing."""
    return Field(default=None, sa_type=BigInteger, primary_key=True, sa_column_args=[Identity()])


def big(default: int | None = None, **kwargs: Any) -> Any:
    """A 64-bit number: fen, counts, ids of others."""
    if default is None:
        return Field(sa_type=BigInteger, **kwargs)
    return Field(default=default, sa_type=BigInteger, sa_column_kwargs={"server_default": str(default)}, **kwargs)


def big_or_none(**kwargs: Any) -> Any:
    """A 64-bit number that may be absent."""
    return Field(default=None, sa_type=BigInteger, nullable=True, **kwargs)


def words(default: str | None = None, **kwargs: Any) -> Any:
    """Text without a length."""
    if default is None:
        return Field(sa_type=Text, **kwargs)
    return Field(default=default, sa_type=Text, sa_column_kwargs={"server_default": default}, **kwargs)


def words_or_none(**kwargs: Any) -> Any:
    """Text that may be absent."""
    return Field(default=None, sa_type=Text, nullable=True, **kwargs)


def moment(**kwargs: Any) -> Any:
    """An aware timestamp; the database's clock when nothing is given."""
    return Field(default=None, sa_type=TIMESTAMP, sa_column_kwargs={"server_default": func.now()}, nullable=False, **kwargs)


def moment_or_none(**kwargs: Any) -> Any:
    """An aware timestamp that may be absent."""
    return Field(default=None, sa_type=TIMESTAMP, nullable=True, **kwargs)


def document(default: str = "{}", **kwargs: Any) -> Any:
    """A JSON document."""
    return Field(sa_type=JSONB, sa_column_kwargs={"server_default": default}, **kwargs)


Moment = datetime
