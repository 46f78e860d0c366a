"""Commands become answers. Buys and claims of a room are gathered for one turnstile call; their verdicts come from the ledger."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from redis.exceptions import RedisError

from live.hub import figures
from live.hub.connection import Connection
from live.hub.limits import Bucket, Purse
from live.hub.room import Waiting
from live.offers.intake import Intake
from live.offers.reservations import Answer, Record, Tap, read_record, records, reserve
from live.offers.rules import ANYWHERE, body_hash, rid_of, word_hash
from live.protocol.codes import Close, Code, Refusal
from live.protocol.commands import Ask, Buy, Claim, Command, Hello, Like, Ping, Refresh, Say
from live.rooms.live import Remark, like, say_all

if TYPE_CHECKING:
    from live.hub.room import RoomFeed
    from live.hub.server import Hub

log = structlog.get_logger("hub")

GATHER = 0.02  # seconds comments of a room are gathered for one call, and people for being told `pending`; neither is noticed
ASK_AGAIN = 1.0  # seconds between looks at the record of an intent whose verdict has not come


@dataclass(slots=True)
class Waiter:
    """A command whose verdict is awaited."""

    connection: Connection
    command: int
    feed: RoomFeed
    hash: str
    since: float
    asked: float
    over: bool = False  # it was answered for good
    intent: str = ""  # the handle of what the turnstile let through, once it has answered


class Desk:
    """What this hub has sent to the turnstile and not yet answered."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.due: deque[tuple[float, str, Waiter]] = deque()  # when each is told `pending`, and its rid
        self.waiting: dict[str, list[Waiter]] = {}  # by rid, in the order they came
        self.refused: dict[str, dict[str, Refusal]] = {}  # by rid and handle: of intents nobody is known to wait for
        self.remarks: dict[str, list[tuple[Connection, int, Remark]]] = {}
        self.purses: dict[str, Purse] = {}  # by person
        self.handlers: dict[type[Command], Callable[[Connection, Any], None]] = {
            Hello: self._hello, Say: self._say, Like: self._like, Buy: self._buy, Claim: self._claim, Ask: self._ask,
            Refresh: self._refresh, Ping: self._ping,
        }  # fmt: skip

    def handle(self, connection: Connection, command: Command) -> None:
        """Answer, or see to it that an answer comes."""
        if connection.identity is None and not isinstance(command, Hello):
            connection.refuse(command.id, Refusal(Code.UNAUTHORISED))
            connection.close(Close.BAD_FRAME)
            return
        settings, now = self.hub.settings, time.monotonic()
        if connection.commands is None:
            burst = settings.hub_command_burst
            connection.commands = Bucket(settings.hub_commands_per_second, burst, now, debt=burst)
        wait = connection.commands.take(now)
        if wait:
            connection.refuse(command.id, Refusal(Code.SLOW_DOWN, wait=int(wait * 1000) + 1))
            if connection.commands.hopeless:
                connection.close(Close.FLOOD)
            return
        try:
            self.handlers[type(command)](connection, command)
        except Refusal as refusal:
            connection.refuse(command.id, refusal)

    def _purse(self, connection: Connection, now: float) -> Purse:
        """Shared by all sockets of a person, and kept when they close: reconnecting refills nothing."""
        settings = self.hub.settings
        sub = connection.identity.sub if connection.identity is not None else ""
        found = self.purses.get(sub)
        if found is None:
            says = Bucket(settings.hub_says_per_second, settings.hub_say_burst, now)
            found = self.purses[sub] = Purse(says, Bucket(settings.hub_buys_per_second, settings.hub_buy_burst, now))
        return found

    def sort_purses(self) -> None:
        """Forget those that are full again."""
        now = time.monotonic()
        self.purses = {sub: purse for sub, purse in self.purses.items() if not purse.full(now)}

    # small commands

    def _hello(self, connection: Connection, command: Hello) -> None:
        if connection.identity is not None:
            raise Refusal(Code.STATE, state="greeted")
        try:
            identity = self.hub.tokens.read(command.d.token)
            if self.hub.is_revoked(identity) or (identity.room is not None and identity.room != command.d.room):
                raise Refusal(Code.UNAUTHORISED)
        except Refusal as refusal:
            connection.refuse(command.id, refusal)
            connection.close(Close.EXPIRED if refusal.code is Code.EXPIRED else Close.BAD_TOKEN)
            return
        connection.identity = identity
        feed, where = self.hub.feed(command.d.room), command.d
        if feed.picture.epoch and feed.picture.behind(where.e, where.s, where.p) == (None, None):
            self.hub.greet(feed, connection, command)
        else:
            feed.waiting.append(Waiting(connection, command))
            feed.wake.set()

    def _refresh(self, connection: Connection, command: Refresh) -> None:
        identity = self.hub.tokens.read(command.d.token)
        held = connection.identity
        if held is None or self.hub.is_revoked(identity):
            raise Refusal(Code.UNAUTHORISED)
        if (identity.sub, identity.role, identity.room) != (held.sub, held.role, held.room):
            raise Refusal(Code.UNAUTHORISED)
        connection.identity = identity
        connection.reply(command.id, {"exp": identity.exp * 1000})

    def _ping(self, connection: Connection, command: Ping) -> None:
        connection.reply(command.id, {"at": command.d.at, "now": int(time.time() * 1000)})

    def _like(self, connection: Connection, command: Like) -> None:
        feed = _feed(connection)
        self.hub.spawn(self._quietly(like(self.hub.redis, feed.room, command.d.n)))
        connection.reply(command.id, {})

    def _say(self, connection: Connection, command: Say) -> None:
        feed, now = _feed(connection), time.monotonic()
        wait = self._purse(connection, now).says.take(now)
        if wait:
            raise Refusal(Code.SLOW_DOWN, wait=int(wait * 1000) + 1)
        identity = connection.identity
        if identity is None:
            return
        demo = identity.role == "guest" and identity.sub.startswith("g:demo")
        batch = self.remarks.setdefault(feed.room, [])
        batch.append((connection, command.id, Remark(identity.sub, identity.name, command.d.cid, command.d.text, demo)))
        if len(batch) >= self.hub.settings.batch_size:
            self._send_remarks(feed.room)
        elif len(batch) == 1:
            self.hub.loop.call_later(GATHER, self._send_remarks, feed.room)

    def _send_remarks(self, room: str) -> None:
        batch = self.remarks.pop(room, None)
        if batch:
            self.hub.spawn(self._said(room, batch))

    async def _said(self, room: str, batch: list[tuple[Connection, int, Remark]]) -> None:
        manners = self.hub.manners
        try:
            answers = await say_all(self.hub.redis, room, [remark for _, _, remark in batch], manners)
        except (RedisError, OSError):
            for connection, command, _ in batch:
                connection.refuse(command, Refusal(Code.UNAVAILABLE))
            return
        for (connection, command, remark), said in zip(batch, answers, strict=True):
            if said.id:
                connection.reply(command, {"cid": remark.cid, "id": said.id})
            else:
                facts = {"wait": said.wait} if said.wait else {"limit": manners.limit} if said.code == "too_long" else {}
                connection.refuse(command, Refusal(Code(said.code), **facts))

    async def _quietly(self, act: Any) -> None:
        try:
            await act
        except (RedisError, OSError) as error:
            log.warning("hub.redis", error=str(error)[:200])

    # buying

    def _buy(self, connection: Connection, command: Buy) -> None:
        lines = tuple((line.offer, line.qty, line.version) for line in command.d.lines)
        self._tap(connection, command.id, command.d.key, command.d.tries, lines, tuple(command.d.at), team=command.d.team)

    def _claim(self, connection: Connection, command: Claim) -> None:
        lines, word = ((command.d.offer, 1, 1),), word_hash(command.d.word)
        self._tap(connection, command.id, command.d.key, command.d.tries, lines, (ANYWHERE,), word=word)

    def _tap(
        self, connection: Connection, command: int, key: str, tries: int, lines: tuple[tuple[int, int, int], ...], at: tuple[str, ...],
        word: str = "", team: int | None = None,
    ) -> None:  # fmt: skip
        feed, identity = _feed(connection), connection.identity
        if identity is None or not identity.known:
            raise Refusal(Code.IDENTIFY)
        now = time.monotonic()
        wait = self._purse(connection, now).buys.take(now)
        if wait:
            raise Refusal(Code.SLOW_DOWN, wait=int(wait * 1000) + 1)
        amounts = [(offer, qty) for offer, qty, _ in lines]
        if tries == 1:
            why = feed.hopeless(amounts, list(at))
            if why is not None:
                raise Refusal(Code(why))
        rid = rid_of(identity.sub, feed.room, key)
        tap = Tap(rid, identity.sub, identity.name, self.hub.id, body_hash(amounts, at, team), tries, at, lines, word, team)
        if feed.intake is None:
            feed.intake = _RoomIntake(self, feed)
        waiter = Waiter(connection, command, feed, tap.hash, now, now)
        self._due(now, rid, waiter)
        feed.intake.add(waiter, tap)

    def _due(self, now: float, rid: str, waiter: Waiter) -> None:
        patience = self.hub.settings.verdict_ms / 1000
        self.due.append((now + patience, rid, waiter))
        if len(self.due) == 1:
            self.hub.loop.call_later(patience, self._overdue)

    def wait(self, waiter: Waiter, rid: str) -> None:
        """A tap is on its way to the turnstile."""
        waiter.asked = time.monotonic()
        self.waiting.setdefault(rid, []).append(waiter)

    def let_go(self, waiter: Waiter, rid: str) -> None:
        """No verdict will come for this one."""
        self._await(rid, [each for each in self.waiting.get(rid, ()) if each is not waiter])
        self._refuse(rid)

    def answered(self, waiter: Waiter, tap: Tap, answer: Answer) -> None:
        """The turnstile has spoken."""
        told = self._answer(tap, answer)
        if told is None:
            self._expect(tap.rid, waiter, answer.intent or read_record(answer.record).intent)
        else:
            _tell(waiter, told)
            self.let_go(waiter, tap.rid)

    def _answer(self, tap: Tap, answer: Answer) -> Refusal | dict[str, Any] | None:
        if answer.tag == "KNOWN":
            return _known(read_record(answer.record), tap.hash)
        if answer.tag == "NO":
            return refusal_of(answer.code, answer.facts)
        if answer.tag == "FENCED":
            return Refusal(Code.FENCED, wait=500)
        return None

    def _await(self, rid: str, waiters: list[Waiter]) -> None:
        """Whoever still waits for this rid."""
        if waiters:
            self.waiting[rid] = waiters
        else:
            self.waiting.pop(rid, None)
            self.refused.pop(rid, None)

    def _expect(self, rid: str, waiter: Waiter, intent: str) -> None:
        """The turnstile let this command through, or knows its intent: whoever came before it waits for that one too."""
        waiters = self.waiting.get(rid, [])
        mine = next((i for i, each in enumerate(waiters) if each is waiter), None)
        if mine is None or waiter.intent:
            return  # told, or a later command's reply came first
        for each in waiters[: mine + 1]:
            each.intent = intent
        self._refuse(rid)

    def _refuse(self, rid: str) -> None:
        """Tell a refusal if it is of the one intent that everybody here waits for.

        An older intent may have been settled, and its rid have been let through once more, before its refusal is heard.
        """
        waiters = self.waiting.get(rid, [])
        intents = {waiter.intent for waiter in waiters}
        answer = self.refused.get(rid, {}).get(next(iter(intents))) if len(intents) == 1 else None
        if answer is not None:
            self._told(rid, answer)

    def _told(self, rid: str, answer: Refusal | dict[str, Any]) -> None:
        for waiter in self.waiting.get(rid, ()):
            figures.verdicts.observe(time.monotonic() - waiter.since)
            _tell(waiter, answer)
        self._await(rid, [])

    def verdict(self, rid: str, intent: str, body: dict[str, Any] | None, no: list[Any]) -> None:
        """The ledger has spoken: everybody here who waits for this rid is told. A refusal counts for its own intent only.

        It may be here before the turnstile's reply, which says whose it is.
        """
        if body is not None:
            self._told(rid, body)
        elif rid in self.waiting:
            self.refused.setdefault(rid, {})[intent] = refusal_of(no[0], tuple(no[1:]))
            self._refuse(rid)

    def _overdue(self) -> None:
        now = time.monotonic()
        while self.due and self.due[0][0] <= now:
            _, rid, waiter = self.due.popleft()
            if not waiter.over:
                waiter.connection.reply(waiter.command, {"pending": True, "rid": rid, "fence": waiter.feed.picture.fence})
        if self.due:
            self.hub.loop.call_later(max(GATHER, self.due[0][0] - now), self._overdue)

    async def ask_again(self) -> None:
        """Look at the records of what has waited too long: a lost verdict, a lost reply of the turnstile, a lost intent."""
        now = time.monotonic()
        due: dict[str, tuple[RoomFeed, list[str]]] = {}
        for rid, waiters in list(self.waiting.items()):
            alive = [waiter for waiter in waiters if waiter.connection.open]
            self._await(rid, alive)
            self._refuse(rid)
            if rid not in self.waiting:
                continue
            if now - max(waiter.asked for waiter in alive) >= ASK_AGAIN:
                for waiter in alive:
                    waiter.asked = now
                due.setdefault(alive[0].feed.room, (alive[0].feed, []))[1].append(rid)
        for feed, rids in due.values():
            figures.reads.labels(what="record").inc()
            found = await records(self.hub.redis, feed.room, rids)
            for rid, record in zip(rids, found, strict=True):
                self._looked_up(rid, record, feed.picture.fence, now)

    def _looked_up(self, rid: str, record: Record | None, fence: str, asked: float) -> None:
        """What the record says to those who asked. Whose reply was lost learns here what to wait for."""
        if record is not None and record.body is not None:
            self._told(rid, record.body)
            return
        lost = bool(fence) and (record is None or record.fence != fence)
        for waiter in [waiter for waiter in self.waiting.get(rid, ()) if waiter.asked == asked]:
            if lost:
                _tell(waiter, Refusal(Code.AGAIN))
                self.let_go(waiter, rid)
            elif record is not None:
                self._expect(rid, waiter, record.intent)

    def _ask(self, connection: Connection, command: Ask) -> None:
        feed, identity = _feed(connection), connection.identity
        if identity is None or not identity.known:
            raise Refusal(Code.IDENTIFY)
        rid = rid_of(identity.sub, feed.room, command.d.key)
        if feed.intake is not None and rid in feed.intake.line:
            connection.reply(command.id, {"pending": True, "rid": rid, "fence": feed.picture.fence})
        else:
            self.hub.spawn(self._asked(connection, feed, command.id, rid))

    async def _asked(self, connection: Connection, feed: RoomFeed, command: int, rid: str) -> None:
        try:
            record: Record | None = (await records(self.hub.redis, feed.room, [rid]))[0]
        except (RedisError, OSError):
            connection.refuse(command, Refusal(Code.UNAVAILABLE))
            return
        if record is None or (record.body is None and record.fence != feed.picture.fence):
            connection.refuse(command, Refusal(Code.AGAIN))
        elif record.body is not None:
            connection.reply(command, record.body)
        else:
            connection.reply(command, {"pending": True, "rid": rid, "fence": feed.picture.fence})


