"""Entry of `live web`: uvicorn on our own signals, so that a stop is an orderly exit with code 0."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

import uvicorn

from live.infra.garbage import look_rarely
from live.infra.observe import set_up_logs
from live.settings import settings
from live.web.app import make_app


class Server(uvicorn.Server):
    """uvicorn raises the signal again after a graceful stop, which would make every stop look like a crash."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours, see `_serve`."""
        yield


async def _serve() -> None:
    config = settings()
    server = Server(
        uvicorn.Config(
            make_app(config), host=config.host, port=config.web_port, lifespan="on", log_config=None, access_log=False,
            server_header=False, timeout_graceful_shutdown=5, proxy_headers=bool(config.proxies),
            forwarded_allow_ips=",".join(config.proxies) or None,
        )
    )  # fmt: skip

    def stop() -> None:
        server.should_exit = True

    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop)
    await server.serve()


def serve() -> None:
    """Serve until SIGTERM or SIGINT."""
    set_up_logs("web")
    look_rarely()
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve())
    else:
        uvloop.run(_serve())


if __name__ == "__main__":
    serve()
