"""A hub in the test's own loop and one room that needs no SQL, whose insides a test may look at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest import mock

import orjson
import pytest
import structlog
from redis.asyncio import Redis

from live.hub import server
from live.hub.room import RoomFeed
from live.hub.server import Hub, listening_socket, run
from live.infra import roomlog
from live.infra.keys import room_key
from live.infra.redis import connect
from live.infra.roomlog import Look, Position
from live.infra.security import Tokens
from live.rooms.live import Manners, Said
from live.settings import Settings
from tests.conftest import SECRET
from tests.hub.crowd import ROOM, Viewer, until
from tests.hub.peer import PATIENCE
from tests.rooms.saying import say

NEW_ROOM = {"fence": "1", "run_id": "x", "seq": "0", "sv": "0", "own": "0"}  # as a rebuild leaves it, besides epoch and act_no
Log = dict[str, list[tuple[str, dict[str, Any]]]]  # epoch → events in order


@dataclass(kw_only=True)
class Scene:
    """A room in a real Valkey, a hub's port, and everybody who came. `log`: what was ever written."""

    port: int
    redis: Redis
    viewers: list[Viewer] = field(default_factory=list)
    log: Log = field(default_factory=lambda: {"e1": []})
    epoch: str = "e1"
    acts: int = 0
    withdrawn: set[str] = field(default_factory=set)
    tokens: Tokens = field(default_factory=lambda: Tokens(SECRET))

    def viewer(self, sub: str, role: str = "", room: str = ROOM) -> Viewer:
        """Somebody who has not come yet."""
        self.viewers.append(Viewer(self.port, self.tokens, sub, role, room))
        return self.viewers[-1]

    async def join(self, sub: str, role: str = "", **how: Any) -> Viewer:
        """Somebody who watches."""
        found = self.viewer(sub, role)
        await found.come(**how)
        return found

    async def crowd(self, count: int, prefix: str = "g:crowd") -> list[Viewer]:
        """So many guests."""
        return [await self.join(f"{prefix}{n}") for n in range(count)]

    async def act(self, *events: tuple[str, dict[str, Any]], **state: Any) -> None:
        """Change the room as the relay does; `__` stands for the colon of a state key."""
        self.acts += 1
        shown = {key.replace("__", ":"): value for key, value in state.items()}
        body = {"no": self.acts, "events": [list(one) for one in events], "state": shown, "offers": {}, "muted": {}}
        assert await roomlog.apply(self.redis, ROOM, body) == 1
        self.log[self.epoch] += events

    async def events(self, count: int = 1, **state: Any) -> None:
        """Critical events, one act each."""
        for _ in range(count):
            await self.act(("room.pinned", {"offer": len(self.log[self.epoch]) + 1}), **state)

    async def own(self, who: str, thing: str, version: int = 1) -> None:
        """News for one person."""
        body = orjson.dumps({"t": "order", "no": thing, "version": version})
        assert await roomlog.tell(self.redis, ROOM, [(who, f"order:{thing}", version, body)]) == 1

    async def comment(self, text: str, who: str = "g:talker", manners: Manners | None = None) -> Said:
        """Say something past the hub's limits."""
        number = await self.redis.incr("a-number-for-cids")
        return await say(self.redis, ROOM, who, who, f"cid-{number:06d}", text, manners or Manners(budget=0))

    async def withdraw(self, comment: str) -> None:
        """Take a comment back: out of what joiners are shown, then told, so that no snapshot has it after the event."""
        self.withdrawn.add(comment)
        await roomlog.withdraw(self.redis, ROOM, comment)
        await self.act(("comment.withdrawn", {"id": comment}))

    async def trim(self, keep: int = 0, stream: str = "log") -> None:
        """Only the last entries of a stream are left."""
        await self.redis.xtrim(room_key(ROOM, stream), maxlen=keep, approximate=False)

    async def begin_anew(self) -> None:
        """What a rebuild does: another log, the same state under new versions, own events forgotten."""
        key = {name: room_key(ROOM, name) for name in ("meta", "log", "state", "own", "ownlast", "ownver")}
        state = {name.decode(): orjson.loads(value)[1] for name, value in (await self.redis.hgetall(key["state"])).items()}  # type: ignore[misc]
        self.epoch = f"e{len(self.log) + 1}"
        self.log[self.epoch] = []
        meta = {"epoch": self.epoch, "act_no": str(self.acts), "sv": str(len(state))}
        meta["cn"] = str(1_000 * len(self.log))  # comments are numbered anew; in a second as full as a test's their ids would meet
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.delete(*key.values())
            pipe.hset(key["meta"], mapping=NEW_ROOM | meta)
            for version, (name, value) in enumerate(state.items(), 1):
                pipe.hset(key["state"], name, orjson.dumps([version, value]).decode())
            pipe.publish(f"{{{ROOM}}}:nudge", "!")
            await pipe.execute()

    async def truth(self) -> dict[str, tuple[int, Any]]:
        """The state as Redis has it."""
        found = await self.redis.hgetall(room_key(ROOM, "state"))  # type: ignore[misc]
        return {key.decode(): tuple(orjson.loads(value)) for key, value in found.items()}

    async def level(self, viewers: list[Viewer] | None = None) -> None:
        """Wait until they (everybody) hold the room as Redis has it."""
        state, top = await self.truth(), len(self.log[self.epoch])
        for one in self.viewers if viewers is None else viewers:
            if one.peer is not None:
                await until(partial(one.holds, self.epoch, top, state), f"{one.sub} holds the room")


