"""Draws: open one, close its entries, draw the winners.

Whoever commented or paid in time is in without any act here (see `queries.entrants`). A draw by following is entered by a press that
follows the room too: who follows already has to press as well, so that it is drawn among those who are there and want to, and its list
has the length of the show and not of the shop's years.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra import outbox
from live.infra.db import driver, epoch_ms
from live.people.following.actions import follow
from live.people.points.actions import credit
from live.people.rules import masked
from live.people.sharing.queries import names as names_of
from live.promotions.actions import refuse
from live.promotions.coupon import rules as coupons
from live.promotions.coupon.booking import Batch, Grant, write_grants
from live.promotions.draw import queries, rules
from live.promotions.draw.tables import Draw, DrawEntry, DrawPress
from live.promotions.rules import limits_fault
from live.protocol.codes import Code, Refusal
from live.protocol.events import DrawDone, DrawOpened, DrawView, GrantView, Names, PrizeView, Won, event, view


async def open_draw(
    session: AsyncSession, *, room_id: str, prize: tuple[str, str], off: int, threshold: int, winners: int, entry: str, word: str,
    minutes: int, now: datetime, points: int = 0, seed: str | None = None,
) -> Draw:  # fmt: skip
    """Open a draw of `winners` prizes that can be entered for so many minutes. `prize`: (zh, en); both empty for a coupon of `off` fen
    or for `points`.

    `seed`: a random one is made. Refusal(BAD_REQUEST field why).
    """
    refuse(_prize_fault(prize, off, threshold, points, now), rules.terms_fault(winners, entry, word), limits_fault(1, minutes))
    if off:
        prize = coupons.title(coupons.Terms(off, threshold))
    if points:
        prize = f"{points} 积分", f"{points} points"
    seed = seed or secrets.token_hex(32)
    found = Draw(
        room_id=room_id, prize_zh=prize[0], prize_en=prize[1], off=off, threshold=threshold, points=points, winners=winners, entry=entry,
        word=word, seed=seed, commitment=rules.commitment(seed), opens_at=now, closes_at=now + timedelta(minutes=minutes),
    )  # fmt: skip
    session.add(found)
    await session.flush()
    opened = event("draw.opened", DrawOpened(draw=int(found.id or 0)))
    await outbox.act(session, room_id, events=[opened], state={f"draw:{found.id}": view(_shown(found))})
    return found


def _prize_fault(prize: tuple[str, str], off: int, threshold: int, points: int, now: datetime) -> rules.Fault | None:
    if points:
        if not 1 <= points <= rules.MOST_POINTS:
            return ("points", f"must be 1 to {rules.MOST_POINTS}")
        return ("points", "is for a prize that is nothing else") if off or threshold or any(prize) else None
    if off or threshold:
        fault = coupons.terms_fault(coupons.Terms(off, threshold), 1, now)
        return ("prize_zh", "is for a prize that is no coupon") if any(prize) else fault
    return None if all(prize) else ("prize_zh" if not prize[0] else "prize_en", "must not be empty")


async def enter_by_following(session: AsyncSession, draw_id: int, person: str, now: datetime) -> None:
    """Follow the room and be in this draw, in one press; again is the same. Refusal(NOT_FOUND), (STATE state) for a draw that is entered
    in another way, (ENDED) once it has closed, (MUTED) for who would not be drawn.

    The draw's row is held as shared, so who is told that they are in is in: closing and drawing wait for them, or they for it.
    """
    found = await queries.draw(session, draw_id, lock="share")
    if found.entry != "follow":
        raise Refusal(Code.STATE, state=found.entry)
    if found.phase != "open" or found.closes_at <= now:
        raise Refusal(Code.ENDED)
    await follow(session, found.room_id, person, now)
    await session.execute(insert(DrawPress).values(draw_id=draw_id, person=person, at=now).on_conflict_do_nothing())
    if not await queries.entrants(session, found, person):
        raise Refusal(Code.MUTED)


async def close_draw(session: AsyncSession, draw_id: int, now: datetime) -> Draw:
    """Nobody can enter any more; the clock draws in a moment. Refusal(STATE) when it was closed before."""
    found = await queries.draw(session, draw_id, lock="update")
    if found.phase != "open" or found.closes_at <= now:
        raise Refusal(Code.STATE, state="closed" if found.phase == "open" else found.phase)
    found.closes_at = now
    await session.flush()
    await outbox.act(session, found.room_id, state={f"draw:{draw_id}": view(_shown(found))})
    return found


async def close_room(session: AsyncSession, room_id: str, now: datetime) -> None:
    """The show ends: so do its draws."""
    # All locked before the first is told: the room clock comes after every draw, as where one is closed or drawn alone.
    query = select(col(Draw.id)).where(col(Draw.room_id) == room_id, col(Draw.phase) == "open", col(Draw.closes_at) > now)
    for draw_id in (await session.execute(query.order_by(col(Draw.id)).with_for_update())).scalars().all():
        await close_draw(session, int(draw_id or 0), now)


async def draw_winners(session: AsyncSession, draw_id: int, now: datetime) -> list[str]:
    """Draw, once everything said or paid before the closing is in SQL; who won, in their order. Each of them and the room are told.

    Refusal(STATE): drawn before, or still open.
    """
    found = await queries.draw(session, draw_id, lock="update")
    if found.phase != "open" or found.closes_at > now:
        raise Refusal(Code.STATE, state=found.phase)
    people = {rules.ticket(found.commitment, person): person for person in await queries.entrants(session, found)}
    won = rules.winners(found.seed, people, found.winners)
    places = {ticket: place for place, ticket in enumerate(won, 1)}
    if people:
        rows = [{"draw_id": draw_id, "ticket": one, "person": who, "place": places.get(one)} for one, who in people.items()]
        await session.execute(insert(DrawEntry), rows)
    found.phase, found.drawn_at = "drawn", now
    await session.flush()
    winners = [people[ticket] for ticket in won]
    names = await names_of(session, winners)
    listed = [Won(ticket=ticket, name=masked(names.get(people[ticket], ""))) for ticket in won]
    shown = _shown(found).model_copy(update={"entrants": len(people), "won": listed})
    done = event("draw.done", DrawDone(draw=draw_id, entrants=len(people), won=listed))
    await outbox.act(session, found.room_id, events=[done], state={f"draw:{draw_id}": view(shown)})
    await _hand_out(session, found, winners, now)
    return winners


async def _hand_out(session: AsyncSession, found: Draw, winners: Sequence[str], now: datetime) -> None:
    """Tell the winners, each on all their sockets; a coupon or points are theirs at once (under a name of the draw's, so once)."""
    if not winners:
        return
    grants: dict[str, int] = {}
    if found.off:
        batch = Batch(0, found.room_id, found.off, found.threshold)
        rows = [Grant(_rid(found, who), f"draw:{found.id}", who, batch) for who in winners]
        grants = await write_grants(await driver(await session.connection()), rows, now)
    if found.points:
        await credit(await driver(await session.connection()), [(who, found.points, _rid(found, who)) for who in winners], now)
    news = []
    prize = Names(zh=found.prize_zh, en=found.prize_en)
    told = PrizeView(id=int(found.id or 0), version=1, prize=prize, points=found.points)
    for who in winners:
        grant = grants.get(_rid(found, who))
        if grant is not None:
            news.append((who, f"coupon:{grant}", 1, view(GrantView(id=grant, version=1, offer=0, state="CLAIMED"))))
        news.append((who, f"prize:{found.id}:{who}", 1, view(told.model_copy(update={"grant": grant}))))
    await outbox.tell_many(session, found.room_id, news)


def _rid(found: Draw, person: str) -> str:
    return f"draw:{found.id}:{person}"


async def clear_draws(session: AsyncSession, before: datetime) -> int:
    """Take draws that were drawn before this off their rooms' state; their proofs stay."""
    query = text(
        "SELECT d.room_id, d.id FROM draw d JOIN room_state s ON s.room_id = d.room_id AND s.key = 'draw:' || d.id"
        " WHERE d.drawn_at < :before ORDER BY d.room_id, d.id LIMIT 100"
    )
    rows = (await session.execute(query, {"before": before})).all()
    for room_id, draw_id in rows:
        await outbox.act(session, room_id, state={f"draw:{draw_id}": None})
    return len(rows)


def _shown(found: Draw) -> DrawView:
    """The card."""
    return DrawView.model_validate(
        {
            "id": found.id, "phase": found.phase, "prize": {"zh": found.prize_zh, "en": found.prize_en}, "winners": found.winners,
            "entry": found.entry, "word": found.word, "opens": epoch_ms(found.opens_at), "closes": epoch_ms(found.closes_at),
            "commitment": found.commitment,
        }
    )  # fmt: skip
