"""What a host can do on air, kind by kind: the form that is filled in, and what it starts.

The doors of doing it by hand go through these acts, and each may stand on a run sheet too, with the same form and meaning.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from live.infra.db import from_ms
from live.infra.doors import Form
from live.offers.queries import newest_open
from live.offers.tables import Offer
from live.promotions.actions import sku_named
from live.promotions.coupon.actions import end_coupon, open_coupon
from live.promotions.draw.actions import open_draw
from live.promotions.draw.tables import Draw
from live.promotions.flash_sale.actions import end_sale, open_sale
from live.promotions.group_buy.actions import end_group, open_group
from live.promotions.group_buy.leader import open_leader_group
from live.promotions.red_packet.actions import end_packet, open_packet
from live.promotions.team.actions import open_teams
from live.protocol.codes import Code, Refusal
from live.rooms import actions, forms, rules
from live.settings import Settings

End = Callable[[AsyncSession, int, datetime], Awaitable[Offer]]
# Kind of an offer → how it ends by itself, or with its show.
ENDS: Mapping[str, End] = {"sale": end_sale, "coupon": end_coupon, "group": end_group, "packet": end_packet}

# (session, room, the filled form, settings, now) → the offer it is about, None when it is about none.
Start = Callable[[AsyncSession, str, Any, Settings, datetime], Awaitable[int | None]]


@dataclass(frozen=True, slots=True)
class Act:
    """One kind of act. `start` raises Refusal(BAD_REQUEST field why) for settings that are wrong whenever they are used.

    `opens`: whether it opens an offer, which can be explained from then on."""

    form: type[Form]
    start: Start
    planned: Callable[[Any], bool] = lambda form: False  # whether this form is for later, and may come before the show
    opens: bool = True


async def _pin(session: AsyncSession, room_id: str, form: forms.PinProduct, config: Settings, now: datetime) -> int | None:
    offer = None
    if form.sku is not None:
        offer = await newest_open(session, room_id, (await sku_named(session, form.sku)).id)
        if offer is None:
            raise Refusal(Code.NOT_FOUND, what="offer", field="sku")
    await actions.pin(session, room_id, offer)
    return offer


async def _sale(session: AsyncSession, room_id: str, form: forms.SaleForm, config: Settings, now: datetime) -> int | None:
    offer = await open_sale(
        session, room_id=room_id, sku=form.sku, fen=form.fen, per_person=form.per_person, stock=form.stock, minutes=form.minutes,
        per_order=form.per_order, opens_at=None if form.opens is None else from_ms(form.opens), countdown=form.countdown,
        hold_seconds=config.flash_hold_seconds, floor_seconds=config.hold_floor_seconds,
        waitlist_seconds=config.waitlist_hold_seconds, now=now,
    )  # fmt: skip
    return offer.id


async def _coupon(session: AsyncSession, room_id: str, form: forms.CouponForm, config: Settings, now: datetime) -> int | None:
    offer = await open_coupon(
        session, room_id=room_id, off=form.off, threshold=form.threshold, total=form.total, per_person=form.per_person,
        minutes=form.minutes, now=now, percent=form.percent, category=form.category, skus=tuple(form.skus), audience=form.audience,
        valid_seconds=form.valid_seconds, valid_until=None if form.valid_until is None else from_ms(form.valid_until),
        watch=form.watch,
    )  # fmt: skip
    return offer.id


async def _group(session: AsyncSession, room_id: str, form: forms.GroupForm, config: Settings, now: datetime) -> int | None:
    offer = await open_group(
        session, room_id=room_id, sku=form.sku, per_person=form.per_person, stock=form.stock, size=form.size, minimum=form.minimum,
        tiers=[{"seats": tier.seats, "fen": tier.fen} for tier in form.tiers], minutes=form.minutes, hold_seconds=config.hold_seconds,
        floor_seconds=config.hold_floor_seconds, now=now,
    )  # fmt: skip
    return offer.id


async def _packet(session: AsyncSession, room_id: str, form: forms.PacketForm, config: Settings, now: datetime) -> int | None:
    offer = await open_packet(
        session, room_id=room_id, currency=form.currency, total=form.sum, shares=form.shares, least=form.least,
        threshold=form.threshold, word=sayable(form.word, config), minutes=form.minutes, now=now,
    )  # fmt: skip
    return offer.id


async def _teams(session: AsyncSession, room_id: str, form: forms.TeamForm, config: Settings, now: datetime) -> int | None:
    return (await open_teams(session, room_id=room_id, hold_seconds=config.hold_seconds, now=now, **form.model_dump())).id


async def _leader_group(session: AsyncSession, room_id: str, form: forms.LeaderGroupForm, config: Settings, now: datetime) -> int | None:
    offer = await open_leader_group(
        session, room_id=room_id, hold_seconds=config.hold_seconds, floor_seconds=config.hold_floor_seconds, now=now, **form.model_dump()
    )
    return offer.id


async def start_draw(session: AsyncSession, room_id: str, form: forms.DrawForm, config: Settings, now: datetime) -> Draw:
    """Open a draw as the form says. Refusal(BAD_REQUEST field why)."""
    return await open_draw(
        session, room_id=room_id, prize=(form.prize_zh, form.prize_en), off=form.off, threshold=form.threshold, winners=form.winners,
        entry=form.entry, word=sayable(form.word, config), minutes=form.minutes, points=form.points, now=now,
    )  # fmt: skip


async def _draw(session: AsyncSession, room_id: str, form: forms.DrawForm, config: Settings, now: datetime) -> int | None:
    await start_draw(session, room_id, form, config, now)
    return None  # a draw is no offer


def sayable(given: str, config: Settings) -> str:
    """A word viewers are asked to say, as their comments will have it. Refusal(BAD_REQUEST field word): no comment may contain it."""
    word = rules.clean(given)
    words = rules.fold_words([*rules.WORDS, *config.comment_words.split(",")])
    why = rules.fault(word, config.comment_max_characters, words) if given else None
    if why is not None:
        raise Refusal(Code.BAD_REQUEST, field="word", why=f"cannot be said in the room: {why}")
    return word


ACTS: dict[str, Act] = {
    "pin": Act(forms.PinProduct, _pin, opens=False),
    "sale": Act(forms.SaleForm, _sale, lambda form: form.opens is not None),
    "coupon": Act(forms.CouponForm, _coupon),
    "group": Act(forms.GroupForm, _group),
    "team": Act(forms.TeamForm, _teams),
    "leader": Act(forms.LeaderGroupForm, _leader_group),
    "packet": Act(forms.PacketForm, _packet),
    "draw": Act(forms.DrawForm, _draw, opens=False),
}
