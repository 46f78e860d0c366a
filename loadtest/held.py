"""What a viewer holds of a room, and how the frames of one read change it.

Thousands hold the same at any moment and are sent the same bytes, so what is held is kept once, each frame is parsed once, and what a
read does to whoever held this is worked out once: after that it is one look into `Held.steps`. No sockets and no clock here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

import orjson

LANES = ("critical", "state", "chat")
TEXT, CLOSE = 0x81, 0x88  # first byte: final frame + opcode
KNOWN_FRAMES = 2_000  # a room makes some 60 a second: a reader half a minute behind finds its frames parsed
KNOWN_STEPS = 64  # of one `Held`: comments alone change nothing that is held, and would pile up here
SHARED = (b'{"r":', b'{"reset":', b'{"stale":')  # how frames begin that everybody is sent; the others are one person's


def cut(data: bytes, at: int = 0) -> tuple[int, bytes, int] | None:
    """The server's frame at `at`: (its first byte, payload, where the next one begins); None while it is not whole."""
    have = len(data) - at
    if have < 2:
        return None
    size, body = data[at + 1], at + 2
    if size >= 126:
        wide = 2 if size == 126 else 8
        if have < 2 + wide:
            return None
        size, body = int.from_bytes(data[body : body + wide], "big"), body + wide
    end = body + size
    return (data[at], data[body:end], end) if end <= len(data) else None


class Frame:
    """One distinct frame of a room. Times are those its items were meant to be written at, by `time.monotonic`; foreign items have none.

    `top`: the room's last event; `own`: its last own position; `events`: seqs; `states`: key → version; `said`: ids of comments;
    `mark`: the same for all frames of one tick; `bar`: key and paid seats of the bar of a group; `falls`: prices announced;
    `ages`: lane → times; `anew`: what is held after a reset; `stale`: the whole state, for one who had been too slow; `bare`: written
    past the hub.
    """

    __slots__ = ("ages", "anew", "bar", "bare", "events", "falls", "mark", "own", "said", "stale", "states", "top")

    def __init__(self, payload: bytes) -> None:
        body = orjson.loads(payload)
        self.anew: Held | None = None
        if "reset" in body:
            self.anew = snapshot(body["reset"])
            body = {}
        state = body.get("st") or {}
        self.top: int = body.get("s", 0)
        self.own: int = body.get("p", 0)
        self.events: tuple[int, ...] = tuple(entry[0] for entry in body.get("ev", ()))
        self.states = versions(state)
        self.bar = _bar(state)
        self.falls = tuple(entry[2]["fen"] for entry in body.get("ev", ()) if entry[1] == "offer.price")
        self.said: tuple[str, ...] = tuple(comment["id"] for comment in body.get("ch", ()))
        told = " ".join(self.said).encode() or payload  # comments tell a tick from others: its state may be newer for later viewers
        self.mark = f"{zlib.crc32(told):08x}{len(told)}"  # the same in every process, as hash() is not
        self.stale, self.bare = bool(body.get("stale")), "bare" in body
        self.ages: dict[str, list[float]] = {
            "critical": _times(entry[2].get("at") for entry in body.get("ev", ())),
            "state": [] if self.stale else _times(value.get("at") for _, value in state.values() if value),
            "chat": _times(_spoken(comment["text"]) for comment in body.get("ch", ())),
        }


def versions(state: Mapping[str, Sequence[Any]]) -> dict[str, int]:
    """Version by key of a state map as it stands on the wire."""
    return {key: int(pair[0]) for key, pair in state.items()}


def _bar(state: Mapping[str, Sequence[Any]]) -> tuple[str, int] | None:
    return next(((key, value["paid"]) for key, (_, value) in state.items() if value and key.startswith("team:") and "state" in value), None)


def _times(found: Any) -> list[float]:
    return [float(at) for at in found if isinstance(at, int | float)]


def _spoken(text: str) -> float | None:
    try:
        return float(text.partition(" ")[0])
    except ValueError:
        return None


class Held:
    """Log epoch, last critical event, last own position and version by state key. `steps`: bytes read → what they do to who holds this.

    `paid`: seats paid on the bar, `falls`: prices announced since the hello, in the order they came.
    """

    __slots__ = ("__weakref__", "epoch", "falls", "own", "paid", "seq", "state", "steps")

    def __init__(self, epoch: str, seq: int, own: int, state: dict[str, int], paid: int = 0, falls: tuple[int, ...] = ()) -> None:
        self.epoch, self.seq, self.own, self.state, self.paid, self.falls = epoch, seq, own, state, paid, falls
        self.steps: dict[bytes, Step] = {}


