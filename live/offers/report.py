"""`live audit`: the books added up once, written to a file, or such a file checked."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson
from redis.asyncio import Redis

from live.infra.db import Database, utc_now
from live.infra.redis import connect
from live.offers import chain
from live.offers.audit import audit
from live.offers.proof import Broken, Proof, verify
from live.settings import settings

Result = TypeVar("Result")


async def _with_servers(work: Callable[[Database, Redis], Awaitable[Result]]) -> Result:
    config = settings()
    if config.database_url is None or config.redis_url is None:
        raise SystemExit("LIVE_DATABASE_URL and LIVE_REDIS_URL must be set, or `live up` must run in this folder")
    db, redis = Database(config.database_url, 2), connect(config.redis_url)
    try:
        return await work(db, redis)
    finally:
        await redis.aclose()
        await db.close()


async def whole(db: Database, redis: Redis) -> dict[str, Any]:
    """The audit of every room and store, and `broken`: the first fault of the chains as the database holds them (None: none)."""
    found, broken = await audit(db, redis), await chain.sound(db, utc_now())
    return found | {"balanced": found["balanced"] and broken is None, "broken": None if broken is None else _fault(broken)}


def main(as_json: bool) -> int:
    """Print the audit; 0 when everything balances."""
    found = asyncio.run(_with_servers(whole))
    if as_json:
        _say(orjson.dumps(found).decode())
        return 0 if found["balanced"] else 1
    for room in found["rooms"]:
        _say(f"{room['room']}: {'balanced' if room['balanced'] else 'NOT BALANCED'}")
        for terms in room["offers"]:
            names = ("left", "in_flight", "held", "sold")
            sums = f"total {terms['total']} = " + " + ".join(f"{name.replace('_', ' ')} {terms[name]}" for name in names)
            faults = "".join(f"  FAULT {fault}" for fault in terms["faults"])
            _say(f"  offer {terms['offer']} at {terms['location']}: {sums}{faults}")
    for fault in found["stock"]:
        _say(f"stock of SKU {fault['sku_id']} at {fault['location']}: allotted {fault['allotted']}, should be {fault['wanted']}")
    for fault in found["points"]:
        _say(f"points of {fault['person']} for {fault['cause']}: {fault['found']} in the book, should be {fault['wanted']}")
    for each in found["chains"]:
        _say(f"offer {each['offer']} at {each['location']}: sealed to {each['sealed']} of {each['move_no']}, {each['hash']}")
    if found["broken"]:
        _say(f"CHAIN BROKEN: offer {found['broken']['offer']}, move_no {found['broken']['move_no']}: {found['broken']['why']}")
    _say("balanced" if found["balanced"] else "NOT BALANCED")
    return 0 if found["balanced"] else 1


def write_file(path: Path, as_json: bool) -> int:
    """Write the chains to a file; 1 when they are broken, and then there is no file."""

    async def work(db: Database, _: Redis) -> Proof:
        return await chain.export(db, path, utc_now())

    try:
        proof = asyncio.run(_with_servers(work))
    except Broken as broken:
        return _told(broken, as_json, "the books' own chain is broken, nothing was written: ")
    return _told(proof, as_json, f"{path}: ")


def check_file(path: Path, as_json: bool) -> int:
    """Check a file somebody wrote; 1 and the first thing that is wrong. Asks no server."""
    try:
        return _told(verify(path), as_json, f"{path}: ")
    except Broken as broken:
        return _told(broken, as_json, f"{path}: ")


def _told(found: Proof | Broken, as_json: bool, before: str) -> int:
    if isinstance(found, Broken):
        _say(orjson.dumps({"sound": False} | _fault(found)).decode() if as_json else f"{before}{found}")
        return 1
    facts = {"lines": found.line, "movements": found.movements, "seals": found.seals}
    text = f"{before}sound; {found.movements} movements under {found.seals} seals"
    _say(orjson.dumps({"sound": True} | facts).decode() if as_json else text)
    return 0


def _fault(broken: Broken) -> dict[str, Any]:
    names = ("why", "line", "offer", "location", "move_no")
    return {name: getattr(broken, name) for name in names}


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
