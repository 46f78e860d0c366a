"""The turnstile, seen from Python: reserve a batch, settle it, adjust it, read an intent's record. Redis only, never SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from live.infra.keys import room_key
from live.infra.redis import Script
from live.offers.rules import handle

_reserve = Script("live.offers", "reserve")
_settle = Script("live.offers", "settle")
_adjust = Script("live.offers", "adjust")
CLOSED, ABSENT = -1, -2  # what `adjust` answers when it could not be applied: the room is not open; the offer is not there

Gap = tuple[int, str, int, int]  # offer, place, the turnstile's mark, the last movement it lacks


class Behind(RedisError):
    """The turnstile lacks movements that come before these; nothing was changed there. See `catchup.py`."""

    def __init__(self, gaps: Sequence[Gap]) -> None:
        super().__init__(f"movements are missing: {gaps}")
        self.gaps = gaps


@dataclass(frozen=True, slots=True)
class Tap:
    """One intent as a client sends it. `lines`: (offer, units, price version); `at`: acceptable places, best first; `hash`: of the body."""

    rid: str
    who: str
    name: str
    hub: str
    hash: str
    tries: int
    at: tuple[str, ...]
    lines: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the turnstile said. `tag`: OK or ASK (a verdict follows), KNOWN (`record` says), NO (`code`, `facts`), FENCED.

    `intent`: the handle of the one that was let through.
    """

    tag: str
    code: str = ""
    facts: tuple[Any, ...] = ()
    record: bytes = b""
    fence: str = ""
    intent: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a rid: an `intent` (its handle) under `fence` not yet booked, or the `body` its buyer was told."""

    hash: str
    fence: str = ""
    intent: str = ""
    body: dict[str, Any] | None = None


async def reserve(redis: Redis, room: str, taps: Sequence[Tap], cap: int) -> list[Answer]:
    """Decide a batch in one call; the client must not be one that sends again by itself. Redis errors pass through: then nobody knows."""
    offers = sorted({offer for tap in taps for offer, _, _ in tap.lines})
    index = {offer: i + 1 for i, offer in enumerate(offers)}
    keys = [room_key(room, name) for name in ("meta", "log", "state", "intents")]
    keys += [room_key(room, f"rid:{tap.rid}") for tap in taps]
    for offer in offers:
        keys += [room_key(room, f"offer:{offer}"), room_key(room, f"used:{offer}")]
    intents = [
        {
            "rid": tap.rid, "who": tap.who, "name": tap.name, "hub": tap.hub, "hash": tap.hash, "tries": tap.tries, "at": tap.at,
            "lines": [(index[offer], qty, version) for offer, qty, version in tap.lines],
        }
        for tap in taps
    ]  # fmt: skip
    body = orjson.dumps({"cap": cap, "offers": offers, "intents": intents})
    return [_answer(raw) for raw in await _reserve(redis, keys, [room, len(taps), body])]


def _answer(raw: Sequence[Any]) -> Answer:
    tag = raw[0].decode()
    if tag == "KNOWN":
        return Answer(tag, record=raw[1])
    if tag == "NO":
        facts = tuple(fact.decode() if isinstance(fact, bytes) else fact for fact in raw[2:])
        return Answer(tag, code=raw[1].decode(), facts=facts)
    if tag in ("OK", "ASK"):
        fence = raw[4].decode()
        return Answer(tag, fence=fence, intent=handle(fence, raw[1].decode()))
    return Answer(tag)


def read_record(raw: bytes) -> Record:
    """`I|<intent>|<fence>|<hash>` or `D|<hash>|<body>`."""
    kind, _, rest = raw.partition(b"|")
    if kind == b"I":
        stream_id, fence, digest = rest.split(b"|", 2)
        return Record(digest.decode(), fence=fence.decode(), intent=handle(fence.decode(), stream_id.decode()))
    digest, _, body = rest.partition(b"|")
    return Record(digest.decode(), body=orjson.loads(body))


async def record(redis: Redis, room: str, rid: str) -> tuple[str, Any] | None:
    """What became of a tap: None, ("intent", fence) or ("done", body). An intent under an older fence than the room's is lost."""
    raw = await redis.get(room_key(room, f"rid:{rid}"))
    if raw is None:
        return None
    found = read_record(raw)
    if found.body is not None:
        return "done", found.body
    now = await redis.hget(room_key(room, "meta"), "fence")  # type: ignore[misc]
    return ("intent", found.fence) if now is not None and now.decode() == found.fence else None


async def records(redis: Redis, room: str, rids: Sequence[str]) -> list[Record | None]:
    """Records of many rids in one read."""
    raws = await redis.mget([room_key(room, f"rid:{rid}") for rid in rids])
    return [None if raw is None else read_record(raw) for raw in raws]


@dataclass(frozen=True, slots=True)
class Settled:
    """One intent after the commit: its new record (None: forget the rid, it was refused) and the units that go back."""

    id: str
    rid: str
    record: bytes | None
    back: tuple[tuple[int, str, int, str], ...] = ()  # offer, place, units, person


Moves = Mapping[tuple[int, str], tuple[int, int]]  # (offer, place) -> the last movement before a group, the last one of it


async def settle(redis: Redis, room: str, settled: Sequence[Settled], moves: Moves) -> int:
    """Tell the turnstile what the till decided. Returns how many intents this call removed. Raises Behind."""
    offers = sorted({o for o, _ in moves} | {o for one in settled for o, *_ in one.back})
    index = {offer: i + 1 for i, offer in enumerate(offers)}
    keys = [room_key(room, name) for name in ("meta", "log", "state", "intents")]
    keys += [room_key(room, f"rid:{one.rid}") for one in settled]
    for offer in offers:
        keys += [room_key(room, f"offer:{offer}"), room_key(room, f"used:{offer}")]
    intents: list[dict[str, Any]] = []
    for one in settled:
        entry: dict[str, Any] = {"id": one.id, "back": [(index[o], place, qty, who) for o, place, qty, who in one.back]}
        if one.record is not None:
            entry["record"] = one.record.decode()
        intents.append(entry)
    ranges = [(offer, place, after, last) for (offer, place), (after, last) in moves.items()]
    numbers = [(index[offer], place, after, last) for offer, place, after, last in ranges]
    body = orjson.dumps({"offers": offers, "intents": intents, "moves": numbers})
    done, *behind = await _settle(redis, keys, [room, len(settled), body])
    if behind:
        gaps = zip(behind[::2], behind[1::2], strict=True)
        raise Behind([(*ranges[i - 1][:2], int(mark), ranges[i - 1][2]) for i, mark in gaps])
    return int(done)


async def adjust(
    redis: Redis, room: str, offer: int, place: str, move_no: int, left: int, person: str | None = None, used: int = 0, seats: int = 0,
    run: int = 1,
) -> int:  # fmt: skip
    """A booked movement of the shop, or a `run` of holds that ends with `move_no`. 1 applied, 0 applied before, CLOSED, ABSENT.

    Raises Behind.
    """
    keys = [room_key(room, name) for name in ("meta", "log", "state", f"offer:{offer}", f"used:{offer}")]
    answer, *mark = await _adjust(redis, keys, [room, offer, place, move_no, left, person or "", used, seats, run])
    if mark:
        raise Behind([(offer, place, int(mark[0]), move_no - run)])
    return int(answer)
