"""What the real servers hold, in the shape of the checker and of the model; and where the model differs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

import orjson
from redis.asyncio import Redis
from sqlalchemy import text

from live.infra.db import Database
from live.infra.keys import room_key
from live.offers.rules import Intent
from tests.prove.history import Books, Counters, Moved, Order
from tests.prove.model.books import House
from tests.prove.model.books import Order as ModelOrder
from tests.prove.model.turnstile import Turnstile
from tests.prove.pair import Pair

_SQL = text("""SELECT jsonb_build_object(
  'fence', (SELECT fence FROM fence WHERE room_id = :r),
  'allotments', (SELECT jsonb_agg(jsonb_build_array(offer_id, location, total, taken, move_no)) FROM allotment WHERE offer_id = ANY(:o)),
  'moves', (SELECT jsonb_agg(jsonb_build_array(offer_id, location, move_no, kind, qty, rid)) FROM movement WHERE offer_id = ANY(:o)),
  'quotas', (SELECT jsonb_agg(jsonb_build_array(offer_id, person, used)) FROM quota WHERE offer_id = ANY(:o)),
  'offers', (SELECT jsonb_agg(jsonb_build_array(id, per_person, phase, price_version)) FROM offer WHERE room_id = :r),
  'teams', (SELECT jsonb_agg(jsonb_build_array(offer_id, size, held, paid)) FROM team WHERE offer_id = ANY(:o)),
  'orders', (SELECT jsonb_agg(jsonb_build_array(o.rid, o.no, o.person, o.location, o.state,
    (SELECT jsonb_agg(jsonb_build_array(l.offer_id, l.qty)) FROM order_line l WHERE l.order_no = o.no)))
    FROM orders o WHERE o.room_id = :r),
  'coupons', (SELECT jsonb_agg(jsonb_build_array(rid, id::text, person, offer_id)) FROM coupon_grant WHERE offer_id = ANY(:o)),
  'packets', (SELECT jsonb_agg(jsonb_build_array(rid, offer_id || '/' || amount, person, offer_id)) FROM packet_share
    WHERE offer_id = ANY(:o) AND rid IS NOT NULL),
  'outbox', (SELECT jsonb_agg(jsonb_build_array(kind, payload->>'kind') ORDER BY id) FROM outbox
    WHERE room_id = :r AND kind IN ('act','house')),
  'drifts', (SELECT count(*) FROM drift WHERE room_id = :r))""")
UNPAID = ("AWAIT_PAY", "CLOSING", "CANCELLED")
STATES = {"ALLOCATED": "PAID", "GROUP_WAIT": "PAID"}  # the model has one word for what a paid order waits for


class Site(Protocol):
    """A room and where it is kept. `offers`: their ids; the checker counts them from 1 in this order."""

    @property
    def db(self) -> Database: ...
    @property
    def redis(self) -> Redis: ...
    @property
    def room(self) -> str: ...
    @property
    def offers(self) -> Sequence[int]: ...


class RealBooks:
    """SQL, read in one statement."""

    def __init__(self, site: Site, raw: dict[str, Any]) -> None:
        self.raw = {name: value or [] for name, value in raw.items()}
        self.offers = {real: model for model, real in enumerate(site.offers, 1)}

    @staticmethod
    async def read(site: Site) -> RealBooks:
        """At this moment."""
        async with site.db.connection() as connection:
            raw = (await connection.execute(_SQL, {"r": site.room, "o": site.offers})).scalar_one()
        return RealBooks(site, raw)

    def rid(self, rid: str) -> str:
        """As the model has it; causes of the shop's own movements carry real offer ids, which nobody compares."""
        return rid.partition(".")[2] or rid

    def orders(self) -> list[tuple[str, Order, str]]:
        """rid, order, state; coupons and shares of packets too."""
        found = []
        for rid, no, who, at, state, lines in self.raw["orders"]:
            units: dict[int, int] = {}
            for offer, qty in lines:
                units[self.offers[offer]] = units.get(self.offers[offer], 0) + qty
            order = Order(no, who, at, tuple(sorted(units.items())), state not in UNPAID)
            found.append((self.rid(rid), order, STATES.get(state, state)))
        for rid, no, who, offer in (*self.raw["coupons"], *self.raw["packets"]):
            found.append((self.rid(rid), Order(no, who, "-", ((self.offers[offer], 1),)), "CLAIMED"))
        return found

    def seen(self) -> Books:
        """As the checker reads books."""
        at = self.offers
        moves = [Moved(at[offer], place, no, kind, qty, self.rid(rid)) for offer, place, no, kind, qty, rid in self.raw["moves"]]
        return Books(
            {(at[offer], place): (total, taken, no) for offer, place, total, taken, no in self.raw["allotments"]},
            [(rid, order) for rid, order, _ in self.orders()], moves,
            {(at[offer], who): used for offer, who, used in self.raw["quotas"]},
            {at[offer]: k for offer, k, _, _ in self.raw["offers"]},
            {at[offer]: (size, held, paid) for offer, size, held, paid in self.raw["teams"]},
        )  # fmt: skip

    def differences(self, pair: Pair) -> list[str]:
        """Where the model says otherwise."""
        books, seen = pair.world.books, self.seen()
        orders: dict[str, ModelOrder] = books.orders
        model = {
            "fence": books.fence, "allotments": books.allotments, "quotas": {k: n for k, n in books.quotas.items() if n},
            "teams": {offer: (books.sizes[offer], *held) for offer, held in books.teams.items()},
            "orders": {rid: (order.who, order.at, order.units, order.state) for rid, order in orders.items()},
            "moves": sorted((o, at, no, kind, qty) for (_, o, kind), (at, no, qty) in books.moves.items()),
            "phases": {offer: (card.phase, card.version) for offer, card in books.cards.items()},
            "outbox": [["house", row.kind] if isinstance(row, House) else ["act", None] for _, row in sorted(books.outbox.items())],
            "drifts": books.drifts,
        }  # fmt: skip
        real = {
            "fence": self.raw["fence"], "allotments": seen.allotments, "quotas": {k: n for k, n in seen.quotas.items() if n},
            "teams": seen.teams, "orders": {rid: (order.who, order.at, order.units, state) for rid, order, state in self.orders()},
            "moves": sorted((move.offer, move.at, move.no, move.kind, move.qty) for move in seen.moves),
            "phases": {self.offers[offer]: (phase, version) for offer, _, phase, version in self.raw["offers"]},
            "outbox": self.raw["outbox"], "drifts": self.raw["drifts"] or 0,
        }  # fmt: skip
        return _different(model, real)


