"""The hub process: one listening socket, every viewer of its rooms, Redis and never SQL."""

from __future__ import annotations

import asyncio
import gc
import random
import secrets
import signal
import socket
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import orjson
import structlog
from redis.exceptions import RedisError
from websockets.http11 import Request
from websockets.typing import Origin

from live.hub import figures
from live.hub.connection import Connection, text_frame
from live.hub.dispatch import Desk
from live.hub.door import Door
from live.hub.room import RoomFeed
from live.hub.sweep import SLICE
from live.infra import observe, security
from live.infra.keys import URGENT, hub_channel, nudge_channel
from live.infra.redis import connect, connect_buying
from live.infra.security import Identity, Tokens
from live.protocol.codes import Close
from live.protocol.commands import Command, Hello
from live.rooms import rules
from live.rooms.live import Manners
from live.settings import Settings, settings

log = structlog.get_logger("hub")

TURN_SECONDS = 1.0  # how often the wheel turns
DEAF_SECONDS = 3.0  # our own voice was not heard for so long: the listener's connection is dead, whatever it says
FREEZE = 1000  # sockets come since the last freeze; then what they are made of is put out of the collector's sight
NOTSENT_LOWAT = 16 * 1024  # without it the kernel swallows megabytes per slow socket before the write buffer shows anything
BACKLOG = 4096
YOUNG = (10_000, 20, 1_000)  # thresholds of the collector: the oldest generation practically never, see `Hub._freeze`
TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)