def snapshot(body: Mapping[str, Any]) -> Held:
    """What is held after the answer to a hello, or a reset."""
    state = body["snap"]["st"]
    bar = _bar(state)
    return Held(body["e"], body["s"], body.get("p", 0), versions(state), bar[1] if bar else 0)


class Step:
    """`to`: what is held afterwards, None: the same as before (a reference to itself would never be freed). `size`: bytes.

    `lost`: events that should have come before or with these frames and did not; `repeated`: events that had been there.
    `bars`: seats paid on the bar before and after.
    """

    __slots__ = ("bars", "frames", "lost", "repeated", "size", "to")

    def __init__(
        self, to: Held | None, frames: tuple[Frame, ...], lost: int, repeated: int, size: int, bars: tuple[tuple[int, int], ...] = ()
    ) -> None:
        self.to, self.frames, self.lost, self.repeated, self.size, self.bars = to, frames, lost, repeated, size, bars


class Shelf:
    """Every `Held` there is and the frames of late, each once. `known`: items ever met, by lane; `news`: those not told yet."""

    def __init__(self) -> None:
        self.frames: dict[bytes, Frame] = {}
        self.all: WeakValueDictionary[Any, Held] = WeakValueDictionary()
        self.known: dict[str, set[int | str]] = {lane: set() for lane in LANES}
        self.news: dict[str, list[int | str]] = {lane: [] for lane in LANES}

    def frame(self, payload: bytes) -> Frame:
        """The frame with this payload."""
        found = self.frames.get(payload)
        if found is None:
            if len(self.frames) >= KNOWN_FRAMES:
                for old in list(self.frames)[: KNOWN_FRAMES // 2]:
                    del self.frames[old]
            found = self.frames[payload] = Frame(payload)
            if not found.stale:
                self._note("critical", found.events)
                self._note("state", found.states.values())
                self._note("chat", found.said)
        return found

    def _note(self, lane: str, items: Iterable[int | str]) -> None:
        known = self.known[lane]
        new = [item for item in items if item not in known]
        known.update(new)
        self.news[lane] += new

    def tell(self) -> dict[str, list[int | str]]:
        """Items met since the last call."""
        news, self.news = self.news, {lane: [] for lane in LANES}
        return news

    def only(self, held: Held) -> Held:
        """The one that holds the same."""
        return self.all.setdefault((held.epoch, held.seq, held.own, held.falls, frozenset(held.state.items())), held)

    def step(self, held: Held, data: bytes, frames: Sequence[Frame]) -> Step:
        """What `frames`, read as `data`, do to one who holds `held`; remembered there."""
        found = held.steps.get(data)
        if found is not None:
            return found
        now, lost, repeated = held, 0, 0
        bars: list[tuple[int, int]] = []
        for frame in frames:
            if frame.anew is not None:
                bars.append((now.paid, frame.anew.paid))
                now = frame.anew
                continue
            paid = now.paid
            if frame.bar is not None and frame.states[frame.bar[0]] > now.state.get(frame.bar[0], 0):
                bars.append((paid, paid := frame.bar[1]))
            falls = now.falls + frame.falls
            seq, missing, known = follow(now.seq, frame.events, frame.top)
            lost, repeated = lost + missing, repeated + known
            now = Held(now.epoch, seq, max(now.own, frame.own), merged(now.state, frame.states), paid, falls)
        now = self.only(now)
        if len(held.steps) >= KNOWN_STEPS:
            held.steps.clear()
        found = held.steps[data] = Step(None if now is held else now, tuple(frames), lost, repeated, len(data), tuple(bars))
        return found


def follow(seq: int, events: Sequence[int], top: int) -> tuple[int, int, int]:
    """After event `seq` come `events`, the last of all being `top`: (last one held now, how many are missing, how many were known)."""
    lost = repeated = 0
    for number in events:
        if number <= seq:
            repeated += 1
            continue
        lost += number - seq - 1
        seq = number
    return max(seq, top), lost + max(0, top - seq), repeated


def merged(state: dict[str, int], news: Mapping[str, int]) -> dict[str, int]:
    """The newest version of each key; `state` itself when there is nothing new."""
    newer = {key: version for key, version in news.items() if version > state.get(key, 0)}
    return {**state, **newer} if newer else state
