"""Code that forgets the gate, planted by hand: the database refuses each kind, and nothing has changed."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from live.infra.db import Database, utc_now
from live.offers.actions import add_stock, end_offer
from live.offers.audit import audit
from live.offers.ledger import RoomLedger
from live.offers.reservations import reserve
from tests.offers.shop import book_all, books, coupon, make_shop, sale, tap
from tests.web.doors import holdings

CAP = 20_000
MOVE = "INSERT INTO movement (offer_id, location, move_no, kind, qty, rid) VALUES"


@pytest_asyncio.fixture
async def shop(database: Database, redis: Redis) -> RoomLedger:
    """Offer 1: 10 at S1 of which 3 are taken by 2 movements, 5 at S2; offer 2: 3 coupons, one taken."""
    await make_shop(database)
    await sale(database, {"S1": 10, "S2": 5}, per_person=4)
    await coupon(database, 3)
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(1, 1, qty=2), tap(2, 1), tap(1, 2, key="c", at=("-",))], CAP)
    await book_all(ledger)
    return ledger


async def refused(db: Database, *statements: str) -> str:
    """The rule that refused them, run as one transaction; everything is as it was."""
    async def run() -> None:
        async with db.connection() as connection:
            for statement in statements:
                await connection.execute(text(statement))

    before = await holdings(db)
    with pytest.raises(IntegrityError) as found:
        await run()
    assert await holdings(db) == before
    error: Any = found.value.orig
    assert error.sqlstate in ("23514", "23505")
    return str(error.diag.constraint_name)


FORGOTTEN = {
    "a unit given back by hand": ["UPDATE allotment SET taken = taken - 1 WHERE offer_id = 1 AND location = 'S1'"],
    "a unit taken by hand": ["UPDATE allotment SET taken = taken + 1 WHERE offer_id = 1"],
    "more stock by hand": ["UPDATE allotment SET total = total + 5 WHERE offer_id = 1 AND location = 'S2'"],
    "a number skipped": ["UPDATE allotment SET move_no = move_no + 1 WHERE offer_id = 2"],
    "a number taken back": ["UPDATE allotment SET taken = 2, move_no = 1 WHERE offer_id = 1 AND location = 'S1'"],
    "a hold booked as more than it is": [
        f"{MOVE} (1,'S1',3,'HOLD',1,'x')",
        "UPDATE allotment SET taken = taken + 2, move_no = 3 WHERE offer_id = 1 AND location = 'S1'",
    ],
    "a hold that changes the total": [
        f"{MOVE} (1,'S1',3,'HOLD',1,'x')",
        "UPDATE allotment SET total = total + 1, move_no = 3 WHERE offer_id = 1 AND location = 'S1'",
    ],
    "an adjustment that changes what is taken": [
        f"{MOVE} (1,'S1',3,'ADJUST',1,'x')",
        "UPDATE allotment SET taken = taken + 1, move_no = 3 WHERE offer_id = 1 AND location = 'S1'",
    ],
    "a movement under a number with a gap before it": [
        f"{MOVE} (1,'S1',4,'HOLD',1,'x')",
        "UPDATE allotment SET taken = taken + 1, move_no = 4 WHERE offer_id = 1 AND location = 'S1'",
    ],
    "a movement of the place next door": [
        f"{MOVE} (1,'S2',1,'HOLD',1,'x')",
        "UPDATE allotment SET taken = taken + 1, move_no = 3 WHERE offer_id = 1 AND location = 'S1'",
    ],
    "one wrong row among sound ones": [
        f"{MOVE} (1,'S1',3,'HOLD',1,'x'), (1,'S2',1,'HOLD',1,'y')",
        "UPDATE allotment SET taken = taken + CASE location WHEN 'S1' THEN 1 ELSE 2 END, move_no = move_no + 1 WHERE offer_id = 1",
    ],
    "an allotment moved elsewhere": ["UPDATE allotment SET location = 'S9' WHERE offer_id = 1 AND location = 'S2'"],
    "an allotment opened with units taken": ["INSERT INTO allotment (offer_id, location, total, taken) VALUES (2, 'S1', 5, 1)"],
    "an allotment opened at a number": ["INSERT INTO allotment (offer_id, location, total, move_no) VALUES (2, 'S1', 5, 1)"],
}
COUNTED = {
    "a movement changed": ("movement_kept", "UPDATE movement SET qty = 1 WHERE offer_id = 1 AND move_no = 1"),
    "a movement deleted": ("movement_kept", "DELETE FROM movement WHERE offer_id = 2"),
    "a movement changed by way of an insert": (
        "movement_kept", f"{MOVE} (1,'S1',1,'HOLD',1,'x') ON CONFLICT (offer_id, location, move_no) DO UPDATE SET qty = 1",
    ),
    "an allotment deleted": ("allotment_kept", "DELETE FROM allotment WHERE offer_id = 1 AND location = 'S2'"),
    "a counted number again": ("pk_movement", f"{MOVE} (1,'S1',2,'RELEASE',-1,'x')"),
    "a number below all that count": ("ck_movement_move_no", f"{MOVE} (1,'S1',0,'RELEASE',-1,'x')"),
    "a release twice": ("uq_movement_cause", f"{MOVE} (1,'S1',3,'RELEASE',-1,'x'), (1,'S1',4,'RELEASE',-1,'x')"),
    "a seal changed": ("seal_kept", "UPDATE movement_seal SET hash = '0'"),
    "a seal deleted": ("seal_kept", "DELETE FROM movement_seal"),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGOTTEN)
async def test_a_counter_that_forgets_its_movements_is_refused(shop: RoomLedger, what: str) -> None:
    assert await refused(shop.db, *FORGOTTEN[what]) == "allotment_tied"


@pytest.mark.parametrize("what", COUNTED)
async def test_what_counts_is_never_changed(shop: RoomLedger, what: str) -> None:
    rule, statement = COUNTED[what]
    assert await refused(shop.db, statement) == rule


async def test_the_refusal_names_the_rule_and_the_counter(shop: RoomLedger) -> None:
    async with shop.db.connection() as connection:
        with pytest.raises(IntegrityError) as found:
            await connection.execute(text(FORGOTTEN["a unit given back by hand"][0]))
        await connection.rollback()
    error: Any = found.value.orig
    assert error.diag.table_name == "allotment"
    assert error.diag.message_primary == "allotment of offer 1 at S1 changed otherwise than its movements say"


async def test_what_the_till_does_passes(shop: RoomLedger) -> None:
    """Holds in one statement over two places, a release, more stock, the rest given back, and what comes after that."""
    await reserve(shop.redis, "r1", [tap(3, 1), tap(4, 1, at=("S2",))], CAP)
    await book_all(shop)
    async with shop.db.begin() as session:
        await add_stock(session, 1, "S1", 7, utc_now())
    await shop._apply_outbox()
    async with shop.db.begin() as session:
        await end_offer(session, 1, utc_now())
    await shop._apply_outbox()
    async with shop.db.connection() as connection:
        rows = (await connection.execute(text("SELECT location, total, taken, move_no FROM allotment ORDER BY offer_id, location"))).all()
        assert rows == [("S1", 4, 4, 5), ("S2", 1, 1, 2), ("-", 3, 1, 1)]
        await connection.execute(text("UPDATE allotment SET taken = taken"))  # nothing changed, nothing to say
    assert (await audit(shop.db, shop.redis))["balanced"]


async def test_the_sum_is_read_by_the_key_however_small_the_table_was(shop: RoomLedger) -> None:
    """A session keeps its plan: one that reads the whole table would slow every sale of a long show."""
    async with shop.db.connection() as connection:
        found = await connection.execute(text("SELECT proconfig FROM pg_proc WHERE proname = 'allotment_tied'"))
        assert found.scalar_one() == ["enable_seqscan=off"]
