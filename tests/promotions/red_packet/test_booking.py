"""Packets on real servers: rushes through the turnstile and the books."""

from __future__ import annotations

import asyncio
import random

import pytest
from redis.asyncio import Redis
from sqlalchemy.exc import IntegrityError

from live.infra.db import Database, utc_now
from live.offers.audit import audit_room
from live.offers.rebuild import rebuild
from live.offers.reservations import reserve
from live.promotions.red_packet.actions import end_packet
from live.promotions.red_packet.queries import report
from live.promotions.red_packet.rules import split
from tests.offers.shop import book_all, books, make_shop
from tests.promotions.red_packet.stage import claim, one, packet, rows
from workers.ledger import facts


async def test_fifty_packets_and_two_hundred_people_with_two_devices_each(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await packet(database)
    ledger = await books(database, redis)
    taps = [claim(person, offer, key) for person in range(1, 221) for key in ("phone", "desk")]
    random.Random(7).shuffle(taps)
    batches = [taps[at : at + 20] for at in range(0, len(taps), 20)]

    async def keep_booking() -> None:
        while rushing:
            await book_all(ledger)
            await asyncio.sleep(0)

    rushing = True
    booking = asyncio.create_task(keep_booking())
    answers = [one for part in await asyncio.gather(*(reserve(redis, "r1", batch, 10_000) for batch in batches)) for one in part]
    rushing = False
    await booking
    await book_all(ledger)
    assert sum(answer.tag == "OK" for answer in answers) == 50
    assert {answer.code for answer in answers if answer.tag == "NO"} <= {"sold_out", "limit"}
    taken = await rows(database, "SELECT number, amount, person, rid FROM packet_share WHERE rid IS NOT NULL ORDER BY number")
    assert [number for number, *_ in taken] == list(range(1, 51))
    assert [amount for _, amount, *_ in taken] == split(5_000, 50, 10, 5_000, "seed")
    assert len({person for *_, person, _ in taken}) == 50
    assert await one(database, "SELECT sum(amount) FROM points_entry") == 5_000
    assert await one(database, "SELECT count(DISTINCT person) FROM points_entry") == 50
    # The k-th share is the k-th movement's: the books' own order.
    moved = await rows(database, "SELECT rid FROM movement WHERE offer_id = :o ORDER BY move_no", o=offer)
    assert [rid for (rid,) in moved] == [rid for *_, rid in taken]
    found = await audit_room(database, redis, "r1")
    assert (found.balanced, found.settled, found.offers[0].sold, found.offers[0].left) == (True, True, 50, 0)


async def test_a_resent_claim_has_one_share_and_the_same_answer_also_after_a_lost_settling(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await packet(database)
    ledger = await books(database, redis)
    await reserve(redis, "r1", [claim(1, offer)], 100)
    intents = await ledger._read(">")
    first = await ledger._commit(intents)
    again = await ledger._commit(intents)  # a ledger that died before it settled
    assert first.verdicts[0].body == again.verdicts[0].body
    body = first.verdicts[0].body
    assert body is not None
    assert body["packet"] == {"offer": offer, "amount": split(5_000, 50, 10, 5_000, "seed")[0], "currency": "points", "grant": None}
    assert await one(database, "SELECT count(rid) FROM packet_share") == await one(database, "SELECT count(*) FROM points_entry") == 1


async def test_a_share_of_money_is_a_coupon_of_that_amount(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await packet(database, currency="coupon", total=2_000, shares=4, threshold=1_000)
    ledger = await books(database, redis)
    await reserve(redis, "r1", [claim(person, offer) for person in range(1, 7)], 100)
    await book_all(ledger)
    found = await rows(
        database,
        "SELECT s.amount, g.off, g.threshold, g.state, g.person = s.person, g.id = s.grant_id FROM packet_share s"
        " JOIN coupon_grant g ON g.rid = s.rid ORDER BY s.number",
    )
    assert found == [(amount, amount, 1_000, "CLAIMED", True, True) for amount in split(2_000, 4, 10, 999, "seed")]
    assert sum(amount for amount, *_ in found) == 2_000
    assert await one(database, "SELECT count(*) FROM points_entry") == 0
    assert (await audit_room(database, redis, "r1")).balanced


async def test_only_who_says_the_word_opens_it_and_neither_room_nor_books_of_the_room_show_it(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await packet(database, word="新年 快乐A")
    ledger = await books(database, redis)
    wrong = [claim(1, offer), claim(2, offer, word="新年"), claim(3, offer, word="新年快乐b")]
    assert {(answer.tag, answer.code) for answer in await reserve(redis, "r1", wrong, 100)} == {("NO", "wrong_word")}
    right = [claim(4, offer, word="新年快乐Ａ"), claim(5, offer, word=" 新年 快乐 a ")]
    assert [answer.tag for answer in await reserve(redis, "r1", right, 100)] == ["OK", "OK"]
    await book_all(ledger)
    assert await one(database, "SELECT count(rid) FROM packet_share") == 2
    for table in ("room_state", "outbox"):
        assert await one(database, f"SELECT count(*) FROM {table} t WHERE t::text LIKE '%新年%'") == 0
    await rebuild(redis, database, "r1", facts)
    after = await reserve(redis, "r1", [claim(6, offer), claim(7, offer, word="新年快乐a")], 100)
    assert [(answer.tag, answer.code) for answer in after] == [("NO", "wrong_word"), ("OK", "")]


async def test_a_wrong_word_said_twice_is_still_refused_by_the_books(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await packet(database, word="芝麻开门")
    ledger = await books(database, redis)
    assert [answer.tag for answer in await reserve(redis, "r1", [claim(1, offer, word="关门", tries=2)], 100)] == ["ASK"]
    booking = await ledger._commit(await ledger._read(">"))
    assert booking.verdicts[0].no == ("wrong_word",)
    assert await one(database, "SELECT count(rid) FROM packet_share") == 0


async def test_the_close_races_the_claims_and_what_was_let_through_is_paid_and_the_rest_lapses(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await packet(database, shares=300, total=9_000)
    ledger = await books(database, redis)

    async def rush(people: range) -> int:
        answers = []
        for person in people:  # one call each, so that the end comes in between
            answers += await reserve(redis, "r1", [claim(person, offer)], 10_000)
        assert {answer.code for answer in answers if answer.tag == "NO"} <= {"ended"}
        return sum(answer.tag == "OK" for answer in answers)

    async def close() -> None:
        await asyncio.sleep(0.05)
        async with database.begin() as session:
            await end_packet(session, offer, utc_now())
        await ledger._apply_outbox()

    through = sum((await asyncio.gather(*(rush(range(at, at + 25)) for at in range(1, 251, 25)), close()))[:-1])  # type: ignore[misc]
    await book_all(ledger)
    assert await one(database, "SELECT count(rid) FROM packet_share") == through
    cut = split(9_000, 300, 10, 9_000, "seed")
    assert await one(database, "SELECT coalesce(sum(amount), 0) FROM points_entry") == sum(cut[:through])
    assert await rows(database, "SELECT total, taken FROM allotment WHERE offer_id = :o", o=offer) == [(through, through)]
    late = await reserve(redis, "r1", [claim(400, offer)], 100)
    assert [(answer.tag, answer.code) for answer in late] == [("NO", "ended")]
    assert (await audit_room(database, redis, "r1")).balanced


async def test_the_report_names_the_luckiest_only_when_it_is_over(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await packet(database, shares=3, total=100)
    ledger = await books(database, redis)
    await reserve(redis, "r1", [claim(1, offer), claim(2, offer)], 100)
    await book_all(ledger)
    cut = split(100, 3, 10, 100, "seed")
    async with database.begin() as session:
        going = await report(session, offer)
    assert going == {
        "offer": offer, "currency": "points", "sum": 100, "phase": "open", "shares": 3, "taken": 2, "taken_sum": cut[0] + cut[1],
        "luckiest": [],
    }  # fmt: skip
    await reserve(redis, "r1", [claim(3, offer)], 100)
    await book_all(ledger)
    async with database.begin() as session:
        over = await report(session, offer)
    assert (over["taken_sum"], [lucky["amount"] for lucky in over["luckiest"]]) == (100, sorted(cut, reverse=True))
    assert {lucky["name"] for lucky in over["luckiest"]} == {"P**"}


async def test_points_are_never_changed_or_credited_twice(database: Database, redis: Redis) -> None:
    await make_shop(database)
    offer = await packet(database)
    ledger = await books(database, redis)
    await reserve(redis, "r1", [claim(1, offer)], 100)
    await book_all(ledger)
    for statement in (
        "UPDATE points_entry SET amount = 9999", "DELETE FROM points_entry",
        "INSERT INTO points_entry (person, amount, cause) SELECT person, amount, cause FROM points_entry",
    ):  # fmt: skip
        with pytest.raises(IntegrityError):
            await rows(database, statement)
    assert await one(database, "SELECT count(*) FROM points_entry") == 1
