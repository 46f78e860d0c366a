"""Flash sales: units of one SKU at a price of the moment. A price above the shop's own is the host's business: the card shows both.

A sale is opened at once or for later. Nothing has to happen for it to start: the turnstile's window decides, by its own clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from live.infra import outbox
from live.offers.actions import change_price, change_window, lock_offer, open_offer
from live.offers.queries import kind_of
from live.offers.rules import HOLD_FLOOR, PER_ORDER
from live.offers.tables import Offer
from live.offers.waitlist import rules as waiting
from live.offers.waitlist.actions import open_line
from live.promotions.actions import end_kind, goods_card, refuse, sku_named
from live.promotions.flash_sale import rules
from live.promotions.flash_sale.tables import FlashSale
from live.promotions.rules import closing, limits_fault, price_fault, stock_fault
from live.protocol.codes import Code, Refusal
from live.protocol.events import SaleStarted, event


async def open_sale(
    session: AsyncSession,
    *,
    room_id: str, sku: str, fen: int, per_person: int, stock: Mapping[str, int], minutes: int | None, hold_seconds: int,
    per_order: int | None = None, opens_at: datetime | None = None, countdown: int | None = None,
    floor_seconds: int | None = None, waitlist_seconds: int | None = None, now: datetime,
) -> Offer:  # fmt: skip
    """Open a sale of `stock` units per store at `fen` each, now or at `opens_at`, `countdown` seconds after its clock began to be shown.

    The goods are carved out of the stores now, also for later. `minutes` count from its start. `floor_seconds`: to what the hold shrinks
    while the sale is hot (None: not); `waitlist_seconds`: to pay for what came back to somebody who waited (None: nobody can wait).

    Refusal(BAD_REQUEST field why) or (NOT_ENOUGH_STOCK have location)."""
    order, schedule = rules.per_order_fault(per_order, per_person), rules.schedule_fault(opens_at, countdown, now)
    refuse(price_fault("fen", fen), limits_fault(per_person, minutes), order, schedule, stock_fault(stock))
    facts = await sku_named(session, sku)
    terms = {HOLD_FLOOR: floor_seconds, waiting.HOLD: waitlist_seconds, PER_ORDER: per_order}
    shown = rules.NO_COUNTDOWN if opens_at is None else countdown or rules.USUAL_COUNTDOWN
    offer = await open_offer(
        session, room_id=room_id, kind="sale", sku_id=facts.id, fen=fen, per_person=per_person, stock=stock,
        terms={name: value for name, value in terms.items() if value is not None},
        view=lambda offer: goods_card(offer, facts, stock, per_order=per_order, countdown=shown),
        opens_at=opens_at, closes_at=closing(opens_at or now, minutes), hold_seconds=hold_seconds, now=now,
    )  # fmt: skip
    assert offer.id is not None
    session.add(FlashSale(offer_id=offer.id, countdown=shown, told_at=now if opens_at is None else None))
    await session.flush()
    if waitlist_seconds is not None:
        await open_line(session, offer)
    return offer


async def end_sale(session: AsyncSession, offer_id: int, now: datetime) -> Offer:
    """Its time, or the show's, is over: nobody can buy from it any more; holds already made keep their time to pay and their price.

    Refusal(NOT_FOUND), or (STATE) when it has ended."""
    return await _end(session, offer_id, now, asked=False)


async def stop_sale(session: AsyncSession, offer_id: int, now: datetime) -> Offer:
    """As `end_sale`, by hand; the card and the figures tell it apart. A sale that has not started is called off, its goods go back."""
    return await _end(session, offer_id, now, asked=True)


async def _end(session: AsyncSession, offer_id: int, now: datetime, asked: bool) -> Offer:
    found = await session.get(FlashSale, offer_id)
    if found is None:  # not a sale: its own kind's rules would be passed by
        return await end_kind(session, offer_id, "sale", now)
    offer = await lock_offer(session, offer_id)
    stopped = rules.by_hand(offer.opens_at, offer.closes_at, now, asked)
    ended = await end_kind(session, offer_id, "sale", now, stopped=stopped)
    if stopped:
        found.stopped_at = now
        await session.flush()
    return ended


async def reprice_sale(session: AsyncSession, offer_id: int, fen: int, now: datetime) -> Offer:
    """Another price from now on, also before the start. Holds already made keep theirs; a tap at the old price is refused as price_changed.

    Refusal(NOT_FOUND), (STATE) when it is over, or (BAD_REQUEST field fen)."""
    if await kind_of(session, offer_id) != "sale":
        raise Refusal(Code.NOT_FOUND, what="sale")
    offer = await lock_offer(session, offer_id)
    if offer.phase == "ended" or (offer.closes_at is not None and offer.closes_at <= now):
        raise Refusal(Code.STATE, state="ended")
    refuse(price_fault("fen", fen), ("fen", "is its price already") if fen == offer.fen else None)
    await change_price(session, offer_id, fen, now)
    return offer


async def move_sale(session: AsyncSession, offer_id: int, opens_at: datetime, countdown: int | None, now: datetime) -> Offer:
    """Another time for a planned sale, its end the same length after it; `countdown` None: as it was. Nobody is shown a clock that jumps.

    Refusal(NOT_FOUND), (STATE state) as `rules.state` once its countdown has begun, or (BAD_REQUEST field opens or countdown)."""
    if await kind_of(session, offer_id) != "sale":
        raise Refusal(Code.NOT_FOUND, what="sale")
    offer = await lock_offer(session, offer_id)
    sale = await session.get_one(FlashSale, offer_id, populate_existing=True)
    # Units do not matter: before its start nobody has bought any.
    facts = rules.Facts(offer.opens_at, offer.closes_at, sale.countdown, 1, offer.phase == "ended", sale.stopped_at is not None)
    found = rules.state(facts, now)
    if found != "SCHEDULED":
        raise Refusal(Code.STATE, state=found)
    refuse(rules.schedule_fault(opens_at, countdown, now), ("opens", "is its time already") if opens_at == offer.opens_at else None)
    if offer.closes_at is not None:
        offer.closes_at += opens_at - offer.opens_at
    offer.opens_at, sale.countdown = opens_at, countdown or sale.countdown
    await session.flush()
    await change_window(session, offer, countdown=sale.countdown)
    return offer


async def tell_started(session: AsyncSession, offer_id: int, now: datetime) -> bool:
    """The room hears that a sale made for later has started, once. It has been open since its time came, whether this is late or not."""
    offer = await lock_offer(session, offer_id)
    found = await session.get_one(FlashSale, offer_id, populate_existing=True)
    if found.told_at is not None or offer.phase != "open" or now < offer.opens_at:
        return False
    found.told_at = now
    await session.flush()
    await outbox.act(session, offer.room_id, events=[event("sale.started", SaleStarted(offer=offer_id))])
    return True