class _RoomIntake(Intake[Waiter]):
    """One room's taps on this hub."""

    def __init__(self, desk: Desk, feed: RoomFeed) -> None:
        hub, settings = desk.hub, desk.hub.settings
        super().__init__(settings.batch_ms / 1000, settings.batch_size, settings.line_cap, hub.spawn)
        self.desk, self.feed, self.hub = desk, feed, hub

    async def decide(self, taps: Sequence[Tap]) -> list[Answer]:
        figures.batch.observe(len(taps))
        picture = self.feed.picture
        if watchers := {tap.who for tap in taps if not picture.watchable.isdisjoint(offer for offer, *_ in tap.lines)}:
            await self.feed.watching.write(watchers)
        return await reserve(self.hub.buying, self.feed.room, taps, self.hub.settings.unbooked_cap)

    def sent(self, who: Waiter, tap: Tap) -> None:
        self.desk.wait(who, tap.rid)

    def kept(self, who: Waiter, tap: Tap) -> None:
        self.desk.let_go(who, tap.rid)

    def answered(self, who: Waiter, tap: Tap, answer: Answer) -> None:
        self.desk.answered(who, tap, answer)

    def unknown(self, taps: Sequence[Tap], error: Exception) -> None:
        # The rids stay awaited; asking their records resolves them.
        log.warning("turnstile.unknown", room=self.feed.room, intents=len(taps), error=str(error)[:200])

    def here(self, who: Waiter) -> bool:
        return who.connection.open


def _feed(connection: Connection) -> RoomFeed:
    if connection.feed is None:
        raise Refusal(Code.STATE, state="joining")
    return connection.feed


def _known(record: Record, digest: str) -> Refusal | dict[str, Any] | None:
    if record.hash != digest:
        return Refusal(Code.KEY_REUSED)
    return record.body


def _tell(waiter: Waiter, answer: Refusal | dict[str, Any]) -> None:
    if waiter.over:
        return
    waiter.over = True
    if isinstance(answer, Refusal):
        waiter.connection.refuse(waiter.command, answer)
    else:
        waiter.connection.reply(waiter.command, answer)


def refusal_of(code: str, facts: tuple[Any, ...]) -> Refusal:
    """The turnstile's and the till's words as a typed refusal with named facts."""
    names: dict[str, tuple[str, ...]] = {
        "not_started": ("at",), "price_changed": ("fen", "version"), "limit": ("allowed",), "order_limit": ("allowed",),
        "sold_out": ("offer",), "watch_longer": ("minutes",),
    }  # fmt: skip
    named = {name: int(value) for name, value in zip(names.get(code, ()), facts, strict=False)}
    return Refusal(Code(code), **named)
