"""Red packets: drop one, end it. What nobody took by then lapses."""

from __future__ import annotations

import secrets
from datetime import datetime

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from live.offers.actions import open_offer
from live.offers.rules import ANYWHERE, WORD
from live.offers.tables import Offer
from live.promotions.actions import card, end_kind, refuse
from live.promotions.red_packet import rules
from live.promotions.red_packet.tables import PacketShare
from live.promotions.rules import closing, limits_fault


async def open_packet(
    session: AsyncSession, *, room_id: str, currency: str, total: int, shares: int, least: int, threshold: int, word: str,
    minutes: int | None, now: datetime, seed: str | None = None,
) -> Offer:  # fmt: skip
    """Drop a packet of `total` (points or fen) in so many shares, one each. `word`: what has to be said to open it (empty: nothing).

    `seed`: of the cut; a random one is made. Refusal(BAD_REQUEST field why).
    """
    refuse(rules.terms_fault(currency, total, shares, least, threshold, word), limits_fault(1, minutes))
    seed = seed or secrets.token_hex(16)
    zh, en = rules.title(currency, total)
    shown = {"name": {"zh": zh, "en": en}, "packet": {"currency": currency, "sum": total, "threshold": threshold, "word": bool(word)}}
    terms = {"currency": currency, "sum": total, "least": least, "threshold": threshold, "seed": seed}
    offer = await open_offer(
        session, room_id=room_id, kind="packet", sku_id=None, fen=0, per_person=1, stock={ANYWHERE: shares},
        terms=terms | ({WORD: word} if word else {}), view=lambda offer: card(offer, shares, **shown),
        closes_at=closing(now, minutes), hold_seconds=0, now=now,
    )  # fmt: skip
    cut = rules.split(total, shares, least, threshold - 1 if threshold else total, seed)
    rows = [{"offer_id": offer.id, "number": number, "amount": amount} for number, amount in enumerate(cut, 1)]
    await session.execute(insert(PacketShare), rows)
    return offer


async def end_packet(session: AsyncSession, offer_id: int, now: datetime) -> Offer:
    """Nobody can open it any more; what was taken stays theirs. Refusal(STATE) when it has ended."""
    return await end_kind(session, offer_id, "packet", now)
