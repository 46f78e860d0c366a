"""The one checker of every proof: what buyers were told, against the books and the turnstile. It knows neither model nor servers.

A proof feeds it as things happen (`sent`, `told`, `look`, `quiet`) and reads `violations`: sentences that begin with the rule's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Place = tuple[int, str]  # offer, location
Person = tuple[int, str]  # offer, who

# Refusals that say "you did not get it". The others (`again`, `fenced`, `busy`, …) say "not known yet" or "never taken up".
FINAL = frozenset({"sold_out", "limit", "ended", "not_started", "team_full", "price_changed", "unknown"})
GIVE_BACK = frozenset({"RELEASE", "RESTOCK"})


class Order(NamedTuple):
    """An order or a coupon in the books. `units`: (offer, qty) pairs; `paid`: its seats are paid ones."""

    no: str
    who: str
    at: str
    units: tuple[tuple[int, int], ...]
    paid: bool = False


class Moved(NamedTuple):
    """A movement: `qty` changes `taken` (HOLD, RELEASE, RESTOCK) or `total` (ADJUST, RETURN)."""

    offer: int
    at: str
    no: int
    kind: str
    qty: int
    rid: str


@dataclass(slots=True)
class Books:
    """SQL at one moment."""

    allotments: Mapping[Place, tuple[int, int, int]] = field(default_factory=dict)  # total, taken, last move_no
    orders: Sequence[tuple[str, Order]] = ()  # by rid; a rid twice is what must never be
    moves: Sequence[Moved] = ()
    quotas: Mapping[Person, int] = field(default_factory=dict)
    limits: Mapping[int, int] = field(default_factory=dict)
    teams: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)  # size, held, paid


@dataclass(slots=True)
class Counters:
    """The turnstile at one moment. `waiting`: units in intents not yet booked (asks hold none)."""

    left: Mapping[Place, int] = field(default_factory=dict)
    used: Mapping[Person, int] = field(default_factory=dict)
    seats: Mapping[int, int] = field(default_factory=dict)
    waiting: Mapping[tuple[int, str, str], int] = field(default_factory=dict)  # offer, location, who
    open: frozenset[int] = frozenset()  # offers on sale: only their limits are kept at the turnstile
    moves: Mapping[Place, int] = field(default_factory=dict)  # last move_no applied


def add(sums: dict[tuple[int, str], int], key: tuple[int, str], units: int) -> None:
    """Count units under a key."""
    sums[key] = sums.get(key, 0) + units


class _Fold:
    """What orders keep: their units, less those a movement gave back."""

    def __init__(self, books: Books) -> None:
        back = {(move.rid, move.offer) for move in books.moves if move.kind in GIVE_BACK}
        self.taken: dict[Place, int] = {}
        self.persons: dict[Person, int] = {}
        self.held: dict[int, int] = {}
        self.paid: dict[int, int] = {}
        for rid, order in books.orders:
            for offer, qty in order.units:
                if offer in books.teams and (order.paid or (rid, offer) not in back):
                    seats = self.paid if order.paid else self.held  # a paid seat stays paid
                    seats[offer] = seats.get(offer, 0) + qty
                if (rid, offer) not in back:
                    add(self.taken, (offer, order.at), qty)
                    add(self.persons, (offer, order.who), qty)


def books_faults(books: Books) -> list[str]:
    """What is wrong in the books alone. What orders keep is counted from the orders, never believed from a counter."""
    fold = _Fold(books)
    faults = [f"oversold: {units} of {books.allotments.get(place, (0,))[0]} at {place}" for place, units in fold.taken.items()
              if units > books.allotments.get(place, (0, 0, 0))[0]]  # fmt: skip
    for place, (_, taken, _) in books.allotments.items():
        if taken != fold.taken.get(place, 0):
            faults.append(f"fold: {place} says {taken} taken, its orders keep {fold.taken.get(place, 0)}")
    for person, units in fold.persons.items():
        if units > books.limits[person[0]]:
            faults.append(f"limit: {person} has {units} of {books.limits[person[0]]}")
    faults += [f"quota: {person} says {books.quotas.get(person, 0)}, the orders keep {fold.persons.get(person, 0)}"
               for person in {*fold.persons, *books.quotas} if books.quotas.get(person, 0) != fold.persons.get(person, 0)]  # fmt: skip
    for offer, (size, held, paid) in books.teams.items():
        if (held, paid) != (fold.held.get(offer, 0), fold.paid.get(offer, 0)):
            faults.append(f"seats: offer {offer} says {held} + {paid}, the orders {fold.held.get(offer, 0)} + {fold.paid.get(offer, 0)}")
        if fold.held.get(offer, 0) + fold.paid.get(offer, 0) > size:
            faults.append(f"seats: offer {offer} has more than {size}")
    rids = [rid for rid, _ in books.orders]
    faults += [f"order twice: {rid}" for rid in sorted({rid for rid in rids if rids.count(rid) > 1})] if len(set(rids)) < len(rids) else []
    return faults + _move_faults(books)


def _move_faults(books: Books) -> list[str]:
    """Numbers without gaps, each cause once, nothing given back that was not held or that was given back before."""
    faults = []
    numbers: dict[Place, list[int]] = {}
    units: dict[tuple[str, int], int] = {}
    causes: set[tuple[str, int, str]] = set()
    for move in sorted(books.moves, key=lambda move: move.no):
        numbers.setdefault((move.offer, move.at), []).append(move.no)
        if (move.rid, move.offer, move.kind) in causes:
            faults.append(f"movement twice: {move.kind} of {move.rid}")
        causes.add((move.rid, move.offer, move.kind))
        if move.kind == "HOLD" or move.kind in GIVE_BACK:
            units[(move.rid, move.offer)] = units.get((move.rid, move.offer), 0) + move.qty
            if units[(move.rid, move.offer)] < 0:
                faults.append(f"given back twice: {move.rid} of offer {move.offer}")
    for place, (_, _, last) in books.allotments.items():
        if numbers.get(place, []) != list(range(1, last + 1)):
            faults.append(f"gap: movements of {place} are {numbers.get(place, [])}, the last is {last}")
    return faults


def counter_faults(books: Books, counters: Counters) -> list[str]:
    """Where the turnstile's sums are not the books', which is due when nothing moves: `total = left + in flight + taken`, limits, seats."""
    faults = []
    flight: dict[Place, int] = {}
    persons: dict[Person, int] = {}
    seats: dict[int, int] = {}
    for (offer, at, who), units in counters.waiting.items():
        add(flight, (offer, at), units)
        add(persons, (offer, who), units)
        seats[offer] = seats.get(offer, 0) + units
    for place, left in counters.left.items():
        total, taken, _ = books.allotments[place]
        if left + flight.get(place, 0) + taken != total:
            faults.append(f"sum: {place} has {total} in all, but {left} left, {flight.get(place, 0)} in flight, {taken} taken")
        if counters.moves.get(place, 0) != books.allotments[place][2]:
            faults.append(f"behind: {place} is at movement {counters.moves.get(place, 0)} of {books.allotments[place][2]}")
    for person in {*counters.used, *books.quotas}:
        wanted = books.quotas.get(person, 0) + persons.get(person, 0)
        if person[0] in counters.open and counters.used.get(person, 0) != wanted:
            faults.append(f"sum: {person} counts {counters.used.get(person, 0)} at the turnstile, {wanted} in the books")
    for offer, free in counters.seats.items():
        size, held, paid = books.teams[offer]
        if free + seats.get(offer, 0) + held + paid != size:
            faults.append(f"sum: offer {offer} has {size} seats, but {free} free, {seats.get(offer, 0)} in flight, {held} + {paid} taken")
    return faults


@dataclass(slots=True)
class History:
    """What each rid was told so far, folded as it happens; and what was wrong with it."""

    answers: dict[str, tuple[str, str]] = field(default_factory=dict)  # rid -> (booked | refused | waiting, number or code)
    won: dict[str, str] = field(default_factory=dict)  # rid -> the number it was told; never forgotten
    violations: list[str] = field(default_factory=list)
    harmed: bool = False  # the turnstile was tampered with under a running server: a refusal it gave may have been wrong

    def clone(self) -> History:
        """Another history that begins like this one."""
        return History(self.answers.copy(), self.won.copy(), self.violations.copy(), self.harmed)

    def sent(self, rid: str) -> None:
        """The buyer taps or sends again: whatever was said before, an answer is due."""
        self.answers[rid] = ("waiting", "")

    def told(self, rid: str, code: str, stands: str | None) -> None:
        """The buyer hears: `booked:<number>`, or a code. `stands`: the number of this rid's order in the books at this very moment."""
        if code.startswith("booked:"):
            number = code.removeprefix("booked:")
            if stands != number:
                self.violations.append(f"early success: {rid} was told {number}, the books say {stands}")
            if self.won.setdefault(rid, number) != number:
                self.violations.append(f"two orders: {rid} was told {self.won[rid]} and {number}")
            self.answers[rid] = ("booked", number)
        elif code in FINAL:
            if stands is not None and not self.harmed:
                self.violations.append(f"winner refused: {rid} was told {code}, and its order stands")
            self.answers[rid] = ("refused", code)
        else:
            self.answers[rid] = ("waiting" if code == "pending" else "again", code)

    def look(self, books: Books) -> None:
        """Check the books; to be called at every moment at which they changed."""
        self.violations += books_faults(books)
        orders = dict(books.orders)
        for rid, number in self.won.items():
            if rid not in orders or orders[rid].no != number:
                self.violations.append(f"lost success: {rid} was told {number}, which is not in the books any more")
        for rid, (what, code) in self.answers.items():
            if what == "refused" and rid in orders and not self.harmed:
                self.violations.append(f"refused, then booked: {rid} was told {code}")

    def quiet(self, books: Books, counters: Counters | None, undone: Iterable[str] = ()) -> None:
        """Nothing moves and no fault is left: sums are due, and answers. `counters` None: the turnstile was tampered with."""
        self.look(books)
        if counters is not None:
            self.violations += counter_faults(books, counters)
        self.violations += [f"never resolved: {rid}" for rid, (what, _) in sorted(self.answers.items()) if what == "waiting"]
        self.violations += [f"left undone: {what}" for what in undone]
