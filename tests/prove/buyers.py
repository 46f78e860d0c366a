"""Buyers over real sockets and doors, who behave as pages do and write down what they sent and were told.

One key a tap, kept for resends; a lost socket comes back to any hub; what became of a tap is asked by GET, by the socket, or by sending it
again. Some pay, some cancel, some let it expire. As in `static/sdk/tap.js` good news counts from every try, a refusal only from the newest:
what an older one is refused, another may have got meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2
import orjson
from redis.asyncio import Redis

from live.demo.doors import Doors, RefusedError
from live.infra.db import Database
from live.offers.rules import rid_of
from live.protocol.codes import RETRY
from loadtest.wire import Socket
from tests.prove.compare import RealBooks
from tests.prove.history import History
from tests.prove.shop import HUBS, Shop

PAUSE = (0.15, 0.7)  # seconds between the end of a tap and the next one
ANSWER_SECONDS = 2.5  # then a page asks; the hub itself says `pending` after 0.8 s
DOOR_SECONDS = 4.0  # then a page tries the door again
DROPPED, DOUBLED = 0.08, 0.05  # shares of taps whose socket is lost just behind them, and that are sent twice at once
NO_DOOR = (RefusedError, httpx2.HTTPError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Deal:
    """An offer as a buyer sees it. `pays`, `cancels`: shares of its orders; the others are let expire."""

    offer: int
    claim: bool
    weight: int
    pays: float
    cancels: float


@dataclass(slots=True)
class Room:
    """A room under watch. `heard`: what buyers sent and were told since the last look, in order."""

    db: Database
    redis: Redis
    room: str
    deals: Sequence[Deal]
    history: History = field(default_factory=History)
    heard: list[tuple[str, str]] = field(default_factory=list)  # rid, code; no code: it was sent
    looks: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def offers(self) -> list[int]:
        """Their ids."""
        return [deal.offer for deal in self.deals]

    async def look(self) -> RealBooks:
        """What was heard, against books read after it was: a success told must be in them, and stays there."""
        async with self.lock:
            heard = len(self.heard)
            books = await RealBooks.read(self)
            seen = books.seen()
            stands = {rid: order.no for rid, order in seen.orders}
            for rid, code in self.heard[:heard]:
                if not code:
                    self.history.sent(rid)
                elif code not in ("pending", "again") or self.history.answers.get(rid, ("", ""))[0] not in ("booked", "refused"):
                    # Two questions may be under way: what overtakes the answer to the other takes nothing back.
                    self.history.told(rid, code, stands.get(rid))
            del self.heard[:heard]
            self.history.look(seen)
            self.looks += 1
        return books


class LostError(Exception):
    """The socket went away, or the answer is late."""


class Crowd:
    """Everybody. `over`: no new taps; `open`: taps without a final answer, and when they were first sent."""

    def __init__(self, shop: Shop, rooms: Sequence[Room], count: int, seed: int) -> None:
        self.shop, self.rooms = shop, rooms
        self.doors = Doors(f"http://127.0.0.1:{shop.ports['web']}")
        self.over = False
        self.taps = self.sends = self.lost = self.orders = self.paid = 0
        self.slowest = 0.0  # seconds from a tap to its final answer
        self.codes: dict[str, int] = {}
        self.open: dict[str, tuple[Room, float]] = {}
        self.waits: list[tuple[float, dict[str, float]]] = []  # moment -> room -> seconds until a later tap was booked
        self.buyers = [Buyer(self, number, rooms[number % len(rooms)], seed) for number in range(1, count + 1)]
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Let them in."""
        self.tasks = [asyncio.create_task(buyer.live(), name=f"buyer {buyer.sub}") for buyer in self.buyers]

    async def stop(self) -> None:
        """Everybody leaves at once."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for buyer in self.buyers:
            buyer.leave()
        await self.doors.close()

    def mark(self) -> dict[str, float]:
        """From now until a tap made later is booked: seconds by room, filled in as it happens."""
        found: dict[str, float] = {}
        self.waits.append((asyncio.get_running_loop().time(), found))
        return found

    def final(self, room: Room, rid: str, code: str) -> None:
        """A tap has come to its end."""
        now = asyncio.get_running_loop().time()
        _, began = self.open.pop(rid)
        self.slowest = max(self.slowest, now - began)
        name = code.partition(":")[0]
        self.codes[name] = self.codes.get(name, 0) + 1
        if name == "booked":
            self.orders += 1
            for moment, found in self.waits:
                if began > moment and room.room not in found:
                    found[room.room] = now - moment
            self.waits = [(moment, found) for moment, found in self.waits if len(found) < len(self.rooms)]


class Buyer:
    """One person, in one room."""

    def __init__(self, crowd: Crowd, number: int, room: Room, seed: int) -> None:
        self.crowd, self.room = crowd, room
        self.sub = f"p:{number}"
        self.token = crowd.shop.tokens.issue(self.sub, "viewer", f"P{number}", seconds=7200)
        self.dice = random.Random(f"{seed}/{number}")
        self.keys = (f"{seed}-{number}-{n:06d}" for n in itertools.count(1))
        self.ids = itertools.count(1)
        self.socket: Socket | None = None
        self.replies: dict[int, tuple[str, str, asyncio.Future[str]]] = {}
        self.greeted: asyncio.Future[None] | None = None
        self.newest = 0  # id of the newest try of the newest tap
        self.rid = self.end = ""  # of the newest tap; its final answer, from whichever of its tries

    async def live(self) -> None:
        """Tap after tap."""
        weights = [deal.weight for deal in self.room.deals]
        while not self.crowd.over:
            deal = self.dice.choices(self.room.deals, weights)[0]
            code = await self.tap(deal)
            if code.startswith("booked:") and not deal.claim:
                await self.decide(deal, code.removeprefix("booked:"))
            await asyncio.sleep(self.dice.uniform(*PAUSE))

    # one tap

    async def tap(self, deal: Deal) -> str:
        """Until its final answer, whatever it takes."""
        key = next(self.keys)
        rid = rid_of(self.sub, self.room.room, key)
        self.crowd.taps += 1
        self.crowd.open[rid] = (self.room, asyncio.get_running_loop().time())
        body = {"key": key} | ({"offer": deal.offer} if deal.claim else self.line(deal))
        tries, ask = 1, False
        self.rid, self.end = rid, ""
        while not self.end:
            try:
                code = await (self.asked(rid, key) if ask else self.sent(rid, deal, body, tries))
                tries += not ask and code != "slow_down"  # that one never reached the turnstile
            except LostError:
                code, tries = "pending", tries + (not ask)
            except NO_DOOR:
                code = "pending"
            if final(code):
                self.end = code
                break
            ask = code == "pending" and self.dice.random() < 0.6
            await asyncio.sleep(self.dice.uniform(0.05, 0.3))
        self.crowd.final(self.room, rid, self.end)
        return self.end

    async def sent(self, rid: str, deal: Deal, body: Mapping[str, Any], tries: int) -> str:
        """Send it, and what the socket answered. Raises LostError."""
        await self.come()
        self.crowd.sends += 1
        kind = "claim" if deal.claim else "buy"
        waiting = self.command(kind, {**body, "try": tries}, rid)
        if self.dice.random() < DOUBLED:
            self.command(kind, {**body, "try": tries + 1}, rid, waiting)
        if self.dice.random() < DROPPED:
            await asyncio.sleep(self.dice.choice((0.0, 0.002, 0.01)))
            self.leave()
        return await self.answer(waiting)

    def line(self, deal: Deal) -> dict[str, Any]:
        """One or two of it, at either store first."""
        at = self.dice.sample(("S1", "S2"), 2)
        return {"lines": [{"offer": deal.offer, "qty": self.dice.choice((1, 1, 1, 2)), "version": 1}], "at": at}

    async def asked(self, rid: str, key: str) -> str:
        """What became of it, by the door or by the socket. Raises LostError, or what a door raises."""
        if self.dice.random() < 0.3:
            await self.come()
            return await self.answer(self.command("ask", {"key": key}, rid))
        async with asyncio.timeout(DOOR_SECONDS):
            became = await self.crowd.doors.get(f"/v1/me/intents/{self.room.room}/{key}", token=self.token)
        code = became_of(became)
        self.room.heard.append((rid, code))
        return code

    async def decide(self, deal: Deal, no: str) -> None:
        """Pay, cancel, or neither."""
        dice, doors = self.dice.random(), self.crowd.doors
        with suppress(*NO_DOOR):
            async with asyncio.timeout(DOOR_SECONDS):
                if dice < deal.pays:
                    begun = await doors.post(f"/v1/me/orders/{no}/pay", {"coupon": None}, token=self.token)
                    self.crowd.paid += bool((await doors.post(f"{begun['cashier']}/pay"))["paid"])
                elif dice < deal.pays + deal.cancels:
                    await doors.post(f"/v1/me/orders/{no}/cancel", token=self.token)

    # the socket

    async def come(self) -> None:
        """A socket to any hub, unless there is one. Raises LostError."""
        if self.socket is not None:
            return
        port = self.crowd.shop.ports[self.dice.choice(HUBS)]
        self.greeted = asyncio.get_running_loop().create_future()
        try:
            opened: list[Socket] = []  # it may be lost before we hold it
            socket = await Socket.connect(f"ws://127.0.0.1:{port}/ws", self.heard, lambda: self.gone(*opened))
            opened.append(socket)
            self.socket = socket
            hello = {"v": 1, "token": self.token, "room": self.room.room}
            socket.send(orjson.dumps({"id": 0, "t": "hello", "d": hello}))
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.greeted
        except (OSError, TimeoutError):
            self.leave()
            raise LostError from None

    def leave(self) -> None:
        """Lose the socket."""
        if self.socket is not None:
            self.socket.close()
            self.gone(self.socket)

    def gone(self, socket: Socket | None = None) -> None:
        """A socket is lost, by whomever: nothing more is answered on it."""
        if socket is None or self.socket is not socket:
            return
        self.socket = None
        self.crowd.lost += 1
        replies, self.replies = self.replies, {}
        for _, _, waiting in replies.values():
            if not waiting.done():
                waiting.cancel()
        if self.greeted is not None and not self.greeted.done():
            self.greeted.set_exception(ConnectionResetError())

    def command(self, kind: str, body: Mapping[str, Any], rid: str, waiting: asyncio.Future[str] | None = None) -> asyncio.Future[str]:
        """Send it; its final answer is to come."""
        number = next(self.ids)
        if kind != "ask":
            self.newest = number
        waiting = waiting or asyncio.get_running_loop().create_future()
        self.replies[number] = (kind, rid, waiting)
        self.room.heard.append((rid, ""))
        if self.socket is not None:
            self.socket.send(orjson.dumps({"id": number, "t": kind, "d": body}))
        return waiting

    async def answer(self, waiting: asyncio.Future[str]) -> str:
        """Its code. Raises LostError."""
        done, _ = await asyncio.wait([waiting], timeout=ANSWER_SECONDS)
        if not done or waiting.cancelled():
            raise LostError
        return waiting.result()

    def heard(self, payload: bytes) -> None:
        """A frame. What is told is written down the moment it is."""
        if not payload.startswith(b'{"id":'):
            return
        reply = orjson.loads(payload)
        if reply["id"] == 0:
            self._welcome(reply)
            return
        if reply["id"] not in self.replies:
            return
        kind, rid, waiting = self.replies[reply["id"]]
        if "no" in reply and kind != "ask" and reply["id"] != self.newest:
            return
        code = reply["no"]["code"] if "no" in reply else became_of(reply["ok"])
        self.room.heard.append((rid, code))
        if rid == self.rid and final(code) and kind != "ask":
            self.end = self.end or code  # it may be late: then nobody awaits it any more
        if (code != "pending" or kind == "ask") and not waiting.done():  # a pending tap is answered again, under the same id
            waiting.set_result(code)

    def _welcome(self, reply: Mapping[str, Any]) -> None:
        if self.greeted is None or self.greeted.done():
            return
        if "ok" in reply:
            self.greeted.set_result(None)
        else:
            self.greeted.set_exception(ConnectionRefusedError(str(reply["no"])))


def final(code: str) -> bool:
    """Whether a tap is over with this answer."""
    return code != "pending" and code not in RETRY


def became_of(ok: Mapping[str, Any]) -> str:
    """`booked:<number>`, `pending` or `again`."""
    if "order" in ok:
        return f"booked:{ok['order']['no']}"
    if "coupon" in ok:
        return f"booked:{ok['coupon']['id']}"
    return "pending" if "pending" in ok else "again"


