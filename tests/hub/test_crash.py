"""Nothing critical is lost, whatever happens: random histories of a room, and a hub killed in the middle of one.

One checker reads every diary; bugs planted on purpose show that it would have seen them.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import live
from live.hub import picture
from live.infra.redis import connect
from live.settings import Settings
from tests.conftest import PICKUP, SECRET
from tests.hub.crowd import Viewer, until
from tests.hub.peer import PATIENCE, WireError
from tests.hub.stage import Gate, Log, Scene, Stage, a_stage, open_room

ROOT = Path(live.__file__).parents[1]
STEPS = 120  # of one history: some three seconds


def losses(diary: list[tuple[Any, ...]], log: Log, epoch: str) -> list[str]:
    """What is wrong with a diary: events that are missing, doubled, out of order or not those of the log, and an end before the log's.

    A snapshot covers what lies before it, but only for one who took it as a new beginning.
    """
    wrong: list[str] = []
    at: tuple[str, int] = ("", 0)
    for entry in diary:
        match entry:
            case ("anew" | "rewound", e, s):
                at = (e, s)
            case ("event", seq, kind, body):
                e, s = at
                if seq != s + 1:
                    wrong.append(f"{seq} after {s} of {e}")
                elif log.get(e, [])[s : s + 1] != [(kind, body)]:
                    wrong.append(f"{kind} {body} as {seq} of {e}")
                at = (e, seq)
            case ("gap", s, seq):
                wrong.append(f"a gap from {s} to {seq}")
    return wrong if at == (epoch, len(log[epoch])) else [*wrong, f"ended at {at}"]


def test_the_checker_sees_what_is_missing_doubled_or_wrong() -> None:
    log: Log = {"e1": [("a", {}), ("b", {}), ("c", {})]}
    join: tuple[Any, ...] = ("anew", "e1", 0)
    a, b, c = [("event", seq, kind, body) for seq, (kind, body) in enumerate(log["e1"], 1)]
    assert losses([join, a, b, c], log, "e1") == []
    assert losses([join, a, ("anew", "e1", 2), c], log, "e1") == []
    assert losses([join, a, c], log, "e1") == ["3 after 1 of e1"]
    assert losses([join, a, b, b, c], log, "e1") == ["2 after 2 of e1"]
    assert losses([join, a, b], log, "e1") == ["ended at ('e1', 2)"]
    assert losses([join, a, ("event", 2, "x", {}), c], log, "e1") == ["x {} as 2 of e1"]
    assert losses([join, a, b, c, ("gap", 3, 5)], log, "e1") == ["a gap from 3 to 5"]


# random histories


class History:
    """A room's fate by a seed: news, people who come and go with right, old and wrong positions, cuts, rebuilds."""

    def __init__(self, stage: Stage, gate: Gate, seed: int) -> None:
        self.stage, self.gate, self.chance = stage, gate, random.Random(seed)
        self.said: list[str] = []
        self.things = 0

    async def live(self, steps: int) -> None:
        """Everything random, then everybody comes back and holds the same."""
        acts: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (20, self.news), (10, self.comment), (4, self.withdraw), (12, self.go), (14, self.come), (6, self.own), (3, self.trim),
            (3, self.hole), (2, self.rebuild), (6, self.pause),
        ]  # fmt: skip
        for _ in range(steps):
            await self.chance.choices([act for _, act in acts], [weight for weight, _ in acts])[0]()
        for viewer in self.stage.viewers:
            if viewer.peer is None:
                await viewer.come()
        await self.stage.events()
        await self.stage.level()

    async def news(self) -> None:
        key = self.chance.choice(("team__1", "team__2", "offer__3"))
        value = self.chance.choice((None, {"phase": "open", "n": self.stage.acts}))
        await self.stage.act(*[("room.pinned", {"offer": n}) for n in range(self.chance.randint(0, 4))], **{key: value})

    async def comment(self) -> None:
        self.said.append((await self.stage.comment(f"{len(self.said)}")).id)

    async def withdraw(self) -> None:
        if self.said:
            await self.stage.withdraw(self.said.pop(self.chance.randrange(len(self.said))))

    async def own(self) -> None:
        self.things += 1
        await self.stage.own(f"p:{self.chance.randint(0, 5)}", f"T{self.things}")

    async def go(self) -> None:
        here = [viewer for viewer in self.stage.viewers if viewer.peer is not None]
        if len(here) > 1:
            await self.chance.choice(here).leave(reset=self.chance.random() < 0.5)

    async def come(self) -> None:
        away = [viewer for viewer in self.stage.viewers if viewer.peer is None]
        if not away:
            return
        viewer, how = self.chance.choice(away), self.chance.random()
        if how < 0.2 and viewer.s is not None:
            back = max(0, viewer.s - self.chance.randint(1, 8))  # a page restored from an older moment
            viewer.told.append(("rewound", viewer.e, back))
            await viewer.come(e=viewer.e, s=back, p=viewer.p)
        elif how < 0.3:
            await viewer.come(e="nonsense", s=self.chance.randint(0, 50), p=3)
        else:
            await viewer.come()

    async def trim(self) -> None:
        await self.stage.trim(self.chance.randint(0, 6), self.chance.choice(("log", "own")))

    async def hole(self) -> None:
        """The hub reads nothing for a while, and part of what was written meanwhile is cut off."""
        await self.gate.shut()
        for _ in range(self.chance.randint(1, 5)):
            await self.news()
        await self.trim()
        self.gate.open()

    async def rebuild(self) -> None:
        await self.stage.begin_anew()

    async def pause(self) -> None:
        await asyncio.sleep(self.chance.random() * 0.08)


