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
from live.hub.room import RoomFeed
from live.infra import observe, security
from live.infra.keys import hub_channel, nudge_channel
from live.infra.redis import connect, connect_buying
from live.infra.security import Identity, Tokens
from live.protocol.codes import Close
from live.protocol.commands import Command, Hello
from live.rooms import rules
from live.rooms.live import Manners
from live.settings import Settings, settings

log = structlog.get_logger("hub")

SWEEP_SECONDS = 1.0  # how often deadlines of all sockets are looked at
NOTSENT_LOWAT = 16 * 1024  # without it the kernel swallows megabytes per slow socket before the write buffer shows anything
BACKLOG = 4096
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
        self.connections: set[Connection] = set()
        self.addresses: dict[str, int] = {}
        self.rooms: dict[str, RoomFeed] = {}
        self.desk = Desk(self)
        self.not_before: dict[str, bytes] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        self.draining = False
        self.emptied = asyncio.Event()
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
        for connection in [*feed.members, *(waiting[0] for waiting in feed.waiting)]:
            connection.close(Close.DRAIN, after=random.randint(0, self.settings.hub_return_ms))  # noqa: S311 - a spread, not a secret

    async def _subscribe(self, room: str) -> None:
        await self.pubsub.subscribe(nudge_channel(room))

    async def _unsubscribe(self, room: str) -> None:
        await self.pubsub.unsubscribe(nudge_channel(room))

    def greet(self, feed: RoomFeed, connection: Connection, command: Hello) -> None:
        """Answer a hello and join, in one turn of the loop, so that nothing falls between the snapshot and the first frame."""
        identity = connection.identity
        if identity is None or not connection.open:
            return
        asked = command.d
        missed = feed.since(asked.e, asked.s)
        own = feed.own_since(identity.sub, asked.p) if missed is not None or asked.e == feed.epoch else None
        you = {"sub": identity.sub, "name": identity.name, "role": identity.role, "known": identity.known}
        body = orjson.dumps(
            {"now": int(time.time() * 1000), "ping": 25_000, "you": you, "room": feed.room, "e": feed.epoch, "s": feed.at.seq,
             "p": feed.at.own, "rej": [0, 8000], "exp": identity.exp * 1000, "rec": missed is not None}
        )  # fmt: skip
        parts = [body[:-1], b',"snap":', feed.snapshot()]
        if missed is not None:
            parts += [b',"ev":[', b",".join(missed), b"]"]
        parts += [b',"own":', b"null" if own is None else b"[" + b",".join(own) + b"]", b"}"]
        connection.write(text_frame(b'{"id":%d,"ok":%s}' % (command.id, b"".join(parts))))
        feed.join(connection)
        figures.joins.labels(source="snapshot" if missed is None else "ring").inc()
        figures.sockets.inc()

    def dispatch(self, connection: Connection, command: Command) -> None:
        """A command arrived."""
        self.desk.handle(connection, command)

    def forget(self, connection: Connection) -> None:
        """A socket is gone."""
        self.connections.discard(connection)
        if self.draining and not self.connections:
            self.emptied.set()
        if connection.feed is not None:
            connection.feed.leave(connection)
            connection.feed = None
            figures.sockets.dec()
        if not connection.admitted:
            return
        count = self.addresses.get(connection.address, 0) - 1
        if count > 0:
            self.addresses[connection.address] = count
        else:
            self.addresses.pop(connection.address, None)

    def admits(self, connection: Connection) -> bool:
        """Whether one more socket fits; asked before any work is done for it."""
        if self.draining or len(self.connections) > self.settings.hub_max_connections:
            return False
        count = self.addresses.get(connection.address, 0) + 1
        if count > self.settings.hub_sockets_per_address:
            return False
        self.addresses[connection.address] = count
        connection.admitted = True
        return True

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
            if address in ("127.0.0.1", "::1") or (token and security.same(given, f"Bearer {token}")):
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
        mine, ended = hub_channel(self.id), security.CHANNEL
        while True:
            try:
                message = await self.pubsub.get_message(timeout=1.0)
                if message is None:
                    continue
                channel = message["channel"].decode()
                if channel == mine:
                    for rid, body, no in orjson.loads(message["data"]):
                        self.desk.verdict(rid, body, no)
                elif channel == ended:
                    await self._revoke(message["data"].decode())
                else:
                    feed = self.rooms.get(channel[1:].partition("}")[0])
                    if feed is not None:
                        feed.nudged.set()
            except (RedisError, OSError) as error:
                log.warning("hub.listener", error=str(error)[:200])
                await asyncio.sleep(0.1)
            except Exception:  # a read loop: one bad message must not end verdicts for everybody
                log.exception("hub.listener")

    async def _revoke(self, sub: str) -> None:
        value = await self.redis.get(security.not_before_key(sub))
        if value is not None:
            self._end_sockets(sub, value)

    def _end_sockets(self, sub: str, value: bytes) -> None:
        self.not_before[sub] = value
        for connection in list(self.connections):
            if connection.identity is not None and connection.identity.sub == sub and self.is_revoked(connection.identity):
                connection.close(Close.REVOKED)

    async def _read_revocations(self) -> None:
        recent = await self.redis.zrangebyscore(security.REVOKED, time.time() - security.REVOKED_SECONDS, "+inf", withscores=True)
        self.not_before = {sub: value for sub, value in self.not_before.items() if float(value) > time.time() - security.REVOKED_SECONDS}
        for sub, moment in recent:
            if self.not_before.get(sub.decode()) is None:
                self._end_sockets(sub.decode(), str(moment).encode())

    async def watch(self) -> None:
        """Deadlines of every socket, questions about overdue verdicts, revocations whose message was lost."""
        turn = 0
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                self._deadlines()
                await self.desk.ask_again()
                turn += 1
                if turn % 10 == 0:
                    await self._read_revocations()
            except (RedisError, OSError) as error:
                log.warning("hub.watch", error=str(error)[:200])
            except Exception:  # a read loop: without it no deadline is kept any more
                log.exception("hub.watch")

    def _deadlines(self) -> None:
        now, epoch = time.monotonic(), time.time()
        for connection in list(self.connections):
            if connection.identity is None:
                if now - connection.opened > self.settings.hub_hello_seconds:
                    connection.close(Close.HELLO_LATE)
            elif now - connection.last_heard > self.settings.hub_silent_seconds:
                connection.close(Close.SILENT)
            elif connection.identity.exp < epoch:
                connection.close(Close.EXPIRED)

    async def drain(self) -> None:
        """Tell everybody when to come back, spread over a window, and close."""
        self.draining = True
        if not self.connections:
            self.emptied.set()
        for number, connection in enumerate(list(self.connections), 1):
            connection.close(Close.DRAIN, after=random.randint(0, self.settings.hub_return_ms))  # noqa: S311 - a spread, not a secret
            if number % 500 == 0:
                await asyncio.sleep(0)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.hub_drain_seconds):
                await self.emptied.wait()
        for connection in list(self.connections):
            if connection.transport is not None:
                connection.transport.abort()

    async def close(self) -> None:
        """End tasks and clients."""
        tasks = {*self.tasks, *(feed.task for feed in self.rooms.values())}
        while tasks:  # again and again: redis-py 5 can swallow a cancellation while it connects
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=0.2)
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
    await hub._read_revocations()
    hub.spawn(hub.listen())
    hub.spawn(hub.watch())
    sock = sock or listening_socket(config.host, config.hub_port)
    server = await hub.loop.create_server(lambda: Connection(hub), sock=sock, backlog=BACKLOG)
    log.info("hub.open", hub=hub.id, address=f"{config.host}:{sock.getsockname()[1]}")
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
