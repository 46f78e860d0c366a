from __future__ import annotations

import asyncio
import threading
import time

from live.people.staff.passwords import ALPHABET, MAX_WAITING, Passwords, one_time_password
from live.protocol.codes import Code, Refusal


class Counted(Passwords):
    """Counts how many hashes run at the same moment."""

    def __init__(self) -> None:
        super().__init__()
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def _verify(self, kept: str, password: str) -> bool:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.01)
        with self.lock:
            self.now -= 1
        return kept == password


async def test_a_hash_is_argon2id_and_matches_its_password_only() -> None:
    passwords = Passwords()
    kept = await passwords.hash("a long password")
    assert kept.startswith("$argon2id$")
    assert await passwords.matches(kept, "a long password")
    assert not await passwords.matches(kept, "A long password")
    assert not await passwords.matches(None, "a long password")


async def test_at_most_two_hashes_run_at_a_time() -> None:
    passwords = Counted()
    answers = await asyncio.gather(*(passwords.matches("a", "a") for _ in range(20)))
    assert answers == [True] * 20
    assert passwords.most == 2


async def test_a_long_line_is_told_to_come_back_and_the_rest_is_served() -> None:
    passwords = Counted()
    answers = await asyncio.gather(*(passwords.matches("a", "a") for _ in range(MAX_WAITING + 5)), return_exceptions=True)
    assert answers[:MAX_WAITING] == [True] * MAX_WAITING
    assert [answer.code for answer in answers[MAX_WAITING:] if isinstance(answer, Refusal)] == [Code.BUSY] * 5
    assert await passwords.matches("a", "a")


def test_a_one_time_password_is_readable_and_new_each_time() -> None:
    made = {one_time_password() for _ in range(100)}
    assert len(made) == 100
    assert all(len(part) == 4 and set(part) <= set(ALPHABET) for one in made for part in one.split("-"))
    assert not set("0o1il") & set(ALPHABET)
