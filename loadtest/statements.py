"""Which process sent how many SQL statements: a house's embedded PostgreSQL logs them all, each with the process id of its backend.

Whose backend that is the kernel knows: the two ends of a Unix socket are named by `sock_diag`, and who holds them by /proc. Linux only,
and for a house that is thrown away afterwards, since a setting of its server is changed.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import struct
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from loadtest.books import opened
from loadtest.hubs import family
from loadtest.stage import House, StageError

UNKNOWN = "unknown"  # a backend that came and went between two looks
LOGGED = re.compile(rb"^\d[^\[\n]*\[(\d+)\] LOG:  (?:statement|execute [^:\n]+): ", re.MULTILINE)  # after the default log_line_prefix
CHANGED = b'parameter "log_statement" changed to "all"'
CHANGE_SECONDS = 10.0  # a reload takes milliseconds
_SOCK_DIAG, _UNIX, _BY_FAMILY, _DUMP, _SHOW_PEER, _PEER = 4, 1, 20, 0x301, 4, 2  # linux/netlink.h, sock_diag.h, unix_diag.h
_ERROR, _DONE = 2, 3


class Statements:
    """`roles`: backend → the process it works for (`web`, `ledger`, `hub`, …), as far as it was met."""

    def __init__(self, house: House) -> None:
        self.house, self.home = house, Path(house.env["LIVE_HOME"])
        self.log = self.home / "log" / "postgres.log"
        self.roles: dict[int, str] = {}

    async def begin(self) -> None:
        """From here on every statement is logged. Raises StageError."""
        url = json.loads((self.home / "servers.json").read_text("utf-8"))["settings"]["database_url"]
        async with opened(url, autocommit=True) as connection:
            await connection.execute("ALTER SYSTEM SET log_statement = 'all'")
            await connection.execute("SELECT pg_reload_conf()")
        try:
            async with asyncio.timeout(CHANGE_SECONDS):
                while CHANGED not in self.log.read_bytes():  # noqa: ASYNC110 - another process's event
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise StageError("PostgreSQL does not log its statements") from None
        self.look()

    def look(self) -> int:
        """Note whose the backends of this moment are; returns how far the log goes. Once a second is enough: connections are kept."""
        self.roles |= backends({*family(self.house.pid), os.getpid()})
        return self.log.stat().st_size

    def between(self, start: int, end: int) -> dict[str, int]:
        """Statements by process, in the log from one look to another."""
        with self.log.open("rb") as log:
            log.seek(start)
            return counted(log.read(end - start), self.roles)


def counted(log: bytes, roles: dict[int, str]) -> dict[str, int]:
    """Statements in a piece of the log, by process."""
    return dict(Counter(roles.get(int(pid), UNKNOWN) for pid in LOGGED.findall(log)))


def backends(pids: Iterable[int]) -> dict[int, str]:
    """PostgreSQL's backends among these processes, and which of the others each works for."""
    ends, holders = unix_sockets(), {}
    words = {pid: _words(pid) for pid in pids}
    for pid in words:
        with suppress(OSError):  # it may end while we look
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    name = os.readlink(link)
                    if name.startswith("socket:["):
                        holders[int(name[8:-1])] = pid
    found = {}
    for inode, pid in holders.items():
        client = holders.get(ends.get(inode, 0))
        if client is not None and words[pid][:1] == ["postgres:"]:
            found[pid] = _role(words[client])
    return found


def _words(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").split()
    return []


def _role(words: list[str]) -> str:
    if "live.cli" in words:
        return words[words.index("live.cli") + 1]
    return "worker" if "arq" in words else "other"


def unix_sockets() -> dict[int, int]:
    """Every connected Unix socket of this machine by its inode, and the inode of its other end. Raises OSError."""
    request = struct.pack("=BBHIIIII", _UNIX, 0, 0, 0xFFFFFFFF, 0, _SHOW_PEER, 0, 0)  # of every state
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.send(struct.pack("=IHHII", 16 + len(request), _BY_FAMILY, _DUMP, 1, 0) + request)
        found: dict[int, int] = {}
        while True:
            answer = kernel.recv(1 << 16)
            at = 0
            while at < len(answer):
                size, kind = struct.unpack_from("=IH", answer, at)
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    raise OSError(-struct.unpack_from("=i", answer, at + 16)[0], "sock_diag")
                _note(answer[at : at + size], found)
                at += (size + 3) & ~3


def _note(message: bytes, found: dict[int, int]) -> None:
    """One socket of the answer: a header of 16 bytes, its type and states, its inode, two words of cookie, then attributes."""
    inode, at = struct.unpack_from("=I", message, 20)[0], 32
    while at + 4 <= len(message):
        size, kind = struct.unpack_from("=HH", message, at)
        if kind == _PEER:
            found[inode] = struct.unpack_from("=I", message, at + 4)[0]
        at += (max(size, 4) + 3) & ~3
