"""`live demo`: the processes of `live up`, the WeChat simulator, a seeded shop, a live room, a crowd and a host who keeps it going.

Loopback only and never in production: the accounts have a password that everybody can read.
"""

from __future__ import annotations

import asyncio
import os
import sys

import typer
from pydantic import ValidationError

from live import launch
from live.demo import once as scripted
from live.demo import video
from live.demo.opening import demo_settings, prepare_shop, simulator, start_room
from live.demo.seed import PASSWORD, DemoShop
from live.infra.folder import HeldError, hold
from live.launch import LaunchError, Running
from live.settings import Settings

CROWD = 60  # viewers of the usual demo: a room that feels watched, for a tenth of a core
PAGES = (("viewer", "/room/demo"), ("console", "/console/demo"), ("store desk", "/store"))


def run(*, once: bool, viewers: int | None, fresh: bool, seconds: int | None) -> int:
    """The demo until it is stopped, or for so many seconds; or the scripted show. `viewers` None: as many as fit. Raises LaunchError."""
    try:
        given = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        raise LaunchError(f"LIVE_{'_'.join(str(part) for part in first['loc']).upper()}: {first['msg']}") from None
    if given.env == "production":
        raise LaunchError("`live demo` is not for production: its accounts have a password that everybody knows. Unset LIVE_ENV.")
    if once:
        return scripted.run(scripted.VIEWERS if viewers is None else viewers)
    return asyncio.run(_run(given, CROWD if viewers is None else viewers, fresh, seconds))


async def _run(given: Settings, viewers: int, fresh: bool, seconds: int | None) -> int:
    home = launch.prepare_home(given.home)
    await _only_a_demo(given, fresh)
    settings = demo_settings(given.model_copy(update={"home": home}))

    async def ready(running: Running) -> None:
        shop = await prepare_shop(running.settings)
        await start_room(running.settings, shop)
        if viewers:
            await running.start(launch.python("crowd", "live.demo.crowd", "--viewers", str(viewers), restart=True))
        await running.start(launch.python("host", "live.demo.host", restart=True))
        await _tell(running, shop)

    async def keep(running: Running) -> int:
        film = asyncio.create_task(video.make(running), name="video")
        try:
            await running.say(f"running{f' for {seconds} s' if seconds else ''}; Ctrl-C stops everything")
            await asyncio.sleep(seconds) if seconds else await asyncio.Event().wait()
        finally:
            film.cancel()
            await asyncio.gather(film, return_exceptions=True)
        return 0

    return await launch.up(settings, extra=[simulator()], on_ready=ready, scenario=keep, pages=PAGES)


async def _only_a_demo(given: Settings, fresh: bool) -> None:
    """Empty the folder if asked to, and put no demo accounts into a shop that somebody made with `live up`. Raises LaunchError."""
    home = given.home.expanduser().absolute()
    if fresh:
        try:
            lock = await hold(home / "lock", patience=0.2)
        except HeldError as error:
            raise LaunchError(f"`live` already runs in {home} as process {error.pid}; stop it first, or set LIVE_HOME.") from None
        try:
            await launch.empty(home, (lambda question: typer.confirm(question)) if sys.stdin.isatty() else None)
        finally:
            os.close(lock)
    elif (home / "postgres").exists() and not (home / "demo").exists():
        raise LaunchError(f"{home} holds a shop made by `live up`, and the demo would add accounts to it; set LIVE_HOME to another folder.")


async def _tell(running: Running, shop: DemoShop) -> None:
    await running.say("this is a demo: goods, crowd and money are made up, and only this machine can reach it")
    await running.say(f"demo logins  {', '.join(account for account in shop.accounts if account not in shop.clerks.values())}")
    await running.say(f"   of stores {', '.join(shop.clerks.values())}")
    await running.say(f"   password  {PASSWORD}")
    await running.say("   viewers   any mainland mobile number, such as 13800138000; the page shows the code")