@dataclass(kw_only=True)
class Stage(Scene):
    """… with the hub in this loop."""

    hub: Hub

    @property
    def feed(self) -> RoomFeed:
        """The room on this hub."""
        return self.hub.rooms[ROOM]


class Gate:
    """Stands before every read of a room: counts them, and holds them back while it is shut."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[Position] = []
        self.held = 0
        self._open = asyncio.Event()
        self._open.set()
        look = roomlog.look

        async def gated(redis: Redis, room: str, at: Position, *rest: Any) -> Look:
            self.asked.append(at)
            self.held += 1
            await self._open.wait()
            self.held -= 1
            return await look(redis, room, at, *rest)

        monkeypatch.setattr(roomlog, "look", gated)

    @property
    def shut_now(self) -> bool:
        """Whether reads are held back."""
        return not self._open.is_set()

    def close(self) -> None:
        """From now on nothing is read."""
        self._open.clear()

    async def shut(self) -> None:
        """The same; returns when a read waits here."""
        self.close()
        await until(lambda: self.held, "a read at the gate")

    def open(self) -> None:
        """Reads go on."""
        self._open.set()


async def open_room(redis: Redis) -> None:
    """The room, empty."""
    await redis.hset(room_key(ROOM, "meta"), mapping=NEW_ROOM | {"epoch": "e1", "act_no": "0"})  # type: ignore[misc]


@asynccontextmanager
async def a_stage(settings: Settings, **changed: Any) -> AsyncIterator[Stage]:
    """A hub on a port of its own, with one open room on an emptied Valkey. Quick to tick and to end unless told otherwise.

    An error it logs, or an exception that leaves a callback, fails the test.
    """
    quick = {"hub_tick_ms": 30, "hub_critical_ms": 2, "hub_drain_seconds": 0.2, "hub_hello_seconds": 30.0}
    config = settings.model_copy(update={**quick, "token_secret": SECRET, **changed})
    assert config.redis_url is not None
    redis = connect(config.redis_url)
    await open_room(redis)
    made: list[Hub] = []
    faults: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    sock = listening_socket("127.0.0.1", 0)
    stop, ready = asyncio.Event(), asyncio.Event()

    def make(given: Settings) -> Hub:
        made.append(Hub(given))
        return made[-1]

    with structlog.testing.capture_logs() as logs, mock.patch.object(server, "Hub", make):
        hub = asyncio.create_task(run(config, stop, ready, sock))
        await asyncio.wait_for(ready.wait(), PATIENCE)
        stage = Stage(port=sock.getsockname()[1], redis=redis, hub=made[0])
        await stage.act(room={"phase": "live"})
        try:
            yield stage
        finally:
            await asyncio.gather(*(viewer.leave() for viewer in stage.viewers))
            stop.set()
            await hub
            await redis.aclose()
            loop.set_exception_handler(None)
    assert faults + [line for line in logs if line["log_level"] == "error"] == []
