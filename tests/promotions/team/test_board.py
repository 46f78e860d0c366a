"""What a room is shown of its small teams: drawn by a worker after the commit, kept while one is undecided."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlmodel import col

from live.infra.db import Database
from live.infra.jobs import ArqRedis
from live.infra.tables import Outbox
from live.offers.actions import clear_shelf
from live.promotions.group_buy.actions import end_group
from tests.orders.stage import NOW, ROOM, Shop, after
from tests.promotions.team.test_actions import clock, join, opened, picture, teams
from tests.workers.conftest import given, queue
from tests.workers.crew import worker
from workers.relay import nudge_waiting
from workers.tools import Tools

__all__ = ["given", "queue"]


async def test_many_changes_are_one_picture_of_the_room(shop: Shop, given: Tools, queue: ArqRedis, database: Database) -> None:
    offer = await teams(shop)
    team, _ = await opened(shop, offer)
    await join(shop, offer, "p:2", team)
    await nudge_waiting(given)
    await worker(given).run_check()
    async with database.begin() as session:
        rows = list((await session.execute(select(Outbox).where(col(Outbox.kind) == "count"))).scalars())
    version, shown = await picture(shop, offer)
    assert [(row.room_id, row.key, row.payload) for row in rows] == [
        (ROOM, f"teams:{offer.id}", {"version": version, "value": shown}),
    ]
    assert (version, shown["paid"], shown["held"]) == (3, 1, 1)
    assert await shop.one("SELECT count(*) FROM outbox WHERE topic = 'team.show' AND done_at IS NULL") == 0


async def test_the_card_stays_while_a_team_is_undecided(shop: Shop) -> None:
    offer = await teams(shop)
    await opened(shop, offer)
    async with shop.db.begin() as session:
        await end_group(session, int(offer.id or 0), NOW)
    later = after(hours=1) + timedelta(days=2)
    async with shop.db.begin() as session:
        assert await clear_shelf(session, later) == 0
    await clock(shop, minutes=1)
    async with shop.db.begin() as session:
        assert await clear_shelf(session, later) == 1
