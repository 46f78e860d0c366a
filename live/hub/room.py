"""A room on one hub process: one task that reads it, tells everybody who watches, and lets in whoever comes.

Joins, resumes and recovery are one path: a read of the room from the oldest place anybody needs, folded into the picture.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from live.hub import figures
from live.hub.connection import SKIP_CHAT, Connection, text_frame
from live.hub.picture import CHAT, OWN_RING, REPLAY, HoleError, News, Picture, members
from live.hub.sweep import Push, Sweep
from live.hub.watching import Watching
from live.infra import roomlog
from live.infra.keys import room_key
from live.infra.roomlog import Look, Position
from live.protocol.codes import Close, Code, Refusal
from live.protocol.commands import Hello

if TYPE_CHECKING:
    from live.hub.dispatch import Waiter
    from live.hub.server import Hub
    from live.offers.intake import Intake

log = structlog.get_logger("hub")

LINGER = 30.0  # seconds a room without viewers is kept, so that a reconnecting crowd finds it warm
LOST = 3  # times a hello's deadline until a room does not exist: by then our own client has come back, so a slow rebuild ends nobody's show
UNKNOWN = 0.25  # seconds between looks at a room that is not in Redis
QUIET = 1.0  # seconds without news after which a room is looked at less often …
IDLE = 0.5  # … this many seconds apart; a nudge wakes it
SHARE = 1.4  # a tick begins so many times the last one's duration after it: a good quarter of the loop stays for everything else …
CALM = 0.3  # … and from a tick of so many seconds on ever more: something else needs the machine
STRETCH = 1.0  # seconds between ticks at most, however long a sweep takes
FRESH = 0.05  # seconds between looks while a tick is written: whoever it has not reached yet is told of what changed meanwhile
COUNTS = 1.0  # seconds between frames that tell nothing but the number of viewers and likes


class Waiting:
    """A hello to be answered after the next read. `asked`: a read that began where it needs was made; `log`: it needed the room's log."""

    __slots__ = ("asked", "command", "connection", "log", "since")

    def __init__(self, connection: Connection, command: Hello) -> None:
        self.connection, self.command, self.since = connection, command, time.monotonic()
        self.asked = self.log = False


