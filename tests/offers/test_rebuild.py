"""A turnstile made anew: what people have reaches it in pieces, whole and as it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra.db import Database
from live.infra.keys import room_key
from live.offers import rebuild as rebuilding
from live.offers.rebuild import CHUNK, rebuild, sound
from tests.offers.shop import make_shop, sale
from workers.ledger import facts

ODD = ('p:"quoted"', "p:back\\slash", "p:茶\n线", "p:percent%s:n", "p:[1,2]")


async def used(redis: Redis, offer: int) -> dict[str, int]:
    found = await redis.hgetall(room_key("r1", f"used:{offer}"))  # type: ignore[misc]
    return {who.decode(): int(n) for who, n in found.items()}


async def test_units_of_more_people_than_one_piece_holds_are_all_there(database: Database, redis: Redis) -> None:
    await make_shop(database)
    many, few, none = [await sale(database, {"S1": 9}) for _ in range(3)]
    wanted = {f"p:{n}": 1 + n % 9 for n in range(2 * CHUNK + 7)}
    async with database.connection() as connection:
        insert = text("INSERT INTO quota (offer_id, person, used, allowed) VALUES (:o, :p, :u, 9)")
        await connection.execute(insert, [{"o": many, "p": who, "u": n} for who, n in wanted.items()])
        await connection.execute(insert, [{"o": few, "p": who, "u": 3} for who in ODD])
        await connection.execute(insert, [{"o": none, "p": "p:1", "u": 0}])
    await rebuild(redis, database, "r1", facts)
    assert await used(redis, many) == wanted
    assert await used(redis, few) == dict.fromkeys(ODD, 3)
    assert await used(redis, none) == {}
    assert await sound(redis, database, "r1")


async def test_what_a_rebuild_that_died_had_written_is_forgotten_too(
    database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = await limited(database)

    async def dies(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr("live.offers.rebuild._rebuild", dies)
        with pytest.raises(ConnectionError):
            await rebuild(redis, database, "r1", facts)
    assert await used(redis, offer) == {"p:1": 2}
    async with database.connection() as connection:  # given back meanwhile
        await connection.execute(text("UPDATE quota SET used = 0"))
    await rebuild(redis, database, "r1", facts)
    assert await used(redis, offer) == {}


async def limited(db: Database) -> int:
    """A sale of which somebody has two units already."""
    await make_shop(db)
    offer = await sale(db, {"S1": 9})
    async with db.connection() as connection:
        await connection.execute(text("INSERT INTO quota (offer_id, person, used, allowed) VALUES (:o, 'p:1', 2, 9)"), {"o": offer})
    return offer


async def test_a_server_that_is_promoted_in_the_middle_of_a_rebuild_is_not_opened(
    database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = await limited(database)
    write = rebuilding._write

    async def lost(redis: Redis, room: str, fence: int, name: str, flat: str) -> None:
        await write(redis, room, fence, name, flat)
        if name.startswith("used:"):  # this had not reached the replica, which answers from here on
            await redis.delete(room_key(room, name))
            await redis.hset(room_key(room, "meta"), "run_id", "of-the-former")  # type: ignore[misc]

    with monkeypatch.context() as patch:
        patch.setattr(rebuilding, "_write", lost)
        await rebuild(redis, database, "r1", facts)
    assert not await sound(redis, database, "r1")
    await rebuild(redis, database, "r1", facts)
    assert await used(redis, offer) == {"p:1": 2}
    assert await sound(redis, database, "r1")


async def test_a_first_step_that_arrives_twice_forgets_nothing_of_what_followed_it(
    database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = await limited(database)
    opening = rebuilding._rebuild

    async def late(redis: Redis, keys: Sequence[str], args: Sequence[Any]) -> Any:
        await rebuilding._forget(redis, "r1", args[1], [offer])
        return await opening(redis, keys, args)

    monkeypatch.setattr(rebuilding, "_rebuild", late)
    await rebuild(redis, database, "r1", facts)
    assert await used(redis, offer) == {"p:1": 2}
    assert await sound(redis, database, "r1")
