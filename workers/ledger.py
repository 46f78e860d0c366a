"""The ledger process: `offers.leases` with the bookers. Started by `live ledger`."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from live.infra.db import Database
from live.infra.garbage import look_rarely
from live.infra.observe import set_up_logs
from live.infra.redis import connect, connect_buying
from live.offers.leases import Ledger
from live.offers.ledger import Hands
from live.offers.parties.queries import boards
from live.offers.waitlist.queries import lines
from live.orders.booking import OrderBooker
from live.people.following.queries import counted
from live.promotions.coupon.booking import CouponBooker
from live.promotions.group_buy.queries import bars
from live.promotions.group_buy.rules import bar
from live.promotions.red_packet.booking import PacketBooker
from live.rooms.queries import muted
from live.settings import settings


async def facts(connection: AsyncConnection, room: str) -> tuple[dict[str, int], dict[str, tuple[int, dict[str, Any]]]]:
    """What a rebuilt room needs besides stock: who is muted, the bars of groups, the small teams, the lines before what is sold out,
    how many follow it."""
    shown = await bars(connection, room) | await boards(connection, room) | await lines(connection, room)
    return await muted(connection, room), shown | await counted(connection, room)


def hands() -> Hands:
    """The bookers of every kind of offer."""
    return Hands(bookers=(OrderBooker(), CouponBooker(), PacketBooker()), bar=bar, facts=facts)


async def run() -> None:
    """Until SIGTERM or SIGINT."""
    config = settings()
    if config.database_url is None or config.redis_url is None:
        raise SystemExit("LIVE_DATABASE_URL and LIVE_REDIS_URL must be set; `live up` starts both for you")
    # A frozen ledger holds the fence and the hot rows for a second at most; a rebuild waits for it.
    db = Database(config.database_url, config.db_pool, idle_ms=1000, ping=False, by_index=True)
    redis = connect(config.redis_url)
    reader = connect_buying(config.redis_url, timeout=5.0)
    look_rarely()
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    try:
        await Ledger(db, redis, hands(), reader).run(stop)
    finally:
        await reader.aclose()
        await redis.aclose()
        await db.close()


def main() -> None:
    """Entry of `live ledger`."""
    set_up_logs("ledger")
    try:
        import uvloop
    except ImportError:
        asyncio.run(run())
    else:
        uvloop.run(run())


if __name__ == "__main__":
    main()
