"""What every promotion does alike: refuse what is not sound, find the SKU, end an offer of its own kind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.catalog.queries import SkuFacts, sku_by_code
from live.infra.db import epoch_ms
from live.offers.actions import end_offer
from live.offers.tables import Offer
from live.promotions.rules import Fault
from live.protocol.codes import Code, Refusal
from live.protocol.events import OfferView


def refuse(*faults: Fault | None) -> None:
    """Raise Refusal(BAD_REQUEST field why) for the first fault there is."""
    for fault in faults:
        if fault is not None:
            raise Refusal(Code.BAD_REQUEST, field=fault[0], why=fault[1])


async def sku_named(session: AsyncSession, code: str) -> SkuFacts:
    """The active SKU with this code. Refusal(BAD_REQUEST field sku)."""
    found = await sku_by_code(session, code)
    if found is None:
        raise Refusal(Code.BAD_REQUEST, field="sku", why="no such SKU")
    return found


def card(offer: Offer, total: int, **more: Any) -> OfferView:
    """The card of an offer just opened, of `total` units; `more`: its name, and what its kind adds."""
    shown = {
        "id": offer.id, "kind": offer.kind, "phase": "open", "picture": "", "fen": offer.fen, "list_fen": offer.fen,
        "version": offer.price_version, "per_person": offer.per_person, "total": total, "opens": epoch_ms(offer.opens_at),
        "closes": epoch_ms(offer.closes_at) if offer.closes_at else None,
    }  # fmt: skip
    return OfferView.model_validate(shown | more)


def goods_card(offer: Offer, facts: SkuFacts, stock: Mapping[str, int], **more: Any) -> OfferView:
    """The card of an offer of goods."""
    goods = {"name": facts.title, "picture": facts.picture, "list_fen": facts.fen, "sku": facts.code}
    return card(offer, sum(stock.values()), **goods, **more)


async def end_kind(session: AsyncSession, offer_id: int, kind: str, now: datetime, **shown: Any) -> Offer:
    """End an offer of this kind: a group ended as a sale would leave its team open for ever; `shown`: what its card says of it then.

    Refusal(NOT_FOUND or STATE)."""
    found = (await session.execute(select(col(Offer.kind)).where(col(Offer.id) == offer_id))).scalar_one_or_none()
    if found != kind:
        raise Refusal(Code.NOT_FOUND, what=kind)
    return await end_offer(session, offer_id, now, **shown)
