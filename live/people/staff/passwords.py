"""Password hashes (argon2id). A hash takes 64 MiB and tens of milliseconds by intent, so two run at a time and a line of them is short."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from live.protocol.codes import Code, Refusal

AT_ONCE = 2  # 128 MiB and both cores of a small machine
MAX_WAITING = 40  # about 2 s of work; more is an attack, and the honest are told to come back
# No letters and digits that look alike when a password is read out or copied by hand.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


Result = TypeVar("Result")


class Passwords:
    """Hashes and checks passwords off the loop."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._decoy: str | None = None

    async def hash(self, password: str) -> str:
        """The hash to keep. Raises Refusal(BUSY)."""
        return await self._alone(self._hasher.hash, password)

    async def matches(self, kept: str | None, password: str) -> bool:
        """Whether the password is the one hashed. `None` (no such account) costs the same work and is False. Raises Refusal(BUSY)."""
        if kept is None and self._decoy is None:
            self._decoy = await self.hash(secrets.token_hex())
        return await self._alone(self._verify, kept or self._decoy or "", password) and kept is not None

    def _verify(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except VerificationError:
            return False

    async def _alone(self, work: Callable[..., Result], *args: str) -> Result:
        if self._waiting >= MAX_WAITING:
            raise Refusal(Code.BUSY, wait=2000)
        self._waiting += 1
        try:
            async with self._gate:
                return await asyncio.to_thread(work, *args)
        finally:
            self._waiting -= 1


passwords = Passwords()  # one gate for the whole process


def one_time_password() -> str:
    """Four groups of four, 79 bits: to be read out once and changed at the first login."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(4))