class RealTurnstile:
    """A room's keys, read in one pipeline, as a `Turnstile` of the model. Stream ids become places in the stream."""

    @staticmethod
    async def read(pair: Pair) -> tuple[Turnstile, dict[str, Any]]:
        """The turnstile, and what the model writes otherwise: intents, pending and records."""
        rids = [buyer.rid for buyer in pair.world.buyers]
        async with pair.redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(room_key(pair.room, "meta"))
            pipe.xrange(room_key(pair.room, "intents"))
            for day in (0, 1):
                pipe.hmget(room_key(pair.room, f"rids:{(int(time.time()) // 86400 + day) % 2}"), [pair.rid(rid) for rid in rids])
            pipe.hmget(room_key(pair.room, "state"), [f"offer:{offer}" for offer in pair.offers])
            for name in _hashes(pair.room, pair.offers):
                pipe.hgetall(name)
            meta, stream, records, older, shown, *hashes = await pipe.execute()
        found = Turnstile()
        _meta(found, meta, pair)
        _offers(found, hashes)
        found.shown = {model: orjson.loads(value)[1]["phase"] for model, value in enumerate(shown, 1) if value}
        intents = [orjson.loads(fields[b"j"]) for _, fields in stream]
        rest = {
            "intents": [(one["rid"].partition(".")[2], one["fence"], one["at"], "ask" in one) for one in intents],
            "records": {rid: _record(raw) for rid, *raws in zip(rids, records, older, strict=True) if (raw := raws[0] or raws[1])},
        }
        return found, rest


async def real_offers(redis: Redis, room: str, offers: Sequence[int]) -> tuple[Turnstile, list[dict[str, Any]]]:
    """Units left, persons' counts, seats and movements of these offers, by their place in the list; and the intents not yet booked."""
    found = Turnstile()
    async with redis.pipeline(transaction=True) as pipe:
        pipe.xrange(room_key(room, "intents"))
        for name in _hashes(room, offers):
            pipe.hgetall(name)
        stream, *hashes = await pipe.execute()
    _offers(found, hashes)
    return found, [orjson.loads(fields[b"j"]) for _, fields in stream]


