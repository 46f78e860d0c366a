"""The whole shop as steps: buyers, hubs, ledgers, Redis servers, the books, and everything that may go wrong.

A step is a tuple of plain values; `steps()` lists those possible now, `do(step)` takes one. The same steps give the same world, so a
list of steps is a schedule that can be run again. Crash points of the design's table, and the steps that stand for them:

| point | steps |
|---|---|
| C0 before the script | a `send` that never comes |
| C1 script ran, reply lost | `lose_reply`, then `again` |
| C2 ledger dies before the commit | `crash` after `read` or `begin` |
| C3 connection lost during COMMIT | `commit_unknown` (it happened), `abort` (it did not) |
| C4 after the commit, before the removal | `crash` after `commit`, `settle_lost` |
| C5 after the removal, before the answer | `crash` after `settle`, `publish_lost`, then `ask` |
| C6, C7 Redis loses its tail | `save`, then `tail`: an older state in a new server process |
| C8 Redis empty | `flush` |
| C9 two masters | `promote`: the older state is a second server, and actors choose |
| C10 database away | `abort` as often as the budget lets it |
| C13 the sweep dies after CLOSING | `close` without its `cancel` |

C11 and C12 belong to the hand-off, which has no stock; C14 (a database that forgets commits) is what the claim assumes not to happen.
Beyond the table: `restart`, `restore` (an older dump under the same server), `forget` (keys deleted), `settle_twice`, a second ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.prove.history import Counters, History
from tests.prove.model.books import Books, number
from tests.prove.model.ledger import Ledger
from tests.prove.model.turnstile import Card, Tap, Turnstile

Step = tuple[Any, ...]
LEDGER_FAULTS = {"crash": "crash", "abort": "reply", "commit_unknown": "reply", "settle_lost": "reply", "settle_twice": "reply",
                 "publish_lost": "reply"}  # fmt: skip
# After these the turnstile may believe anything until it is built anew: only the till's promises hold.
TAMPER = frozenset({"restore", "forget"})


@dataclass(slots=True)
class Buyer:
    """One rid: the bodies it sends (a retry may carry another), how far it is, and the intent its hub waits for (0: not known)."""

    rid: str
    who: str
    bodies: tuple[tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]], ...]
    tries: int = 0
    awaits: int = 0


@dataclass(slots=True)
class World:
    """Everything at one moment. `budget`: how often each kind of fault or shop act may still happen."""

    books: Books = field(default_factory=Books)
    servers: tuple[Turnstile, ...] = ()
    dump: Turnstile | None = None
    ledgers: list[Ledger] = field(default_factory=list)
    buyers: list[Buyer] = field(default_factory=list)
    budget: dict[str, int] = field(default_factory=dict)
    history: History = field(default_factory=History)
    patience: int = 3  # tries of a buyer who is told to come again
    next_id: int = 1
    next_server: int = 2
    now: int = 0
    tampered: bool = False
    lossy: bool = False  # what the turnstile let through was forgotten, or let through twice: the till may refuse it

    def clone(self) -> World:
        """Another world that begins like this one."""
        buyers = [Buyer(each.rid, each.who, each.bodies, each.tries, each.awaits) for each in self.buyers]
        return World(
            self.books.clone(), tuple(each.clone() for each in self.servers), self.dump, [each.clone() for each in self.ledgers], buyers,
            self.budget.copy(), self.history.clone(), self.patience, self.next_id, self.next_server, self.now, self.tampered,
            self.lossy,
        )  # fmt: skip

    def key(self) -> int:
        """Equal for equal worlds."""
        return hash((
            self.books.key(), *(each.key() for each in self.servers), self.dump and self.dump.key(), *(each.key() for each in self.ledgers),
            tuple((each.tries, each.awaits) for each in self.buyers), frozenset(self.budget.items()),
            frozenset(self.history.answers.items()), frozenset(self.history.won.items()), self.next_id, self.now, self.tampered,
        ))  # fmt: skip

    # the shop before the first step

    def open(self, card: Card, stock: Mapping[str, int], size: int | None = None) -> int:
        """An offer, with its act in the outbox."""
        offer = len(self.books.cards) + 1
        for place, total in stock.items():
            self.books.allotments[(offer, place)] = (total, 0, 0)
        if size is not None:
            self.books.sizes[offer], self.books.teams[offer] = size, (0, 0)
        self.books.act(offer, card, fresh=True)
        return offer

    def build(self, ledgers: int = 1) -> None:
        """Servers and ledgers, and a room that is open: as after a first start."""
        self.servers = (Turnstile(),)
        self.ledgers = [Ledger() for _ in range(ledgers)]
        first = self.ledgers[0]
        first.raise_fence(self.books)
        while first.building:
            first.build(self.books, self.servers[0])
        self.books.outbox.clear()
        for each in self.ledgers:
            each.owed = False

    # steps

    def steps(self) -> list[Step]:
        """Everything that may happen next."""
        found: list[Step] = []
        for i, _ in enumerate(self.buyers):
            found += self._buyer_steps(i)
        for i, ledger in enumerate(self.ledgers):
            found += self._ledger_steps(i, ledger)
        for rid, order in sorted(self.books.orders.items()):
            ways: tuple[str, ...] = {"AWAIT_PAY": ("pay", "close"), "CLOSING": ("cancel", "pay"), "PAID": ("refund",)}.get(order.state, ())
            found += [(way, rid) for way in ways if way == "cancel" or self._may(way)]
        for name in ("add", "end", "price", "clock"):
            if self._may(name):
                found += [(name, offer) for offer, card in sorted(self.books.cards.items()) if card.phase == "open"]
        return found + self._redis_steps()

    def _may(self, name: str) -> bool:
        return self.budget.get(name, 0) > 0

    def _buyer_steps(self, i: int) -> list[Step]:
        buyer = self.buyers[i]
        what, _ = self.history.answers.get(buyer.rid, ("new", ""))
        servers = range(len(self.servers))
        found: list[Step] = []
        if what in ("new", "again") and buyer.tries < self.patience:
            found += [("send", i, s) for s in servers]
        elif what == "waiting" and self._may("again"):
            found += [("again", i, s) for s in servers]
        if found and self._may("reply"):
            found.append(("lose_reply", i, len(self.servers) - 1))
        if what == "waiting" and self._record(buyer.rid)[0] != "pending":
            found.append(("ask", i))
        return found

    def _ledger_steps(self, i: int, ledger: Ledger) -> list[Step]:
        redis = self.servers[ledger.at]
        names = ledger.steps(self.books, redis)
        if "raise" in names and not self._may_raise(i):
            names.remove("raise")
        found: list[Step] = [(name, i) for name in names]
        if ledger.at < len(self.servers) - 1:
            found.append(("switch", i))
        if self._may("crash") and (ledger.batch or ledger.locked()):
            found.append(("crash", i))
        if self._may("reply"):
            faults = {"commit": ("abort", "commit_unknown"), "settle": ("settle_lost", "settle_twice"), "publish": ("publish_lost",)}
            found += [(fault, i) for name in names for fault in faults.get(name, ())]
        return found

    def _may_raise(self, i: int) -> bool:
        """The fence's row is held FOR SHARE by open bookings; a server that was left behind is not built anew; nor without end by two."""
        if self.ledgers[i].at < len(self.servers) - 1 or any(each.held is not None for each in self.ledgers):
            return False
        return not any(each.building for each in self.ledgers) or self._may("raise")

    def _redis_steps(self) -> list[Step]:
        found: list[Step] = []
        for name in ("flush", "restart"):
            if self._may(name):
                found += [(name, s) for s in range(len(self.servers))]
        if self._may("save") and self.dump is None:
            found.append(("save",))
        if self.dump is not None:
            found += [(name,) for name in ("tail", "restore", "promote") if self._may(name)]
        if self._may("forget"):
            found += [("forget", what) for what in ("used", "records", "cards", "left", "intents", "meta")]
        return found

    def _spend(self, name: str) -> None:
        self.budget[name] = self.budget.get(name, 0) - 1

    def do(self, step: Step) -> None:
        """Take a step, then check what it changed."""
        books, before = self.books, len(self.books.moves) + len(self.books.orders)
        states = [order.state for order in books.orders.values()]
        getattr(self, _DO[step[0]])(*step)
        if len(books.moves) + len(books.orders) != before or [order.state for order in books.orders.values()] != states:
            self.history.look(books.seen())
        if books.drifts and not self.lossy:
            self.history.violations.append("drift: the till refused what a sound turnstile let through")

    def possible(self, step: Step) -> bool:
        """Whether a step of another schedule can be taken here."""
        return step in self.steps()

    # buyers

    def send(self, name: str, i: int, server: int) -> None:
        """A tap reaches the turnstile; `lose_reply`: the answer never comes back."""
        buyer = self.buyers[i]
        if name != "send":
            self._spend("again" if name == "again" else "reply")
        at, lines = buyer.bodies[min(buyer.tries, len(buyer.bodies) - 1)]
        buyer.tries += 1
        body = repr((sorted(line[:2] for line in lines), at))
        tap = Tap(buyer.rid, buyer.who, body, buyer.tries, at, lines)
        self.history.sent(buyer.rid)
        redis = self.servers[server]
        answer = redis.reserve(tap, self.now, self.next_id)
        if answer == ("NO", "sold_out") and any(
            place in redis.cards[offer].places and (offer, place) not in redis.left for offer, _, _ in lines for place in at
        ):
            self.history.violations.append(f"counter missing: {buyer.rid} was told sold_out by a turnstile that cannot know")
        passed = answer[0] in ("OK", "ASK")
        buyer.awaits = self.next_id if passed and name != "lose_reply" else 0
        self.next_id += passed
        if name == "lose_reply":
            return
        if answer[0] == "KNOWN":
            record = answer[1]
            buyer.awaits = record[1] if record[0] == "I" else 0
            if record[3 if record[0] == "I" else 1] != body:
                self._told(i, "key_reused")
            elif record[0] == "D":
                self._told(i, f"booked:{record[2]}")
        elif answer[0] == "NO":
            self._told(i, answer[1])
        elif answer[0] == "FENCED":
            self._told(i, "fenced")

    def _told(self, i: int, code: str) -> None:
        rid = self.buyers[i].rid
        self.history.told(rid, code, number(rid) if rid in self.books.orders else None)

    def _record(self, rid: str) -> tuple[str, str]:
        """What `reservations.record` says of a rid at the newest server: pending, or what its buyer is told."""
        redis = self.servers[-1]
        record = redis.records.get(rid)
        if record is not None and record[0] == "D":
            return "done", f"booked:{record[2]}"
        if redis.fence is None or (record is not None and record[2] == redis.fence):
            return "pending", ""
        return "done", "again"

    def ask(self, _: str, i: int) -> None:
        """The hub looks at the record of who waits too long."""
        self._told(i, self._record(self.buyers[i].rid)[1])

    # ledgers

    def ledger(self, name: str, i: int) -> None:
        """A step of one ledger, or its loss at that point."""
        ledger, books = self.ledgers[i], self.books
        redis = self.servers[ledger.at]
        if name in LEDGER_FAULTS:
            self._spend(LEDGER_FAULTS[name])
            self._ledger_fault(name, ledger)
        elif name in ("read", "sweep"):
            ledger.read(redis, name == "sweep")
        elif name == "begin":
            ledger.begin(books)
        elif name == "publish":
            self._published(ledger)
        elif name == "raise":
            if any(each.building for each in self.ledgers):
                self._spend("raise")
            ledger.raise_fence(books)
        elif name == "switch":
            ledger.trouble()
            ledger.at = len(self.servers) - 1
        elif name in ("clear", "snapshot", "fill", "people", "open"):
            ledger.build(books, redis)
            if name == "open" and redis.fence == books.fence:
                self.tampered = False
        else:
            self._books_step(name, ledger, redis)

    def _books_step(self, name: str, ledger: Ledger, redis: Turnstile) -> None:
        books = self.books
        if name == "commit":
            ledger.commit(books)
        elif name == "settle":
            ledger.settle(books, redis)
        elif name == "rows":
            ledger.look(books)
        elif name == "row":
            ledger.row(books, redis)
        elif name == "adjust":
            ledger.adjust(books, redis)
        else:
            ledger.delete(books)

    def _ledger_fault(self, name: str, ledger: Ledger) -> None:
        if name == "crash":
            ledger.crash()
        elif name == "abort":
            ledger.trouble()
        elif name == "commit_unknown":
            ledger.commit(self.books)
            ledger.after = ledger.after[:-1]
        elif name in ("settle_twice", "settle_lost"):
            ledger.settle(self.books, self.servers[ledger.at])
            if ledger.moves:
                return  # what the turnstile lacks goes first
            if name == "settle_twice":
                ledger.settle(self.books, self.servers[ledger.at])
            else:
                ledger.publish()
        else:
            ledger.publish()

    def _published(self, ledger: Ledger) -> None:
        by_rid = {buyer.rid: i for i, buyer in enumerate(self.buyers)}
        for verdict in ledger.publish():
            i = by_rid[verdict.intent.rid]
            mine = verdict.no or verdict.intent.id == self.buyers[i].awaits
            if mine and self.history.answers[verdict.intent.rid][0] == "waiting":
                self._told(i, f"booked:{verdict.no}" if verdict.no else verdict.why)

    # the shop

    def shop(self, name: str, what: Any) -> None:
        """Orders go on; the host edits."""
        if name != "cancel":
            self._spend(name)
        states = {"pay": "PAID", "close": "CLOSING", "cancel": "CANCELLED", "refund": "REFUNDED"}
        if name in states:
            self.books.order(what, states[name])
        elif name == "add":
            self.books.add(what, min(at for offer, at in self.books.allotments if offer == what), 1)
        elif name == "end":
            self.books.end(what)
        elif name == "price":
            card = self.books.cards[what]
            self.books.act(what, card._replace(version=card.version + 1))
        else:
            self.now += 1

    # Redis

    def redis(self, name: str, what: Any = None) -> None:
        """A server loses, forgets or changes something."""
        self.budget[name] -= 1
        self.tampered = self.tampered or name in TAMPER
        self.history.harmed = self.history.harmed or name in TAMPER
        self.lossy = self.lossy or name in TAMPER or name in ("tail", "promote")
        servers = list(self.servers)
        if name == "save":
            self.dump = servers[-1].clone()
        elif name == "flush":
            servers[what] = Turnstile(server=servers[what].server)
        elif name == "forget":
            _forget(servers[-1], what)
        elif name == "restart":
            servers[what] = servers[what].clone()
            servers[what].server = self._new_server()
        elif self.dump is not None:
            old = self.dump.clone()
            old.server = servers[-1].server if name == "restore" else self._new_server()
            servers = [*servers, old] if name == "promote" else [*servers[:-1], old]
        self.servers = tuple(servers)

    def _new_server(self) -> int:
        self.next_server += 1
        return self.next_server - 1

    # the end

    def done(self) -> None:
        """Nothing is possible any more: the sums are due."""
        redis = self.servers[-1]
        undone = [f"outbox row {row}" for row in self.books.outbox]
        undone += [f"intent of {each.rid}" for each in redis.intents.values() if not self.tampered]
        self.history.quiet(self.books.seen(), None if self.tampered else counters(redis, self.books), undone)


