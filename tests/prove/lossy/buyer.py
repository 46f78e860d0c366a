"""Buyers at a real hub, without the sockets: they tap, lose their connection, send again under the same key, ask, pay, cancel or forget.

They do what `static/sdk/tap.js` does: good news counts from every try, a refusal only from the newest.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
from starlette.requests import Request

from live.hub.connection import Connection
from live.hub.server import Hub
from live.infra.db import utc_now
from live.infra.security import Identity, Tokens
from live.offers.rules import rid_of
from live.orders import actions as orders
from live.orders.api import my_intent
from live.payments.actions import settle_attempt
from live.payments.gateway import Payment
from live.protocol.codes import Refusal
from live.protocol.commands import parse
from tests.conftest import SECRET
from tests.prove.history import FINAL

if TYPE_CHECKING:
    from tests.prove.lossy.show import Show

SILENCE = 3.0  # seconds without any reply: the frame or its answer is lost
LOOK = 0.5  # seconds after `pending` before asking by HTTP; the verdict usually comes first
AGAIN = 0.25  # seconds, at most, until a tap that was told to come back does
ELSEWHERE = 0.4  # seconds until somebody who lost their connection has another; longer than a call can be late


class Seat(Connection):
    """A greeted connection of the hub that ends in a queue: (command id, reply)."""

    __slots__ = ("gone", "heard")

    def __init__(self, hub: Hub, who: str, room: str) -> None:
        super().__init__(hub)
        self.identity = Identity(who, "viewer", who, None, None, 1, int(time.time()) + 86_400)
        self.gone = False
        self.heard: asyncio.Queue[tuple[int, dict[str, Any]]] = asyncio.Queue()
        hub.feed(room).join(self)

    @property
    def open(self) -> bool:
        """Until it is lost."""
        return not self.gone

    def write(self, frame: bytes) -> None:
        """What the whole room is told is nobody's concern here."""

    def push_behind(self, push: Any) -> bool:
        """The same."""
        return True

    def reply(self, command: int, body: object) -> None:
        """An answer."""
        if not self.gone:
            self.heard.put_nowait((command, {"ok": orjson.loads(orjson.dumps(body))}))

    def refuse(self, command: int | None, refusal: Refusal) -> None:
        """A refusal."""
        if not self.gone and command is not None:
            self.heard.put_nowait((command, {"no": refusal.body()}))

    def close(self, code: Any, after: int = 0) -> None:
        """The hub hangs up."""
        self.lose()

    def lose(self) -> None:
        """The line is gone: what is answered from here on is not heard."""
        if not self.gone:
            self.gone = True
            self.hub.forget(self)


@dataclass(slots=True)
class Tap:
    """One thing somebody wants."""

    key: str
    rid: str
    lines: tuple[tuple[int, int], ...]
    at: tuple[str, ...]
    coupon: bool
    first: int  # id of the first try; their ids follow each other
    tries: int = 0
    last: int = -1  # id of the newest try
    told: str = "nothing"  # for people who read a violation
    order: str = ""


