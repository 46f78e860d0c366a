"""`python -m loadtest.reopen --offers 100 --orders 100000`: Redis forgets everything in mid-sale; how long until every offer sells again?

Starts a house of its own (`live up`), opens the offers through the owner's doors, and writes the orders into the books in bulk, as the
till would have (the database refuses counters that are not tied to their movements). Then buyers tap at random, FLUSHALL, and each offer
is tapped until the turnstile lets somebody through: `seconds` is when the last offer did, `booked_seconds` when the last of those taps
was an order. The ledger finds the loss by itself. At the end the audit must balance. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from live.infra.keys import room_key
from live.infra.redis import connect, connect_buying
from live.offers.reservations import Tap, records, reserve
from live.offers.rules import body_hash, rid_of
from loadtest.books import opened
from loadtest.doors import UNBOOKED, VERSION
from loadtest.stage import COLUMNS, PRICE, SKU, STORE, House, Owner, StageError, house, owner
from loadtest.verdict import verdict

BOUND = 2.0  # seconds: DESIGN section 4.2
SALE_PER_SECOND, SALE_SECONDS = 50, 2.0  # the sale under way: light, for what is measured is the rebuild
LOOK_SECONDS = 0.01
PATIENCE = 60.0
FREE = 1000  # units an offer has left beside those that are sold
# Orders are dealt to the offers in turn; an order is one unit for one person.
BULK = (
    """INSERT INTO movement (offer_id, location, move_no, kind, qty, rid) SELECT o, %(store)s, n, 'HOLD', 1, md5(o || '-' || n)
       FROM unnest(%(offers)s::bigint[], %(counts)s::bigint[]) AS t(o, c), generate_series(1, c) AS n""",
    """INSERT INTO orders (no, rid, intent_id, room_id, person, location, state, fen, pay_until)
       SELECT 'B' || o || '-' || n, md5(o || '-' || n), '0-' || n, f.room_id, 'b:' || o || '-' || n, %(store)s, 'AWAIT_PAY', f.fen,
       now() + interval '1 day'
       FROM unnest(%(offers)s::bigint[], %(counts)s::bigint[]) AS t(o, c) JOIN offer f ON f.id = o, generate_series(1, c) AS n""",
    """INSERT INTO order_line (order_no, line, offer_id, sku_id, sku, name_zh, name_en, qty, fen, price_version)
       SELECT 'B' || o || '-' || n, 0, o, f.sku_id, %(sku)s, '风暴', 'Storm', 1, f.fen, f.price_version
       FROM unnest(%(offers)s::bigint[], %(counts)s::bigint[]) AS t(o, c) JOIN offer f ON f.id = o, generate_series(1, c) AS n""",
    """INSERT INTO quota (offer_id, person, used, allowed) SELECT o, 'b:' || o || '-' || n, 1, f.per_person
       FROM unnest(%(offers)s::bigint[], %(counts)s::bigint[]) AS t(o, c) JOIN offer f ON f.id = o, generate_series(1, c) AS n""",
    """UPDATE allotment a SET taken = c, move_no = c FROM unnest(%(offers)s::bigint[], %(counts)s::bigint[]) AS t(o, c)
       WHERE a.offer_id = o AND a.location = %(store)s""",
)


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.reopen", description="How soon every offer sells again after FLUSHALL.")
    parser.add_argument("--offers", type=int, default=100)
    parser.add_argument("--orders", type=int, default=100_000, help="in the books before; dealt to the offers in turn")
    parser.add_argument("--rooms", type=int, default=1, help="offers are dealt to them in turn")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-seconds", type=float, default=BOUND)
    options = parser.parse_args(words)
    if options.offers < 1 or options.orders < 0 or not 1 <= options.rooms <= options.offers:
        parser.error("--offers must be at least 1, --orders at least 0, --rooms between 1 and --offers")
    return options


def shares(orders: int, offers: int) -> list[int]:
    """Orders per offer."""
    return [orders // offers + (n < orders % offers) for n in range(offers)]


class Buyers:
    """Taps for `offers` (offer → room), each by a person of their own, straight to the turnstile as the hub sends them."""

    def __init__(self, buying: Redis, offers: Mapping[int, str], seed: int) -> None:
        self.buying, self.offers = buying, offers
        self.dice, self.people = random.Random(seed), 0

    async def tap(self, offers: Sequence[int]) -> dict[int, str]:
        """One tap each; offer → rid of those that were let through. A server that is away lets nobody through."""
        found: dict[int, str] = {}
        for room in sorted({self.offers[offer] for offer in offers}):
            mine = [offer for offer in offers if self.offers[offer] == room]
            taps = [self._tap(room, offer) for offer in mine]
            try:
                answers = await reserve(self.buying, room, taps, UNBOOKED)
            except (RedisError, OSError):
                continue
            found |= {offer: tap.rid for offer, tap, answer in zip(mine, taps, answers, strict=True) if answer.tag == "OK"}
        return found

    def _tap(self, room: str, offer: int) -> Tap:
        self.people += 1
        who = f"p:{self.people}"
        rid = rid_of(who, room, "reopen")
        return Tap(rid, who, who, "reopen", body_hash([(offer, 1)], (STORE,)), 1, (STORE,), ((offer, 1, VERSION),))

    async def sell(self) -> int:
        """The sale, until it is cancelled."""
        while True:
            await self.tap([self.dice.choice(list(self.offers))])
            await asyncio.sleep(1 / SALE_PER_SECOND)


async def prepare(options: argparse.Namespace, found: House, boss: Owner) -> dict[int, str]:
    """The shop, its offers, and their orders; offer → room."""
    counts = shares(options.orders, options.offers)
    await boss.post("/v1/stores", {"code": STORE, "name_zh": "一店", "name_en": "One"})
    row = f"tea,茶,Tea,storm,风暴,Storm,{SKU},盒,Box,{PRICE / 100:.2f},,{sum(counts) + FREE * options.offers}"
    await boss.post("/v1/import", {"csv": f"{COLUMNS},stock:{STORE}\n{row}\n"})
    rooms = [f"reopen{n}" for n in range(options.rooms)]
    for room in rooms:
        await boss.post("/v1/rooms", {"id": room, "title_zh": "重开", "title_en": "Reopen"})
        await boss.post(f"/v1/rooms/{room}/start", {})
    offers: dict[int, str] = {}
    for n, count in enumerate(counts):
        sale = {"sku": SKU, "fen": PRICE, "per_person": 1, "stock": {STORE: count + FREE}}
        offers[int((await boss.post(f"/v1/rooms/{rooms[n % len(rooms)]}/sales", sale))["offer"])] = rooms[n % len(rooms)]
    values = {"offers": list(offers), "counts": counts, "store": STORE, "sku": SKU}
    async with opened(found.database_url) as connection:
        for statement in BULK:
            await connection.execute(statement, values)
        await connection.commit()
        await connection.set_autocommit(True)
        await connection.execute("VACUUM ANALYZE")  # as autovacuum would have, long before so many orders are there
    return offers


async def built(redis: Redis, rooms: Iterable[str]) -> None:
    """Wait until the ledger has opened every room; what it has not begun yet could not be lost. Raises StageError."""
    begun = time.monotonic()
    while not all([await redis.hexists(room_key(room, "meta"), "fence") for room in rooms]):  # type: ignore[misc]
        if time.monotonic() - begun > PATIENCE:
            raise StageError(f"no ledger has opened the rooms {PATIENCE:g} s after they began")
        await asyncio.sleep(LOOK_SECONDS)


async def reopened(redis: Redis, buyers: Buyers) -> tuple[float, float]:
    """Redis forgets. Seconds until every offer let a buyer through, and until those are booked. Raises StageError."""
    await redis.flushall()
    begun = time.monotonic()
    through: dict[int, str] = {}
    while len(through) < len(buyers.offers):
        through |= await buyers.tap([offer for offer in buyers.offers if offer not in through])
        if time.monotonic() - begun > PATIENCE:
            raise StageError(f"{len(buyers.offers) - len(through)} offers have not sold anything {PATIENCE:g} s after FLUSHALL")
        await asyncio.sleep(LOOK_SECONDS)
    seconds = time.monotonic() - begun
    waiting = dict(through)
    while waiting:
        for room in set(buyers.offers.values()):
            mine = [offer for offer in waiting if buyers.offers[offer] == room]
            for offer, record in zip(mine, await records(redis, room, [waiting[offer] for offer in mine]) if mine else [], strict=True):
                if record is not None and record.body is not None:
                    del waiting[offer]
        if time.monotonic() - begun > PATIENCE:
            raise StageError(f"{len(waiting)} buyers were let through and have no answer {PATIENCE:g} s after FLUSHALL")
        await asyncio.sleep(LOOK_SECONDS)
    return seconds, time.monotonic() - begun


async def reopen(options: argparse.Namespace) -> dict[str, Any]:
    """The whole run; returns the report."""
    print("raised by setting: nothing", flush=True)
    async with house({}) as found, owner(found) as boss:
        offers = await prepare(options, found, boss)
        redis, buying = connect(found.redis_url), connect_buying(found.redis_url)
        try:
            buyers = Buyers(buying, offers, options.seed)
            await built(redis, set(offers.values()))
            await reopened(redis, buyers)  # the turnstile learns of the orders that were written past it
            await sealed(found)
            print(f"{options.offers} offers in {options.rooms} rooms, {options.orders} orders; on sale", flush=True)
            sale = asyncio.create_task(buyers.sell())
            await asyncio.sleep(SALE_SECONDS)
            seconds, booked = await reopened(redis, buyers)
            sale.cancel()
            await asyncio.gather(sale, return_exceptions=True)
            fences = [await redis.hget(room_key(room, "meta"), "fence") for room in sorted(set(offers.values()))]  # type: ignore[misc]
        finally:
            await redis.aclose()
            await buying.aclose()
        audit = await found.audit()
        return {
            "offers": options.offers, "orders": options.orders, "rooms": options.rooms, "seconds": round(seconds, 3),
            "booked_seconds": round(booked, 3), "balanced": audit["balanced"], "fence": max(int(fence) for fence in fences),
            **found.durability,
        }  # fmt: skip


async def sealed(found: House) -> None:
    """Wait until the worker has sealed the movements that were written at once: a shop's would have been long ago."""
    query = """SELECT count(*) FROM allotment a WHERE a.move_no > coalesce((SELECT max(s.to_no) FROM movement_seal s
      WHERE s.offer_id = a.offer_id AND s.location = a.location), 0) + 100"""
    async with opened(found.database_url, autocommit=True) as connection:
        async with asyncio.timeout(PATIENCE):
            while ((await (await connection.execute(query)).fetchone()) or (0,))[0]:  # noqa: ASYNC110 - another process's event
                await asyncio.sleep(0.2)


def faults(report: Mapping[str, Any], options: argparse.Namespace) -> list[str]:
    """Why this run is not good; empty when it is."""
    found = [] if report["balanced"] else ["the audit does not balance"]
    if report["seconds"] > options.max_seconds:
        found.append(f"every offer sold again after {report['seconds']} s, above {options.max_seconds:g}")
    return found


def main() -> int:
    """Run, print, and say by the exit code whether it was good."""
    options = arguments()
    return verdict("reopen", reopen(options), lambda report: faults(report, options))


if __name__ == "__main__":
    raise SystemExit(main())
