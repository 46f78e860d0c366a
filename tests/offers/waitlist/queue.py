"""A sale that is sold out, people before it, and what brings its units back."""

from __future__ import annotations

from typing import Any

import orjson
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra import outbox, roomlog
from live.infra.db import Database, utc_now
from live.infra.keys import room_key
from live.offers.actions import add_stock
from live.offers.audit import audit_room
from live.offers.ledger import RoomLedger
from live.offers.reservations import reserve
from live.offers.waitlist import actions
from tests.offers.shop import book_all, books, make_shop, sale, tap

CAP = 20_000
HOLDERS = 100  # persons from here on have what the others wait for


class Queue:
    """Persons p:100 … have one unit each; the others wait."""

    def __init__(self, db: Database, redis: Redis) -> None:
        self.db, self.redis = db, redis
        self.offer = 0
        self.ledger: RoomLedger

    async def open(self, units: int = 4, per_person: int = 2, **stock: int) -> Queue:
        """Sold out at S1; `stock`: units of other stores, sold out too."""
        await make_shop(self.db)
        self.offer = await sale(self.db, {"S1": units, **stock}, per_person=per_person, waitlist=120)
        self.ledger = await books(self.db, self.redis)
        taps = [tap(HOLDERS + n, self.offer) for n in range(units)]
        taps += [tap(HOLDERS + 50 + n, self.offer, at=(place,)) for place, n in stock.items() for n in range(n)]
        await reserve(self.redis, "r1", taps, CAP)
        await book_all(self.ledger)
        return self

    async def enter(self, *people: int, qty: int = 1, at: tuple[str, ...] = ("S1",), version: int = 1) -> None:
        for person in people:
            async with self.db.begin() as session:
                wish = {"qty": qty, "at": at, "version": version, "now": utc_now()}
                await actions.enter(session, person=f"p:{person}", offer_id=self.offer, **wish)  # type: ignore[arg-type]

    async def ask_back(self, *holders: int, at: str = "S1", kind: str = "RELEASE", key: str = "k") -> None:
        """Their orders are cancelled (or refunded), and the ledger is asked to take the units back."""
        state = {"RELEASE": "CANCELLED", "RESTOCK": "REFUNDED"}[kind]
        for holder in holders:
            rid = tap(holder, self.offer, key=key).rid
            entry = {"kind": kind, "rid": rid, "location": at, "person": f"p:{holder}", "lines": [[self.offer, 1]], "seats": False}
            async with self.db.begin() as session:
                await session.execute(text("UPDATE orders SET state = :s WHERE rid = :r"), {"s": state, "r": rid})
                await outbox.house(session, "r1", entry)

    async def back(self, *holders: int, at: str = "S1", kind: str = "RELEASE") -> None:
        await self.ask_back(*holders, at=at, kind=kind)
        await self.applied()

    async def lapse(self, entry: int) -> None:
        """What was given is not paid in time."""
        async with self.db.begin() as session:
            order = (await session.execute(text("SELECT * FROM orders WHERE rid = :r"), {"r": f"wait:{entry}"})).mappings().one()
            await session.execute(text("UPDATE orders SET state = 'CANCELLED' WHERE no = :n"), {"n": order["no"]})
            lines = [[self.offer, await self.number("SELECT sum(qty) FROM order_line WHERE order_no = :n", n=order["no"])]]
            entry_of = {"kind": "RELEASE", "rid": order["rid"], "location": order["location"], "person": order["person"]}
            await outbox.house(session, "r1", {**entry_of, "lines": lines, "seats": False})
        await self.applied()

    async def add(self, qty: int, at: str = "S1") -> None:
        async with self.db.begin() as session:
            await add_stock(session, self.offer, at, qty, utc_now())
        await self.applied()

    async def applied(self) -> None:
        """Everything is booked, and what that wrote has been told."""
        await book_all(self.ledger)
        await self.ledger._apply_outbox()

    async def only_at(self, place: str) -> None:
        """Whoever waits collects at this store only."""
        async with self.db.connection() as connection:
            await connection.execute(text("UPDATE waitlist SET at = jsonb_build_array(CAST(:l AS text))"), {"l": place})

    async def rows(self, query: str, **values: Any) -> list[Any]:
        async with self.db.connection() as connection:
            return [tuple(row) for row in (await connection.execute(text(query), values)).all()]

    async def number(self, query: str, **values: Any) -> int:
        return int((await self.rows(query, **values))[0][0])

    async def states(self) -> dict[int, str]:
        """Person -> the state of their last entry."""
        return {int(who[2:]): state for who, state in await self.rows("SELECT person, state FROM waitlist ORDER BY id")}

    async def orders(self) -> list[int]:
        """Persons whose orders came out of the line, in the order of the movements."""
        given = "FROM orders o JOIN movement m ON m.rid = o.rid AND m.kind = 'HOLD' WHERE o.rid LIKE 'wait:%'"
        return [int(who[2:]) for (who,) in await self.rows(f"SELECT o.person {given} ORDER BY m.move_no")]

    async def left(self, place: str = "S1") -> int:
        return int(await self.redis.hget(room_key("r1", f"offer:{self.offer}"), f"left:{place}"))  # type: ignore[misc]

    async def used(self, person: int) -> int:
        """Units of one person as the turnstile counts them."""
        return int(await self.redis.hget(room_key("r1", f"used:{self.offer}"), f"p:{person}") or 0)  # type: ignore[misc]

    async def shown(self) -> dict[str, Any]:
        """The line as the room sees it."""
        value: dict[str, Any] = orjson.loads(await self.redis.hget(room_key("r1", "state"), f"waitlist:{self.offer}"))[1]  # type: ignore[misc]
        return value

    async def told(self, entry: int) -> list[dict[str, Any]]:
        """What a room's stream of own events says of an entry."""
        bodies = [body for *_, body in (await roomlog.look(self.redis, "r1", roomlog.Position())).own_entries]
        return [orjson.loads(body) for body in bodies if f'"id":{entry},'.encode() in body and b'"waitlist"' in body]

    async def sound(self) -> bool:
        """Whether the books balance, no alarm was raised and the line counts who stands in it."""
        counted = await self.rows("SELECT waiting = (SELECT count(*) FROM waitlist WHERE state = 'WAITING') FROM waitlist_line")
        drifts = await self.number("SELECT count(*) FROM drift")
        return (await audit_room(self.db, self.redis, "r1")).balanced and counted == [(True,)] and drifts == 0