@dataclass(slots=True)
class Buyer:
    """One person; all their choices are drawn from `dice`."""

    who: str
    show: Show
    dice: random.Random
    seat: Seat | None = None
    taps: int = 0
    now: Tap | None = None  # not answered for good
    numbers: int = 0
    after: set[asyncio.Task[None]] = field(default_factory=set)
    tokens: ClassVar[Tokens] = Tokens(SECRET)

    async def run(self) -> None:
        """Until the show takes no new taps."""
        while not self.show.closing:
            await asyncio.sleep(self.dice.uniform(0.02, 0.12))
            self.now = self._want()
            self.taps += 1
            await self._get(self.now)
            if self.now.order:
                task = asyncio.create_task(self._go_on(self.now.order))
                self.after.add(task)
                task.add_done_callback(self.after.discard)
            self.now = None

    def _want(self) -> Tap:
        show, dice = self.show, self.dice
        kind = dice.choices(("scarce", "plenty", "both", "limited", "group", "coupon", "window"), (25, 30, 5, 15, 10, 10, 10))[0]
        names = ("scarce", "plenty") if kind == "both" else (kind,)
        offers = [show.shelf[name] for name in names]
        at = ("-",) if kind == "coupon" else ("S1",) if kind == "group" else tuple(dice.sample(("S1", "S2"), dice.randint(1, 2)))
        key = f"tap-{self.taps:08d}"
        lines = tuple((offer, 1 if kind == "coupon" else dice.choice((1, 1, 2))) for offer in offers)
        return Tap(key, rid_of(self.who, show.room, key), lines, at, kind == "coupon", self.numbers + 1)

    # one tap

    async def _get(self, tap: Tap) -> None:
        """Send until the answer is final."""
        while True:
            seat = await self._seated()
            tap.tries += 1
            self.numbers += 1
            tap.last = self.numbers
            self.show.history.sent(tap.rid)
            seat.hub.dispatch(seat, self._command(tap))
            if self.dice.random() < 0.04:  # in the subway
                await asyncio.sleep(self.dice.uniform(0.0, 0.03))
                seat.lose()
                continue
            if await self._answered(tap, seat):
                return

    def _command(self, tap: Tap) -> Any:
        body: dict[str, Any] = {"key": tap.key, "try": tap.tries}
        if tap.coupon:
            body["offer"] = tap.lines[0][0]
        else:
            lines = [{"offer": offer, "qty": qty, "version": self.show.versions.get(offer, 1)} for offer, qty in tap.lines]
            body |= {"lines": lines, "at": tap.at}
        return parse(orjson.dumps({"id": tap.last, "t": "claim" if tap.coupon else "buy", "d": body}))

    async def _seated(self) -> Seat:
        if self.seat is None or self.seat.gone:
            if self.seat is not None:
                await asyncio.sleep(self.dice.uniform(ELSEWHERE, 2 * ELSEWHERE))
            self.seat = Seat(self.dice.choice(self.show.hubs), self.who, self.show.room)
        return self.seat

    async def _answered(self, tap: Tap, seat: Seat) -> bool:
        """Hear what becomes of a try. False: send again."""
        wait, pending = SILENCE, False
        while True:
            try:
                async with asyncio.timeout(wait):
                    command, frame = await seat.heard.get()
            except TimeoutError:
                if not pending or seat.gone:
                    return False
                frame, command, wait = await self._look(tap), tap.last, wait * 1.5
            if command < tap.first:
                continue  # a late word about an earlier tap
            ok, no = frame.get("ok") or {}, frame.get("no") or {}
            tap.told = str(no.get("code") or next(iter(ok), ""))
            if "order" in ok or "coupon" in ok:
                await self._booked(tap, ok)
                return True
            if "pending" in ok and command == tap.last:
                await self.show.told(tap.rid, "pending")
                wait, pending = max(wait, LOOK) if pending else LOOK, True
            elif command == tap.last and ("again" in ok or no):
                return await self._refused(tap, no or {"code": "again"})

    async def _booked(self, tap: Tap, ok: dict[str, Any]) -> None:
        number = ok["order"]["no"] if "order" in ok else str(ok["coupon"]["id"])
        await self.show.told(tap.rid, f"booked:{number}")
        tap.order = number if "order" in ok else ""

    async def _refused(self, tap: Tap, no: dict[str, Any]) -> bool:
        code = no["code"]
        await self.show.told(tap.rid, code)
        if code in FINAL:
            if code == "price_changed":
                self.show.versions[tap.lines[0][0]] = no["version"]
            if code == "sold_out" and all(offer == self.show.shelf["plenty"] for offer, _ in tap.lines):
                self.show.fail(f"refused from plenty: {tap.rid} was told {code} of an offer that cannot run out")
            return True
        if code not in ("again", "fenced", "busy", "unavailable", "slow_down"):
            self.show.fail(f"a strange answer: {tap.rid} was told {no}")
            return True
        await asyncio.sleep(max(no.get("wait", 0) / 1000, self.dice.uniform(0.02, AGAIN)))
        return False

    async def _look(self, tap: Tap) -> dict[str, Any]:
        """GET /v1/me/intents/{room}/{key}, by its handler."""
        token = self.tokens.issue(self.who, "viewer", self.who, seconds=60)
        headers = [(b"authorization", f"Bearer {token}".encode())]
        path = {"room": self.show.room, "key": tap.key}
        request = Request({"type": "http", "method": "GET", "headers": headers, "path_params": path, "state": self.show.web})
        try:
            return {"ok": orjson.loads((await my_intent(request)).body)}
        except OSError:
            return {"ok": {"pending": True}}
        except Exception as error:  # noqa: BLE001 - redis-py's are no OSErrors; whatever it is, the page asks again later
            self.show.troubles[type(error).__name__] += 1
            return {"ok": {"pending": True}}

    # one order

    async def _go_on(self, no: str) -> None:
        """Pay it, in time or not, cancel it, or forget it."""
        roll = self.dice.random()
        with suppress(Refusal):
            if roll < 0.55:
                await self._pay(no)
            elif roll < 0.75:
                await asyncio.sleep(self.dice.uniform(0.0, 0.5))
                await orders.cancel(self.show.db, self.show.cashier, self.who, no, utc_now())

    async def _pay(self, no: str) -> None:
        show, dice = self.show, self.dice
        _, params = await orders.pay(show.db, show.cashier, self.who, no, None, self.who, utc_now())
        await asyncio.sleep(dice.choice((0.0, 0.1, dice.uniform(0.7, 1.1) * show.hold)))  # about when the hold ends
        paid = await show.cashier.take(params["package"])
        for _ in range(dice.choice((0, 1, 1, 2)) if paid is not None else 0):  # notices get lost, and come twice
            await asyncio.sleep(dice.choice((0.0, 0.3)))
            await self.notice(params["package"], paid)

    async def notice(self, trade: str, paid: Payment | None) -> None:
        """The provider says that it has the money."""
        if paid is not None:
            async with self.show.db.begin() as session:
                await settle_attempt(session, trade, paid, orders.payment_arrived, utc_now())
