"""SQL as the ledger sees it: `till.book` and `till.book_house` on plain numbers, with the constraints that are the claim.

Each method is one transaction. Rows under lock make PostgreSQL's transactions serial, so one method is one step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.prove import history
from tests.prove.history import Moved
from tests.prove.model.turnstile import Card, Intent, Moves, Person, Place, Turnstile


class Broken(Exception):
    """A constraint fired: the transaction changed nothing."""


class Order(NamedTuple):
    """A row of `orders` (or `coupon_grant`) with its lines."""

    intent: int
    who: str
    at: str
    units: tuple[tuple[int, int], ...]
    state: str


class House(NamedTuple):
    """An outbox row `house`: see `offers.rules.House`."""

    kind: str
    rid: str
    at: str
    lines: tuple[tuple[int, int], ...]
    who: str | None = None
    seats: bool = False


class Act(NamedTuple):
    """An outbox row `act` that changes one offer's fields; `fresh` when it opens."""

    no: int
    offer: int
    card: Card
    fresh: bool = False


class Verdict(NamedTuple):
    """What became of one intent: the order's number, or why not; and whether its units go back."""

    intent: Intent
    no: str
    why: str
    back: bool


class Booking(NamedTuple):
    """A booked group."""

    verdicts: tuple[Verdict, ...]
    moves: tuple[Moves, ...] = ()


class Move(NamedTuple):
    """A movement of the shop as the turnstile must apply it."""

    place: Place
    number: int
    left: int
    who: str | None = None
    used: int = 0
    seats: int = 0


UNIQUE = "uq"


