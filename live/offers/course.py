"""Where a group of orders is between its ledger and PostgreSQL, so that what follows the last group fills the waits of this one."""

from __future__ import annotations

import asyncio


class Course:
    """How far a group is: `asked`, PostgreSQL locks and reads for it; `sent`, it has all there is to write. Then its ledger has time for
    something else until PostgreSQL answers. With no group at hand both are set."""

    def __init__(self) -> None:
        self.asked, self.sent = asyncio.Event(), asyncio.Event()
        self.end()

    def begin(self) -> None:
        """A group is at hand."""
        self.asked.clear()
        self.sent.clear()

    def end(self) -> None:
        """It is booked, or was not."""
        self.asked.set()
        self.sent.set()
