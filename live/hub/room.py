"""A room as one hub process holds it: a ring of recent events, the state map, the last comments, and everybody who watches.

One read of Redis per tick is folded into it; joins, resumes and recovery all start from what it holds.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from redis.exceptions import RedisError

from live.hub import figures
from live.hub.connection import SKIP_CHAT, Connection, text_frame
from live.infra import roomlog
from live.infra.keys import room_key
from live.infra.roomlog import Look, Position
from live.protocol.codes import Close, Code, Refusal
from live.protocol.commands import Hello

if TYPE_CHECKING:
    from live.hub.server import Hub

log = structlog.get_logger("hub")

RING = 1000  # events a resuming client may be behind …
REPLAY = 300  # … and how many it is sent: beyond that a snapshot is smaller
CHAT = 50  # comments a joining viewer sees
OWN_RING = 5000
LINGER = 30.0  # seconds a room without viewers is kept, so that a reconnecting crowd finds it warm
SLICE = 500  # sockets written per loop turn, so that reads and other rooms are not starved
UNKNOWN = 0.25  # seconds between looks at a room that is not in Redis
NEVER = "99999999999999-0"


class RoomFeed:
    """One room on this hub. `fence` is empty while the room is not open in Redis (being rebuilt)."""

    def __init__(self, hub: Hub, room: str) -> None:
        self.hub, self.room = hub, room
        self.epoch = self.fence = ""
        self.at = Position(seq=2**53, own=2**53, chat=NEVER)
        self.ring: deque[tuple[int, bytes]] = deque(maxlen=RING)  # seq, b'[seq,"type",body]'
        self.state: dict[str, bytes] = {}
        self.left: dict[int, dict[str, int]] = {}
        self.ended: set[int] = set()
        self.chat: deque[tuple[str, bytes]] = deque(maxlen=CHAT)
        self.own: deque[tuple[int, str, bytes]] = deque(maxlen=OWN_RING)
        self.own_from = 0  # own positions up to this one are not in the ring
        self.viewers = self.likes = 0
        self.looked = 0.0  # monotonic time of the last read
        self.members: set[Connection] = set()
        self.consoles: set[Connection] = set()
        self.people: dict[str, set[Connection]] = {}
        self.waiting: list[tuple[Connection, Hello, float]] = []  # hellos that came before the first read, and when
        self.nudged = asyncio.Event()
        self.empty_since = time.monotonic()
        self._state_news: dict[str, bytes] = {}
        self._chat_news: list[tuple[str, bytes]] = []
        self._all_news: list[bytes] = []
        self._sent = (-1, -1)
        self._snapshot: bytes | None = None
        self.task = hub.loop.create_task(self._run())

    # the loop

    async def _run(self) -> None:
        tick, critical = self.hub.settings.hub_tick_ms / 1000, self.hub.settings.hub_critical_ms / 1000
        due = time.monotonic()
        while not self._deserted():
            try:
                self.nudged.clear()
                await self._look()
                if not self.epoch:
                    self._turn_away()
                    await asyncio.sleep(UNKNOWN)
                    continue
                now = time.monotonic()
                if now >= due:
                    await self._sweep_tick()
                    # A sweep that took long stretches the ticks, up to a second, instead of eating the loop.
                    due = now + min(1.0, max(tick, 2 * (time.monotonic() - now)))
                await self._pause(critical, due)
            except (RedisError, OSError) as error:
                log.warning("room.unread", room=self.room, error=str(error)[:200])
                await asyncio.sleep(0.1)
        self.hub.leave_room(self)

    async def _pause(self, critical: float, due: float) -> None:
        await asyncio.sleep(max(0.0, self.looked + critical - time.monotonic()))
        wait = due - time.monotonic()
        if wait > 0 and not self.nudged.is_set():
            try:
                async with asyncio.timeout(wait):
                    await self.nudged.wait()
            except TimeoutError:
                pass

    def _deserted(self) -> bool:
        if self.members or self.waiting:
            self.empty_since = time.monotonic()
            return False
        return time.monotonic() - self.empty_since > (LINGER if self.epoch else 0)

    def _turn_away(self) -> None:
        """No such room here: it is being rebuilt, which takes a second or two, or it does not exist."""
        now = time.monotonic()
        for connection, command, since in self.waiting:
            if now - since > self.hub.settings.hub_hello_seconds:
                connection.refuse(command.id, Refusal(Code.NOT_FOUND, what="room"))
                connection.close(Close.NO_ROOM)
        self.waiting = [hello for hello in self.waiting if hello[0].open]

    async def _look(self) -> None:
        self.at.chat_all = self.at.chat_all if self.consoles else ""
        found = await roomlog.look(self.hub.redis, self.room, self.at, self.hub.id, len(self.members))
        figures.looks.inc()
        if found.epoch and found.epoch != self.epoch:
            await self._begin(found)
            return
        self.fence = found.fence
        if not found.epoch:
            return
        critical = self._fold(found)
        if critical:
            await self._sweep_critical(critical)
        self._looked()

    def _looked(self) -> None:
        """What is held is the room of this moment; whoever came before that is let in."""
        self.looked = time.monotonic()
        if self.waiting:
            hellos, self.waiting = self.waiting, []
            for connection, command, _ in hellos:
                self.hub.greet(self, connection, command)

    async def _begin(self, found: Look) -> None:
        """First sight of this log, or a new one: what is held counts no more. The ring starts with the newest events."""
        first = not self.epoch
        at = Position(seq=max(0, found.seq - RING), own=found.own, chat=self.at.chat, chat_all=self.at.chat_all)
        recent: list[Any] = []
        if first:
            recent = await self.hub.redis.xrevrange(room_key(self.room, "chat"), count=CHAT)
            at.chat = recent[0][0].decode() if recent else roomlog.BEGIN
        again = await roomlog.look(self.hub.redis, self.room, at, self.hub.id, len(self.members))
        if again.epoch != found.epoch:
            return  # rebuilt once more meanwhile: the next look begins anew
        # Nothing below waits for Redis: a failure above leaves what was held as it was, to be begun again.
        self.at, self.epoch, self.fence, self.own_from = at, again.epoch, again.fence, found.own
        for held in (self.ring, self.state, self.own, self.left, self.ended):
            held.clear()
        for _, fields in reversed(recent):
            self.chat.append((fields[b"id"].decode(), _comment(fields)))
        self._fold(again)
        self._snapshot = None
        self._state_news.clear()
        if not first:
            where = (orjson.dumps(self.epoch), self.at.seq, self.at.own, self.snapshot())
            frame = text_frame(b'{"reset":{"e":%s,"s":%d,"p":%d,"snap":%s}}' % where)
            await self._sweep(lambda connection: connection.push(frame, frame, frame))
        self._looked()

    def _fold(self, found: Look) -> list[bytes]:
        """Take a read in. Returns the critical events that are new; state and chat wait for the tick."""
        self._fold_chat(found)  # first: an event of this very read may withdraw one of these
        critical: list[bytes] = []
        for seq, kind, body in found.events:
            entry = b'[%d,"%s",%s]' % (seq, kind, body)
            self.ring.append((seq, entry))
            critical.append(entry)
            if kind == b"comment.withdrawn":
                gone = orjson.loads(body)["id"]
                self.chat = deque((pair for pair in self.chat if pair[0] != gone), maxlen=CHAT)
                self._chat_news = [pair for pair in self._chat_news if pair[0] != gone]
        self.at.seq = found.events[-1][0] if found.events else max(self.at.seq, found.seq)
        self._fold_state(found)
        self._fold_own(found)
        self.viewers, self.likes = found.viewers, found.likes
        if critical or found.state or found.chat:
            self._snapshot = None
        return critical

    def _fold_chat(self, found: Look) -> None:
        for stream_id, fields in found.chat:
            said = (fields[b"id"].decode(), _comment(fields))
            self.chat.append(said)
            self._chat_news.append(said)
            self.at.chat = stream_id
        for stream_id, fields in found.chat_all:
            self._all_news.append(_comment(fields))
            self.at.chat_all = stream_id

    def _fold_state(self, found: Look) -> None:
        for key, value in found.state.items():
            if self.state.get(key) != value:
                self.state[key] = self._state_news[key] = value
                self._note(key, value)
        if found.state:
            for key in self.state.keys() - found.state.keys():
                del self.state[key]
                self._state_news[key] = b"[%d,null]" % found.sv
        self.at.sv = found.sv

    def _fold_own(self, found: Look) -> None:
        for p, who, previous, body in found.own_entries:
            entry = b"[%d,%d,%s]" % (p, previous, body)
            if len(self.own) == OWN_RING:
                self.own_from = self.own[0][0]
            self.own.append((p, who, entry))
            for connection in self.people.get(who, ()):
                connection.write(text_frame(b'{"own":[%s]}' % entry))
        self.at.own = found.own_entries[-1][0] if found.own_entries else max(self.at.own, found.own)

    def _note(self, key: str, value: bytes) -> None:
        """Keep units and phases readable, so that hopeless first tries cost nothing."""
        kind, _, number = key.partition(":")
        if kind == "left":
            self.left[int(number)] = orjson.loads(value)[1]["left"]
        elif kind == "offer":
            facts = orjson.loads(value)[1]
            (self.ended.add if facts and facts["phase"] == "ended" else self.ended.discard)(int(number))

    def hopeless(self, lines: list[tuple[int, int]], at: list[str]) -> str | None:
        """Whether a first try cannot succeed by the state of this tick: `ended`, `sold_out` or None. Older state refuses nobody."""
        if not self.fence or time.monotonic() - self.looked > self.hub.settings.hub_tick_ms / 1000:
            return None
        for offer, _ in lines:
            if offer in self.ended:
                return "ended"
            left = self.left.get(offer)
            if left is not None and all(left.get(place, 0) <= 0 for place in at):
                return "sold_out"
        return None

    # frames

    def _head(self) -> bytes:
        return b'{"r":"%s","s":%d' % (self.room.encode(), self.at.seq)

    async def _sweep_critical(self, events: list[bytes]) -> None:
        # State that changed with the event goes out in the same frame: no card without its offer, no "sold out" beside "5 left".
        frame = self._head() + b',"ev":[' + b",".join(events) + b"]"
        if self._state_news:
            frame += b',"st":{' + _members(self._state_news) + b"}"
            self._state_news = {}
        full = text_frame(frame + b"}")
        figures.frames.labels(variant="critical").inc()
        await self._sweep(lambda connection: connection.push(full, full, full))

    async def _sweep_tick(self) -> None:
        self._catch_up()
        state, self._state_news = self._state_news, {}
        chat, self._chat_news = self._chat_news, []
        everything, self._all_news = self._all_news, []
        counts = (self.viewers, self.likes)
        if not state and not chat and not everything and counts == self._sent:
            return
        middle = self._head()
        if state:
            middle += b',"st":{' + _members(state) + b"}"
        if counts != self._sent:
            middle += b',"v":[%d,%d]' % counts
            self._sent = counts
        no_chat = text_frame(middle + b"}")
        full = text_frame(middle + b',"ch":[' + b",".join(said for _, said in chat) + b"]}") if chat else no_chat
        staff = text_frame(middle + b',"ch":[' + b",".join(everything) + b"]}") if everything else no_chat
        figures.frames.labels(variant="tick").inc()
        quiet = None if chat and not state else no_chat
        consoles = self.consoles
        await self._sweep(lambda connection: connection.push(staff if connection in consoles else full, quiet, None))

    async def _sweep(self, push: Any) -> None:
        started = time.monotonic()
        for number, connection in enumerate(tuple(self.members), 1):
            push(connection)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        figures.sweep.observe(time.monotonic() - started)

    def _catch_up(self) -> None:
        """Sockets whose state was skipped get the whole map once they have drained."""
        frame: bytes | None = None
        for connection in self.members:
            if connection.stale and connection.transport is not None and connection.transport.get_write_buffer_size() < SKIP_CHAT:
                connection.stale = False
                frame = frame or text_frame(self._head() + b',"stale":true,"st":{' + _members(self.state) + b"}}")
                connection.write(frame)

    def snapshot(self) -> bytes:
        """Every fact in force, as JSON; built once per change."""
        if self._snapshot is None:
            comments = b",".join(said for _, said in self.chat)
            self._snapshot = b'{"st":{%s},"chat":[%s],"viewers":%d,"likes":%d}' % (_members(self.state), comments, self.viewers, self.likes)
        return self._snapshot

    def since(self, epoch: str | None, seq: int | None) -> list[bytes] | None:
        """The events a client at (epoch, seq) missed; None when only a snapshot will do."""
        if seq is None or epoch != self.epoch or seq > self.at.seq:
            return None
        missed = [entry for number, entry in self.ring if number > seq]
        return missed if len(missed) == self.at.seq - seq and len(missed) <= REPLAY else None

    def own_since(self, who: str, p: int | None) -> list[bytes] | None:
        """A person's own events after position p; None when they must be read over HTTP."""
        if p is None or p < self.own_from:
            return None
        return [entry for number, owner, entry in self.own if number > p and owner == who]

    # members

    def join(self, connection: Connection) -> None:
        """From the next write on, this socket is told."""
        identity = connection.identity
        if identity is None:
            raise ValueError("a socket joins after its hello")
        connection.feed = self
        self.members.add(connection)
        self.people.setdefault(identity.sub, set()).add(connection)
        if identity.role in ("owner", "host", "moderator"):
            self.consoles.add(connection)
            self.at.chat_all = self.at.chat_all or self.at.chat

    def leave(self, connection: Connection) -> None:
        """The socket is gone."""
        self.members.discard(connection)
        self.consoles.discard(connection)
        if connection.identity is not None:
            same = self.people.get(connection.identity.sub)
            if same is not None:
                same.discard(connection)
                if not same:
                    del self.people[connection.identity.sub]


def _members(values: dict[str, bytes]) -> bytes:
    return b",".join(b"%s:%s" % (orjson.dumps(key), value) for key, value in values.items())


def _comment(fields: dict[bytes, bytes]) -> bytes:
    said: dict[str, Any] = {name: fields[name.encode()].decode() for name in ("id", "who", "name", "text")}
    said["at"] = int(fields[b"at"])
    if fields.get(b"demo") == b"1":
        said["demo"] = True
    return orjson.dumps(said)
