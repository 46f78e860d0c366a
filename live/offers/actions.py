"""Verbs on offers: open, end, add stock, change the price. They change SQL and write the act the room will see; never Redis itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra import outbox
from live.infra.db import epoch_ms
from live.offers.rules import ANYWHERE, MAX_LOCATIONS, PER_ORDER, WATCH, WORD, word_hash
from live.offers.tables import Allotment, Offer, Team
from live.offers.till import return_rid
from live.offers.waitlist.actions import close_line
from live.protocol.codes import Code, Refusal
from live.protocol.events import OfferEnded, OfferOpened, OfferScheduled, OfferView, PriceFell, event
from live.stock.actions import allot


@dataclass(frozen=True, slots=True)
class TeamSpec:
    """Seats of a group buy and how many must be paid for it to succeed."""

    size: int
    minimum: int


async def open_offer(
    session: AsyncSession,
    *,
    room_id: str,
    kind: str,
    sku_id: int | None,
    fen: int,
    per_person: int,
    stock: Mapping[str, int],
    terms: dict[str, Any],
    view: Callable[[Offer], OfferView],
    opens_at: datetime | None = None,
    closes_at: datetime | None,
    hold_seconds: int,
    team: TeamSpec | None = None,
    now: datetime,
) -> Offer:
    """Put N of something on sale, now or from `opens_at` on. `stock`: units per location (`-`: none), carved from the stores now."""
    if not 1 <= len(stock) <= MAX_LOCATIONS:
        raise Refusal(Code.BAD_REQUEST, field="stock", why=f"1 to {MAX_LOCATIONS} locations")
    if any(qty <= 0 for qty in stock.values()):
        raise Refusal(Code.BAD_REQUEST, field="stock", why="every quantity must be above 0")
    offer = Offer(
        room_id=room_id, kind=kind, sku_id=sku_id, fen=fen, per_person=per_person, hold_seconds=hold_seconds,
        opens_at=opens_at or now, closes_at=closes_at, terms=terms,
    )  # fmt: skip
    session.add(offer)
    await session.flush()
    offer_id = int(offer.id or 0)
    for location in sorted(stock):  # one order of locks everywhere
        if sku_id is not None:
            await allot(session, sku_id, location, stock[location])
        session.add(Allotment(offer_id=offer_id, location=location, total=stock[location]))
    if team is not None:
        session.add(Team(offer_id=offer_id, size=team.size, minimum=team.minimum, closes_at=closes_at))
    await session.flush()
    fields = turnstile(offer, stock, team.size if team else None)
    state = {f"offer:{offer_id}": view(offer).model_dump(mode="json")}
    await outbox.act(session, room_id, events=[_opened(offer, opens_at)], state=state, offers={offer_id: fields})
    return offer


def _opened(offer: Offer, opens_at: datetime | None) -> list[Any]:
    facts = {"offer": offer.id, "kind": offer.kind}
    if opens_at is None:
        return event("offer.opened", OfferOpened.model_validate(facts))
    return event("offer.scheduled", OfferScheduled.model_validate(facts | {"opens": epoch_ms(opens_at)}))


def turnstile(offer: Offer, left: Mapping[str, int], seats: int | None) -> dict[str, str]:
    """The fields of an offer's Redis hash. `left` and `seats` only for an offer that is new to Redis."""
    fields = {
        "kind": offer.kind,
        "phase": offer.phase,
        "opens": str(epoch_ms(offer.opens_at)),
        "closes": str(epoch_ms(offer.closes_at)) if offer.closes_at else "0",
        "fen": str(offer.fen),
        "version": str(offer.price_version),
        "k": str(offer.per_person),
    }
    if PER_ORDER in offer.terms:
        fields[PER_ORDER] = str(offer.terms[PER_ORDER])
    if left:
        fields["places"] = ",".join(sorted(left))
    fields |= {f"left:{location}": str(qty) for location, qty in left.items()}
    if WORD in offer.terms:
        fields["word"] = word_hash(offer.terms[WORD])
    if WATCH in offer.terms:
        fields["watch"] = str(offer.terms[WATCH] * 60_000)  # ms, as the room's `watched`
    if seats is not None:
        fields["seats"] = str(seats)
    return fields


async def lock_offer(session: AsyncSession, offer_id: int) -> Offer:
    """The offer's row, locked against changes; the ledger may go on referring to it. Refusal(NOT_FOUND)."""
    offer = (await session.execute(select(Offer).where(col(Offer.id) == offer_id).with_for_update(key_share=True))).scalar_one_or_none()
    if offer is None:
        raise Refusal(Code.NOT_FOUND, what="offer")
    return offer


