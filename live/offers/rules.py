"""What an intent is and how the till decides. Pure: the standard library only, the clock is a parameter."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ANYWHERE = "-"  # the location of what has none: coupons, packets
MAX_LOCATIONS = 8  # a turnstile call stays short: constant work per intent
HOLD_FLOOR = "hold_floor"  # of an offer's terms: seconds below which no hold of it is shortened; without it none is
PER_ORDER = "per_order"  # of an offer's terms, and of its turnstile: units one order may take; without it as many as a person may have
WORD = "word"  # of an offer's terms: what has to be said to take from it; never shown to the room
WATCH = "watch"  # of an offer's terms: minutes of the show that have to be watched before anybody takes from it
HOT = 2  # from one half of a store's units on, holds shrink: whoever watched half of it go will not watch long for the rest


def rid_of(person: str, room: str, key: str) -> str:
    """The request id of a tap: the same person, room and key give the same id, whatever device resends it."""
    return hashlib.sha256(f"{person}|{room}|{key}".encode()).hexdigest()[:32]


def body_hash(lines: Sequence[tuple[int, int]], at: Sequence[str], team: int | None = None) -> str:
    """What the tap asked for, without the price: the same key with another body is refused."""
    asked = (sorted(lines), list(at)) if team is None else (sorted(lines), list(at), team)
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]


def word_hash(word: str) -> str:
    """What stands for a spoken word at the turnstile: width, case and spaces do not matter. Of no word: empty."""
    plain = "".join(unicodedata.normalize("NFKC", word).casefold().split())
    return hashlib.sha256(plain.encode()).hexdigest()[:16] if plain else ""


def handle(fence: int | str, stream_id: str) -> str:
    """One intent among all of its rid: a rebuilt room's stream may count from the beginning."""
    return f"{fence}/{stream_id}"


@dataclass(slots=True)  # not frozen, as Intent: a frozen one takes three times as long to make, and there is one per order
class IntentLine:
    """`fen`: the price of one, as the turnstile promised it."""

    offer: int
    qty: int
    fen: int
    version: int


@dataclass(slots=True)
class Intent:
    """What the turnstile let through. `id` is its stream id; `hub` the process that waits; with `ask`: only answer from SQL."""

    id: str
    rid: str
    person: str
    kind: str
    at: str
    lines: tuple[IntentLine, ...]
    hub: str
    fence: int
    name: str = ""
    hash: str = ""  # of the tap's body: the same key with another body is refused
    team: int | None = None  # the small team it joins; of an offer of teams without one, it opens one
    ask: tuple[Any, ...] = ()  # what the turnstile would have answered to a first try

    @staticmethod
    def read(stream_id: str, raw: Mapping[str, Any]) -> Intent:
        """From the JSON the turnstile appended."""
        return Intent(
            id=stream_id,
            rid=raw["rid"],
            person=raw["who"],
            kind=raw["kind"],
            at=raw["at"],
            lines=tuple([IntentLine(int(o), int(q), int(f), int(v)) for o, q, f, v in raw["lines"]]),
            hub=raw["hub"],
            fence=int(raw["fence"]),
            name=raw.get("name", ""),
            hash=raw.get("hash", ""),
            team=raw.get("team"),
            ask=tuple(raw.get("ask", ())[1:]),
        )

    @property
    def handle(self) -> str:
        """What hubs know it by."""
        return handle(self.fence, self.id)

    def units(self) -> dict[int, int]:
        """Units per offer, lines of one offer summed (a line checked alone is how bundles oversell)."""
        if len(self.lines) == 1:
            return {self.lines[0].offer: self.lines[0].qty}
        total: dict[int, int] = {}
        for line in self.lines:
            total[line.offer] = total.get(line.offer, 0) + line.qty
        return total


@dataclass(frozen=True, slots=True)
class Booked:
    """An intent that is in the books: by which intent, and what its buyer is told."""

    intent_id: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OfferFacts:
    """An offer as the till and the bookers need it."""

    id: int
    room_id: str
    kind: str
    sku_id: int | None
    hold_seconds: int
    per_person: int
    terms: dict[str, Any]
    team_id: int | None
    phase: str
    closes_at: Any = None
    holds: dict[str, int] = field(default_factory=dict)  # rid -> seconds to pay, where the till made them shorter
    parties: dict[str, tuple[int, Any]] = field(default_factory=dict)  # rid -> its small team, and when that closes (None: not yet known)


@dataclass(slots=True)
class Counters:
    """The till's rows under lock: allotments (offer, location), quotas (offer, person), seats free per offer with a team,
    units an order may take per offer that says so."""

    free: dict[tuple[int, str], int] = field(default_factory=dict)
    quota_left: dict[tuple[int, str], int] = field(default_factory=dict)
    seats: dict[int, int] = field(default_factory=dict)
    per_order: dict[int, int] = field(default_factory=dict)


def take(intent: Intent, counters: Counters) -> str | None:
    """Take the intent's units from the counters, all or none. Returns None when taken, else why not (a refusal code).

    Decided in stream order, so whoever passed the turnstile first is first here too.
    """
    units = intent.units()
    for offer, qty in units.items():
        if qty > counters.per_order.get(offer, qty):
            return "order_limit"
        if counters.quota_left.get((offer, intent.person), 0) < qty:
            return "limit"
        if offer in counters.seats and counters.seats[offer] < qty:
            return "team_full"
        if counters.free.get((offer, intent.at), 0) < qty:
            return "sold_out"
    for offer, qty in units.items():
        counters.free[(offer, intent.at)] -= qty
        counters.quota_left[(offer, intent.person)] -= qty
        if offer in counters.seats:
            counters.seats[offer] -= qty
    return None


def hold_for(hold_seconds: int, floor_seconds: int, total: int, free: int) -> int:
    """Seconds to pay for an order that finds `free` of `total` units (its own among them) at its store.

    Cold, half or more of the units there: `hold_seconds`. Below that it shrinks with what is left, in a straight line, to `floor_seconds`
    for the last unit of many; never above `hold_seconds`. So units nobody will pay for come back sooner, the fewer there are to wait for.
    """
    floor = min(floor_seconds, hold_seconds)
    if total <= 0 or free * HOT >= total:
        return hold_seconds
    return floor + (hold_seconds - floor) * free * HOT // total


@dataclass(frozen=True, slots=True)
class House:
    """A stock movement the shop itself asks for; see the fields of an outbox `house` row. `rid` + offer + kind happen once."""

    kind: str  # RELEASE: an unpaid hold ends. RESTOCK: refunded goods return. ADJUST: units added. RETURN: an ended offer gives back
    rid: str
    location: str
    lines: tuple[tuple[int, int], ...]
    person: str | None = None
    seats: bool = False

    @staticmethod
    def read(raw: Mapping[str, Any]) -> House:
        """From an outbox payload."""
        lines = tuple((int(o), int(q)) for o, q in raw["lines"])
        return House(raw["kind"], raw["rid"], raw["location"], lines, raw.get("person"), bool(raw.get("seats")))
