"""Points are credited: whole batches at once, for they are given out in rushes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import psycopg

from live.infra.db import array

_CREDIT = (
    "INSERT INTO points_entry (person, amount, cause, at) SELECT t.person, t.amount, t.cause, %s"
    " FROM unnest(CAST(%s AS text[]), CAST(%s AS bigint[]), CAST(%s AS text[])) AS t (person, amount, cause)"
)


async def credit(raw: psycopg.AsyncConnection[tuple[object, ...]], entries: Sequence[tuple[str, int, str]], now: datetime) -> None:
    """Write entries (person, points, cause), one statement. psycopg.IntegrityError when one of the causes stands in the book already."""
    await raw.execute(_CREDIT, (now, *[array(column) for column in zip(*entries, strict=True)]))
