"""Door of the watch, for owners: what every room's last look found, what drifted, how far the chains are sealed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.infra import security
from live.infra.db import epoch_ms
from live.infra.doors import json as _json
from live.offers.watch import STOCK

DRIFTS_SHOWN = 50  # the newest; open ones first. Rows are never deleted, so a shop's list grows for years
_TERMS = ("offer", "location", "kind", "phase", "total", "left", "in_flight", "held", "sold", "taken", "move_no", "applied", "faults")


async def watched(request: Request) -> Response:
    """GET /v1/audit/watch → {rooms: [{room, title, phase, at, millis, balanced, offers: [terms + sealed]}], stock, drifts, open}.

    `at`: epoch ms of the last look that could tell, None before the first. `stock` is a look as well, with `faults`.
    """
    await security.staff(request, "audit")
    async with request.state.db.connection() as connection:
        looks = (await connection.execute(text(_LOOKS), {"stock": STOCK})).mappings().all()
        sealed = {(offer, place): number for offer, place, number in (await connection.execute(text(_SEALED))).all()}
        drifts, still = await _drifts(connection)
    rooms = [_look(row) | {"offers": [_offer(terms, sealed) for terms in row["terms"]]} for row in looks if row["scope"] != STOCK]
    stock = next((_look(row) | {"faults": row["terms"]} for row in looks if row["scope"] == STOCK), None)
    body = {"rooms": rooms, "stock": stock, "drifts": drifts, "open": still}
    return _json(body)


def _look(row: Mapping[str, Any]) -> dict[str, Any]:
    title = {"zh": row["title_zh"] or "", "en": row["title_en"] or ""}
    at = epoch_ms(row["at"]) if row["at"] else None
    return {"room": row["scope"], "title": title, "phase": row["phase"], "at": at, "millis": row["millis"], "balanced": row["balanced"]}


def _offer(terms: Mapping[str, Any], sealed: Mapping[tuple[int, str], int]) -> dict[str, Any]:
    number = sealed.get((terms["offer"], terms["location"]), 0)
    return {name: terms[name] for name in _TERMS} | {"sealed": min(number, terms["move_no"])}  # a seal may be newer than the look


async def _drifts(connection: AsyncConnection) -> tuple[list[dict[str, Any]], int]:
    found = (await connection.execute(text(_DRIFTS), {"most": DRIFTS_SHOWN})).mappings().all()
    drifts = [
        {
            "room": row["room_id"], "offer": row["offer_id"], "what": row["what"], "place": row["facts"].get("location"),
            "facts": row["facts"], "at": epoch_ms(row["at"]), "lasts": row["finding"] is not None,
            "healed": epoch_ms(row["healed_at"]) if row["healed_at"] else None,
        }
        for row in found
    ]  # fmt: skip
    return drifts, int((await connection.execute(text(_OPEN))).scalar_one())


_LOOKS = """SELECT w.scope, w.at, w.millis, w.balanced, w.terms, r.title_zh, r.title_en, r.phase
  FROM watched w LEFT JOIN room r ON r.id = w.scope WHERE r.id IS NOT NULL OR w.scope = :stock ORDER BY r.phase = 'live' DESC, w.scope"""
_SEALED = "SELECT offer_id, location, max(to_no) FROM movement_seal GROUP BY 1, 2"
_DRIFTS = """SELECT room_id, offer_id, what, facts, at, finding, healed_at FROM drift
  ORDER BY (finding IS NOT NULL AND healed_at IS NULL) DESC, id DESC LIMIT :most"""
_OPEN = "SELECT count(*) FROM drift WHERE finding IS NOT NULL AND healed_at IS NULL"

routes = [Route("/v1/audit/watch", watched, methods=["GET"])]
