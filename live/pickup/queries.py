"""What a desk and a buyer see of tickets. A TICKET on the wire is described at `tickets`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import segno
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.infra.db import epoch_ms
from live.infra.security import secret as read_secret
from live.orders.tables import OrderLine
from live.people.tables import Person
from live.pickup import rules
from live.pickup.tables import Ticket
from live.settings import Settings

QUEUE_LIMIT = 500  # more than a store can pick in an hour; the oldest come first, so none starves
COLLECTED_LIMIT = 50
COLLECTED_SHOWN = timedelta(hours=12)  # one working day: "did I hand this over?"
QUIET_ZONE = 4  # modules: what the QR standard asks for around the symbol


async def queue(session: AsyncSession, store: str | None, now: datetime) -> list[dict[str, Any]]:
    """Tickets waiting at a store (None: at all), oldest first, then those collected today, newest first."""
    here = [] if store is None else [col(Ticket.location) == store]
    waiting = select(Ticket).where(*here, col(Ticket.state).in_(("QUEUED", "READY"))).order_by(col(Ticket.id)).limit(QUEUE_LIMIT)
    done = select(Ticket).where(*here, col(Ticket.state) == "COLLECTED", col(Ticket.collected_at) > now - COLLECTED_SHOWN)
    done = done.order_by(col(Ticket.collected_at).desc()).limit(COLLECTED_LIMIT)
    found = [*(await session.execute(waiting)).scalars(), *(await session.execute(done)).scalars()]
    return await _rendered(session, found)


async def ticket(session: AsyncSession, ticket_id: int) -> dict[str, Any]:
    """One ticket that is known to exist."""
    return (await _rendered(session, [(await session.execute(select(Ticket).where(col(Ticket.id) == ticket_id))).scalar_one()]))[0]


async def pickup_view(session: AsyncSession, nos: Sequence[str], settings: Settings) -> dict[str, dict[str, Any]]:
    """What buyers see: order number -> {state, code, qr}, for orders that have a ticket that is not void.

    `code` is shown as XXXX-XXXX-X, `qr` is an SVG element; both are empty once the goods are collected.
    """
    query = select(Ticket).where(col(Ticket.order_no).in_(list(nos)), col(Ticket.state) != "VOID")
    secret = read_secret(settings, "pickup_secret")
    found = {}
    for row in (await session.execute(query)).scalars():
        open_code = code_of(row, secret) if row.state != "COLLECTED" else ""
        found[row.order_no] = {
            "state": row.state,
            "code": rules.shown(open_code) if open_code else "",
            "qr": qr_svg(open_code) if open_code else "",
        }
    return found


def code_of(row: Ticket, secret: str) -> str:
    """The code of a ticket, derived again. Empty when the secret was replaced since, and its code can no longer be known."""
    for attempt in range(rules.ATTEMPTS):
        code = rules.derive(secret, row.order_no, row.location, attempt)
        if rules.keyed_hash(secret, code) == row.code_hash:
            return code
    return ""


@lru_cache(maxsize=4096)  # 4 ms to draw, and a page with fifty orders asks for fifty
def qr_svg(code: str) -> str:
    """The QR symbol of a code: black on white with its quiet zone, scaled by the page, fit for a document or an image address."""
    # Letters, digits and the colon make a symbol of 21 modules that stands a quarter of it being dirty or creased (level Q).
    symbol = segno.make(rules.QR_PREFIX + code, error="q", micro=False, boost_error=False)
    out = io.BytesIO()
    symbol.save(
        out, kind="svg", xmldecl=False, svgns=True, nl=False, omitsize=True, border=QUIET_ZONE, dark="#000", light="#fff",
        svgclass=None, lineclass=None,
    )  # fmt: skip
    return out.getvalue().decode()


async def _rendered(session: AsyncSession, rows: Sequence[Ticket]) -> list[dict[str, Any]]:
    people = await _people(session, {row.person for row in rows})
    lines = await _lines(session, {row.order_no for row in rows})
    return [
        {
            "id": row.id,
            "order": row.order_no,
            "state": row.state,
            "store": row.location,
            "person_name": people.get(row.person, ("", ""))[0],
            "phone_tail": people.get(row.person, ("", ""))[1],
            "created": epoch_ms(row.created_at),
            "ready_at": _ms(row.ready_at),
            "collected_at": _ms(row.collected_at),
            "lines": lines.get(row.order_no, []),
        }
        for row in rows
    ]


async def _people(session: AsyncSession, subjects: set[str]) -> dict[str, tuple[str, str]]:
    """Subject -> (name, last 4 digits of the phone): all a desk needs to know whom it serves."""
    ids = [int(subject[2:]) for subject in subjects if subject.startswith("p:") and subject[2:].isdigit()]
    query = select(col(Person.id), col(Person.name), col(Person.phone)).where(col(Person.id).in_(ids))
    return {f"p:{number}": (name, (phone or "")[-4:]) for number, name, phone in (await session.execute(query)).all()}


async def _lines(session: AsyncSession, nos: set[str]) -> dict[str, list[dict[str, Any]]]:
    query = select(OrderLine).where(col(OrderLine.order_no).in_(nos)).order_by(col(OrderLine.order_no), col(OrderLine.line))
    found: dict[str, list[dict[str, Any]]] = {}
    for line in (await session.execute(query)).scalars():
        view = {"sku": line.sku, "name": {"zh": line.name_zh, "en": line.name_en}, "qty": line.qty, "picture": line.picture}
        found.setdefault(line.order_no, []).append(view)
    return found


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else epoch_ms(moment)
