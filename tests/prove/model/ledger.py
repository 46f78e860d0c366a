"""One ledger process: what it holds in memory between two steps, and the steps. Losing it at any step is a crash.

| step | in live/offers |
|---|---|
| `read`, `sweep` | `RoomLedger._read(">")`, `_read("0")` |
| `begin`, `commit` | `RoomLedger._commit`: from `SELECT fence FOR SHARE` to COMMIT |
| `settle`, `publish` | `RoomLedger._follow` of one group, after the former group's; `adjust` between two tries: `catchup.abreast` |
| `rows`, `row`, `adjust`, `delete` | `RoomLedger._apply_outbox`: the look, one row booked or applied, one movement sent, the rows deleted |
| `raise`, `clear`, `snapshot`, `fill`, `people`, `open` | `RoomLedger.ensure` and `rebuild.rebuild` |

`locked()` is `RoomLedger.lock`: reading new intents is the one thing done without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.prove.model.books import Act, Booking, Books, Broken, House, Move, Verdict, in_books
from tests.prove.model.turnstile import BEHIND, CLOSED, Intent, Settled, Turnstile


@dataclass(slots=True)
class Ledger:
    """A process that owns the room, or believes so. `at`: the Redis server it speaks to."""

    at: int = 0
    batch: tuple[Intent, ...] = ()
    held: int | None = None  # the fence its open transaction has read and holds
    after: tuple[tuple[Booking, bool], ...] = ()  # committed groups, and whether they are settled; two at most
    owed: bool = True
    rows: tuple[tuple[int, House | Act], ...] = ()  # looked at, not yet done with
    done: tuple[int, ...] = ()
    moves: tuple[Move, ...] = ()  # on their way to the turnstile
    lost: bool = False
    building: tuple[int, str, Turnstile | None] | None = None  # fence, next step, snapshot

    def clone(self) -> Ledger:
        """A copy; what it holds is never changed in place."""
        return Ledger(self.at, self.batch, self.held, self.after, self.owed, self.rows, self.done, self.moves, self.lost,
                      self.building)  # fmt: skip

    def key(self) -> tuple[Any, ...]:
        """Equal for equal states."""
        building = self.building and (*self.building[:2], self.building[2] and self.building[2].key())
        return (self.at, self.batch, self.held, self.after, self.owed, self.rows, self.done, self.moves, self.lost, building)

    def crash(self) -> None:
        """The process is gone; its successor starts with nothing."""
        self.batch, self.held, self.after, self.owed, self.rows, self.done, self.moves, self.building = (), None, (), True, (), (), (), None
        self.lost = False

    def trouble(self) -> None:
        """An exception ends the loop's turn, not the process."""
        self.batch, self.held, self.rows, self.done, self.moves, self.building = (), None, (), (), (), None

    def locked(self) -> bool:
        """Whether one of its loops has the lock."""
        return self.held is not None or bool(self.after or self.rows or self.done or self.building)

    def steps(self, books: Books, redis: Turnstile) -> list[str]:
        """What it may do next. The lock's owner goes on; else whichever loop comes first."""
        if self.building:
            return [self.building[1]]
        if self.moves and not self.after:
            return ["adjust"]
        if self.rows or self.done:
            return ["row"] if self.rows else ["delete"]
        found = self._group_steps(books, redis)
        if self.locked():
            return found
        if not self.batch and redis.group and redis.pending:
            found.append("sweep")
        if self._work(books, redis):
            found.append("rows")
        if self.lost or not redis.sound(books.fence, (offer for offer, card in books.cards.items() if card.phase == "open")):
            found.append("raise")
        return found

    # intents

    def read(self, redis: Turnstile, old: bool) -> None:
        """The next group."""
        self.batch = redis.read(old)

    def begin(self, books: Books) -> None:
        """The transaction opens: the fence's row is read and held."""
        self.held, self.owed = books.fence, False  # owed rows went before, or there were none

    def commit(self, books: Books) -> None:
        """COMMIT of the group, with the fence its transaction holds."""
        assert self.held is not None
        self.after = (*self.after, (books.commit(self.batch, self.held), False))
        self.batch, self.held = (), None

    def settle(self, books: Books, redis: Turnstile) -> None:
        """The first group's verdicts and numbers reach the turnstile, or what it lacks is on its way first."""
        booking = self.after[0][0]
        behind = redis.settle([settled(verdict) for verdict in booking.verdicts], booking.moves)
        self.moves = tuple(move for gap in behind for move in books.missing(*gap))
        if not behind:
            self.after = ((booking, True), *self.after[1:])

    def publish(self) -> tuple[Verdict, ...]:
        """The first group's verdicts go to the hubs."""
        verdicts = self.after[0][0].verdicts
        self.after = self.after[1:]
        return verdicts

    # outbox

    def look(self, books: Books) -> None:
        """The rows of this turn."""
        self.rows, self.owed = tuple(sorted(books.outbox.items())), True

    def row(self, books: Books, redis: Turnstile) -> None:
        """Book or apply the next row."""
        (row_id, payload), self.rows = self.rows[0], self.rows[1:]
        if isinstance(payload, Act):
            fresh = None
            if payload.fresh:
                found = books.snapshot()
                places = {place: total for place, (total, _, _) in books.allotments.items() if place[0] == payload.offer}
                fresh = (places, found.seats.get(payload.offer))
            applied = redis.apply(payload.no, payload.offer, payload.card, fresh)
            self.lost = self.lost or applied == -1
            if applied >= 0:
                self.done += (row_id,)
            return
        if payload.kind == "RETURN":
            if not redis.group:  # NOGROUP: the room has to be built anew first
                self.delete(books)
                self.trouble()
                self.owed = True
                return
            self.drain(books, redis)
        try:
            self.moves = books.book_house(payload)
        except Broken:
            books.drifts += 1  # `_park`, after some tries
        self.done += (row_id,)

    def drain(self, books: Books, redis: Turnstile) -> None:
        """`RoomLedger._drain`, in one step: its crash points are those of any other group."""
        for old in (True, False):
            booking = books.commit(redis.read(old), books.fence)
            verdicts = [settled(verdict) for verdict in booking.verdicts]
            for gap in redis.settle(verdicts, booking.moves):
                for move in books.missing(*gap):
                    redis.adjust(move.place, move.number, move.left, move.who, move.used, move.seats)
            redis.settle(verdicts, booking.moves)

    def adjust(self, books: Books, redis: Turnstile) -> None:
        """One movement reaches the turnstile, or those before it are on their way first."""
        move, self.moves = self.moves[0], self.moves[1:]
        answer = redis.adjust(move.place, move.number, move.left, move.who, move.used, move.seats)
        if answer == BEHIND:
            self.moves = (*books.missing(move.place, redis.move.get(move.place, 0), move.number - 1), move, *self.moves)
        elif answer == CLOSED and not self.after:
            self.moves, self.done = (), self.done[:-1]  # its row stays

    def delete(self, books: Books) -> None:
        """The rows that are done with."""
        for row_id in self.done:
            books.outbox.pop(row_id, None)
        self.done, self.owed = (), False

    # rebuild

    def raise_fence(self, books: Books) -> None:
        """`_RAISE`: waits for open bookings, which hold the row."""
        books.fence += 1
        self.lost = False
        self.building = (books.fence, "clear", None)

    def build(self, books: Books, redis: Turnstile) -> None:
        """The next step of a rebuild."""
        assert self.building
        fence, step, snapshot = self.building
        if step == "clear":
            redis.clear(fence)
            self.building = (fence, "snapshot", None)
        elif step == "snapshot":
            self.building = (fence, "fill", books.snapshot())
        elif snapshot is not None and step == "fill":
            redis.fill(fence, snapshot)
            self.building = (fence, "people", snapshot)
        elif snapshot is not None and step == "people":
            redis.people(fence, snapshot)
            self.building = (fence, "open", snapshot)
        elif snapshot is not None:
            redis.open(fence, snapshot)
            self.building = None

    def _group_steps(self, books: Books, redis: Turnstile) -> list[str]:
        """What may be done with the group at hand, and with those before it."""
        found = []
        if self.held is not None:
            found.append("commit")
        elif not self.batch and redis.group and any(each > redis.delivered for each in redis.intents):
            found.append("read")
        elif self.batch and len(self.after) < 2 and not (self.owed and self._work(books, redis)):
            alone = not redis.pending - {intent.id for intent in self.batch}
            if alone or not any(intent.ask for intent in self.batch):
                found.append("begin")
            elif not self.after:  # a question waits for everything that was delivered before it
                found.append("sweep")
        if self.after:
            found.append("publish" if self.after[0][1] else "adjust" if self.moves else "settle")
        return found

    def _work(self, books: Books, redis: Turnstile) -> bool:
        """Whether a look at the outbox would get anything done."""
        for _, row in sorted(books.outbox.items()):
            if isinstance(row, House):
                if (row.kind != "RETURN" or redis.group) and (redis.fence is not None or not in_books(books, row)):
                    return True
            elif redis.fence is not None and (row.no <= redis.act_no + 1 or not self.lost):
                return True
        return False


def settled(verdict: Verdict) -> Settled:
    """`RoomLedger._settled`."""
    return Settled(verdict.intent, ("D", verdict.intent.hash, verdict.no) if verdict.no else None, verdict.back)