@dataclass(slots=True)
class Books:
    """The tables, one dictionary each."""

    fence: int = 0
    act_no: int = 0
    cards: dict[int, Card] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)  # of teams
    allotments: dict[Place, tuple[int, int, int]] = field(default_factory=dict)  # total, taken, move_no
    moves: dict[tuple[str, int, str], tuple[str, int, int]] = field(default_factory=dict)  # rid, offer, kind -> place, no, qty
    quotas: dict[Person, int] = field(default_factory=dict)
    teams: dict[int, tuple[int, int]] = field(default_factory=dict)  # held, paid
    orders: dict[str, Order] = field(default_factory=dict)
    outbox: dict[int, House | Act] = field(default_factory=dict)
    row: int = 0
    drifts: int = 0

    def clone(self) -> Books:
        """A copy."""
        return Books(
            self.fence, self.act_no, self.cards.copy(), self.sizes, self.allotments.copy(), self.moves.copy(), self.quotas.copy(),
            self.teams.copy(), self.orders.copy(), self.outbox.copy(), self.row, self.drifts,
        )  # fmt: skip

    def key(self) -> tuple[Any, ...]:
        """Equal for equal states."""
        dicts = (self.cards, self.allotments, self.moves, self.quotas, self.teams, self.orders, self.outbox)
        return (self.fence, self.act_no, self.row, self.drifts, *(frozenset(each.items()) for each in dicts))

    # booking

    def commit(self, intents: Sequence[Intent], fence: int) -> Booking:
        """`RoomLedger._commit`: one transaction, halved when a constraint fires. `fence`: as the transaction holds it."""
        try:
            return self.book(intents, fence)
        except Broken:
            if len(intents) == 1:
                self.drifts += 1
                return Booking((Verdict(intents[0], "", "sold_out", not intents[0].ask),))
            middle = len(intents) // 2
            first, second = self.commit(intents[:middle], fence), self.commit(intents[middle:], fence)
            moves = {each[0]: each for each in (*first.moves, *second.moves)}
            return Booking(first.verdicts + second.verdicts, tuple(moves.values()))

    def book(self, intents: Sequence[Intent], fence: int) -> Booking:
        """`till.book`: decide in stream order, write, check the constraints."""
        current = [intent for intent in intents if intent.fence == fence]
        verdicts = [Verdict(intent, "", "again", False) for intent in intents if intent.fence != fence]
        if not current:
            return Booking(tuple(verdicts))
        room = _Room(self)
        accepted: dict[str, Intent] = {}
        drifts = 0
        for intent in current:
            verdict = self._decide(intent, accepted, room)
            drifts += verdict.why != "" and verdict.back
            verdicts.append(verdict)
        pairs = sorted({(offer, intent.at) for intent in current for offer in intent.units()} & self.allotments.keys())
        before = [self.allotments[pair][2] for pair in pairs]
        self._write(list(accepted.values()))
        self.drifts += drifts
        return Booking(tuple(verdicts), tuple((pair, no, self.allotments[pair][2]) for pair, no in zip(pairs, before, strict=True)))

    def _decide(self, intent: Intent, accepted: dict[str, Intent], room: _Room) -> Verdict:
        known = self.orders.get(intent.rid)
        if known is not None:
            return Verdict(intent, number(intent.rid), "", known.intent != intent.id and not intent.ask)
        if intent.rid in accepted:
            return Verdict(intent, number(intent.rid), "", not intent.ask)
        if intent.ask:
            return Verdict(intent, "", intent.ask[0], False)
        why = room.take(intent)
        if why is not None:
            return Verdict(intent, "", why, True)
        accepted[intent.rid] = intent
        return Verdict(intent, number(intent.rid), "", False)

    def _write(self, accepted: Sequence[Intent]) -> None:
        """All or nothing: on copies, taken over when every CHECK and unique key has passed."""
        draft = self.clone()
        for intent in accepted:
            draft.write_order(intent)
            for offer, qty in intent.units().items():
                draft.move((intent.rid, offer, "HOLD"), intent.at, qty, taken=qty)
                draft.use((offer, intent.who), qty)
                if offer in draft.teams:
                    draft.seat(offer, held=qty)
        self.take_over(draft)

    def write_order(self, intent: Intent) -> None:
        """A booker's row: a rid is there once."""
        if intent.rid in self.orders:
            raise Broken(UNIQUE)
        state = "CLAIMED" if intent.kind == "coupon" else "AWAIT_PAY"
        self.orders[intent.rid] = Order(intent.id, intent.who, intent.at, tuple(sorted(intent.units().items())), state)

    def take_over(self, draft: Books) -> None:
        """Commit."""
        for name in ("allotments", "moves", "quotas", "teams", "orders", "outbox", "row"):
            setattr(self, name, getattr(draft, name))

    def move(self, cause: tuple[str, int, str], at: str, qty: int, *, taken: int = 0, total: int = 0) -> int:
        """The next movement of an allotment; CHECK and unique key as in `offers.tables`."""
        if cause in self.moves:
            raise Broken(UNIQUE)
        place = (cause[1], at)
        was = self.allotments[place]
        now = (was[0] + total, was[1] + taken, was[2] + 1)
        if not 0 <= now[1] <= now[0]:
            raise Broken("taken")
        self.allotments[place] = now
        self.moves[cause] = (at, now[2], qty)
        return now[2]

    def use(self, person: Person, qty: int) -> None:
        """Units of a person; the CHECK."""
        used = self.quotas.get(person, 0) + qty
        if not 0 <= used <= self.cards[person[0]].k:
            raise Broken("quota")
        self.quotas[person] = used

    def seat(self, offer: int, held: int = 0, paid: int = 0) -> None:
        """Seats of a team; the CHECK."""
        was = self.teams[offer]
        now = (was[0] + held, was[1] + paid)
        if min(now) < 0 or sum(now) > self.sizes[offer]:
            raise Broken("seats")
        self.teams[offer] = now

    # the shop's own movements

    def book_house(self, entry: House) -> tuple[Move, ...]:
        """`till.book_house`: booked before, the same moves again."""
        draft, moves = self.clone(), []
        for offer, qty in sorted(entry.lines):
            if entry.kind == "RETURN":
                moves.append(draft.give_rest(entry.rid, offer, entry.at))
                continue
            fresh = (entry.rid, offer, entry.kind) not in draft.moves
            moves.append(draft.give_back(entry, offer, qty))
            follows = f"{entry.kind.lower()}:{entry.rid}"
            due = (return_rid(offer, entry.at) if fresh else follows, offer, "RETURN") in draft.moves
            if draft.cards[offer].phase == "ended" and due:
                moves.append(draft.give_rest(follows, offer, entry.at))
        self.take_over(draft)
        return tuple(moves)

    def give_back(self, entry: House, offer: int, qty: int) -> Move:
        """`till._move`."""
        cause = (entry.rid, offer, entry.kind)
        used = 0 if entry.kind == "ADJUST" or entry.who is None else -qty
        seats = qty if entry.seats else 0
        if cause in self.moves:
            return Move((offer, entry.at), self.moves[cause][1], qty, entry.who, used, seats)
        adds = entry.kind == "ADJUST"
        number = self.move(cause, entry.at, qty, total=qty) if adds else self.move(cause, entry.at, -qty, taken=-qty)
        if used and entry.who is not None:
            self.use((offer, entry.who), used)
        if seats:
            self.seat(offer, held=-seats)
        return Move((offer, entry.at), number, qty, entry.who, used, seats)

    def give_rest(self, rid: str, offer: int, at: str) -> Move:
        """`till._return`."""
        total, taken, _ = self.allotments[(offer, at)]
        cause = (rid, offer, "RETURN")
        if cause in self.moves:
            return Move((offer, at), self.moves[cause][1], self.moves[cause][2])
        return Move((offer, at), self.move(cause, at, taken - total, total=taken - total), taken - total)

    def missing(self, place: Place, after: int, to: int) -> list[Move]:
        """`catchup.missing`, with one move per hold."""
        found = []
        for (rid, offer, kind), (at, number, qty) in sorted(self.moves.items(), key=lambda each: each[1][1]):
            if (offer, at) == place and after < number <= to:
                who = self.orders[rid].who if kind in ("RELEASE", "RESTOCK") else None
                seats = -qty if kind == "RELEASE" and offer in self.teams else 0
                left = {"HOLD": 0, "ADJUST": qty, "RETURN": qty}.get(kind, -qty)
                found.append(Move(place, number, left, who, qty if who else 0, seats))
        return found

    # what web and workers commit

    def say(self, row: House | Act) -> None:
        """An outbox row, in the transaction that decides."""
        self.row += 1
        self.outbox[self.row] = row

    def act(self, offer: int, card: Card, fresh: bool = False) -> None:
        """A change of an offer that its room must hear of."""
        self.cards[offer] = card
        self.act_no += 1
        self.say(Act(self.act_no, offer, card, fresh))

    def order(self, rid: str, state: str) -> None:
        """An order goes on; `orders.change.return_goods` when it is given up or refunded."""
        was = self.orders[rid]
        self.orders[rid] = was._replace(state=state)
        seats = tuple((offer, qty) for offer, qty in was.units if offer in self.teams)
        others = tuple(pair for pair in was.units if pair not in seats)
        if state == "PAID":
            for offer, qty in seats:
                self.seat(offer, held=-qty, paid=qty)
                if self.teams[offer][1] == self.sizes[offer] and self.cards[offer].phase == "open":
                    self.end(offer)  # `seats_paid`: the last seat ends the offer
        if state in ("CANCELLED", "REFUNDED"):
            kind = "RELEASE" if state == "CANCELLED" else "RESTOCK"
            for lines, seated in ((seats, kind == "RELEASE"), (others, False)):
                if lines:
                    self.say(House(kind, rid, was.at, lines, was.who, seated))

    def add(self, offer: int, at: str, qty: int) -> None:
        """`offers.actions.add_stock`: the movement, and an act that shows the new total."""
        self.say(House("ADJUST", f"add:{self.row}", at, ((offer, qty),)))
        self.act(offer, self.cards[offer])

    def end(self, offer: int) -> None:
        """`offers.actions.end_offer`."""
        self.act(offer, self.cards[offer]._replace(phase="ended"))
        for each, at in sorted(self.allotments):
            if each == offer:
                self.say(House("RETURN", return_rid(offer, at), at, ((offer, 0),)))

    def snapshot(self) -> Turnstile:
        """`rebuild._snapshot`, in the shape of what it fills."""
        live = set(self.cards)  # of every offer here the card is shown: nothing is taken off the shelf
        found = Turnstile(act_no=self.act_no, shown={offer: card.phase for offer, card in self.cards.items()})
        found.cards = {offer: self.cards[offer] for offer in live}
        for place, (total, taken, last) in self.allotments.items():
            if place[0] in live:
                found.left[place], found.move[place] = total - taken, last
        found.used = {who: n for who, n in self.quotas.items() if n > 0 and self.cards[who[0]].phase == "open" and who[0] in live}
        found.seats = {offer: self.sizes[offer] - sum(self.teams[offer]) for offer in self.teams if offer in live}
        return found

    def seen(self) -> history.Books:
        """As the checker reads books."""
        orders = [(rid, history.Order(number(rid), order.who, order.at, order.units, order.state in ("PAID", "REFUNDED")))
                  for rid, order in self.orders.items()]  # fmt: skip
        moves = [Moved(offer, at, no, kind, qty, rid) for (rid, offer, kind), (at, no, qty) in self.moves.items()]
        teams = {offer: (self.sizes[offer], *pair) for offer, pair in self.teams.items()}
        return history.Books(self.allotments, orders, moves, self.quotas, {o: card.k for o, card in self.cards.items()}, teams)