class Hub:
    """Everybody who is connected here."""

    def __init__(self, config: Settings) -> None:
        if config.redis_url is None:
            raise SystemExit("LIVE_REDIS_URL must be set; `live up` starts a server for you")
        self.settings = config
        self.id = secrets.token_hex(4)
        self.loop = asyncio.get_running_loop()
        self.redis = connect(config.redis_url)
        self.buying = connect_buying(config.redis_url)
        self.tokens = Tokens(security.secret(config, "token_secret"))
        # A missing Origin is a mini-program or a test, which have a token and no cookie to be stolen.
        self.origins: list[Any] = [None, *(Origin(origin) for origin in config.origins)]
        words = rules.fold_words([*rules.WORDS, *config.comment_words.split(",")])
        self.manners = Manners(limit=config.comment_max_characters, budget=config.comment_budget_per_second, words=words)
        self.door = Door(config)
        self.rooms: dict[str, RoomFeed] = {}
        self.desk = Desk(self)
        self.not_before: dict[str, bytes] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        self.emptied = asyncio.Event()
        self.heard = time.monotonic()  # when the listener last brought anything
        self.deaf = False
        self.frozen = 0  # sockets at the last freeze
        self.pubsub = self.redis.pubsub(ignore_subscribe_messages=True)

    # rooms and members

    def feed(self, room: str) -> RoomFeed:
        """The room's feed, started with its first viewer."""
        found = self.rooms.get(room)
        if found is None:
            found = self.rooms[room] = RoomFeed(self, room)
            found.task.add_done_callback(lambda task, feed=found: self._feed_ended(feed, task))  # type: ignore[misc]
            figures.rooms.set(len(self.rooms))
            self.spawn(self._subscribe(room))
        return found

    def leave_room(self, feed: RoomFeed) -> None:
        """Nobody watches this room here any more."""
        if self.rooms.get(feed.room) is feed:
            del self.rooms[feed.room]
            figures.rooms.set(len(self.rooms))
            self.spawn(self._unsubscribe(feed.room))

    def _feed_ended(self, feed: RoomFeed, task: asyncio.Task[None]) -> None:
        """A feed that fails is a fault of ours: its viewers come back to a new one."""
        if task.cancelled() or task.exception() is None:
            return
        log.error("room.died", room=feed.room, error=repr(task.exception()))
        self.leave_room(feed)
        for connection in [*feed.members, *(one.connection for one in feed.waiting)]:
            connection.close(Close.DRAIN, after=self._return_ms())

    async def _subscribe(self, room: str) -> None:
        while room in self.rooms:
            try:
                await self.pubsub.subscribe(nudge_channel(room))
                return
            except (RedisError, OSError) as error:  # until then its ticks read the room
                log.warning("hub.listener", room=room, error=str(error)[:200])
                await asyncio.sleep(0.2)

    async def _unsubscribe(self, room: str) -> None:
        await self.pubsub.unsubscribe(nudge_channel(room))

    def greet(self, feed: RoomFeed, connection: Connection, command: Hello, from_log: bool = False) -> None:
        """Answer a hello and join, in one turn of the loop, so that nothing falls between the snapshot and the first frame."""
        identity, asked, picture = connection.identity, command.d, feed.picture
        if identity is None or not connection.open:
            return
        if self.is_revoked(identity):  # ended while this hello waited
            connection.close(Close.REVOKED)
            return
        missed = picture.since(asked.e, asked.s)
        own = picture.own_since(identity.sub, asked.e, asked.p)
        after = self.settings.hub_absent_ms
        you = {"sub": identity.sub, "name": identity.name, "role": identity.role, "known": identity.known}
        body = orjson.dumps(
            {"now": int(time.time() * 1000), "ping": 25_000, "you": you, "room": feed.room, "e": picture.epoch,
             "rej": [after, after + self.settings.hub_spread_ms], "exp": identity.exp * 1000, "rec": missed is not None}
        )  # fmt: skip
        parts = [body[:-1], b",", picture.head(), b',"snap":', picture.snapshot()]
        if missed is not None:
            parts += [b',"ev":[', b",".join(missed), b"]"]
        parts += [b',"own":', b"null" if own is None else b"[" + b",".join(own) + b"]", b"}"]
        connection.write(text_frame(b'{"id":%d,"ok":%s}' % (command.id, b"".join(parts))))
        self._make_room(feed, identity.sub)
        feed.join(connection)
        source = "none" if asked.s is None else "snapshot" if missed is None else "log" if from_log else "ring"
        figures.resumes.labels(source=source).inc()
        figures.sockets.inc()

    def _make_room(self, feed: RoomFeed, sub: str) -> None:
        """A person has only so many sockets; the oldest gives way, since it is the one most likely forgotten."""
        held = [one for one in feed.people.get(sub, ()) if one.open]
        for one in held[: max(0, len(held) + 1 - self.settings.hub_sockets_per_person)]:
            one.close(Close.REPLACED)

    def dispatch(self, connection: Connection, command: Command) -> None:
        """A command arrived."""
        self.desk.handle(connection, command)

    @property
    def connections(self) -> list[Connection]:
        """Every socket, greeted or not."""
        return list(self.door.wheel)

    def forget(self, connection: Connection) -> None:
        """A socket is gone."""
        self.door.leave(connection)
        if self.door.shut and not self.door.wheel:
            self.emptied.set()
        if connection.feed is not None:
            connection.feed.leave(connection)
            connection.feed = None
            figures.sockets.dec()

    def is_revoked(self, identity: Identity) -> bool:
        """Whether this token was ended by a logout, a ban or a change of role."""
        return security.revoked(identity, self.not_before.get(identity.sub))

    def page(self, path: str, request: Request, address: str) -> tuple[int, str, bytes, str]:
        """The plain pages of this port."""
        if path == "/healthz":
            return 200, "OK", b'{"ok":true}', "application/json"
        if path == "/metrics":
            token = self.settings.metrics_token
            given = request.headers.get("Authorization", "")
            # What comes by a proxy on this machine comes from anywhere, whether we were told of that proxy or not.
            near = "X-Forwarded-For" not in request.headers and address in ("127.0.0.1", "::1")
            if near or (token and security.same(given, f"Bearer {token}")):
                body, kind = observe.metrics()
                return 200, "OK", body, kind
            return 403, "Forbidden", b"metrics are for loopback or with a token\n", "text/plain"
        return 404, "Not Found", b"the socket is at /ws\n", "text/plain"

    # tasks

    def spawn(self, act: Coroutine[Any, Any, Any]) -> None:
        """Run something beside the callbacks; its owner is this hub."""
        task = self.loop.create_task(act)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("hub.task", error=repr(task.exception()))

    async def listen(self) -> None:
        """Nudges, verdicts and revocations. Losing one costs a tick or a question, never a fact."""
        await self.pubsub.subscribe(hub_channel(self.id), security.CHANNEL)
        while True:
            try:
                message = await self.pubsub.get_message(timeout=1.0)
                if message is not None:
                    self.heard, self.deaf = time.monotonic(), False
                    await self._heard(message["channel"].decode(), message["data"])
                elif time.monotonic() - self.heard > DEAF_SECONDS and self.pubsub.connection is not None:
                    self.deaf, self.heard = True, time.monotonic()
                    log.warning("hub.listener", error="nothing heard, not even ourselves")
                    await self.pubsub.connection.disconnect()  # the next read connects and subscribes anew
            except (RedisError, OSError) as error:
                self.deaf = True
                log.warning("hub.listener", error=str(error)[:200])
                await asyncio.sleep(0.1)
            except Exception:  # a read loop: one bad message must not end verdicts for everybody
                log.exception("hub.listener")

    async def _heard(self, channel: str, data: bytes) -> None:
        if channel == hub_channel(self.id):
            for rid, intent, body, no in orjson.loads(data):
                self.desk.verdict(rid, intent, body, no)
        elif channel == security.CHANNEL:
            await self._revoke(data.decode())
        else:
            feed = self.rooms.get(channel[1:].partition("}")[0])
            if feed is not None:
                feed.nudge(data == URGENT)

    async def _revoke(self, sub: str) -> None:
        value = await self.redis.get(security.not_before_key(sub))
        if value is not None:
            self._end_sockets(sub, value)

    def _end_sockets(self, sub: str, value: bytes) -> None:
        self.not_before[sub] = value
        for feed in self.rooms.values():
            for connection in feed.people.get(sub, ()):
                if connection.identity is not None and self.is_revoked(connection.identity):
                    connection.close(Close.REVOKED)

    async def read_revocations(self) -> None:
        """Take in what was ended lately, for messages that were lost and for what happened before we started."""
        figures.reads.labels(what="revoked").inc()
        recent = await self.redis.zrangebyscore(security.REVOKED, time.time() - security.REVOKED_SECONDS, "+inf", withscores=True)
        self.not_before = {sub: value for sub, value in self.not_before.items() if float(value) > time.time() - security.REVOKED_SECONDS}
        for sub, moment in recent:
            if float(self.not_before.get(sub.decode(), 0)) < moment:
                self._end_sockets(sub.decode(), str(moment).encode())

    async def watch(self) -> None:
        """Deadlines of every socket, questions about overdue verdicts, our own voice, revocations whose message was lost."""
        turn, due = 0, time.monotonic()
        while True:
            due = max(due + TURN_SECONDS, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            figures.lag.set(time.monotonic() - due)
            turn += 1
            try:
                self._turn()
                await self.desk.ask_again()
                await self.redis.publish(hub_channel(self.id), b"[]")
                for feed in tuple(self.rooms.values()):
                    await feed.watching.turn()
                if turn % 10 == 0:
                    self.desk.sort_purses()
                    await self.read_revocations()
            except (RedisError, OSError) as error:
                log.warning("hub.watch", error=str(error)[:200])
            except Exception:  # a read loop: without it no deadline is kept any more
                log.exception("hub.watch")

    def _turn(self) -> None:
        """One turn of the wheel, and of those who do not read fast enough."""
        now, epoch, settings = time.monotonic(), time.time(), self.settings
        for connection in self.door.wheel.due(now):
            identity, silent = connection.identity, connection.last_heard + settings.hub_silent_seconds
            if connection.leaving or identity is None:
                if now < connection.deadline:
                    self.door.wheel.move(connection, connection.deadline)
                else:
                    connection.close(Close.HELLO_LATE)
                    self.door.wheel.move(connection, connection.deadline)
            elif now >= silent:
                connection.close(Close.SILENT)
            elif epoch >= identity.exp:
                connection.close(Close.EXPIRED)
            else:
                self.door.wheel.move(connection, min(silent, now + identity.exp - epoch))
        waiting = 0
        for connection in tuple(self.door.behind):
            waiting += connection.catch_up()
            if connection.behind_since and now - connection.behind_since > settings.hub_behind_seconds:
                connection.close(Close.SLOW)
        figures.queue.set(waiting)
        figures.behind.set(len(self.door.behind))
        figures.line.set(sum(len(feed.intake.line) for feed in self.rooms.values() if feed.intake is not None))
        self._freeze()

    def _freeze(self) -> None:
        """What thousands of sockets are made of stays: looking through it for garbage would stall all of them.

        They are freed by reference count when they go (`Connection.connection_lost` cuts the one cycle), so nothing is lost by it; when
        most of a crowd has gone, everything is looked through once.
        """
        count = len(self.door.wheel)
        if count >= self.frozen + FREEZE:
            gc.freeze()
            self.frozen = count
        elif count < FREEZE and self.frozen >= 2 * FREEZE:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            self.frozen = count

    def _return_ms(self) -> int:
        """When one socket is to come back."""
        return self.settings.hub_absent_ms + random.randint(0, self.settings.hub_return_ms)  # noqa: S311 - a spread, not a secret

    async def drain(self) -> None:
        """Tell everybody when to come back, spread over a window, and close."""
        self.door.shut = True
        if not self.door.wheel:
            self.emptied.set()
        for number, connection in enumerate(self.connections, 1):
            connection.close(Close.DRAIN, after=self._return_ms())
            if number % SLICE == 0:
                await asyncio.sleep(0)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.hub_drain_seconds):
                await self.emptied.wait()
        for connection in self.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def close(self) -> None:
        """End tasks and clients."""
        tasks = {*self.tasks, *(feed.task for feed in self.rooms.values())}
        while tasks:  # again and again: redis-py 5 can swallow a cancellation while it connects
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=0.2)
        with suppress(RedisError, OSError):
            for feed in tuple(self.rooms.values()):
                await feed.watching.end()
        await self.pubsub.aclose()  # type: ignore[no-untyped-call]
        await self.redis.aclose()
        await self.buying.aclose()


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket whose accepted ones show a slow reader early. Several hubs may share the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "SO_REUSEPORT"):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_LOWAT)
    found.bind((host, port))
    found.setblocking(False)
    return found


async def run(config: Settings, stop: asyncio.Event, ready: asyncio.Event | None = None, sock: socket.socket | None = None) -> None:
    """Serve until `stop`. `sock`: a bound socket of the caller's, else host and port of the settings."""
    hub = Hub(config)
    figures.begin(hub.id)
    await hub.read_revocations()
    hub.spawn(hub.listen())
    hub.spawn(hub.watch())
    sock = sock or listening_socket(config.host, config.hub_port)
    server = await hub.loop.create_server(lambda: Connection(hub), sock=sock, backlog=BACKLOG)
    log.info("hub.open", hub=hub.id, address=f"{config.host}:{sock.getsockname()[1]}")
    gc.set_threshold(*YOUNG)
    gc.freeze()  # what is here now stays; collecting it again and again would stall every socket
    if ready is not None:
        ready.set()
    try:
        await stop.wait()
    finally:
        server.close()
        await hub.drain()
        await hub.close()


async def _main() -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await run(settings(), stop)


def main() -> None:
    """Entry of `live hub`."""
    observe.set_up_logs("hub")
    try:
        import uvloop
    except ImportError:
        asyncio.run(_main())
    else:
        uvloop.run(_main())
