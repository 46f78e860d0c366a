"""Opening a group, paid seats, ending and closing it. Seats are taken by the ledger's own till."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from live.infra.db import epoch_ms
from live.infra.outbox import room_state
from live.infra.tables import Outbox
from live.offers.tables import Offer, Team
from live.promotions.group_buy.actions import close_team, end_group, seats_paid
from live.protocol.codes import Code, Refusal
from tests.orders.stage import LADDER, NOW, ROOM, Shop, after


async def team_of(shop: Shop, offer: Offer) -> Team:
    async with shop.db.begin() as session:
        return (await session.execute(select(Team).where(col(Team.offer_id) == offer.id))).scalar_one()


async def bars(shop: Shop, offer: Offer) -> list[tuple[int, dict[str, Any]]]:
    """(version, bar) as they were told; versions must rise."""
    async with shop.db.begin() as session:
        query = (
            select(col(Outbox.payload)).where(col(Outbox.kind) == "count", col(Outbox.key) == f"team:{offer.id}").order_by(col(Outbox.id))
        )
        found = [(payload["version"], payload["value"]) for payload in (await session.execute(query)).scalars()]
    assert [version for version, _ in found] == sorted({version for version, _ in found})
    return found


async def acts(shop: Shop) -> list[list[Any]]:
    async with shop.db.begin() as session:
        query = select(col(Outbox.payload)).where(col(Outbox.kind) == "act").order_by(col(Outbox.id))
        return [event for payload in (await session.execute(query)).scalars() for event in payload["events"]]


async def paid(shop: Shop, offer: Offer, qty: int) -> None:
    async with shop.db.begin() as session:
        await seats_paid(session, {int(offer.id or 0): [qty]}, NOW)


async def end(shop: Shop, offer: Offer) -> None:
    async with shop.db.begin() as session:
        await end_group(session, int(offer.id or 0), after(minutes=1))


async def close(shop: Shop, offer: Offer) -> str:
    async with shop.db.begin() as session:
        return await close_team(session, int(offer.id or 0), after(minutes=2))


async def test_an_opened_group_shows_its_ladder_and_an_empty_bar(shop: Shop) -> None:
    offer = await shop.group()
    async with shop.db.begin() as session:
        card = await room_state(session, ROOM, f"offer:{offer.id}")
    assert card is not None
    assert (card["kind"], card["fen"], card["list_fen"], card["total"], card["minimum"]) == ("group", 3000, 3990, 8, 3)
    assert card["tiers"] == list(LADDER)
    assert card["closes"] == epoch_ms(after(minutes=20))
    empty = {"size": 6, "paid": 0, "held": 0, "minimum": 3, "fen": 3000, "next": {"seats": 2, "fen": 2500}, "state": "filling"}
    assert await bars(shop, offer) == [(1, empty)]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"size": 9}, "size"),
        ({"minimum": 7}, "minimum"),
        ({"tiers": []}, "tiers"),
        ({"tiers": [{"seats": 0, "fen": 100_000_001}]}, "tiers.0.fen"),
        ({"tiers": [{"seats": 0, "fen": 3000}, {"seats": 7, "fen": 2000}]}, "tiers.1.seats"),
        ({"per_person": 0}, "per_person"),
        ({"minutes": 1441}, "minutes"),
    ],
)
async def test_a_group_that_is_not_sound_is_refused_by_field_and_changes_nothing(shop: Shop, changed: dict[str, Any], field: str) -> None:
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        await shop.group(**changed)
    assert (refused.value.code, refused.value.facts["field"]) == (Code.BAD_REQUEST, field)
    assert await shop.everything() == before


async def test_a_paid_seat_moves_from_held_to_paid_and_a_step_lowers_the_price_for_all(shop: Shop) -> None:
    offer = await shop.group()
    await shop.take(offer, "p:1", qty=3)
    await paid(shop, offer, 1)
    assert [event[0] for event in await acts(shop)] == ["offer.opened"]
    await paid(shop, offer, 1)
    team = await team_of(shop, offer)
    assert (team.held, team.paid, team.state, team.version) == (1, 2, "filling", 4)
    assert (await acts(shop))[1:] == [["offer.price", {"offer": offer.id, "fen": 2500, "version": 2}]]
    version, bar = (await bars(shop, offer))[-1]
    assert (version, bar["paid"], bar["held"], bar["fen"], bar["next"]) == (4, 2, 1, 2500, {"seats": 4, "fen": 2000})
    assert await shop.one("SELECT fen FROM offer WHERE id = :o", o=offer.id) == 2500


async def test_payments_counted_together_do_what_they_do_one_after_the_other(shop: Shop) -> None:
    together, apart = await shop.group(), await shop.group()
    for offer in (together, apart):
        for person in range(1, 6):
            await shop.take(offer, f"p:{person}")
    before = len(await acts(shop))
    async with shop.db.begin() as session:
        await seats_paid(session, {int(together.id or 0): [1] * 5}, NOW)
    first = (await acts(shop))[before:]
    for _ in range(5):
        await paid(shop, apart, 1)
    second = (await acts(shop))[before + len(first) :]
    assert [(kind, facts["fen"], facts["version"]) for kind, facts in first] == [("offer.price", 2500, 2), ("offer.price", 2000, 3)]
    assert [(kind, facts["fen"], facts["version"]) for kind, facts in second] == [("offer.price", 2500, 2), ("offer.price", 2000, 3)]
    assert (await bars(shop, together))[-1][1] == (await bars(shop, apart))[-1][1]
    assert len(await bars(shop, apart)) - len(await bars(shop, together)) == 4  # one bar for all of them


async def test_the_last_seat_paid_ends_the_offer_in_the_same_transaction(shop: Shop) -> None:
    offer = await shop.group(per_person=6)
    await shop.take(offer, "p:1", qty=6)
    await paid(shop, offer, 6)
    team = await team_of(shop, offer)
    assert (team.held, team.paid, team.state) == (0, 6, "closing")
    assert [event[0] for event in await acts(shop)] == ["offer.opened", "offer.price", "offer.ended"]
    assert await shop.jobs("group.close") == [(str(offer.id), {})]
    assert [(bar["paid"], bar["state"]) for _, bar in await bars(shop, offer)] == [(0, "filling"), (0, "filling"), (6, "closing")]
    await shop.till()
    assert await close(shop, offer) == "success"


async def test_an_ended_team_waits_for_held_seats_and_then_succeeds_at_the_price_of_its_paid_seats(shop: Shop) -> None:
    offer = await shop.group()
    await shop.take(offer, "p:1", qty=3)
    await shop.take(offer, "p:2", qty=1)
    await paid(shop, offer, 3)
    await end(shop, offer)
    await shop.till()
    before = await shop.everything()
    assert await close(shop, offer) == "waiting"
    assert await shop.everything() == before
    await paid(shop, offer, 1)  # still in time: the step counts, though nobody can join at it any more
    assert [event[0] for event in await acts(shop)] == ["offer.opened", "offer.price", "offer.ended"]
    assert await close(shop, offer) == "success"
    assert (await acts(shop))[-1] == ["team.done", {"offer": offer.id, "state": "success", "fen": 2000}]
    assert (await bars(shop, offer))[-1][1]["state"] == "success"
    assert await shop.jobs("group.settle") == [(str(offer.id), {})]


async def test_a_team_below_its_minimum_fails_once(shop: Shop) -> None:
    offer = await shop.group()
    await shop.take(offer, "p:1", qty=2)
    await paid(shop, offer, 2)
    await end(shop, offer)
    await shop.till()
    assert await close(shop, offer) == "failed"
    before = await shop.everything()
    assert await close(shop, offer) == "failed"
    assert await shop.everything() == before
    assert await shop.jobs("group.settle") == [(str(offer.id), {})]


async def test_a_team_is_not_decided_while_a_seat_could_still_be_booked(shop: Shop) -> None:
    offer = await shop.group()
    late = shop.intent(offer, "p:1", qty=3)  # passed the turnstile before the end reached it
    await end(shop, offer)
    assert await close(shop, offer) == "waiting"
    await shop.book([late])
    assert await close(shop, offer) == "waiting"
    await paid(shop, offer, 3)
    await shop.till()
    assert await close(shop, offer) == "success"
    found = await shop.book([shop.intent(offer, "p:2")])
    assert found.verdicts[0].body is None
    team = await team_of(shop, offer)
    assert (team.held, team.paid, team.state) == (0, 3, "success")


async def test_a_filling_team_is_never_decided(shop: Shop) -> None:
    offer = await shop.group()
    assert await close(shop, offer) == "waiting"


async def test_a_group_is_ended_once_and_what_is_no_group_never(shop: Shop) -> None:
    offer, sale = await shop.group(), await shop.sale()
    await end(shop, offer)
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        await end(shop, offer)
    assert (refused.value.code, refused.value.facts) == (Code.STATE, {"state": "closing"})
    with pytest.raises(Refusal) as refused:
        await end(shop, sale)
    assert (refused.value.code, refused.value.facts) == (Code.NOT_FOUND, {"what": "group"})
    assert await shop.everything() == before


async def test_payments_and_the_hosts_end_at_the_same_time_count_every_seat_once(shop: Shop) -> None:
    offer = await shop.group(size=8, minimum=1)
    for person in range(1, 5):
        await shop.take(offer, f"p:{person}", qty=2)
    answers = await asyncio.gather(*(paid(shop, offer, 2) for _ in range(4)), end(shop, offer), return_exceptions=True)
    assert {type(answer) for answer in answers} <= {type(None), Refusal}  # the host may be told that the last seat ended it
    team = await team_of(shop, offer)
    assert (team.held, team.paid, team.state) == (0, 8, "closing")
    assert await shop.one("SELECT count(*) FROM outbox WHERE topic = 'group.close'") == 1
    versions = [version for version, _ in await bars(shop, offer)]
    assert versions[-1] == team.version
