"""240 members pay at once, at two processes that each book them in groups: every step falls once, and the group is full once."""

from __future__ import annotations

import asyncio
import random

from sqlalchemy import text

from live.infra.db import array
from live.orders.actions import payment_arrived, refunds_done
from live.payments.gateway import NoGateway, Notice
from live.payments.notices import PAID, Notices
from tests.orders.stage import NOW, Shop
from tests.promotions.group_buy.test_actions import acts, bars, team_of

MEMBERS = 240
STEPS = [{"seats": MEMBERS * n // 10, "fen": 3000 - 100 * n} for n in range(10)]


async def test_240_payments_at_two_processes_cross_every_step_once_and_fill_the_group_once(shop: Shop) -> None:
    offer = await shop.group(stock={"S1": MEMBERS}, size=MEMBERS, minimum=MEMBERS, tiers=STEPS)
    booking = await shop.book([shop.intent(offer, f"p:{n}") for n in range(MEMBERS)])
    nos = [verdict.body["order"]["no"] for verdict in booking.verdicts if verdict.body is not None]
    async with shop.db.connection() as connection:
        await connection.execute(
            text(
                "INSERT INTO pay_attempt (order_no, out_trade_no, payer, fen, state, winner, prepay_id, expires_at)"
                " SELECT no, no || '-1', '', fen, 'SENT', false, 'P', pay_until FROM orders WHERE no = ANY(CAST(:nos AS text[]))"
            ),
            {"nos": array(nos)},
        )
    doors = [Notices(shop.db, NoGateway(), payment_arrived, refunds_done) for _ in range(2)]

    async def pay(no: str, door: Notices) -> str:
        paper = {"mchid": "", "appid": "", "out_trade_no": f"{no}-1", "trade_state": "SUCCESS", "transaction_id": f"T{no}"}
        return await door.book(Notice(f"N{no}", PAID, paper | {"amount": {"total": 3000}}), NOW)

    told = [(no, door) for no in nos for door in doors]  # the provider repeats itself, at the other process
    random.Random(5).shuffle(told)
    assert set(await asyncio.gather(*(pay(no, door) for no, door in told))) == {"paid"}
    team = await team_of(shop, offer)
    assert (team.held, team.paid, team.state) == (0, MEMBERS, "closing")
    events = [(kind, facts.get("fen"), facts.get("version")) for kind, facts in await acts(shop)]
    steps = [("offer.price", step["fen"], n + 1) for n, step in enumerate(STEPS) if n]
    assert events == [("offer.opened", None, None), *steps, ("offer.ended", None, None)]
    assert await shop.jobs("group.close") == [(str(offer.id), {})]
    shown = await bars(shop, offer)  # their versions rise
    assert shown[-1][1]["paid"] == MEMBERS
    assert len(shown) < MEMBERS / 4  # told by groups
