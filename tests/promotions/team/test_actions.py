"""Small teams on real servers: opened, joined, paid, run out, refunded to the fen."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from live.infra.db import epoch_ms
from live.offers.parties.queries import SHOWN, board, boards
from live.offers.parties.rules import SHOW
from live.offers.rules import Intent
from live.offers.tables import Offer
from live.orders.actions import cancel, expire_due, pay, payment_arrived, refunds_done, settle_team
from live.payments.actions import ask_provider
from live.promotions.group_buy.actions import end_group
from live.promotions.team.actions import open_teams, run_out
from live.protocol.codes import Code, Refusal
from tests.orders.stage import NOW, ROOM, Shop, after
from tests.payments.due import send_refund

CROWD = 200


async def teams(shop: Shop, **changed: Any) -> Offer:
    """Teams of three at 20 yuan, half an hour each, on 12 units."""
    wanted: dict[str, Any] = {"fen": 2000, "stock": {"S1": 12}, "size": 3, "team_minutes": 30, "minutes": 60}
    async with shop.db.begin() as session:
        return await open_teams(session, room_id=ROOM, sku="BERRY-500", now=NOW, **{**wanted, **changed})


def joining(shop: Shop, offer: Offer, person: str, team: int | None) -> Intent:
    return replace(shop.intent(offer, person), team=team)


async def join(shop: Shop, offer: Offer, person: str, team: int | None = None, now: datetime = NOW) -> str:
    """The number of the order, or why not."""
    verdict = (await shop.book([joining(shop, offer, person, team)], now)).verdicts[0]
    return str(verdict.body["order"]["no"]) if verdict.body else str(verdict.no[0])


async def opened(shop: Shop, offer: Offer, person: str = "p:1") -> tuple[int, str]:
    """A team whose opener has paid, and the opener's order."""
    no = await join(shop, offer, person)
    assert await shop.paid(no, person) == "GROUP_WAIT"
    return int(await shop.one("SELECT party_id FROM orders WHERE no = :n", n=no)), no


async def row(shop: Shop, team: int) -> tuple[str, int, int]:
    found = await shop.one("SELECT to_json(p) FROM party p WHERE id = :i", i=team)
    return found["state"], found["held"], found["paid"]


async def picture(shop: Shop, offer: Offer) -> tuple[int, dict[str, Any]]:
    async with shop.db.begin() as session:
        return await board(session, int(offer.id or 0))


async def clock(shop: Shop, **length: float) -> int:
    async with shop.db.begin() as session:
        return await run_out(session, after(**length))


async def refund_all(shop: Shop) -> None:
    for _, payload in await shop.jobs("refund"):
        await send_refund(shop.db, shop.provider, int(payload["id"]), refunds_done, after(minutes=40))
    await shop.till()


async def balanced(shop: Shop, offer: Offer) -> bool:
    """Units taken and seats are what the orders say."""
    live = "state NOT IN ('CANCELLED','REFUNDED')"
    units = await shop.one(f"SELECT a.taken = (SELECT count(*) FROM orders WHERE {live}) FROM allotment a WHERE offer_id = :o", o=offer.id)
    seats = await shop.one(
        "SELECT coalesce(bool_and(p.held = o.held AND p.paid = o.paid), true) FROM party p JOIN LATERAL"
        " (SELECT count(*) FILTER (WHERE state IN ('AWAIT_PAY','CLOSING')) AS held,"
        " count(*) FILTER (WHERE state NOT IN ('AWAIT_PAY','CLOSING','CANCELLED')) AS paid FROM orders WHERE party_id = p.id) o ON true"
    )
    return bool(units and seats)


async def test_three_pay_and_the_team_is_made_once_and_goes_to_the_store(shop: Shop) -> None:
    offer = await teams(shop)
    team, first = await opened(shop, offer)
    second, third = await join(shop, offer, "p:2", team), await join(shop, offer, "p:3", team)
    assert await join(shop, offer, "p:4", team) == "team_full"
    assert await shop.paid(second, "p:2") == "GROUP_WAIT"
    assert not await settle_team(shop.db, team, NOW)
    assert await shop.jobs("handoff") == []  # nothing is handed over while it fills
    await shop.paid(third, "p:3")
    assert await row(shop, team) == ("success", 0, 3)
    assert await shop.jobs("team.settle") == [(str(team), {})]
    assert await settle_team(shop.db, team, NOW)
    assert {(await shop.order(no)).state for no in (first, second, third)} == {"ALLOCATED"}
    assert len(await shop.jobs("handoff")) == 3
    assert await balanced(shop, offer)


