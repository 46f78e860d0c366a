"""More people than seats, all paying at once, some giving up, the clock running out under them: on a real server."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

from sqlalchemy import text

from live.offers.till import BAD_BATCH
from live.orders.actions import cancel, expire_due, pay, payment_arrived, settle_team
from live.payments.actions import ask_provider
from live.promotions.team.actions import run_out
from live.protocol.codes import Refusal
from tests.crowd import side_by_side
from tests.orders.stage import NOW, Shop, after
from tests.promotions.team.test_actions import balanced, joining, opened, refund_all, row, teams

SIZE, TEAMS, CONTENDERS = 21, 10, 240  # 200 seats beside the openers'
AT_ONCE = 12  # bookings
_OVER = text("UPDATE party SET closes_at = :now WHERE id = :t")


async def test_240_contend_and_pay_for_200_seats_of_teams_while_the_clock_runs_out(shop: Shop) -> None:
    """Each team is made by exactly its seats or pays everybody back. Of who comes too late nobody pays, whatever they hoped for."""
    chance = random.Random(20261123)
    offer = await teams(shop, size=SIZE, stock={"S1": 400})
    ids = [(await opened(shop, offer, f"p:{1000 + n}"))[0] for n in range(TEAMS)]
    late = ids[-1]  # its clock is out before everybody has paid
    weights = [10] * (TEAMS - 1) + [5]
    seated: dict[str, str] = {}  # person → order
    backstops: list[str] = []
    refusals: list[str] = []
    whys: set[tuple[Any, ...]] = set()

    async def tap(wave: Sequence[tuple[str, int]]) -> list[str]:
        """Who got no seat. A constraint that fires is a hole in the till's own check, though nobody is hurt."""
        try:
            booked = await shop.book([joining(shop, offer, person, team) for person, team in wave])
        except BAD_BATCH as error:
            backstops.append(str(error))
            return [person for person, _ in wave]
        seated.update({verdict.intent.person: str(verdict.body["order"]["no"]) for verdict in booked.verdicts if verdict.body})
        whys.update(verdict.no for verdict in booked.verdicts if verdict.body is None)
        return [verdict.intent.person for verdict in booked.verdicts if verdict.body is None]

    async def pays(person: str, no: str) -> None:
        """Some give up instead, or while they pay; the provider tells of some payments twice."""
        mood = chance.random()
        acts: list[Coroutine[Any, Any, Any]] = []
        if mood > 0.05:
            await pay(shop.db, shop.provider, person, no, None, "openid", NOW)
            shop.money(no)
            acts += [ask_provider(shop.db, shop.provider, no, payment_arrived, NOW) for _ in range(1 + (mood > 0.8))]
        if mood < 0.1:
            acts.append(cancel(shop.db, shop.provider, person, no, NOW))
        for answer in await asyncio.gather(*acts, return_exceptions=True):
            if isinstance(answer, Refusal):
                refusals.append(answer.facts["state"])
            elif isinstance(answer, BaseException):
                raise answer

    people = [f"p:{n}" for n in range(1, CONTENDERS + 1)]
    for left_over in range(3):  # who finds a team full tries another
        wanted = [ids[(n + left_over) % TEAMS] for n in range(len(people))] if left_over else chance.choices(ids, weights, k=len(people))
        wishes = list(zip(people, wanted, strict=True))
        before = dict(seated)
        found = await side_by_side(tap(wishes[at::AT_ONCE]) for at in range(AT_ONCE))
        people = [person for wave in found for person in wave]
        clock: list[Coroutine[Any, Any, None]] = [_clock(shop, late)] if left_over == 0 else []
        await side_by_side([*(pays(person, no) for person, no in seated.items() if person not in before), *clock])
    assert backstops == []
    assert whys <= {("team_full",), ("team_closed",)}
    assert set(refusals) <= {"CANCELLED", "CLOSING", "GROUP_WAIT"}
    assert len(seated) >= 200

    await _end(shop, ids)
    orders: dict[int, list[Any]] = {team: [] for team in ids}
    for no in await _numbers(shop):
        order = await shop.order(no)
        orders[int(order.party_id or 0)].append(order)
    outcomes = Counter([await _sound(shop, team, found) for team, found in orders.items()])
    assert outcomes["success"] >= 1
    assert outcomes["failed"] >= 1
    assert sorted(key for key, _ in await shop.jobs("team.settle")) == sorted(map(str, ids))  # each was decided once
    assert await balanced(shop, offer)


async def _sound(shop: Shop, team: int, orders: Sequence[Any]) -> str:
    """What a decided team's rows must say; its state."""
    state, held, paid = await row(shop, team)
    with_money = {order.no for order in orders if order.paid_at is not None}
    assert with_money == {order.no for order in orders if shop.states.get(f"{order.no}-1") == "SUCCESS"}
    assert (held, paid) == (0, len(with_money))
    assert paid <= SIZE
    assert (state == "success") == (paid == SIZE)
    assert {order.state for order in orders if order.no in with_money} == {"ALLOCATED" if state == "success" else "REFUNDED"}
    assert {order.state for order in orders if order.no not in with_money} <= {"CANCELLED"}
    assert {order.refunded for order in orders if order.no in with_money} == {0 if state == "success" else 2000}
    return state


async def _clock(shop: Shop, team: int) -> None:
    """This team's time is over in the middle of it all."""
    async with shop.db.begin() as session:
        await session.execute(_OVER, {"t": team, "now": NOW})
    async with shop.db.begin() as session:
        await run_out(session, NOW)


async def _end(shop: Shop, ids: Sequence[int]) -> None:
    """Unpaid orders are given up, every clock is out, every decision is carried out."""
    later = after(minutes=45)
    await asyncio.gather(*(expire_due(shop.db, shop.provider, later) for _ in range(2)))
    await expire_due(shop.db, shop.provider, later)
    async with shop.db.begin() as session:
        await run_out(session, later)
    assert all(await asyncio.gather(*(settle_team(shop.db, team, later) for team in ids)))
    await refund_all(shop)


async def _numbers(shop: Shop) -> list[str]:
    return str(await shop.one("SELECT string_agg(no, ',' ORDER BY id) FROM orders")).split(",")