async def end_offer(session: AsyncSession, offer_id: int, now: datetime, **shown: Any) -> Offer:
    """Nothing more is taken from it; what is left goes back to the stores once every intent before it is booked. `shown`: on its card."""
    offer = await lock_offer(session, offer_id)
    if offer.phase == "ended":
        raise Refusal(Code.STATE, state="ended")
    offer.phase = "ended"
    offer.closes_at = now
    await session.flush()
    state = await outbox.room_state(session, offer.room_id, f"offer:{offer_id}") or {}
    await outbox.act(
        session,
        offer.room_id,
        events=[event("offer.ended", OfferEnded(offer=offer_id))],
        state={f"offer:{offer_id}": {**state, "phase": "ended", "closes": epoch_ms(now), **shown}},
        offers={offer_id: {"phase": "ended"}},
    )
    await close_line(session, offer)
    await give_back(session, offer)
    return offer


async def clear_shelf(session: AsyncSession, before: datetime) -> int:
    """Take offers that ended before this off their rooms' state, so that a long show's snapshot does not grow. Their books stay."""
    query = text(
        "SELECT o.room_id, o.id FROM offer o JOIN room_state s ON s.room_id = o.room_id AND s.key = 'offer:' || o.id"
        " LEFT JOIN team t ON t.offer_id = o.id WHERE o.phase = 'ended' AND o.closes_at < :before"
        " AND coalesce(t.state, 'success') IN ('success', 'failed')"
        " AND NOT EXISTS (SELECT FROM party p WHERE p.offer_id = o.id AND p.state IN ('opening', 'filling', 'closing'))"
        " ORDER BY o.room_id, o.id LIMIT 100"
    )
    rows = (await session.execute(query, {"before": before})).all()
    for room_id, offer_id in rows:
        await outbox.act(session, room_id, state={f"{kind}:{offer_id}": None for kind in ("offer", "left", "team", "teams", "waitlist")})
    return len(rows)


async def give_back(session: AsyncSession, offer: Offer) -> None:
    """Ask the ledger to return what is left of an ended offer to the stores."""
    query = select(col(Allotment.location)).where(col(Allotment.offer_id) == offer.id).order_by(col(Allotment.location))
    for location in (await session.execute(query)).scalars():
        entry = {"kind": "RETURN", "rid": return_rid(int(offer.id or 0), location), "location": location, "lines": [[offer.id, 0]]}
        await outbox.house(session, offer.room_id, entry)


async def add_stock(session: AsyncSession, offer_id: int, location: str, qty: int, now: datetime) -> None:
    """More units of a running offer, carved from the store now and booked by the ledger; nobody is fenced for it."""
    if qty <= 0:
        raise Refusal(Code.BAD_REQUEST, field="qty", why="must be above 0")
    offer = await lock_offer(session, offer_id)
    if offer.phase == "ended":
        raise Refusal(Code.STATE, state="ended")
    if offer.kind == "packet":
        raise Refusal(Code.BAD_REQUEST, field="qty", why="a packet is cut when it is dropped")
    if await session.get(Allotment, (offer_id, location)) is None:
        raise Refusal(Code.BAD_REQUEST, field="location", why="this offer is not sold there")
    if offer.sku_id is not None and location != ANYWHERE:
        await allot(session, offer.sku_id, location, qty)
    entry = {"kind": "ADJUST", "rid": f"add:{uuid4().hex}", "location": location, "lines": [[offer_id, qty]]}
    await outbox.house(session, offer.room_id, entry)
    key = f"offer:{offer_id}"
    state = await outbox.room_state(session, offer.room_id, key)
    if state is not None:
        await outbox.act(session, offer.room_id, state={key: {**state, "total": state["total"] + qty}})


async def change_window(session: AsyncSession, offer: Offer, **shown: Any) -> None:
    """Tell the room and its turnstile when a planned offer opens and closes; its row, locked, says so already. `shown`: on its card."""
    key, fields = f"offer:{offer.id}", turnstile(offer, {}, None)
    state = await outbox.room_state(session, offer.room_id, key) or {}
    window = {"opens": epoch_ms(offer.opens_at), "closes": epoch_ms(offer.closes_at) if offer.closes_at else None}
    await outbox.act(
        session,
        offer.room_id,
        events=[_opened(offer, offer.opens_at)],
        state={key: {**state, **window, **shown}},
        offers={int(offer.id or 0): {name: fields[name] for name in ("opens", "closes")}},
    )


async def change_price(session: AsyncSession, offer_id: int, fen: int, now: datetime, event_too: bool = True) -> int:
    """A new price from now on; holds already made keep theirs. Returns the new price version."""
    offer = await lock_offer(session, offer_id)
    if fen <= 0:
        raise Refusal(Code.BAD_REQUEST, field="fen", why="must be above 0")
    offer.fen = fen
    offer.price_version += 1
    await session.flush()
    version = offer.price_version
    key = f"offer:{offer_id}"
    state = await outbox.room_state(session, offer.room_id, key) or {}
    fell = PriceFell(offer=offer_id, fen=fen, version=version)
    await outbox.act(
        session,
        offer.room_id,
        events=[event("offer.price", fell)] if event_too else [],
        state={key: {**state, "fen": fen, "version": version}},
        offers={offer_id: {"fen": str(fen), "version": str(version)}},
    )
    return version