class RoomFeed:
    """One room on this hub: what is held of it, and who watches."""

    def __init__(self, hub: Hub, room: str) -> None:
        self.hub, self.room = hub, room
        self.picture = Picture()
        self.looked = 0.0  # monotonic time of the last read
        self.members: set[Connection] = set()
        self.consoles: set[Connection] = set()
        self.stale: set[Connection] = set()  # state was skipped for these
        self.people: dict[str, tuple[Connection, ...]] = {}
        self.watching = Watching(hub.redis, room)
        self.intake: Intake[Waiter] | None = None  # once somebody has tapped here
        self.waiting: list[Waiting] = []
        self.wake = asyncio.Event()
        self.busy = self.empty_since = time.monotonic()  # when there was news last; when the last viewer went
        self._told = (-1, -1)
        self._told_at = 0.0
        self.sweep = Sweep()
        self._reading: tuple[Position, asyncio.Task[Look]] | None = None  # a read on its way
        self._tick: _Tick | None = None  # the tick that is being written
        self._took = 0.0  # seconds that the last one took
        self.task = hub.loop.create_task(self._run())

    # the loop

    async def _run(self) -> None:
        tick = self.hub.settings.hub_tick_ms / 1000
        due = time.monotonic()
        while not self._deserted():
            try:
                now = time.monotonic()
                if self._reading is None:  # else one that was begun in the middle of the last sweep is as good
                    self._begin_read()
                await self._take(due)
                if not self.picture.epoch:
                    self._turn_away()
                    await asyncio.sleep(UNKNOWN)
                    continue
                await self.sweep.run(self._overtake)
                self._catch_up()
                if self._tick is not None or now >= due:  # a tick that took long stretches the next ones instead of eating the loop
                    took = self._took = self._tick.push.took if self._tick is not None else 0.0
                    due = now + min(STRETCH, max(tick, took * (SHARE + max(0.0, took / CALM - 1))))
                self._tick = None
                await self._pause(due)
            except (RedisError, OSError) as error:
                log.warning("room.unread", room=self.room, error=str(error)[:200])
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                if self._reading is not None:
                    self._reading[1].cancel()
                raise
        self.hub.leave_room(self)

    async def _pause(self, due: float) -> None:
        """Until the next tick or, sooner, a nudge; but two reads are at least `hub_critical_ms` apart."""
        await asyncio.sleep(max(0.0, self.looked + self.hub.settings.hub_critical_ms / 1000 - time.monotonic()))
        if self._reading is not None:
            return
        if self.idle:
            due = max(due, self.looked + IDLE)
        wait = due - time.monotonic()
        if wait > 0 and not self.wake.is_set():
            try:
                async with asyncio.timeout(wait):
                    await self.wake.wait()
            except TimeoutError:
                pass

    @property
    def idle(self) -> bool:
        """Nothing happened here for a while, and if something does we shall hear of it."""
        return self.looked - self.busy > QUIET and not self.waiting and not self.hub.deaf

    def nudge(self, urgent: bool) -> None:
        """Something was written in Redis. What is not urgent is read with the next tick."""
        if urgent or self.idle:
            self.busy = time.monotonic()
            self.wake.set()

    def _deserted(self) -> bool:
        if self.members or self.waiting:
            self.empty_since = time.monotonic()
            return False
        return time.monotonic() - self.empty_since > (LINGER if self.picture.epoch else 0)

    # reading

    def _begin_read(self) -> None:
        self.wake.clear()
        asked = self._asked()
        self._reading = asked, self.hub.loop.create_task(self._read(asked))

    async def _take(self, due: float = math.inf) -> None:
        """Wait for the read that was begun, and put what is new on its way; from `due` on state and chat too."""
        if self._reading is None:
            return
        asked, task = self._reading
        try:
            found = await task
        finally:
            self._reading = None
        if not found.epoch:
            self.picture.fence = found.fence
            return
        if found.epoch != self.picture.epoch:
            await self._begin(found)
            return
        try:
            news = self.picture.fold(found, asked, time.monotonic())
        except HoleError:
            log.warning("room.hole", room=self.room, held=self.picture.at.seq, found=found.seq)
            await self._begin(found)
            return
        if news.events or found.state or found.chat or found.chat_all:
            self.busy = time.monotonic()
        self._tell(news, due)
        self._looked()

    async def _read(self, at: Position) -> Look:
        figures.reads.labels(what="look").inc()
        return await roomlog.look(self.hub.redis, self.room, at, self.hub.id, len(self.members))

    def _asked(self) -> Position:
        """Where to read from: what is held, or further back for those who wait for older events. One read serves all of them."""
        self.waiting = [one for one in self.waiting if one.connection.open]
        at = self.picture.at
        at.chat_all = at.chat_all if self.consoles else ""
        seq, own = at.seq, at.own
        for one in self.waiting:
            log_from, own_from = self.picture.behind(one.command.d.e, one.command.d.s, one.command.d.p)
            one.asked = True
            if log_from is not None and log_from < at.seq:
                one.log, seq = True, min(seq, log_from)
            own = own if own_from is None else min(own, own_from)
        return replace(at, seq=seq, own=own)

    async def _begin(self, found: Look) -> None:
        """First sight of this log, a new one, or one with a hole: what is held counts no more, and everybody here is told anew."""
        at = self.picture.at
        positions = [one.command.d for one in self.waiting if one.command.d.e == found.epoch]
        seq = min([found.seq, *(d.s for d in positions if d.s is not None and found.seq - d.s <= REPLAY)])
        start = Position(seq=seq, own=max(0, found.own - OWN_RING), chat=at.chat, chat_all=at.chat_all)
        recent = await self.hub.redis.xrevrange(room_key(self.room, "chat"), count=CHAT)
        start.chat = recent[0][0].decode() if recent else roomlog.BEGIN
        figures.reads.labels(what="chat").inc()
        again = await self._read(start)
        if again.epoch != found.epoch:
            return  # rebuilt once more meanwhile: the next look begins anew
        # Nothing below waits for Redis: a failure above leaves what was held as it was, to be begun again.
        first = not self.picture.epoch
        start.chat_all = start.chat_all or at.chat_all  # a console that came meanwhile
        self.picture.begin(again, start, recent, time.monotonic())
        self.sweep.give_up()
        self._tick = None
        if not first:
            picture = self.picture
            frame = text_frame(b'{"reset":{"e":"%s",%s,"snap":%s}}' % (picture.epoch.encode(), picture.head(), picture.snapshot()))
            self.sweep.critical(Push("critical", frame, frame, frame), tuple(self.members))
        self._looked()

    def _looked(self) -> None:
        """What is held is the room of this moment; whoever came before that is let in."""
        self.looked = time.monotonic()
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for one in waiting:
                behind = self.picture.behind(one.command.d.e, one.command.d.s, one.command.d.p)
                if not one.asked and behind != (None, None):  # came while we read
                    self.waiting.append(one)
                    self.wake.set()
                else:
                    self.hub.greet(self, one.connection, one.command, one.log)

    def _turn_away(self) -> None:
        """No such room here: it is being rebuilt, which takes a second or two, or it does not exist."""
        now = time.monotonic()
        for one in self.waiting:
            if now - one.since > LOST * self.hub.settings.hub_hello_seconds:
                one.connection.refuse(one.command.id, Refusal(Code.NOT_FOUND, what="room"))
                one.connection.close(Close.NO_ROOM)

    def hopeless(self, lines: list[tuple[int, int]], at: list[str]) -> str | None:
        """Whether a first try cannot succeed by the state of this tick. Older state refuses nobody."""
        if not self.picture.fence or time.monotonic() - self.looked > self.hub.settings.hub_tick_ms / 1000:
            return None
        return self.picture.hopeless(lines, at)

    # telling

    def frame(self, head: bytes, *parts: bytes) -> bytes:
        """A frame of this room."""
        return text_frame(b'{"r":"%s",%s}' % (self.room.encode(), b",".join((head, *parts))))

    def _tell(self, news: News, due: float) -> None:
        """Each person's own at once; then everybody's critical events, in front of the tick if it is time for one.

        It is time a little earlier when everybody is written to anyway: else the tick would be due when that has just ended.
        """
        for who, entry in news.own:
            for connection in self.people.get(who, ()):
                connection.write(text_frame(b'{"own":[%s]}' % entry))
        if news.withdrawn and self._tick is not None:
            self._tick.withdraw(news.withdrawn)
        pushes = self._critical(news)
        if self._tick is not None:
            self._tick.refresh(self.picture.state_news)
        early = self._took if pushes else 0.0
        if time.monotonic() >= due - early and len(pushes) <= 1:  # more go one by one, and a tick may not say they were before that
            self._tick = _Tick(self, along=bool(pushes))
        for number, push in enumerate(pushes):
            self.sweep.critical(push, tuple(self.members), apart=number > 0)

    def _critical(self, news: News) -> list[Push]:
        most = self.hub.settings.hub_events_per_frame
        found = []
        for at in range(0, len(news.events), most):
            some = news.events[at : at + most]
            parts = [b'"ev":[' + b",".join(entry for _, entry in some) + b"]"]
            # State that changed with the event goes out in the same frame: no card without its offer, no "sold out" beside "5 left".
            state, self.picture.state_news = self.picture.state_news, {}
            lean = frame = self.frame(self.picture.head(some[-1][0]), *parts)
            if state:
                frame = self.frame(self.picture.head(some[-1][0]), *parts, b'"st":{' + members(state) + b"}")
            found.append(Push("critical", frame, frame, lean, events=len(some), states=len(state)))
        return found

    def counts(self, alone: bool) -> bytes | None:
        """Viewers and likes when they changed; when there is nothing else to tell (`alone`), once a second."""
        counts, now = (self.picture.viewers, self.picture.likes), time.monotonic()
        if counts == self._told or (alone and now - self._told_at < COUNTS):
            return None
        self._told, self._told_at = counts, now
        return b'"v":[%d,%d]' % counts

    async def _overtake(self) -> bool:
        """In the middle of a sweep: if the room was nudged, read it, and what is critical goes in front. The sweep goes on meanwhile.

        Returns whether a read is on its way.
        """
        try:
            if self._reading is not None:
                if self._reading[1].done():
                    await self._take()
            elif time.monotonic() - self.looked >= (self.hub.settings.hub_critical_ms / 1000 if self.wake.is_set() else FRESH):
                self._begin_read()
        except (RedisError, OSError) as error:  # the next look will tell
            log.warning("room.unread", room=self.room, error=str(error)[:200])
            self.wake.set()
        return self._reading is not None

    def _catch_up(self) -> None:
        """Sockets whose state was skipped get the whole map once they have drained."""
        frame: bytes | None = None
        for connection in tuple(self.stale):
            if connection.transport is not None and connection.transport.get_write_buffer_size() < SKIP_CHAT:
                self.stale.discard(connection)
                frame = frame or self.frame(self.picture.head(), b'"stale":true,"st":{' + members(self.picture.state) + b"}")
                connection.write(frame)

    # members

    def join(self, connection: Connection) -> None:
        """From the next write on, this socket is told."""
        identity = connection.identity
        if identity is None:
            raise ValueError("a socket joins after its hello")
        connection.feed = self
        self.members.add(connection)
        self.people[identity.sub] = (*self.people.get(identity.sub, ()), connection)
        if identity.known:
            self.watching.came(identity.sub)
        if identity.role in ("owner", "host", "moderator"):
            self.consoles.add(connection)
            self.picture.at.chat_all = self.picture.at.chat_all or self.picture.at.chat

    def leave(self, connection: Connection) -> None:
        """The socket is gone."""
        for held in (self.members, self.consoles, self.stale):
            held.discard(connection)
        if connection.identity is not None:
            sub = connection.identity.sub
            left = tuple(one for one in self.people.get(sub, ()) if one is not connection)
            if left:
                self.people[sub] = left
            else:
                self.people.pop(sub, None)
                self.watching.went(sub)


