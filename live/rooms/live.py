"""The Redis side of a room that viewers write to: comments and likes. All else is written by the relay and the turnstile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson
from redis.asyncio import Redis

from live.infra.keys import room_key
from live.infra.redis import Script
from live.rooms import rules

_say = Script("live.rooms", "say")
_watch = Script("live.rooms", "watch")


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


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment as a client sends it. `cid`: the client's id of it, so that a resend is not said twice."""

    who: str
    name: str
    cid: str
    text: str
    demo: bool = False


async def say_all(redis: Redis, room: str, remarks: Sequence[Remark], manners: Manners) -> list[Said]:
    """Say comments, in this order, in one call; each once per (who, cid)."""
    found: dict[int, Said] = {}
    texts: list[tuple[int, Remark, str]] = []
    for n, remark in enumerate(remarks):
        cleaned = rules.clean(remark.text)
        why = rules.fault(cleaned, manners.limit, manners.words)
        if why is None:
            texts.append((n, remark, cleaned))
        else:
            found[n] = Said(code=why)
    if texts:
        keys = [room_key(room, name) for name in ("meta", "chat", "chat:all", "muted", f"shown:{int(time.time())}", "late")]
        keys += [room_key(room, f"say:{remark.who}:{remark.cid}") for _, remark, _ in texts]
        body = orjson.dumps([(remark.who, remark.name, text, "1" if remark.demo else "0") for _, remark, text in texts])
        for (n, _, _), answer in zip(texts, await _say(redis, keys, [room, manners.budget, body]), strict=True):
            found[n] = _said(answer)
    return [found[n] for n in range(len(remarks))]


def _said(answer: Sequence[Any]) -> Said:
    tag = answer[0].decode()
    if tag == "OK":
        return Said(id=answer[1].decode())
    return Said(code="muted") if tag == "MUTED" else Said(code="slow_down", wait=int(answer[1]))


async def watch(redis: Redis, room: str, spans: Sequence[tuple[str, int, int]]) -> None:
    """Add spans of watching (who, ms since it began, ms since it ended) to the show that is on; of one person, what overlaps counts once.

    Nothing is added while no show is on, nor of the time before it began.
    """
    keys = [room_key(room, name) for name in ("meta", "state", "watched")]
    await _watch(redis, keys, [room, *chain.from_iterable(spans)])


async def like(redis: Redis, room: str, n: int) -> None:
    """Add likes to the room's number."""
    await redis.incrby(room_key(room, "likes"), n)
