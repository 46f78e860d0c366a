"""A wire between a client and Valkey that loses replies: the command was executed, and nobody hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Wire:
    """Loses the replies to the next `lose` commands that carry `word`: by hanging up, or (`silent`) by saying nothing."""

    def __init__(self, server: str, word: bytes) -> None:
        self.server, self.word = server, word
        self.lose = 0
        self.silent = False
        self.sent = 0  # commands with the word that went through to the server

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its opening to its end."""
        there, back = await asyncio.open_unix_connection(self.server)
        with suppress(ConnectionError):
            while asked := await reader.read(1 << 20):
                lost = self.word in asked and self.lose > 0
                self.sent += self.word in asked
                self.lose -= lost
                back.write(asked)
                answer = await there.read(1 << 20)  # executed by now
                if lost and not self.silent:
                    break
                if not lost:
                    writer.write(answer)
                    await writer.drain()
        back.close()
        writer.close()


@asynccontextmanager
async def lossy(redis_url: str, folder: Path, word: bytes) -> AsyncIterator[tuple[Wire, str]]:
    """The wire, and the URL of its near end. `folder` exists, and its path is short: a socket's ends at 107 bytes."""
    wire = Wire(unquote(urlsplit(redis_url).path), word)
    server = await asyncio.start_unix_server(wire.carry, str(folder / "w.sock"))
    yield wire, f"unix://{folder}/w.sock?db=0"
    server.close()