class _Tick:
    """State and chat of one tick, on their way. What changes meanwhile changes what is not yet written.

    `along`: an event goes to everybody with it, so there is a tick to change even if it has nothing to tell yet.
    """

    def __init__(self, feed: RoomFeed, along: bool) -> None:
        picture = feed.picture
        self.state, picture.state_news = picture.state_news, {}
        self.said, picture.chat_news = picture.chat_news, []
        everything, picture.all_news = picture.all_news, []
        self._feed, self._head = feed, picture.head()
        self._counts = feed.counts(alone=not self.state and not self.said and not everything)
        self.push = self._push(self.said)
        if feed.consoles and (everything or self.state or self._counts):
            feed.sweep.tick(self._push(everything), tuple(feed.consoles))
        if self.said or self.state or self._counts or along:
            feed.sweep.tick(self.push, tuple(feed.members - feed.consoles))

    def _push(self, said: list[tuple[str, bytes]]) -> Push:
        middle = [b'"st":{' + members(self.state) + b"}"] if self.state else []
        if self._counts:
            middle.append(self._counts)
        quiet = self._feed.frame(self._head, *middle) if middle else None
        comments = b'"ch":[' + b",".join(text for _, text in said) + b"]"
        full = self._feed.frame(self._head, *middle, comments) if said or quiet is None else quiet
        return Push("tick", full, quiet, None, states=len(self.state), comments=len(said))

    def refresh(self, news: dict[str, bytes]) -> None:
        """State changed. Whom the tick has not reached is told with it, and all with the next one: a client knows newer from older."""
        if news and (sockets := self._feed.sweep.changed(self.push)):
            self.state = self.state | news
            fresh = self._push(self.said)
            Push("tick", b"", None, None, states=fresh.states - self.push.states).offered(sockets)
            self.push.take(fresh)

    def withdraw(self, ids: set[str]) -> None:
        """These comments were taken back."""
        left = [pair for pair in self.said if pair[0] not in ids]
        gone = len(self.said) - len(left)
        if gone:
            sockets = self._feed.sweep.changed(self.push)
            Push("tick", b"", None, None, comments=gone).skipped("withdrawn", sockets=sockets)
            self.said = left
            self.push.take(self._push(left))
