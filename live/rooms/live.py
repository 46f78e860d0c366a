"""The Redis side of a room that viewers write to: comments and likes. All else is written by the relay and the turnstile."""

from __future__ import annotations

import time
from dataclasses import dataclass

from redis.asyncio import Redis

from live.infra.keys import room_key
from live.infra.redis import Script
from live.rooms import rules

_say = Script("live.rooms", "say")


@dataclass(frozen=True, slots=True)
class Said:
    """What became of a comment: `id` when it is on the screens, else `code` and the wait in ms."""

    id: str = ""
    code: str = ""
    wait: int = 0


@dataclass(frozen=True, slots=True)
class Manners:
    """The room's rules for comments: characters, comments a second for everybody's screen (0: no budget), folded words."""

    limit: int = 200
    budget: int = 40
    words: tuple[str, ...] = rules.fold_words(rules.WORDS)


async def say(redis: Redis, room: str, who: str, name: str, cid: str, text: str, manners: Manners, demo: bool = False) -> Said:
    """Say a comment once per (who, cid)."""
    cleaned = rules.clean(text)
    why = rules.fault(cleaned, manners.limit, manners.words)
    if why is not None:
        return Said(code=why)
    keys = [room_key(room, name_) for name_ in ("meta", "chat", "chat:all", "muted", f"say:{who}:{cid}", f"shown:{int(time.time())}")]
    answer = await _say(redis, keys, [room, who, name, cleaned, manners.budget, "1" if demo else "0"])
    tag = answer[0].decode()
    if tag == "OK":
        return Said(id=answer[1].decode())
    return Said(code="muted") if tag == "MUTED" else Said(code="slow_down", wait=int(answer[1]))


async def like(redis: Redis, room: str, n: int) -> None:
    """Add likes to the room's number."""
    await redis.incrby(room_key(room, "likes"), n)
