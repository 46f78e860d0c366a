"""Flash sales: units of one SKU at a price of the moment. A price above the shop's own is the host's business: the card shows both."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from live.offers.actions import open_offer
from live.offers.rules import HOLD_FLOOR
from live.offers.tables import Offer
from live.offers.waitlist import rules as waiting
from live.offers.waitlist.actions import open_line
from live.promotions.actions import end_kind, goods_card, refuse, sku_named
from live.promotions.rules import closing, limits_fault, price_fault, stock_fault


async def open_sale(
    session: AsyncSession,
    *,
    room_id: str,
    sku: str,
    fen: int,
    per_person: int,
    stock: Mapping[str, int],
    minutes: int | None,
    hold_seconds: int,
    floor_seconds: int | None = None,
    waitlist_seconds: int | None = None,
    now: datetime,
) -> Offer:
    """Open a sale of `stock` units per store at `fen` each. `floor_seconds`: to what the hold shrinks while the sale is hot (None: not);
    `waitlist_seconds`: to pay for what came back to somebody who waited (None: nobody can wait).

    Refusal(BAD_REQUEST field why) or (NOT_ENOUGH_STOCK have location)."""
    refuse(price_fault("fen", fen), limits_fault(per_person, minutes), stock_fault(stock))
    facts = await sku_named(session, sku)
    terms = {HOLD_FLOOR: floor_seconds, waiting.HOLD: waitlist_seconds}
    offer = await open_offer(
        session,
        room_id=room_id,
        kind="sale",
        sku_id=facts.id,
        fen=fen,
        per_person=per_person,
        stock=stock,
        terms={name: seconds for name, seconds in terms.items() if seconds is not None},
        view=lambda offer: goods_card(offer, facts, stock),
        closes_at=closing(now, minutes),
        hold_seconds=hold_seconds,
        now=now,
    )
    if waitlist_seconds is not None:
        await open_line(session, offer)
    return offer


async def end_sale(session: AsyncSession, offer_id: int, now: datetime) -> Offer:
    """Nobody can buy from it any more; holds already made keep their time to pay. Refusal(STATE) when it has ended."""
    return await end_kind(session, offer_id, "sale", now)
