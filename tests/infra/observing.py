"""Looking at a run from outside: its database, and the processes it left behind."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

import psycopg
from sqlalchemy.engine import make_url


def processes_of(home: Path) -> list[str]:
    """Living processes that work in `home` (the servers do) or name it in their command line (the programs of the tests do)."""
    found = []
    for proc in Path("/proc").iterdir():
        if not proc.name.isdigit() or int(proc.name) == os.getpid():
            continue
        with suppress(OSError):
            command = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (proc / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            # A zombie is gone: only its parent has not looked yet.
            if state != "Z" and (str(home) in command or os.readlink(proc / "cwd").startswith(str(home))):
                found.append(f"{proc.name} {command}")
    return found


async def nothing_left(home: Path, seconds: float = 5.0) -> bool:
    """Wait until no process of `home` is left; False when some still are after `seconds`."""
    deadline = time.monotonic() + seconds
    while processes_of(home):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


async def connect(database_url: str) -> psycopg.AsyncConnection[tuple[object, ...]]:
    """A bare connection to the server of a SQLAlchemy URL, which psycopg itself does not read."""
    url = make_url(database_url)
    return await psycopg.AsyncConnection.connect(
        host=str(url.query["host"]), port=str(url.query["port"]), user=url.username, dbname=url.database
    )
