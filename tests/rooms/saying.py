"""One comment at a time, as tests say them."""

from __future__ import annotations

from redis.asyncio import Redis

from live.rooms.live import Manners, Remark, Said, say_all


async def say(redis: Redis, room: str, who: str, name: str, cid: str, text: str, manners: Manners, demo: bool = False) -> Said:
    """Say one comment."""
    return (await say_all(redis, room, [Remark(who, name, cid, text, demo)], manners))[0]
