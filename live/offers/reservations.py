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
_unsettled = Script("live.offers", "unsettled")
_known = Script("live.offers", "known")
_RIDS = ("rids:0", "rids:1")  # by days, see `rids.lua`
_KEYS = ("meta", "log", "state", "intents", *_RIDS)
CLOSED, ABSENT = -1, -2  # what `adjust` answers when it could not be applied: the room is not open; the offer is not there

AT_ONCE = 1000  # taps in one call: some 20 ms of a Redis that everybody waits for; and as much as Lua can hand to one command

Gap = tuple[int, str, int, int]  # offer, place, the turnstile's mark, the last movement it lacks


class Behind(RedisError):
    """The turnstile lacks movements that come before these; nothing was changed there. See `catchup.py`."""

    def __init__(self, gaps: Sequence[Gap]) -> None:
        super().__init__(f"movements are missing: {gaps}")
        self.gaps = gaps


@dataclass(frozen=True, slots=True)
class Tap:
    """One intent as a client sends it. `lines`: (offer, units, price version); `at`: acceptable places, best first; `hash`: of the body;
    `word`: the hash of what was said (`rules.word_hash`); `team`: the small team it joins."""

    rid: str
    who: str
    name: str
    hub: str
    hash: str
    tries: int
    at: tuple[str, ...]
    lines: tuple[tuple[int, int, int], ...]
    word: str = ""
    team: int | None = None


@dataclass(slots=True)  # not frozen: one per tap, see `Intent`
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
    """Decide a batch in one call; the client must not be one that sends again by itself. Redis errors pass through: then nobody knows.

    Raises ValueError for more than AT_ONCE taps: everybody else waits for the call.
    """
    if not 0 < len(taps) <= AT_ONCE:
        raise ValueError(f"a batch has 1 to {AT_ONCE} taps, not {len(taps)}")
    offers = sorted({offer for tap in taps for offer, _, _ in tap.lines})
    index = {offer: i + 1 for i, offer in enumerate(offers)}
    keys = [room_key(room, name) for name in _KEYS]
    for offer in offers:
        keys += [room_key(room, f"offer:{offer}"), room_key(room, f"used:{offer}")]
    keys.append(room_key(room, "watched"))
    args: list[Any] = [room, len(taps), cap, len(offers), *offers]
    texts: dict[Any, str] = {}  # many want the same
    for tap in taps:
        lines = texts.get((tap.lines, tap.word))
        if lines is None:
            lines = ";".join([f"{index[offer]}:{qty}:{version}:{tap.word}" for offer, qty, version in tap.lines])
            texts[tap.lines, tap.word] = lines
        # The rest of the intent is the turnstile's to say.
        said = {"rid": tap.rid, "who": tap.who, "name": tap.name, "hub": tap.hub, "hash": tap.hash}
        start = orjson.dumps(said if tap.team is None else said | {"team": tap.team})[:-1]
        args += (tap.rid, tap.who, tap.tries, ",".join(tap.at), lines, tap.hash, start)
    fence, *answers = await _reserve(redis, keys, args)
    return [_answer(raw, fence.decode()) for raw in answers]


def _answer(raw: Any, fence: str) -> Answer:
    if isinstance(raw, bytes):
        stream_id = raw.decode()
        tag = "ASK" if stream_id[0] == "?" else "OK"
        return Answer(tag, fence=fence, intent=handle(fence, stream_id.lstrip("?")))
    tag = raw[0].decode()
    if tag == "KNOWN":
        return Answer(tag, record=raw[1])
    if tag == "NO":
        facts = tuple(fact.decode() if isinstance(fact, bytes) else fact for fact in raw[2:])
        return Answer(tag, code=raw[1].decode(), facts=facts)
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
    fence, (found,) = await _look_up(redis, room, [rid])
    if found is None:
        return None
    if found.body is not None:
        return "done", found.body
    return ("intent", found.fence) if fence == found.fence else None


async def records(redis: Redis, room: str, rids: Sequence[str]) -> list[Record | None]:
    """Records of many rids."""
    parts = [rids[at : at + AT_ONCE] for at in range(0, len(rids), AT_ONCE)]
    return [found for part in parts for found in (await _look_up(redis, room, part))[1]]


async def _look_up(redis: Redis, room: str, rids: Sequence[str]) -> tuple[str, list[Record | None]]:
    """The room's fence (empty: not open) and each rid's record, in one read."""
    fence, *raws = await _known(redis, [room_key(room, name) for name in ("meta", *_RIDS)], list(rids))
    return fence.decode(), [None if raw is None else read_record(raw) for raw in raws]


async def unsettled(redis: Redis, room: str, most: int) -> list[tuple[bytes, bytes]]:
    """Intents that were delivered and not settled, oldest first: (stream id, JSON). Raises ResponseError (NOGROUP) in a room not built."""
    return [(one[0], one[1]) for one in await _unsettled(redis, [room_key(room, "intents")], [most])]


@dataclass(slots=True)  # not frozen: one per order, see `Intent`
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
    keys = [room_key(room, name) for name in _KEYS]
    for offer in offers:
        keys += [room_key(room, f"offer:{offer}"), room_key(room, f"used:{offer}")]
    back = [(i, index[offer], place, qty, who) for i, one in enumerate(settled, 1) for offer, place, qty, who in one.back]
    ranges = [(offer, place, after, last) for (offer, place), (after, last) in moves.items()]
    numbers = [(index[offer], place, after, last) for offer, place, after, last in ranges]
    args: list[Any] = [room, len(settled), orjson.dumps({"offers": offers, "back": back, "moves": numbers})]
    for one in settled:
        args += (one.id, one.rid, one.record or b"")
    done, *behind = await _settle(redis, keys, args)
    if behind:
        gaps = zip(behind[::2], behind[1::2], strict=True)
        raise Behind([(*ranges[i - 1][:2], int(mark), ranges[i - 1][2]) for i, mark in gaps])
    return int(done)


async def units_left(redis: Redis, room: str, offer: int, places: Sequence[str]) -> int | None:
    """The most units any of these places has at the turnstile; None when it does not know (all of them), for it is being rebuilt."""
    found = await redis.hmget(room_key(room, f"offer:{offer}"), [f"left:{place}" for place in places])  # type: ignore[misc]
    return max((int(units) for units in found if units is not None), default=None)


async def adjust(
    redis: Redis, room: str, offer: int, place: str, move_no: int, left: int, person: str | None = None, used: int = 0, seats: int = 0,
    run: int = 1, gifts: Sequence[tuple[str, int]] = (),
) -> int:  # fmt: skip
    """A booked movement of the shop (with the `gifts` it became), or a `run` of holds that ends with `move_no`; see `till.Move`.

    1 applied, 0 applied before, CLOSED, ABSENT. Raises Behind.
    """
    keys = [room_key(room, name) for name in ("meta", "log", "state", f"offer:{offer}", f"used:{offer}")]
    given = [part for gift in gifts for part in gift]
    answer, *mark = await _adjust(redis, keys, [room, offer, place, move_no, left, person or "", used, seats, run, *given])
    if mark:
        raise Behind([(offer, place, int(mark[0]), move_no - run)])
    return int(answer)
