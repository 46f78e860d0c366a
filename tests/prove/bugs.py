"""Bugs that a shop like this has had, here or elsewhere. `--planted` plants one after the other; a proof that misses one proves nothing.

`model` changes the model, which the kinds `model` and `simulation` walk; `shop` changes the real scripts and functions under `machine`,
where the model beside them is left as it is; `lines` does so under `lines`, of which the
model knows nothing; `house` changes the programs that `kills` runs and kills, `sql` their database.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from live.offers.waitlist import giving
from tests.prove.patches import Code, Lua, Patch, Value

TURNSTILE = "tests.prove.model.turnstile:Turnstile."
BOOKS = "tests.prove.model.books:Books."
LEDGER = "tests.prove.model.ledger:Ledger."
SCRIPTS = "live.offers.reservations:_"


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug."""

    name: str
    model: tuple[Patch, ...] = ()
    shop: tuple[Patch, ...] = ()
    lines: tuple[Patch, ...] = ()
    house: tuple[Patch, ...] = ()
    sql: tuple[str, ...] = ()


BUGS = (
    Bug("units given back without asking XDEL",
        (Code(TURNSTILE + "settle", "if self.intents.pop(intent.id, None) is not None:", "if [self.intents.pop(intent.id, None)]:"),),
        (Lua(SCRIPTS + "settle", "INTENTS, id) == 1", "INTENTS, id) >= 0"),)),
    Bug("success before the commit",
        (Code("tests.prove.model.world:World.ledger", "ledger.begin(books)",
              "ledger.begin(books); [self._told(i, 'booked:' + number(one.rid)) for one in ledger.batch "
              "for i, buyer in enumerate(self.buyers) if buyer.rid == one.rid]"),),
        house=(Code("live.offers.ledger:RoomLedger._commit", "self.course)\n",
                    "self.course); await self._publish(result.verdicts)\n"),)),
    Bug("the phase checked before the rid",
        (Code(TURNSTILE + "reserve", "record = self.records.get(tap.rid)",
              "record = self.records.get(tap.rid) if not self.check(tap, now)[0] else None"),),
        (Lua(SCRIPTS + "reserve", "kinds - 2, records[i], nil", "kinds - 2, offers[1].phase == 'open' and records[i], nil"),)),
    Bug("the limit kept by Redis alone",
        (Code(BOOKS + "use", "if not 0 <= used <= self.cards[person[0]].k:", "if used < 0:"),
         Code("tests.prove.model.books:_Room.take", "qty > self.books.cards[offer].k", "qty > 999")),
        (Code("live.offers.till:take", "if counters.quota_left.get((offer, intent.person), 0) < qty:", "if qty < 0:"),
         Code("live.offers.till:_write", "array(offers[o].per_person for o, _ in people)", "array(999 for _ in people)"))),
    Bug("the fence not read by the till",
        (Code(BOOKS + "book", "[intent for intent in intents if intent.fence == fence]", "list(intents)"),),
        (Code("live.offers.till:book", "[intent for intent in intents if intent.fence == fence]", "list(intents)"),)),
    Bug("the fence read and not held",
        (Code("tests.prove.model.world:World._may_raise", "any(each.held is not None for each in self.ledgers)", "False"),)),
    Bug("run_id not read by the turnstile",
        (Code(TURNSTILE + "reserve", " or self.run_id != self.server", ""),
         Code(TURNSTILE + "sound", " or self.run_id != self.server", "")),
        (Lua(SCRIPTS + "reserve", "not guard[1] or guard[2] ~= mine", "not guard[1]"),)),
    Bug("the fence not read by the turnstile",
        shop=(Lua(SCRIPTS + "reserve", "not guard[1] or guard[2] ~= mine", "guard[2] and guard[2] ~= mine"),)),
    Bug("a release booked twice",
        (Code(BOOKS + "give_back", "if cause in self.moves:",
              "if cause in self.moves and (cause := (*cause[:2], cause[2] + '2')) in self.moves:"),),
        (Code("live.offers.till:_number", "if found is not None:\n        return found", "if found is not None:\n        rid += '2'"),)),
    Bug("each line of a bundle checked alone",
        (Code(TURNSTILE + "check", "need[offer] = need.get(offer, 0) + qty", "need[offer] = qty"),),
        (Lua(SCRIPTS + "reserve", "need[o] = need[o] + line[2]", "need[o] = line[2]"),)),
    Bug("an ask booked like a tap",
        (Code(BOOKS + "_decide", "if intent.ask:", "if False:"),),
        (Code("live.offers.till:_decide", "    if intent.ask:\n", "    if False:\n"),)),
    Bug("the rid's record not written",
        (Code(TURNSTILE + "reserve", 'self.records[tap.rid] = ("I", intent_id, self.fence, tap.hash)', "pass"),),
        (Lua(SCRIPTS + "reserve", "write_rids(5, written)", "write_rids(5, {})"),)),
    Bug("adjust without its move_no",
        (Code(TURNSTILE + "adjust", "if self.move.get(place, 0) >= number:", "if False:"),),
        (Lua(SCRIPTS + "adjust", "if mark >= number then return {0} end", ""),)),
    Bug("settle does not raise the move_no",
        (Code(TURNSTILE + "settle", "self.move[place] = max(self.move.get(place, 0), last)", "pass"),),
        (Lua(SCRIPTS + "settle", "for _, mark in ipairs(raised) do", "for _, mark in ipairs({}) do"),)),
    Bug("the mark raised past a movement that is missing",
        (Code(TURNSTILE + "settle", "if behind:", "if False:"),),
        (Lua(SCRIPTS + "settle", "if found[1] and mark < move[3] then", "if false then"),)),
    Bug("a movement taken for done by a room that is not open",
        (Code(LEDGER + "adjust", "elif answer == CLOSED and not self.after:", "elif False:"),),
        (Code("live.offers.ledger:RoomLedger._house", "return CLOSED not in [", "return 9 not in ["),)),
    Bug("acts that are lost for ever are not missed",
        (Code(LEDGER + "row", "self.lost = self.lost or applied == -1", "self.lost = False"),
         Code(LEDGER + "_work", " or not self.lost", "")),
        (Code("live.offers.ledger:RoomLedger._apply", "self.lost = True", "pass"),)),
    Bug("a refusal told by rid",
        (Code("tests.prove.model.world:World._published", "verdict.intent.id == self.buyers[i].awaits", "True"),)),
    Bug("a rebuild under the old fence",
        (Code(LEDGER + "raise_fence", "books.fence += 1", "books.fence += 0 if books.fence else 1"),
         Code(TURNSTILE + "clear", "(self.fence or 0) >= fence", "(self.fence or 0) > fence"))),
    Bug("a rebuild that keeps old intents",
        (Code(TURNSTILE + "clear", "self.shown, self.intents):", "self.shown):"),),
        (Value("live.offers.rebuild:FORGOTTEN", ("log", "state", "own", "ownlast", "ownver", "muted")),)),
    Bug("a rebuild that goes on at another server than it began on",
        (Code(TURNSTILE + "may_fill", " and self.run_id == self.server", ""),
         Code(TURNSTILE + "open", "if self.building != fence or self.run_id != self.server:\n        return 0",
              "if self.building != fence:\n        return 0\n    self.run_id = self.server"))),
    Bug("a quota that is not given back",
        (Code(BOOKS + "give_back", "if used and entry.who is not None:", "if False:"),),
        (Code("live.offers.till:_move", "if used:", "if False:"),)),
    Bug("a seat counted when it is paid",
        (Code(BOOKS + "_write", "draft.seat(offer, held=qty)", "pass"), Code(BOOKS + "order", "self.seat(offer, held=-qty, paid=qty)",
                                                                          "self.seat(offer, paid=qty)")),
        (Code("live.offers.till:_write", "for offer, qty in sorted(seats.items())", "for offer, qty in ()"),)),
    Bug("a halved group loses an intent",
        (Code(BOOKS + "_decide", 'if known is not None:', "if False:"),
         Code(BOOKS + "commit", "self.commit(intents[middle:], fence)",
              "self.commit(intents[middle + 1 :], fence) if intents[middle + 1 :] else Booking(())"),)),
    Bug("a known rid answered with a new order",
        (Code(TURNSTILE + "reserve", 'return ("KNOWN", record)', "pass"), Code(BOOKS + "_decide", "if known is not None:", "if False:"),
         Code(BOOKS + "write_order", "if intent.rid in self.orders:", "if False:")),
        (Lua(SCRIPTS + "reserve", "if record or first[rid] then", "if first[rid] then"),
         Code("live.offers.till:_decide", "if booked is not None:", "if False:"))),
    Bug("units given back twice to a team",
        (Code(TURNSTILE + "_give_back", "self.seats[offer] += qty", "self.seats[offer] += 2 * qty"),),
        (Lua(SCRIPTS + "settle", "redis.call('HINCRBY', key, 'seats', line[4])", "redis.call('HINCRBY', key, 'seats', 2 * line[4])"),)),
    Bug("a missing counter read as zero",
        (Code(TURNSTILE + "check", "if have is None and place in self.cards[offer].places:", "if False:"),),
        (Lua(SCRIPTS + "reserve", "if not have and (',' .. o.places", "if false and (',' .. o.places"),)),
    Bug("the record of a refused tap is kept",
        (Code(TURNSTILE + "settle", "self.records.pop(intent.rid, None)", "pass"),),
        (Lua(SCRIPTS + "settle", "redis.call('HDEL', KEYS[day], rid)", "redis.call('HEXISTS', KEYS[day], rid)"),)),
    Bug("an offer's end gives the rest back before buyers in time are booked",
        (Code(LEDGER + "row", "self.drain(books, redis)", "pass"),),
        (Code("live.offers.ledger:RoomLedger._house", "await self._drain()", "pass"),)),
    Bug("what was delivered and not settled is never swept",
        (Code(LEDGER + "steps", 'found.append("sweep")', "pass"),),
        house=(Code("live.offers.ledger:RoomLedger._intents", "if time.monotonic() - swept >= 1.0:", "if False:"),)),
    Bug("what a drain has answered is booked again",
        lines=(Code("live.offers.ledger:RoomLedger._book_read", "if drains == self.drains:", "if True:"),)),
    Bug("what is read beside a drain is booked after the rest went back",
        lines=(Code("live.offers.ledger:RoomLedger._drain",
                    "await self._book_delivered()  # what that loop has read between the two", "pass"),)),
    Bug("a full team left to the books' last check",
        lines=(Code("live.offers.parties.booking:Parties.refuses",
                    "why = self.refused.get(intent.handle)", "return None"),)),
    Bug("a team made by a seat that is only held",
        lines=(Code("live.offers.parties.rules:decide", "if party.paid == party.size:", "if party.held + party.paid == party.size:"),)),
    Bug("who waits served from the end of the line",
        lines=(Value("live.offers.waitlist.giving:_PAGE", text(giving._PAGE.text.replace("ORDER BY place", "ORDER BY place DESC"))),)),
    Bug("what was given to who waits is sold at the turnstile too",
        lines=(Code("live.offers.till:Move.given", "left=self.left - units", "left=self.left"),)),
    Bug("a refusal that nobody wrote down",
        lines=(Code("live.offers.parties.booking:Parties.remember", "if self.fresh:", "if False:"),)),
    Bug("a share pays another sum than it was cut to",
        lines=(Code("live.promotions.red_packet.booking:PacketBooker.book",
                    "(intent, shares[intent.rid][1])", "(intent, 1 + shares[intent.rid][1])"),)),
    Bug("a room built anew that knows nobody's limit",
        lines=(Code("live.offers.rebuild:_snapshot", "state, hashes, used\n", "state, hashes, []\n"),)),
    Bug("a database that keeps what it committed a little later", sql=(
        "ALTER SYSTEM SET synchronous_commit = off", "ALTER SYSTEM SET wal_writer_delay = '10s'", "SELECT pg_reload_conf()")),
    Bug("the turnstile's yes told as success",
        house=(Code("live.hub.dispatch:Desk._answer", "return None",
                    "from datetime import UTC, datetime; from live.orders.rules import number; return None if "
                    "tap.at == (ANYWHERE,) else {'order': {'no': number(tap.rid, datetime.now(UTC))}}"),)),
)  # fmt: skip
