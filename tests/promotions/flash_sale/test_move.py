"""Another time for a planned sale, as long as nobody has seen its clock run."""

from __future__ import annotations

import asyncio

from sqlalchemy import select, text
from sqlmodel import col

from live.infra.db import epoch_ms
from live.infra.tables import Outbox
from live.offers.tables import Offer
from live.promotions.flash_sale.actions import end_sale, move_sale
from live.protocol.codes import Code, Refusal
from tests.orders.stage import NOW, Shop, after
from tests.promotions.flash_sale.test_later import OPENS, card, later, refused, state, told

SOON = after(minutes=4, seconds=1)  # its countdown runs for a minute before OPENS


async def at_the_turnstile(shop: Shop, offer: Offer) -> tuple[str, str]:
    """(opens, closes) of the last act that named them."""
    async with shop.db.begin() as session:
        acts = select(col(Outbox.payload)).where(col(Outbox.kind) == "act").order_by(col(Outbox.id).desc()).limit(1)
        fields = (await session.execute(acts)).scalar_one()["offers"][str(offer.id)]
    return fields["opens"], fields["closes"]


async def test_a_planned_sale_moves_with_its_end_its_card_and_its_turnstile(shop: Shop) -> None:
    offer = await later(shop, minutes=10)
    for to, countdown in ((after(minutes=30), 30), (after(minutes=2), None)):
        async with shop.db.begin() as session:
            await move_sale(session, int(offer.id or 0), to, countdown, NOW)
    shown, opens, closes = await card(shop, offer), epoch_ms(after(minutes=2)), epoch_ms(after(minutes=12))
    assert (shown.opens, shown.closes, shown.countdown) == (opens, closes, 30)
    assert await at_the_turnstile(shop, offer) == (str(opens), str(closes))
    assert (await told(shop))[-1] == ["offer.scheduled", {"offer": offer.id, "kind": "sale", "opens": opens}]
    assert [await state(shop, offer, seconds=s) for s in (0, 90, 120, 719, 720)] == [
        "SCHEDULED", "COUNTDOWN", "RUNNING", "RUNNING", "ENDED",
    ]  # fmt: skip


async def test_one_without_an_end_keeps_none(shop: Shop) -> None:
    offer = await later(shop, minutes=None)
    async with shop.db.begin() as session:
        await move_sale(session, int(offer.id or 0), after(minutes=9), None, NOW)
    assert ((await card(shop, offer)).closes, (await at_the_turnstile(shop, offer))[1]) == (None, "0")


async def test_once_its_countdown_has_begun_it_stays_and_what_is_wrong_is_refused_by_field(shop: Shop) -> None:
    offer, running, coupon = await later(shop, minutes=10), await shop.sale(), await shop.coupon()
    to = after(minutes=30)
    for moment, found in ((SOON, "COUNTDOWN"), (OPENS, "RUNNING"), (after(minutes=15), "ENDED")):
        no = await refused(shop, move_sale, offer, to, None, moment)
        assert (no.code, no.facts) == (Code.STATE, {"state": found})
    assert (await refused(shop, move_sale, running, to, None, NOW)).facts["state"] == "RUNNING"
    assert (await refused(shop, move_sale, coupon, to, None, NOW)).code == Code.NOT_FOUND
    for when, countdown, field in ((NOW, None, "opens"), (after(days=8), None, "opens"), (OPENS, None, "opens"), (to, 301, "countdown")):
        no = await refused(shop, move_sale, offer, when, countdown, NOW)
        assert (no.code, no.facts["field"]) == (Code.BAD_REQUEST, field)
    async with shop.db.begin() as session:
        await end_sale(session, int(offer.id or 0), NOW)
    assert (await refused(shop, move_sale, offer, to, None, NOW)).facts["state"] == "STOPPED"


async def test_200_moves_at_once_leave_books_card_and_turnstile_at_one_time(shop: Shop) -> None:
    """Half of them come when the countdown of some of the others' times has begun."""
    offer = await later(shop, minutes=10)

    async def move(n: int) -> str:
        try:
            async with shop.db.begin() as session:
                await move_sale(session, int(offer.id or 0), after(minutes=5, seconds=n), None, after(minutes=5) if n % 2 else NOW)
        except Refusal as refusal:
            return str(refusal.facts["state"])
        return "moved"

    answers = await asyncio.gather(*(move(n) for n in range(1, 201)))
    assert set(answers) <= {"moved", "COUNTDOWN", "RUNNING"}
    assert answers.count("moved") >= 100
    async with shop.db.connection() as connection:
        opens, closes = (await connection.execute(text("SELECT opens_at, closes_at FROM offer WHERE id = :o"), {"o": offer.id})).one()
    shown = await card(shop, offer)
    assert (shown.opens, shown.closes) == (epoch_ms(opens), epoch_ms(closes))
    assert await at_the_turnstile(shop, offer) == (str(shown.opens), str(shown.closes))
    assert (closes - opens).total_seconds() == 600