async def lived(settings: Settings, monkeypatch: pytest.MonkeyPatch, seed: int) -> Stage:
    """A whole history; everybody is gone again, and what they held is left."""
    monkeypatch.setattr(picture, "RING_SECONDS", 0.1)
    async with a_stage(settings) as stage:
        for n in range(6):
            await stage.join(f"p:{n}")
        await History(stage, Gate(monkeypatch), seed).live(STEPS)
        fresh = await stage.join("g:fresh")
        assert [one.shown for one in stage.viewers] == [fresh.shown] * 7
    return stage


@pytest.mark.usefixtures("redis")
@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_everybody_ends_with_the_exact_log_and_the_state_of_a_fresh_join(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    stage = await lived(settings, monkeypatch, seed)
    assert {viewer.sub: losses(viewer.told, stage.log, stage.epoch) for viewer in stage.viewers} == {one.sub: [] for one in stage.viewers}


@pytest.mark.usefixtures("redis")
@pytest.mark.parametrize("seed", range(4, 7))
async def test_whatever_happens_nobody_ends_with_a_comment_that_was_taken_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    stage = await lived(settings, monkeypatch, seed)
    assert {viewer.sub: set(viewer.chat) & stage.withdrawn for viewer in stage.viewers} == {one.sub: set() for one in stage.viewers}


# a hub that is killed

AS_IT_IS = "from live.hub.server import main; main()"
SKIPS_ONE = """
from live.hub import picture, server
since = picture.Picture.since
def skipping(self, epoch, seq):
    found = since(self, epoch, seq)
    return found and found[1:]
picture.Picture.since = skipping
server.main()
"""


class Forgetful(Viewer):
    """Comes back without a position, and goes on as though nothing had been missed."""

    async def greet(self, **where: Any) -> dict[str, Any]:
        """Say hello as somebody new."""
        return await super().greet(e=None, s=None, p=None)

    def _whole(self, found: dict[str, Any], anew: bool) -> None:
        super()._whole(found, anew and not self.told)


class Theatre:
    """A hub process that is started, killed and started again on its port."""

    def __init__(self, settings: Settings, program: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as door:
            self.port: int = door.getsockname()[1]
        bare = {name: value for name, value in os.environ.items() if not name.startswith("LIVE_")}
        self.env = bare | {
            "PYTHONPATH": str(ROOT), "LIVE_ENV": "demo", "LIVE_HOME": str(settings.home), "LIVE_REDIS_URL": str(settings.redis_url),
            "LIVE_TOKEN_SECRET": SECRET, "LIVE_PICKUP_SECRET": PICKUP, "LIVE_HUB_PORT": str(self.port), "LIVE_HUB_TICK_MS": "30",
        }  # fmt: skip
        self.program = program
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; returns when it listens."""
        command, nothing = (sys.executable, "-c", self.program), asyncio.subprocess.DEVNULL
        self.process = await asyncio.create_subprocess_exec(*command, env=self.env, stdout=nothing, stderr=nothing)
        async with asyncio.timeout(PATIENCE):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    await writer.wait_closed()
                    return
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """As a crash does."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


async def stay(viewer: Viewer, over: asyncio.Event) -> None:
    """Come back whenever the socket is gone, as a client does."""
    chance = random.Random(viewer.sub)
    while not over.is_set():
        if viewer.gone:
            await viewer.leave()
            await asyncio.sleep(chance.random() * 0.3)
            with suppress(OSError, EOFError, AssertionError, WireError, TimeoutError):
                await viewer.come()
        await asyncio.sleep(0.01)


@asynccontextmanager
async def a_flow(scene: Scene) -> AsyncIterator[None]:
    """Critical events all the while."""

    over = asyncio.Event()  # not a cancellation, which redis-py 5 can swallow

    async def flow() -> None:
        while not over.is_set():
            await scene.events(1, team__1={"paid": scene.acts})
            await asyncio.sleep(0.02)

    writing = asyncio.create_task(flow())
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(writing, return_exceptions=True)


async def crashed(settings: Settings, program: str, kind: type[Viewer], count: int, kills: int) -> Scene:
    """A crowd in a room of which much is told, on a hub that is killed again and again; returns when all hold the room."""
    redis = connect(str(settings.redis_url))
    theatre = Theatre(settings, program)
    scene = Scene(port=theatre.port, redis=redis)
    over = asyncio.Event()
    await open_room(redis)
    await scene.act(room={"phase": "live"})
    try:
        await theatre.start()
        for n in range(count):
            scene.viewers.append(kind(theatre.port, scene.tokens, f"g:{n}"))
            await scene.viewers[-1].come()
        staying = [asyncio.create_task(stay(viewer, over)) for viewer in scene.viewers]
        async with a_flow(scene):
            for _ in range(kills):
                await asyncio.sleep(0.3)
                await theatre.kill()
                await asyncio.sleep(0.1)
                await theatre.start()
            await until(lambda: all(not viewer.gone for viewer in scene.viewers), "everybody back")
        await scene.level()
        over.set()
        await asyncio.gather(*staying)
    finally:
        over.set()
        await asyncio.gather(*(viewer.leave() for viewer in scene.viewers))
        await theatre.kill()
        await redis.aclose()
    return scene


@pytest.mark.show
@pytest.mark.usefixtures("redis")
async def test_a_hub_that_is_killed_again_and_again_loses_no_critical_event(settings: Settings) -> None:
    scene = await crashed(settings, AS_IT_IS, Viewer, count=50, kills=2)
    assert {viewer.sub: losses(viewer.told, scene.log, "e1") for viewer in scene.viewers} == {one.sub: [] for one in scene.viewers}
    assert sum(len(viewer.of("anew")) for viewer in scene.viewers) < 2 * 50  # the joins, and few others: the log was there to replay
    assert len(scene.log["e1"]) > 30


@pytest.mark.show
@pytest.mark.usefixtures("redis")
@pytest.mark.parametrize(("program", "kind"), [(AS_IT_IS, Forgetful), (SKIPS_ONE, Viewer)])
async def test_the_checker_sees_a_planted_loss(settings: Settings, program: str, kind: type[Viewer]) -> None:
    scene = await crashed(settings, program, kind, count=5, kills=1)
    assert all(losses(viewer.told, scene.log, "e1") for viewer in scene.viewers)
