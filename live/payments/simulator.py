"""A small server that speaks WeChat's HTTP for the demo and the tests: pay (API v3), its notices, its cashier, and code2Session.

`python -m live.payments.simulator`: on loopback only, never in production, with keys of its own (`keys.prepare`). The shop's code is
the same as against WeChat: signatures both ways, encrypted notices, repeats.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from live.infra.garbage import look_rarely
from live.payments import keys
from live.payments.simulator_book import Book
from live.payments.simulator_pages import Pages
from live.payments.simulator_post import Conditions, Identity, Post
from live.payments.simulator_v3 import LOOPBACK, V3
from live.settings import Settings, settings


class Simulator:
    """The whole of it; `app` is served, `book`, `conditions` and `post` are for tests to look at and to change."""

    def __init__(self, identity: Identity, conditions: Conditions, file: Path | None = None) -> None:
        self.identity = identity
        self.conditions = conditions
        self.book = Book(file)
        self.post = Post(identity, conditions, self.book)
        self.v3 = V3(identity, conditions, self.book, self.post)
        routes = [*self.v3.routes(), *Pages(identity, self.book, self.v3).routes()]
        self.app = Starlette(routes=routes, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self.v3.resume()
        self.post.resume()
        yield
        await self.post.stop()
        self.book.close()


def identity(home: Path, url: str, shop_url: str) -> Identity:
    """The simulator's keys and names, the ones `keys.prepare` hands to the shop; made when they are missing."""
    shared = keys.prepare(home, url)
    return Identity(
        app_id=shared["LIVE_WECHAT_APP_ID"],
        app_secret=shared["LIVE_WECHAT_APP_SECRET"],
        merchant=shared["LIVE_WECHAT_PAY_MERCHANT"],
        merchant_serial=shared["LIVE_WECHAT_PAY_SERIAL"],
        merchant_key=keys.public_key(home.absolute() / keys.SIMULATOR_MERCHANT_KEY),
        v3_key=shared["LIVE_WECHAT_PAY_V3_KEY"].encode(),
        public_key_id=shared["LIVE_WECHAT_PAY_PUBLIC_KEY_ID"],
        key=keys.private_key(home.absolute() / keys.SIMULATOR_KEY),
        shop_url=shop_url,
    )


class Server(uvicorn.Server):
    """uvicorn that leaves signals to us: its own handling raises the signal again after a clean stop, so the exit code is never 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def server(app: Starlette) -> Server:
    """A server for the app, to be run on a bound socket."""
    return Server(uvicorn.Config(app, lifespan="on", log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=2))


def bound(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError when the port is taken."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return listening


def refusal(mine: Settings) -> str | None:
    """Why the simulator must not run here, None when it may."""
    if mine.env == "production":
        return "The WeChat simulator refuses to run in production (LIVE_ENV=production)."
    if mine.host not in LOOPBACK:
        return f"The WeChat simulator answers on loopback only, not on {mine.host}."
    return None


def main(arguments: list[str] | None = None) -> None:
    """Run until SIGINT or SIGTERM; exit code 0 then."""
    options = _options(arguments)
    mine = settings()
    if why := refusal(mine):
        sys.exit(why)
    home = mine.home.absolute()
    who = identity(home, mine.simulator_url, mine.web_url)
    conditions = Conditions(
        notice_waits=tuple(float(wait) for wait in options.notice_waits.split(",")),
        duplicates=options.duplicates,
        probes=options.probes,
        refunds_per_second=options.refunds_per_second,
        refund_seconds=options.refund_seconds,
    )
    try:
        listening = bound(mine.host, mine.simulator_port)
    except OSError as error:
        sys.exit(f"The WeChat simulator cannot listen on {mine.host}:{mine.simulator_port}: {error.strerror}. Set LIVE_SIMULATOR_PORT.")
    look_rarely()
    serving = _serve(who, conditions, home / "simulator" / "book.sqlite3", listening)
    try:
        import uvloop
    except ImportError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)


async def _serve(who: Identity, conditions: Conditions, file: Path, listening: socket.socket) -> None:
    running = server(Simulator(who, conditions, file).app)

    def stop() -> None:
        running.should_exit = True

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(each, stop)
    await running.serve(sockets=[listening])


def _options(arguments: list[str] | None) -> argparse.Namespace:
    usual = Conditions()
    parser = argparse.ArgumentParser("python -m live.payments.simulator", description=__doc__)
    waits = ",".join(f"{wait:g}" for wait in usual.notice_waits)
    parser.add_argument("--notice-waits", default=waits, help="seconds before each try of a notice (%(default)s)")
    parser.add_argument("--duplicates", type=float, default=0.1, help="share of notices sent twice (%(default)s)")
    parser.add_argument("--probes", type=float, default=0.02, help="share of notices preceded by a forged one (%(default)s)")
    parser.add_argument("--refunds-per-second", type=int, default=usual.refunds_per_second, help="then 429 (%(default)s)")
    parser.add_argument("--refund-seconds", type=float, default=usual.refund_seconds, help="until a refund is done (%(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
