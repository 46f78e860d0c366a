"""The turnstile as its scripts are: one method per file of live/offers/lua, one line of it per thing that file does.

`tests/prove/machine.py` runs both side by side and compares them after every step, so neither can change alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Place = tuple[int, str]
Person = tuple[int, str]
Moves = tuple[Place, int, int]  # of a group: the last movement before it, the last one of it
Gap = tuple[Place, int, int]  # the turnstile's mark, the last movement it lacks
CLOSED, ABSENT, BEHIND = -1, -2, -3  # answers of `adjust`


class Tap(NamedTuple):
    """What a client sends. `lines`: (offer, qty, price version)."""

    rid: str
    who: str
    hash: str
    tries: int
    at: tuple[str, ...]
    lines: tuple[tuple[int, int, int], ...]


class Intent(NamedTuple):
    """A tap the turnstile let through, or (`ask`) a question to the books."""

    id: int
    rid: str
    who: str
    kind: str
    at: str
    lines: tuple[tuple[int, int, int], ...]
    hash: str
    fence: int
    ask: tuple[Any, ...] = ()

    def units(self) -> dict[int, int]:
        """Units per offer."""
        found: dict[int, int] = {}
        for offer, qty, _ in self.lines:
            found[offer] = found.get(offer, 0) + qty
        return found


class Card(NamedTuple):
    """The fields of an offer's hash that no movement changes. Times are those of the model's clock."""

    kind: str
    phase: str
    version: int
    k: int
    places: tuple[str, ...]
    opens: int = 0
    closes: int = 0


class Settled(NamedTuple):
    """What became of an intent: its new record (None: forget the rid) and whether its units go back."""

    intent: Intent
    record: tuple[Any, ...] | None
    back: bool


@dataclass(slots=True)
class Turnstile:
    """One Redis server's keys of the room. `server` is its own run_id; what `run_id` says is what the rebuild found."""

    server: int = 1
    fence: int | None = None
    run_id: int | None = None
    building: int | None = None
    act_no: int = 0
    cards: dict[int, Card] = field(default_factory=dict)
    left: dict[Place, int] = field(default_factory=dict)
    move: dict[Place, int] = field(default_factory=dict)
    used: dict[Person, int] = field(default_factory=dict)
    seats: dict[int, int] = field(default_factory=dict)
    shown: dict[int, str] = field(default_factory=dict)  # offers on the shelf (`state`) and the phase they are shown in
    intents: dict[int, Intent] = field(default_factory=dict)
    group: bool = False
    delivered: int = 0  # last stream id the group has seen
    pending: frozenset[int] = frozenset()
    records: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def clone(self) -> Turnstile:
        """A copy: a dump, or the state of another schedule."""
        return Turnstile(
            self.server, self.fence, self.run_id, self.building, self.act_no, self.cards.copy(), self.left.copy(), self.move.copy(),
            self.used.copy(), self.seats.copy(), self.shown.copy(), self.intents.copy(), self.group, self.delivered, self.pending,
            self.records.copy(),
        )  # fmt: skip

    def key(self) -> tuple[Any, ...]:
        """Equal for equal states."""
        dicts = (self.cards, self.left, self.move, self.used, self.seats, self.shown, self.intents, self.records)
        plain = (self.server, self.fence, self.run_id, self.building, self.act_no, self.group, self.delivered, self.pending)
        return (*plain, *(frozenset(each.items()) for each in dicts))

    def reserve(self, tap: Tap, now: int, intent_id: int) -> tuple[Any, ...]:
        """reserve.lua, for a batch of one: KNOWN record | OK | ASK | NO code | FENCED."""
        if self.fence is None or self.run_id != self.server:
            return ("FENCED",)
        record = self.records.get(tap.rid)
        if record is not None and record[0] == "I" and record[2] != self.fence:
            record = None
        if record is not None:
            return ("KNOWN", record)
        no, place, need = self.check(tap, now)
        if no and (tap.tries < 2 or no[0] == "FENCED" or no[1] in ("unknown", "bad_request")):
            return no
        kind = self.cards[tap.lines[0][0]].kind
        ask = no[1:] if no else ()
        self.intents[intent_id] = Intent(intent_id, tap.rid, tap.who, kind, place or tap.at[0], tap.lines, tap.hash, self.fence, ask)
        self.records[tap.rid] = ("I", intent_id, self.fence, tap.hash)
        for offer, qty in need.items() if not no else ():
            self.left[(offer, place)] -= qty
            self.used[(offer, tap.who)] = self.used.get((offer, tap.who), 0) + qty
            if offer in self.seats:
                self.seats[offer] -= qty
        return ("ASK",) if no else ("OK",)

    def check(self, tap: Tap, now: int) -> tuple[tuple[Any, ...], str, dict[int, int]]:
        """check.lua: the first reason against it (empty: none), the place, units per offer."""
        need: dict[int, int] = {}
        for offer, qty, version in tap.lines:
            card = self.cards.get(offer)
            if card is None:
                return ("FENCED",) if offer in self.shown else ("NO", "unknown"), "", need
            no = self._line(card, qty, version, now, len(tap.lines))
            if no is not None:
                return ("NO", no), "", need
            need[offer] = need.get(offer, 0) + qty
        for offer, qty in need.items():
            if self.used.get((offer, tap.who), 0) + qty > self.cards[offer].k:
                return ("NO", "limit"), "", need
            if offer in self.seats and self.seats[offer] < qty:
                return ("NO", "team_full"), "", need
        for place in tap.at:
            enough = True
            for offer, qty in need.items():
                have = self.left.get((offer, place))
                if have is None and place in self.cards[offer].places:
                    return ("FENCED",), "", need
                enough = enough and have is not None and have >= qty
            if enough:
                return (), place, need
        return ("NO", "sold_out"), "", need

    @staticmethod
    def _line(card: Card, qty: int, version: int, now: int, lines: int) -> str | None:
        if (lines > 1 and card.kind != "sale") or (card.kind == "coupon" and qty != 1):
            return "bad_request"
        if now < card.opens:
            return "not_started"
        if card.phase != "open" or (card.closes > 0 and now >= card.closes):
            return "ended"
        return "price_changed" if version != card.version else None

    def settle(self, settled: Sequence[Settled], moves: Iterable[Moves]) -> list[Gap]:
        """settle.lua: what is missing, in which case nothing was changed."""
        here = [each for each in moves if self.fence is not None and each[0] in self.left]
        behind = [(place, self.move.get(place, 0), after) for place, after, _ in here if self.move.get(place, 0) < after]
        if behind:
            return behind
        for place, _, last in here:
            self.move[place] = max(self.move.get(place, 0), last)
        for intent, record, back in settled:
            self.pending -= {intent.id}
            if record is not None:
                self.records[intent.rid] = record
            if self.intents.pop(intent.id, None) is not None:
                if record is None:
                    self.records.pop(intent.rid, None)
                if back:
                    self._give_back(intent)
        return []

    def _give_back(self, intent: Intent) -> None:
        for offer, qty in intent.units().items():
            if (offer, intent.at) in self.left:
                self.left[(offer, intent.at)] += qty
                self.used[(offer, intent.who)] = self.used.get((offer, intent.who), 0) - qty
                if offer in self.seats:
                    self.seats[offer] += qty

    def adjust(self, place: Place, number: int, left: int, who: str | None, used: int, seats: int) -> int:
        """adjust.lua, for one movement."""
        if self.fence is None:
            return CLOSED
        if place not in self.left:
            return ABSENT
        if self.move.get(place, 0) >= number:
            return 0
        if self.move.get(place, 0) < number - 1:
            return BEHIND
        self.move[place] = number
        self.left[place] += left
        if who is not None and used:
            self.used[(place[0], who)] = self.used.get((place[0], who), 0) + used
        if seats and place[0] in self.seats:
            self.seats[place[0]] += seats
        return 1

    def apply(self, number: int, offer: int, card: Card, fresh: tuple[dict[Place, int], int | None] | None) -> int:
        """apply.lua, for acts on one offer. `fresh`: the counters of an offer that is new here."""
        if self.fence is None:
            return -2
        if number != self.act_no + 1:
            return 0 if number <= self.act_no else -1
        self.act_no = number
        if fresh is not None or offer in self.cards:
            self.cards[offer] = card
        if fresh is not None:
            self.left |= fresh[0]
            if fresh[1] is not None:
                self.seats[offer] = fresh[1]
        self.shown[offer] = card.phase
        return 1

    def clear(self, fence: int) -> int:
        """clear.lua with the keys `rebuild._forget` names."""
        if self.building == fence and self.run_id == self.server:
            return 1
        if (self.building or 0) > fence or (self.fence or 0) >= fence:
            return 0
        self.fence, self.run_id = None, self.server
        self.act_no, self.delivered, self.pending, self.group = 0, 0, frozenset(), False
        for forgotten in (self.cards, self.left, self.move, self.used, self.seats, self.shown, self.intents):
            forgotten.clear()
        self.building = fence
        return 1

    def may_fill(self, fence: int) -> bool:
        """fill.lua, before it writes."""
        return self.building == fence and self.run_id == self.server

    def fill(self, fence: int, snapshot: Turnstile) -> int:
        """fill.lua, for the hash of every offer."""
        if not self.may_fill(fence):
            return 0
        self.cards |= snapshot.cards
        self.left |= snapshot.left
        self.move |= snapshot.move
        self.seats |= snapshot.seats
        return 1

    def people(self, fence: int, snapshot: Turnstile) -> int:
        """fill.lua, for the units of every person, which come after: a server may be left behind, or lose something, in between."""
        if not self.may_fill(fence):
            return 0
        self.used |= snapshot.used
        return 1

    def open(self, fence: int, snapshot: Turnstile) -> int:
        """rebuild.lua."""
        if self.fence == fence:
            return 1
        if self.building != fence or self.run_id != self.server:
            return 0
        self.building, self.fence, self.group = None, fence, True
        self.act_no, self.shown = snapshot.act_no, snapshot.shown.copy()
        return 1

    def sound(self, fence: int, offers: Iterable[int]) -> bool:
        """sound.lua, and what `rebuild.sound` makes of it. `offers`: those open in SQL."""
        if self.fence is None or self.run_id != self.server or not self.group:
            return False
        for offer in offers:
            if self.shown.get(offer) == "open":
                card = self.cards.get(offer)
                if card is None or any((offer, place) not in self.left for place in card.places):
                    return False
        return self.fence == fence

    def read(self, old: bool) -> tuple[Intent, ...]:
        """XREADGROUP of the ledger's consumer: `old` ones delivered and not settled, else new ones."""
        if old:
            self.pending = frozenset(self.pending & self.intents.keys())  # what another settled is acknowledged on sight
            return tuple(self.intents[each] for each in sorted(self.pending))
        found = tuple(intent for each, intent in sorted(self.intents.items()) if each > self.delivered)
        self.pending |= {intent.id for intent in found}
        self.delivered = max([self.delivered, *(intent.id for intent in found)])
        return found
