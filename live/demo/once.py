"""`live demo --once`: a whole show by script, through the public doors of the real processes, with every outcome checked.

It has servers, ports and a folder of its own, all gone at the end, so it runs beside a demo and touches nobody's data.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
from websockets.exceptions import WebSocketException

from live import launch
from live.demo.acts import desk, giveaway, group, later, leader, levers, plan, room, sale, team
from live.demo.acts.stage import FailedError, Stage, together
from live.demo.client import LostError
from live.demo.doors import Doors, LateError, RefusedError
from live.demo.opening import demo_settings, prepare_shop, simulator
from live.demo.staff import Host
from live.infra.db import Database
from live.infra.redis import connect
from live.launch import Running
from live.offers.audit import audit
from live.settings import Settings

VIEWERS = 200
PEOPLE = 67  # buyers the script has parts for; the other viewers are guests
LEAST_GUESTS = 50
HOLD_SECONDS = 15  # of the sale, so that one order can expire while the show goes on
AUDIT_SECONDS = 15.0


def run(viewers: int) -> int:
    """Play it; the exit code. The last line printed is a JSON object."""
    home = Path(tempfile.mkdtemp(prefix="live-once-"))
    began = time.monotonic()
    try:
        settings = demo_settings(_own(home))
        return asyncio.run(launch.up(settings, extra=[simulator()], scenario=lambda running: _scenario(running, viewers, began), pages=()))
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _own(home: Path) -> Settings:
    """Settings with nothing shared: whatever servers and addresses the environment names are for the real shop."""
    web, hub, wechat = _free_ports(3)
    return Settings(
        env="demo", home=home, host="127.0.0.1", web_port=web, hub_port=hub, simulator_port=wechat, flash_hold_seconds=HOLD_SECONDS,
        redis_url=None, database_url=None, queue_url=None, public_web_url=None, public_hub_url=None, allowed_origins="",
        trusted_proxies="", token_secret=None, pickup_secret=None,
    )  # fmt: skip


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on just now; all held until the last is found, so that they differ."""
    with ExitStack() as stack:
        doors = [stack.enter_context(socket.socket()) for _ in range(count)]
        for door in doors:
            door.bind(("127.0.0.1", 0))
        return [door.getsockname()[1] for door in doors]


async def _scenario(running: Running, viewers: int, began: float) -> int:
    """The show, then one line of JSON."""
    shop = await prepare_shop(running.settings)
    web = running.settings.web_url
    stage = Stage(running.settings, shop, Doors(web), running.say, Host(web, "owner", shop.room), Host(web, "host", shop.room))
    guests = max(LEAST_GUESTS, viewers - PEOPLE)
    failed = ""
    balanced = False
    await running.say(f"everything is up after {time.monotonic() - began:.1f} s; the show begins")
    try:
        await _play(stage, guests)
        balanced = True
    except (FailedError, LateError, LostError, RefusedError) as error:
        failed = str(error) if isinstance(error, FailedError) else f"step {stage.steps} ({stage.title}): {error}"
    except (httpx2.HTTPError, WebSocketException, OSError) as error:
        failed = f"step {stage.steps} ({stage.title}): a server did not answer: {error!r}"
    finally:
        await _home(stage)
    if failed:
        await running.say(f"FAILED: {failed}")
    running.last_line = json.dumps(_report(stage, guests + PEOPLE, balanced, failed, time.monotonic() - began))
    return 0 if balanced else 1


async def _play(stage: Stage, guests: int) -> None:
    await room.staff(stage)
    await room.arrive(stage, guests, PEOPLE)
    await room.talk(stage)
    await plan.play(stage)
    await sale.play(stage)
    await later.play(stage)
    await levers.play(stage)
    await room.moderate(stage)
    await group.play(stage)
    await giveaway.play(stage)
    await leader.play(stage)
    await team.play(stage)
    await desk.play(stage)
    await sale.expire(stage)
    await room.close(stage)
    await _books(stage)


async def _books(stage: Stage) -> None:
    """The audit of SQL against Redis, by the owner's door and by our own reading, until nothing is under way any more."""
    await stage.step("the books balance")
    settings = stage.settings
    assert settings.database_url is not None
    assert settings.redis_url is not None  # both filled in by the launch
    db, redis = Database(settings.database_url, 2), connect(settings.redis_url)
    found: dict[str, Any] = {}
    try:
        async with asyncio.timeout(AUDIT_SECONDS):
            while not found.get("balanced"):
                found = await audit(db, redis)
                await asyncio.sleep(0.1)
    except TimeoutError:
        stage.check(False, f"balanced books, found {_faults(found)}")
    finally:
        await redis.aclose()
        await db.close()
    stage.check((await stage.owner.doors.get("/v1/audit"))["balanced"], "the owner's audit to balance")
    terms = [each for one in found["rooms"] for each in one["offers"]]
    stage.check(terms, "offers in the audit")
    stage.same(sum(each["held"] for each in terms), 0, "held units at the end")


def _faults(found: dict[str, Any]) -> str:
    """What does not balance, in short."""
    wrong = [each for one in found.get("rooms", ()) for each in one["offers"] if each["faults"]]
    unsettled = [one["room"] for one in found.get("rooms", ()) if not one["settled"]]
    return json.dumps({"offers": wrong, "unsettled": unsettled, "stock": found.get("stock", [])}, default=str)[:2000]


async def _home(stage: Stage) -> None:
    """Every connection ends."""
    await together(viewer.leave() for viewer in stage.everybody)
    for one in (stage.owner, stage.host, *stage.clerks.values()):
        await one.close()
    await stage.doors.close()


def _report(stage: Stage, viewers: int, balanced: bool, failed: str, seconds: float) -> dict[str, Any]:
    tally = stage.tally
    report: dict[str, Any] = {
        "balanced": balanced,
        "viewers": viewers,
        "orders": tally.orders,
        "paid": tally.paid,
        "collected": tally.collected,
    }
    report |= {"refunded": tally.refunded, "seconds": round(seconds, 1), "steps": stage.steps}
    return report | ({"failed": failed} if failed else {})