def counters(redis: Turnstile, books: Books) -> Counters:
    """As the checker reads a turnstile."""
    waiting: dict[tuple[int, str, str], int] = {}
    for intent in redis.intents.values():
        for offer, qty in intent.units().items() if not intent.ask else ():
            waiting[(offer, intent.at, intent.who)] = waiting.get((offer, intent.at, intent.who), 0) + qty
    on_sale = frozenset(offer for offer, card in books.cards.items() if card.phase == "open" and offer in redis.cards)
    return Counters(redis.left, redis.used, redis.seats, waiting, on_sale, redis.move)


def _forget(redis: Turnstile, what: str) -> None:
    """Keys of one kind are gone: `meta`, the stream with its group, records, or hashes of offers and what is in them."""
    if what == "meta":
        redis.fence = redis.run_id = redis.building = None
        redis.act_no = 0
    elif what == "intents":
        redis.intents.clear()
        redis.group, redis.delivered, redis.pending = False, 0, frozenset()
    elif what == "cards":
        for each in (redis.cards, redis.left, redis.move, redis.seats):
            each.clear()
    else:
        getattr(redis, what).clear()


_DO: Mapping[str, str] = {  # by name, so that a planted bug is met
    **dict.fromkeys(("send", "again", "lose_reply"), "send"),
    "ask": "ask",
    **dict.fromkeys(("read", "sweep", "begin", "commit", "settle", "publish", "rows", "row", "adjust", "delete", "raise", "clear",
                     "snapshot", "fill", "people", "open", "switch", *LEDGER_FAULTS), "ledger"),
    **dict.fromkeys(("pay", "close", "cancel", "refund", "add", "end", "price", "clock"), "shop"),
    **dict.fromkeys(("save", "flush", "forget", "restart", "tail", "restore", "promote"), "redis"),
}  # fmt: skip


def replay(world: World, steps: Sequence[Step]) -> list[Step]:
    """Take those of `steps` that are possible when their turn comes; returns them. Stops at the first violation."""
    taken = []
    for step in steps:
        if world.history.violations:
            break
        if world.possible(step):
            world.do(step)
            taken.append(step)
    return taken