class _Room:
    """What the till's rows under lock still have room for: `till._lock` and `rules.take`."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.free = {place: total - taken for place, (total, taken, _) in books.allotments.items()}
        self.used: Mapping[Person, int] = books.quotas
        self.more: dict[Person, int] = {}
        self.seats = {offer: books.sizes[offer] - sum(pair) for offer, pair in books.teams.items()}

    def take(self, intent: Intent) -> str | None:
        """Take an intent's units, all or none."""
        units = intent.units()
        for offer, qty in units.items():
            person = (offer, intent.who)
            if self.used.get(person, 0) + self.more.get(person, 0) + qty > self.books.cards[offer].k:
                return "limit"
            if offer in self.seats and self.seats[offer] < qty:
                return "team_full"
            if self.free.get((offer, intent.at), 0) < qty:
                return "sold_out"
        for offer, qty in units.items():
            self.free[(offer, intent.at)] -= qty
            self.more[(offer, intent.who)] = self.more.get((offer, intent.who), 0) + qty
            if offer in self.seats:
                self.seats[offer] -= qty
        return None


def number(rid: str) -> str:
    """An order's number follows from its rid, as in `orders.rules.number`."""
    return f"no:{rid}"


def in_books(books: Books, entry: House) -> bool:
    """Whether a movement of the shop was booked before."""
    return all((entry.rid, offer, entry.kind) in books.moves for offer, _ in entry.lines)


def return_rid(offer: int, at: str) -> str:
    """`till.return_rid`."""
    return f"end:{offer}:{at}"