def _meta(found: Turnstile, meta: dict[bytes, bytes], pair: Pair) -> None:
    found.fence = int(meta[b"fence"]) if b"fence" in meta else None
    found.building = int(meta[b"building"]) if b"building" in meta else None
    found.act_no = int(meta[b"act_no"]) - pair.acts if b"act_no" in meta else 0


def _hashes(room: str, offers: Sequence[int]) -> list[str]:
    return [room_key(room, f"{kind}:{offer}") for offer in offers for kind in ("offer", "used")]


def _offers(found: Turnstile, hashes: Sequence[dict[bytes, bytes]]) -> None:
    for model, (fields, used) in enumerate(zip(hashes[::2], hashes[1::2], strict=True), 1):
        _offer(found, model, {key.decode(): value.decode() for key, value in fields.items()})
        found.used |= {(model, who.decode()): int(n) for who, n in used.items() if int(n)}


def _offer(found: Turnstile, offer: int, fields: dict[str, str]) -> None:
    for name, value in fields.items() if "kind" in fields else ():
        if name.startswith("left:"):
            found.left[(offer, name[5:])] = int(value)
        elif name.startswith("move:") and value != "0":
            found.move[(offer, name[5:])] = int(value)
        elif name == "seats":
            found.seats[offer] = int(value)


def _record(raw: bytes) -> tuple[str, ...]:
    kind, *rest = raw.decode().split("|")
    return ("I", rest[1]) if kind == "I" else ("D",)


def turnstile_differences(pair: Pair, real: Turnstile, rest: dict[str, Any]) -> list[str]:
    """Where the model's turnstile says otherwise."""
    model = pair.world.servers[-1]
    names = ("fence", "building", "act_no", "left", "seats", "shown")
    wanted: dict[str, Any] = {name: getattr(model, name) for name in names}
    wanted |= {"move": {k: n for k, n in model.move.items() if n}, "used": {k: n for k, n in model.used.items() if n}}
    found: dict[str, Any] = {name: getattr(real, name) for name in (*names, "move", "used")} | rest
    wanted["intents"] = [(one.rid, one.fence, one.at, bool(one.ask)) for _, one in sorted(model.intents.items())]
    wanted["records"] = {rid: ("I", str(raw[2])) if raw[0] == "I" else ("D",) for rid, raw in model.records.items()}
    return _different(wanted, found)


def _different(model: dict[str, Any], real: dict[str, Any]) -> list[str]:
    return [f"the model differs: {name} is {value!r} there, {real[name]!r} here" for name, value in model.items() if value != real[name]]


def real_counters(pair: Pair, real: Turnstile, rest: dict[str, Any]) -> Counters:
    """As the checker reads a turnstile; when nothing moves, so nothing is in flight."""
    assert not rest["intents"]
    on_sale = frozenset(offer for offer, card in pair.world.books.cards.items() if card.phase == "open")
    return Counters(real.left, real.used, real.seats, {}, on_sale, real.move)


async def read_counters(site: Site, books: RealBooks) -> Counters:
    """A turnstile as the checker reads it, of a room without a model. `books` say which offers are on sale."""
    async with site.redis.pipeline(transaction=True) as pipe:
        pipe.xrange(room_key(site.room, "intents"))
        for name in _hashes(site.room, site.offers):
            pipe.hgetall(name)
        stream, *hashes = await pipe.execute()
    found = Turnstile()
    _offers(found, hashes)
    waiting: dict[tuple[int, str, str], int] = {}
    for stream_id, fields in stream:
        intent = Intent.read(stream_id.decode(), orjson.loads(fields[b"j"]))
        for offer, qty in () if intent.ask else intent.units().items():
            where = (books.offers[offer], intent.at, intent.person)
            waiting[where] = waiting.get(where, 0) + qty
    on_sale = frozenset(books.offers[offer] for offer, _, phase, _ in books.raw["offers"] if phase == "open")
    return Counters(found.left, found.used, found.seats, waiting, on_sale, found.move)
