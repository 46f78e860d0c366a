"""A room's log, state and own events in Redis: the one read (`look`) and the writes of the relay. Every write is a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson
from redis.asyncio import Redis

from live.infra.keys import room_key
from live.infra.redis import Script

_look = Script("live.infra", "look")
_apply = Script("live.infra", "apply")
_own = Script("live.infra", "own")
_count = Script("live.infra", "count")

VIEWERS_MS = 5_000  # a hub that died is counted for this long
NOT_NEXT = -1  # `apply`: acts before this one have not come
BEGIN = "0-0"


@dataclass(slots=True)
class Position:
    """What a reader holds of a room. `everything` also reads comments outside the budget (for consoles)."""

    seq: int = 0
    sv: int = -1
    own: int = 0
    chat: str = BEGIN
    chat_all: str = ""


@dataclass(slots=True)
class Look:
    """A room at one moment. Bodies are JSON bytes as the scripts stored them; `state` is empty when nothing changed."""

    epoch: str
    fence: str
    seq: int
    sv: int
    own: int
    events: list[tuple[int, bytes, bytes]]  # seq, type, body
    state: dict[str, bytes]  # key -> b'[version,value]'
    own_entries: list[tuple[int, str, int, bytes]]  # position, who, previous, body
    chat: list[tuple[str, dict[bytes, bytes]]]
    chat_all: list[tuple[str, dict[bytes, bytes]]]
    viewers: int
    likes: int
    now: int  # epoch ms, the server's clock


def _fields(pairs: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def _number(stream_id: bytes) -> int:
    return int(stream_id.split(b"-", 1)[0])


def _events(entries: Sequence[Any]) -> list[tuple[int, bytes, bytes]]:
    found = []
    for stream_id, pairs in entries:
        fields = _fields(pairs)
        found.append((_number(stream_id), fields[b"t"], fields[b"d"]))
    return found


def _own_entries(entries: Sequence[Any], after: int) -> list[tuple[int, str, int, bytes]]:
    """News after this position: the first entry may hold some before it."""
    found = []
    for stream_id, pairs in entries:
        first = _number(stream_id) - len(pairs) // 2 + 1
        for position, (who, news) in enumerate(zip(pairs[::2], pairs[1::2], strict=True), first):
            if position > after:
                previous, _, body = news.partition(b"|")
                found.append((position, who.decode(), int(previous), body))
    return found


async def look(redis: Redis, room: str, at: Position, hub: str = "", viewers: int = 0) -> Look:
    """Everything of a room since `at`, in one atomic read; also notes this hub's viewers."""
    names = ("meta", "log", "state", "own", "chat", "chat:all", "viewers", "likes")
    args = [room, at.seq, at.sv, at.own, at.chat, at.chat_all, hub, viewers, VIEWERS_MS]
    answer = await _look(redis, [room_key(room, name) for name in names], args)
    epoch, fence, seq, sv, own, events, state, own_entries, chat, chat_all, watching, likes, now = answer
    return Look(
        epoch.decode(), fence.decode(), seq, sv, own, _events(events),
        {key.decode(): value for key, value in _fields(state).items()},
        _own_entries(own_entries, at.own),
        [(stream_id.decode(), _fields(pairs)) for stream_id, pairs in chat],
        [(stream_id.decode(), _fields(pairs)) for stream_id, pairs in chat_all],
        watching, likes, now,
    )  # fmt: skip


async def apply(redis: Redis, room: str, act: Mapping[str, Any]) -> int:
    """Apply an act (an outbox payload). 1 applied, 0 applied before, NOT_NEXT, -2 the room is not open in Redis."""
    offers = list(act["offers"].items())
    names = ["meta", "log", "state", "muted", "offers", *(f"offer:{offer}" for offer, _ in offers)]
    body = {
        "events": [[kind, orjson.dumps(facts).decode()] for kind, facts in act["events"]],
        "state": [[key, orjson.dumps(value).decode()] for key, value in act["state"].items()],
        "offers": [[offer, fields] for offer, fields in offers],
        "muted": [[who, str(until)] for who, until in act["muted"].items()],
    }
    return int(await _apply(redis, [room_key(room, name) for name in names], [room, act["no"], orjson.dumps(body)]))


async def withdraw(redis: Redis, room: str, chat_id: str) -> None:
    """Take a comment out of what joining viewers are shown (the last 1,000); the archive reads another stream."""
    for stream_id, fields in await redis.xrevrange(room_key(room, "chat"), count=1000):
        if fields[b"id"].decode() == chat_id:
            await redis.xdel(room_key(room, "chat"), stream_id)
            return


async def tell(redis: Redis, room: str, entries: Sequence[tuple[str, str, int, bytes]]) -> int:
    """Append own events (who, key, version, body); older versions are ignored. Negative: the room is not open in Redis."""
    names = ("meta", "log", "state", "own", "ownlast", "ownver")
    return int(await _own(redis, [room_key(room, name) for name in names], [room, *chain.from_iterable(entries)]))


async def count(redis: Redis, room: str, key: str, version: int, value: Mapping[str, Any]) -> int:
    """Show a counted state key. 1 shown, 0 older than what is shown, negative: the room is not open in Redis."""
    keys = [room_key(room, name) for name in ("meta", "log", "state")]
    return int(await _count(redis, keys, [room, key, version, orjson.dumps(value)]))
