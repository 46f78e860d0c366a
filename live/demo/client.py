"""A viewer as a small asyncio client, through the public doors only: HTTP, the socket, and the simulator's cashier.

It behaves as a page does: one key a tap, kept for resends; a verdict that is late is awaited, then asked for; a lost socket resumes from
where it was. Staff are in `staff.py`.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable
from typing import Any, Self, TypeVar

import httpx2
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from live.demo.doors import Doors, LateError, RefusedError
from live.demo.mirror import Mirror

T = TypeVar("T")
ANSWER_SECONDS = 10.0
VERDICT_SECONDS = 3.0  # then what became of a tap is asked over HTTP; the hub itself says `pending` after 0.8 s
PING_SECONDS = 25.0  # what the hub asks for in its answer to hello
REFRESH_BEFORE = 120.0  # seconds before its end that a token is replaced
# Frames as the hub sends them; pings are the wire's own; a snapshot after a long show is the largest frame.
SOCKET: dict[str, Any] = {"compression": None, "ping_interval": None, "proxy": None, "close_timeout": 1, "max_size": 8 << 20}
TAPS = 40  # sends of one tap before giving up: some 20 s of fenced or busy


class LostError(Exception):
    """The socket went away before the answer came."""


class Viewer:
    """One person or guest with at most one socket. `mirror` is the room as this client knows it."""

    def __init__(self, doors: Doors, hub_url: str, name: str) -> None:
        self.doors, self.hub_url, self.name = doors, hub_url, name
        self.sub = self.token = self.room = ""
        self.expires = 0.0  # epoch seconds
        self.mirror = Mirror()
        self.bye: dict[str, Any] | None = None
        self._ws: ClientConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ids = itertools.count(1)
        self._news = asyncio.Event()

    # who

    async def as_guest(self) -> Self:
        """A guest watches, likes and comments."""
        return self._be(await self.doors.post("/v1/guest", {"name": self.name}))

    async def by_phone(self, phone: str) -> Self:
        """A person, by the code that a demo shows instead of sending it."""
        sent = await self.doors.post("/v1/login/phone/code", {"phone": phone})
        return self._be(await self.doors.post("/v1/login/phone", {"phone": phone, "code": sent["demo_code"], "name": self.name}))

    async def by_wechat(self, code: str) -> Self:
        """A person, by the code of `wx.login`; the simulator takes `demo-<name>`."""
        return self._be(await self.doors.post("/v1/login/wechat", {"code": code, "name": self.name}))

    def by_token(self, token: str, expires: float) -> Self:
        """Whoever this token names; it ends at `expires`, epoch seconds."""
        self.token, self.expires = token, expires
        return self

    def _be(self, answer: dict[str, Any]) -> Self:
        self.sub = answer["you"]["sub"]
        return self.by_token(answer["token"], answer["expires"] / 1000)

    # the socket

    async def join(self, room: str) -> Self:
        """Open a socket and say hello; where this room was held before, resume. Raises RefusedError, LostError or OSError."""
        await self._forget()
        self.bye = None
        ws = await connect(self.hub_url, **SOCKET)
        self._ws = ws
        self._tasks = [asyncio.create_task(self._read(ws), name=f"read {self.name}")]
        hello: dict[str, Any] = {"v": 1, "token": self.token, "room": room}
        if self.room == room and self.mirror.epoch:
            hello |= {"e": self.mirror.epoch, "s": self.mirror.seq, "p": self.mirror.own}
        # Folded by the reader, before the frames that follow it.
        answer = await self._ask("hello", hello)
        self.sub, self.room = answer["you"]["sub"], room
        self._tasks.append(asyncio.create_task(self._keep(), name=f"keep {self.name}"))
        if answer["own"] is None and self.sub.startswith("p:"):
            for order in await self.orders():  # too long away: own events are read over HTTP
                self.mirror.orders[order["no"]] = {"t": "order", **{name: order[name] for name in ("no", "version", "state", "refunded")}}
        return self

    def drop(self) -> None:
        """Lose the socket, as in a tunnel: no closing handshake."""
        if self._ws is not None:
            self._ws.transport.abort()
            self._ws = None

    async def leave(self) -> None:
        """Close the socket politely."""
        if self._ws is not None:
            await self._ws.close()
        await self._forget()

    async def lost(self) -> None:
        """Wait until the socket is gone."""
        if self._tasks:
            await asyncio.wait({self._tasks[0]})

    async def until(self, look: Callable[[], T], what: str, seconds: float = ANSWER_SECONDS) -> T:
        """What `look` finds, once it finds something in the mirror. Raises LateError, which says `what` did not come."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    news = self._news
                    if found := look():
                        return found
                    await news.wait()
        except TimeoutError:
            raise LateError(f"{self.name} waited {seconds:g} s in vain for {what}") from None

    async def _forget(self) -> None:
        self.drop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _read(self, ws: ClientConnection) -> None:
        try:
            async for raw in ws:
                self._take(orjson.loads(raw))
                self._news.set()
                self._news = asyncio.Event()
        except (WebSocketException, OSError):
            pass  # whoever waits is told below
        finally:
            if self._ws is ws:
                self._ws = None
            for waiting in self._replies.values():
                if not waiting.done():
                    waiting.set_exception(LostError(f"{self.name} lost the socket"))
            self._replies.clear()

    def _take(self, frame: dict[str, Any]) -> None:
        if "bye" in frame:
            self.bye = frame["bye"]
        elif "id" not in frame:
            self.mirror.frame(frame)
        elif "no" in frame:
            waiting = self._replies.pop(frame["id"], None)
            if waiting is not None and not waiting.done():
                waiting.set_exception(RefusedError("the socket", frame["no"]["code"], frame["no"]))
        elif not frame["ok"].get("pending"):  # a pending tap is answered again, under the same id
            if "snap" in frame["ok"]:
                self.mirror.hello(frame["ok"])
            waiting = self._replies.pop(frame["id"], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(frame["ok"])

    async def _keep(self) -> None:
        """Pings, and a fresh token in place before the old one ends."""
        while True:
            await asyncio.sleep(PING_SECONDS)
            try:
                await self._ask("ping", {})
                if self.expires - time.time() < REFRESH_BEFORE:
                    fresh = await self.doors.post("/v1/token/refresh", token=self.token)
                    await self._ask("refresh", {"token": fresh["token"]})
                    self._be(fresh)
            except LostError:
                return
            except (RefusedError, LateError, httpx2.HTTPError):
                continue  # the next turn tries again; if it fails too, the hub ends the socket with the token

    async def _ask(self, kind: str, data: dict[str, Any], seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        ws = self._ws
        if ws is None:
            raise LostError(f"{self.name} has no socket")
        number = next(self._ids)
        waiting: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._replies[number] = waiting
        try:
            async with asyncio.timeout(seconds):
                await ws.send(orjson.dumps({"id": number, "t": kind, "d": data}).decode())
                return await waiting
        except RefusedError as no:
            raise RefusedError(f"{kind} of {self.name}", no.code, no.facts) from None
        except WebSocketException:
            raise LostError(f"{self.name} lost the socket") from None
        except TimeoutError:
            raise LateError(f"{kind} of {self.name} was not answered within {seconds:g} s") from None
        finally:
            self._replies.pop(number, None)
            if waiting.done() and not waiting.cancelled():
                waiting.exception()  # looked at, even when the send failed first

    # talking

    async def say(self, text: str) -> str:
        """Comment; returns its id. `slow_down` is obeyed, with the same client id."""
        return str((await self._patiently("say", {"cid": key(), "text": text}))["id"])

    async def like(self, n: int = 1) -> None:
        """Hearts."""
        await self._patiently("like", {"n": n})

    async def _patiently(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        while True:
            try:
                return await self._ask(kind, data)
            except RefusedError as no:
                if not no.again:
                    raise
                await asyncio.sleep(no.wait)

    # buying

    async def claim(self, offer: int, tap: str | None = None) -> dict[str, Any]:
        """Take a coupon: `{id, offer}`. Raises RefusedError."""
        return dict((await self._tap("claim", {"offer": offer}, tap or key(), 1))["coupon"])

    async def open_packet(self, offer: int, word: str = "") -> dict[str, Any]:
        """Take a share of a red packet: `{offer, amount, currency, grant}`. Raises RefusedError."""
        return dict((await self._tap("claim", {"offer": offer, "word": word}, key(), 1))["packet"])

    async def follow(self, on: bool = True) -> None:
        """Follow the room, or no more."""
        await self.doors.post(f"/v1/rooms/{self.room}/{'follow' if on else 'unfollow'}", token=self.token)

    async def enter_draw(self, draw: int) -> bool:
        """Follow the room and take part; whether I am in. Raises RefusedError."""
        return bool((await self.doors.post(f"/v1/draws/{draw}/enter", token=self.token))["entered"])

    async def points(self) -> int:
        """My points."""
        return int((await self.doors.get("/v1/me/points", token=self.token))["points"])

    async def buy(
        self, offer: int, at: list[str], *, qty: int = 1, tap: str | None = None, version: int | None = None, resent: bool = False,
        team: int | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Buy at the first of these stores that has it: `{no, fen, pay_until}`.

        `version`: the price seen, else the newest. `resent`: this tap was sent before. `team`: the small team to join, else one is
        opened where the offer has such. Raises RefusedError.
        """
        seen = version if version is not None else self.mirror.offer(offer).get("version", 1)
        lines = [{"offer": offer, "qty": qty, "version": seen}]
        return dict((await self._tap("buy", {"lines": lines, "at": at, "team": team}, tap or key(), 2 if resent else 1))["order"])

    async def _tap(self, kind: str, data: dict[str, Any], tap: str, tries: int) -> dict[str, Any]:
        """One tap to its end, however often it is sent: never two orders, never one lost."""
        for _ in range(TAPS):
            try:
                return await self._ask(kind, {**data, "key": tap, "try": tries}, VERDICT_SECONDS)
            except RefusedError as no:
                if not no.again:
                    raise
                tries += no.code != "slow_down"  # that one never reached the turnstile
                await asyncio.sleep(no.wait)
            except (LostError, LateError):
                tries += 1
                if self._ws is None:
                    await self.join(self.room)
                became = await self.doors.get(f"/v1/me/intents/{self.room}/{tap}", token=self.token)
                if became.keys() & {"order", "coupon", "packet"}:
                    return dict(became)
                await asyncio.sleep(0.5)
        raise LateError(f"{kind} of {self.name} came to no end in {TAPS} tries")

    # links

    async def share(self) -> str:
        """The token of my own link to this room."""
        return str((await self.doors.post(f"/v1/rooms/{self.room}/share", token=self.token))["token"])

    async def came_by(self, token: str) -> None:
        """I opened this link. Raises RefusedError(state) when it is my own."""
        await self.doors.post(f"/v1/shares/{token}/open", token=self.token)

    # orders

    async def orders(self) -> list[dict[str, Any]]:
        """My orders, newest first."""
        return list((await self.doors.get(f"/v1/me/orders?room={self.room}", token=self.token))["orders"])

    async def order(self, no: str) -> dict[str, Any]:
        """One of them."""
        return dict(await self.doors.get(f"/v1/me/orders/{no}", token=self.token))

    async def coupons(self) -> list[dict[str, Any]]:
        """My coupons, newest first."""
        return list((await self.doors.get(f"/v1/me/coupons?room={self.room}", token=self.token))["coupons"])

    async def best(self, no: str) -> dict[str, Any]:
        """What may be put on my order: `{best, usable, others}`, the best first."""
        return dict(await self.doors.get(f"/v1/me/orders/{no}/coupons", token=self.token))

    async def checkout(self, no: str, coupon: int | None = None) -> dict[str, Any]:
        """Begin to pay: `{order, pay, cashier}`; the coupon is locked from here."""
        return dict(await self.doors.post(f"/v1/me/orders/{no}/pay", {"coupon": coupon}, token=self.token))

    async def pay(self, no: str, coupon: int | None = None) -> dict[str, Any]:
        """Begin to pay, and pay at the simulator's cashier; returns the order as it was at checkout. The notice does the rest."""
        begun = await self.checkout(no, coupon)
        await self.doors.post(f"{begun['cashier']}/pay")
        return dict(begun["order"])

    async def cancel(self, no: str) -> dict[str, Any]:
        """Give an unpaid order up."""
        return dict(await self.doors.post(f"/v1/me/orders/{no}/cancel", token=self.token))

    async def ask_refund(self, no: str, reason: str) -> dict[str, Any]:
        """Ask for everything back."""
        return dict(await self.doors.post(f"/v1/me/orders/{no}/refund", {"reason": reason}, token=self.token))


def key() -> str:
    """A new idempotency key, or client id of a comment."""
    return secrets.token_urlsafe(12)