async def test_nobody_joins_before_the_opener_paid_and_an_opener_who_does_not_pay_closes_it(shop: Shop) -> None:
    offer = await teams(shop)
    no = await join(shop, offer, "p:1")
    assert await join(shop, offer, "p:2", 1) == "team_closed"
    await cancel(shop.db, shop.provider, "p:1", no, NOW)
    assert await row(shop, 1) == ("failed", 0, 0)
    await shop.till()
    assert await balanced(shop, offer)
    assert (await opened(shop, offer))[0] == 2  # and may open another


async def test_one_active_team_per_person_from_two_devices(shop: Shop) -> None:
    offer = await teams(shop)
    team, _ = await opened(shop, offer)
    devices = await asyncio.gather(join(shop, offer, "p:2", team), join(shop, offer, "p:2"))
    assert sorted(devices)[-1] == "limit"
    assert len(set(devices)) == 2
    assert await join(shop, offer, "p:1", team) == "limit"


@pytest.mark.parametrize("size", [2, 3, 50])
async def test_a_crowd_on_a_team_gets_exactly_its_seats(shop: Shop, size: int) -> None:
    offer = await teams(shop, size=size, stock={"S1": 300})
    team, _ = await opened(shop, offer)
    crowd = [joining(shop, offer, f"p:{n}", team) for n in range(2, CROWD + 2)]
    booked = await asyncio.gather(*(shop.book(crowd[at::8]) for at in range(8)))
    verdicts = [verdict for found in booked for verdict in found.verdicts]
    assert len(verdicts) == CROWD
    assert sum(verdict.body is not None for verdict in verdicts) == size - 1
    assert {verdict.no for verdict in verdicts if verdict.body is None} == {("team_full",)}
    assert all(verdict.gives_back for verdict in verdicts if verdict.body is None)
    assert [found.drifts for found in booked] == [[]] * 8
    assert await row(shop, team) == ("filling", size - 1, 1)
    assert await balanced(shop, offer)


async def test_a_team_that_runs_out_waits_for_its_held_seat_and_refunds_everybody_to_the_fen(shop: Shop) -> None:
    offer = await teams(shop)
    team, first = await opened(shop, offer)
    late = await join(shop, offer, "p:2", team, after(minutes=29))
    assert await clock(shop, minutes=31) == 1
    assert await row(shop, team) == ("closing", 1, 1)
    assert not await settle_team(shop.db, team, after(minutes=31))
    assert await join(shop, offer, "p:3", team, after(minutes=31)) == "team_closed"
    await expire_due(shop.db, shop.provider, after(minutes=45))
    assert (await shop.order(late)).state == "CANCELLED"
    assert await row(shop, team) == ("failed", 0, 1)
    assert await settle_team(shop.db, team, after(minutes=45))
    await refund_all(shop)
    order = await shop.order(first)
    assert (order.state, order.refunded) == ("REFUNDED", 2000)
    assert sum(shop.provider.refunds.values()) == 2000
    assert await shop.one("SELECT sum(used) FROM quota") == 0  # a failed team does not count
    assert await balanced(shop, offer)


async def test_the_shop_fills_visibly_when_it_said_so(shop: Shop) -> None:
    offer = await teams(shop, fills=True)
    team, first = await opened(shop, offer)
    await clock(shop, minutes=31)
    assert await row(shop, team) == ("filled", 0, 1)
    await settle_team(shop.db, team, after(minutes=31))
    assert (await shop.order(first)).state == "ALLOCATED"


async def test_the_offers_end_closes_its_teams(shop: Shop) -> None:
    offer = await teams(shop)
    team, _ = await opened(shop, offer)
    async with shop.db.begin() as session:
        await end_group(session, int(offer.id or 0), after(minutes=1))
    assert await clock(shop, minutes=1) == 1
    assert (await row(shop, team))[0] == "failed"


