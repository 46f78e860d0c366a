"""What one hub process holds of a room: a ring of recent events, the state map, the last comments, recent own events.

Reads of the room are folded in here; joins, resumes and recovery all start from it. Nothing in this file waits or writes to a socket.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import orjson

from live.infra.roomlog import Look, Position

RING = 1000  # events held for those who resume …
RING_SECONDS = 120.0  # … and how long; who was away longer costs one read of the room's log
REPLAY = 300  # events a resuming client is sent: beyond that a snapshot is smaller
CHAT = 50  # comments a joining viewer sees
OWN_RING = 5000  # own events of everybody: what one read brings
NEVER = "99999999999999-0"


class HoleError(Exception):
    """The room's log went on without us: events between what is held and what was read are gone."""


@dataclass(slots=True)
class News:
    """What a read brought: `events` (seq, JSON), `own` (person, JSON), ids of comments taken back."""

    events: list[tuple[int, bytes]] = field(default_factory=list)
    own: list[tuple[str, bytes]] = field(default_factory=list)
    withdrawn: set[str] = field(default_factory=set)


class Picture:
    """The room as last read. `fence` is empty while the room is not open in Redis (being rebuilt); `epoch` until the first read."""

    def __init__(self) -> None:
        self.epoch = self.fence = ""
        self.at = Position(seq=2**53, own=2**53, chat=NEVER)
        self.ring: deque[tuple[int, float, bytes]] = deque()  # seq, monotonic time it was read, b'[seq,"type",body]'
        self.ring_from = 0  # every event after this one is in the ring
        self.state: dict[str, bytes] = {}
        self.left: dict[int, dict[str, int]] = {}
        self.ended: set[int] = set()
        self.watchable: set[int] = set()  # offers that ask for watching
        self.chat: deque[tuple[str, bytes]] = deque(maxlen=CHAT)
        self.own: deque[tuple[int, str, bytes]] = deque()
        self.own_from = 0  # every own event after this one is held
        self.viewers = self.likes = 0
        # what the next tick tells
        self.state_news: dict[str, bytes] = {}
        self.chat_news: list[tuple[str, bytes]] = []
        self.all_news: list[tuple[str, bytes]] = []
        self._snapshot: bytes | None = None

    def begin(self, found: Look, at: Position, recent: list[Any], now: float) -> News:
        """Start anew with a read from `at`. `recent`: the last comments, newest first.

        Where the log was cut behind `at`, nobody can be replayed from there, and the snapshot has every fact.
        """
        self.epoch, self.fence, self.at = found.epoch, found.fence, at
        at.seq = found.events[0][0] - 1 if found.events else found.seq
        at.own = found.own_entries[0][0] - 1 if found.own_entries else found.own
        self.ring_from, self.own_from = at.seq, at.own
        for held in (self.ring, self.own, self.state, self.left, self.ended, self.watchable, self.chat, self.chat_news):
            held.clear()
        for _, fields in reversed(recent):
            self.chat.append((fields[b"id"].decode(), comment(fields)))
        news = self.fold(found, at, now)
        self.state_news.clear()
        self._snapshot = None
        return news

    def fold(self, found: Look, asked: Position, now: float) -> News:
        """Take in a read made from `asked`, which may lie behind what is held (somebody resumes from there). Raises HoleError."""
        newer = next((seq for seq, _, _ in found.events if seq > self.at.seq), None)
        if newer != self.at.seq + 1 and (newer is not None or (asked.seq >= self.at.seq and found.seq != self.at.seq)):
            raise HoleError
        mine = next((p for p, *_ in found.own_entries if p > self.at.own), None)
        if mine != self.at.own + 1 and (mine is not None or (asked.own >= self.at.own and found.own != self.at.own)):
            raise HoleError  # somebody's news is gone, and nobody knows whose: all fetch theirs
        self.fence = found.fence
        news = News()
        self._fold_chat(found)  # first: an event of this very read may withdraw one of these
        self._fold_events(found, asked.seq, now, news)
        self._fold_state(found)
        self._fold_own(found, asked.own, news)
        self.viewers, self.likes = found.viewers, found.likes
        if news.events or found.state or found.chat:
            self._snapshot = None
        return news

    def _fold_events(self, found: Look, asked: int, now: float, news: News) -> None:
        older = []
        for seq, kind, body in found.events:
            entry = b'[%d,"%s",%s]' % (seq, kind, body)
            if seq <= self.ring_from:
                older.append((seq, now, entry))
            elif seq > self.at.seq:
                self.at.seq = seq
                self.ring.append((seq, now, entry))
                news.events.append((seq, entry))
                if kind == b"comment.withdrawn":
                    news.withdrawn.add(orjson.loads(body)["id"])
        if older and older[0][0] == asked + 1 and older[-1][0] == self.ring_from:
            self.ring.extendleft(reversed(older))
            self.ring_from = asked
        while self.ring and (len(self.ring) > RING or self.ring[0][1] < now - RING_SECONDS):
            self.ring_from = self.ring.popleft()[0]
        if news.withdrawn:
            self.chat = deque((pair for pair in self.chat if pair[0] not in news.withdrawn), maxlen=CHAT)
            self.chat_news = [pair for pair in self.chat_news if pair[0] not in news.withdrawn]
            self.all_news = [pair for pair in self.all_news if pair[0] not in news.withdrawn]

    def _fold_chat(self, found: Look) -> None:
        for stream_id, fields in found.chat:
            said = (fields[b"id"].decode(), comment(fields))
            self.chat.append(said)
            self.chat_news.append(said)
            self.at.chat = stream_id
        for stream_id, fields in found.chat_all:
            self.all_news.append((fields[b"id"].decode(), comment(fields)))
            self.at.chat_all = stream_id

    def _fold_state(self, found: Look) -> None:
        for key, value in found.state.items():
            if self.state.get(key) != value:
                self.state[key] = self.state_news[key] = value
                self._note(key, value)
        if found.state:
            for key in self.state.keys() - found.state.keys():
                del self.state[key]
                self.state_news[key] = b"[%d,null]" % found.sv
        self.at.sv = found.sv

    def _fold_own(self, found: Look, asked: int, news: News) -> None:
        older = []
        for p, who, previous, body in found.own_entries:
            entry = b"[%d,%d,%s]" % (p, previous, body)
            if p <= self.own_from:
                older.append((p, who, entry))
            elif p > self.at.own:
                self.at.own = p
                self.own.append((p, who, entry))
                news.own.append((who, entry))
        if older and older[0][0] == asked + 1 and older[-1][0] == self.own_from:
            self.own.extendleft(reversed(older))
            self.own_from = asked
        while len(self.own) > OWN_RING:
            self.own_from = self.own.popleft()[0]

    def _note(self, key: str, value: bytes) -> None:
        """Keep units and phases readable, so that hopeless first tries cost nothing."""
        kind, _, number = key.partition(":")
        if kind == "left":
            self.left[int(number)] = orjson.loads(value)[1]["left"]
        elif kind == "offer":
            facts = orjson.loads(value)[1]
            (self.ended.add if facts and facts["phase"] == "ended" else self.ended.discard)(int(number))
            watch = ((facts and facts.get("coupon")) or {}).get("watch")
            (self.watchable.add if watch else self.watchable.discard)(int(number))

    def hopeless(self, lines: list[tuple[int, int]], at: list[str]) -> str | None:
        """Whether a first try cannot succeed by what is held: `ended`, `sold_out` or None."""
        for offer, _ in lines:
            if offer in self.ended:
                return "ended"
            left = self.left.get(offer)
            if left is not None and all(left.get(place, 0) <= 0 for place in at):
                return "sold_out"
        return None

    def head(self, seq: int | None = None) -> bytes:
        """How a room's frame begins, up to event `seq` (all that are held unless given): a client that lacks one notices."""
        return b'"s":%d,"p":%d' % (self.at.seq if seq is None else seq, self.at.own)

    def snapshot(self) -> bytes:
        """Every fact in force, as JSON; built once per change."""
        if self._snapshot is None:
            comments = b",".join(said for _, said in self.chat)
            self._snapshot = b'{"st":{%s},"chat":[%s],"viewers":%d,"likes":%d}' % (members(self.state), comments, self.viewers, self.likes)
        return self._snapshot

    def behind(self, epoch: str | None, seq: int | None, p: int | None) -> tuple[int | None, int | None]:
        """Where the room's log, and its own events, must be read from for a client at (epoch, seq, p): None where the ring has them.

        What is too far behind is not asked for: it gets a snapshot, or reads its orders over HTTP.
        """
        if epoch != self.epoch:
            return None, None
        log = seq if seq is not None and seq < self.ring_from and self.at.seq - seq <= REPLAY else None
        if seq is not None and seq > self.at.seq:
            log = self.at.seq  # another hub was faster: the next read brings it
        own = p if p is not None and p < self.own_from and self.at.own - p <= OWN_RING else None
        return log, own

    def since(self, epoch: str | None, seq: int | None) -> list[bytes] | None:
        """The events a client at (epoch, seq) missed; None when only a snapshot will do."""
        if seq is None or epoch != self.epoch or not self.ring_from <= seq <= self.at.seq or self.at.seq - seq > REPLAY:
            return None
        missed = self.at.seq - seq
        return [entry for _, _, entry in list(self.ring)[len(self.ring) - missed :]] if missed else []

    def own_since(self, who: str, epoch: str | None, p: int | None) -> list[bytes] | None:
        """A person's own events after position p; None when they must be read over HTTP."""
        if p is None or epoch != self.epoch or p < self.own_from:
            return None
        return [entry for number, owner, entry in self.own if number > p and owner == who] if p < self.at.own else []


def members(values: dict[str, bytes]) -> bytes:
    """The inside of a JSON object."""
    return b",".join(b"%s:%s" % (orjson.dumps(key), value) for key, value in values.items())


def comment(fields: dict[bytes, bytes]) -> bytes:
    """A comment of the stream as JSON."""
    said: dict[str, Any] = {name: fields[name.encode()].decode() for name in ("id", "who", "name", "text")}
    said["at"] = int(fields[b"at"])
    if fields.get(b"demo") == b"1":
        said["demo"] = True
    return orjson.dumps(said)