async def test_the_clock_and_a_crowd_of_joiners_race_and_nobody_is_lost(shop: Shop) -> None:
    offer = await teams(shop, size=50, stock={"S1": 300})
    team, _ = await opened(shop, offer)
    crowd = [joining(shop, offer, f"p:{n}", team) for n in range(2, CROWD + 2)]
    ending = [clock(shop, minutes=31) for _ in range(2)]
    found = await asyncio.gather(*ending, *(shop.book(crowd[at::20]) for at in range(20)))
    again = await clock(shop, minutes=31)  # a sweep passes over what is locked; the next one finds it
    assert again + sum(one for one in found if isinstance(one, int)) == 1
    state, held, paid = await row(shop, team)
    assert (state, paid) == ("failed" if held == 0 else "closing", 1)
    assert await balanced(shop, offer)


async def test_the_last_payment_and_the_clock_race_and_the_team_is_decided_once(shop: Shop) -> None:
    offer = await teams(shop, size=2)
    for one, other in (("p:1", "p:2"), ("p:3", "p:4")):
        team, _ = await opened(shop, offer, one)
        no = await join(shop, offer, other, team)
        await _pay_and(shop, no, other)
        assert await row(shop, team) == ("success", 0, 2)
    assert len(await shop.jobs("team.settle")) == 2


async def _pay_and(shop: Shop, no: str, person: str) -> None:
    """The notice of this payment, repeated, while the clock runs out."""
    await pay(shop.db, shop.provider, person, no, None, "openid", NOW)
    shop.money(no)
    notices = (ask_provider(shop.db, shop.provider, no, payment_arrived, NOW) for _ in range(3))
    await asyncio.gather(*notices, clock(shop, minutes=31), clock(shop, minutes=31))


async def test_the_board_shows_the_newest_undecided_teams_and_counts_every_change(shop: Shop) -> None:
    offer = await teams(shop, size=2)
    team, _ = await opened(shop, offer)
    other, _ = await opened(shop, offer, "p:2")
    third = await join(shop, offer, "p:3")  # nobody sees a team before its opener has paid
    version, shown = await picture(shop, offer)
    assert [one.pop("id") for one in shown["open"]] == [other, team]
    about = {"size": 2, "paid": 1, "held": 0, "left": 1}
    assert shown["open"] == [about | {"state": "filling", "closes": epoch_ms(after(minutes=30))}] * 2
    assert shown | {"open": []} == {"filling": 2, "full": 0, "made": 0, "failed": 0, "paid": 2, "held": 1, "open": []}
    assert version == 5
    await cancel(shop.db, shop.provider, "p:3", third, NOW)
    await join(shop, offer, "p:4", team)
    await clock(shop, minutes=31)
    version, shown = await picture(shop, offer)
    assert (version, shown["failed"], shown["filling"], shown["full"]) == (9, 1, 1, 1)  # what nobody paid in is no failed team
    assert [(one["id"], one["held"], one["left"], one["state"]) for one in shown["open"]] == [(team, 1, 0, "closing")]
    async with shop.db.connection() as connection:
        assert await boards(connection, ROOM) == {f"teams:{offer.id}": (version, shown)}
    assert {key for key, _ in await shop.jobs(SHOW)} == {str(offer.id)}


async def test_what_is_not_sound_is_refused_and_changes_nothing(shop: Shop) -> None:
    before = await shop.everything()
    with pytest.raises(Refusal) as refused:
        await teams(shop, size=13)
    assert (refused.value.code, refused.value.facts["field"]) == (Code.BAD_REQUEST, "size")
    assert await shop.everything() == before


async def test_a_team_with_a_seat_left_is_shown_before_newer_ones_that_are_full(shop: Shop) -> None:
    offer = await teams(shop, size=2, stock={"S1": 2 * SHOWN + 2})
    oldest, _ = await opened(shop, offer, "p:1000")
    for n in range(SHOWN):
        team, _ = await opened(shop, offer, f"p:{n}")
        await join(shop, offer, f"p:{100 + n}", team)
    _, shown = await picture(shop, offer)
    assert [one["id"] for one in shown["open"]] == [oldest, *range(oldest + SHOWN, oldest + 1, -1)]
    assert (shown["filling"], shown["full"]) == (SHOWN + 1, SHOWN)
