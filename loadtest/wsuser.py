"""A viewer for locust: HTTP doors, one socket, and a mirror of the room. The users in `locustfile.py` are made of it.

What is reported: `WS` connect and hello; `CMD` a command until its final answer, by name (an expected refusal has a name of its own, such
as `buy: sold_out`, and counts as done); `PUSH` how long after a comment was said it arrived here; `GAP` a critical or own event that
never came, always a failure. Importing this patches the standard library for gevent: never import it in a test.
"""

from __future__ import annotations

import itertools
import json
import random
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import gevent
import websocket
from gevent.event import AsyncResult
from locust import HttpUser

from live.protocol.codes import RETRY
from loadtest.mirror import Gap, Mirror
from loadtest.remote import loopback

ANSWER_SECONDS = 10.0  # the hub says `pending` after 0.8 s and asks by itself after 1 s: by then something is broken
SENDS = 20  # of one tap, before it counts as never answered
PING_SECONDS = 25.0  # the hub closes what is silent for 60 s
REFRESH_BEFORE = 120.0  # seconds before its end that a token is replaced
COME_BACK = range(4000, 4500)  # close codes after which a client returns by itself
# What a crowd is told when everything is right. `price_changed` is answered by a resend with the price that was told.
EXPECTED = frozenset({"sold_out", "sold_out_pending", "limit", "ended", "team_full", "slow_down", "not_started", "price_changed"})


class RefusedError(Exception):
    """A typed no."""

    def __init__(self, kind: str, no: Mapping[str, Any]) -> None:
        super().__init__(f"{kind}: {no['code']} {({name: no[name] for name in no if name not in ('code', 'retry')}) or ''}".strip())
        self.code = str(no["code"])
        self.facts = no


class LostError(Exception):
    """The socket went away, or the answer never came."""


class GapError(Exception):
    """An event is missing."""


class WsUser(HttpUser):
    """One person with one socket, which a greenlet of its own reads. `known` people log in by phone, guests just come."""

    abstract = True
    known = False

    def on_start(self) -> None:
        """Get a token, look at the room, join it. Who cannot tries again; why is among the failures."""
        self.room: str = self.environment.parsed_options.room
        self.ids = itertools.count(1)
        self.replies: dict[int, AsyncResult] = {}
        self.ws: Any = None
        self.mirror, self.skew = Mirror(), 0.0  # skew: ms by which the server's clock is ahead
        self.leaving = False
        self.sent_away: int | None = None  # ms after which a `bye` asked us to come back
        self.greenlets: list[Any] = []
        while not self._entered():
            gevent.sleep(random.uniform(1.0, 3.0))
        self.greenlets = [gevent.spawn(self._read), gevent.spawn(self._keep)]

    def _entered(self) -> bool:
        try:
            self._identify()
            self.hub_url = str(self._http("GET", f"/v1/rooms/{self.room}", name="/v1/rooms/{room}")["hub_url"])
            if not self.environment.parsed_options.allow_remote and not loopback(self.hub_url):
                raise LostError(f"{self.hub_url} is not on this machine; say --allow-remote if it is yours")
        except LostError as error:
            self.report("WS", "enter", time.perf_counter(), error=error)
            return False
        return self._joined()

    def on_stop(self) -> None:
        """Leave without a word, as a closed tab does."""
        self.leaving = True
        gevent.killall(self.greenlets, block=False)
        if self.ws is not None:
            self.ws.shutdown()

    def report(
        self, kind: str, name: str, started: float, length: int = 0, error: Exception | None = None, ms: float | None = None
    ) -> None:
        """One line of locust's statistics; `started` of perf_counter, or `ms` when it was measured otherwise."""
        self.environment.events.request.fire(
            request_type=kind, name=name, response_time=(time.perf_counter() - started) * 1000 if ms is None else ms,
            response_length=length, exception=error, context={},
        )  # fmt: skip

    # doors

    def _http(self, method: str, path: str, body: Mapping[str, Any] | None = None, name: str | None = None) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.token}"} if getattr(self, "token", "") else {}
        answer = self.client.request(method, path, json=body, name=name or path, headers=headers)
        if answer.status_code >= 400 or answer.status_code == 0:  # locust has reported it
            raise LostError(f"{method} {path}: {answer.status_code} {(answer.text or '')[:200]}")
        return dict(answer.json())

    def _identify(self) -> None:
        if not self.known:
            self._be(self._http("POST", "/v1/guest", {}))
            return
        # Any number will do: outside of a demo this door refuses, since no SMS is sent by it.
        phone = f"1{random.choice('3456789')}{random.randrange(10**9):09d}"
        sent = self._http("POST", "/v1/login/phone/code", {"phone": phone})
        if "demo_code" not in sent:
            raise LostError("buyers log in with a code that only a demo shows; load-test `live demo`")
        self._be(self._http("POST", "/v1/login/phone", {"phone": phone, "code": sent["demo_code"]}))

    def _be(self, answer: Mapping[str, Any]) -> None:
        self.token = str(answer["token"])
        self.expires = answer["expires"] / 1000

    # the socket

    def _join(self) -> None:
        """Connect and say hello; where events were held before, resume behind them. Raises LostError or RefusedError."""
        began = time.perf_counter()
        try:
            ws = websocket.create_connection(self.hub_url, timeout=ANSWER_SECONDS, suppress_origin=True, skip_utf8_validation=True)
            self.report("WS", "connect", began)
            hello: dict[str, Any] = {"v": 1, "token": self.token, "room": self.room}
            if self.mirror.epoch:
                hello |= {"e": self.mirror.epoch, "s": self.mirror.seq, "p": self.mirror.own}
            asked = time.perf_counter()
            ws.send(json.dumps({"id": 0, "t": "hello", "d": hello}))
            raw = ws.recv()
        except (OSError, websocket.WebSocketException) as error:
            raise LostError(f"{type(error).__name__}: {error}") from None
        reply = json.loads(raw)
        if "ok" not in reply:
            raise RefusedError("hello", reply.get("no") or {"code": str(reply)[:100]})
        self.report("WS", "hello", asked, len(raw))
        self._greeted(reply["ok"], (time.perf_counter() - asked) * 1000)
        ws.settimeout(None)
        self.ws = ws

    def _greeted(self, ok: Mapping[str, Any], took: float) -> None:
        # Clocks of two machines differ; a difference below the way's own length says nothing.
        skew = ok["now"] - (time.time() * 1000 - took / 2)
        self.skew = skew if abs(skew) > took else 0.0
        self._gaps(self.mirror.hello(ok))
        if ok.get("own") is None and self.known:
            self._http("GET", f"/v1/me/orders?room={self.room}", name="/v1/me/orders")

    def _read(self) -> None:
        """Everything the hub says, until the user stops; a lost socket comes back as pages do."""
        while not self.leaving:
            try:
                raw = self.ws.recv()
                if raw:
                    self._take(json.loads(raw), len(raw))
                    continue
                why = "closed"
            except (OSError, websocket.WebSocketException) as error:
                why = f"{type(error).__name__}: {error}"
            if self.leaving:
                return
            self._lose(why)
            while not self.leaving and not self._joined():
                gevent.sleep(random.uniform(0.5, 3.0))

    def _lose(self, why: str) -> None:
        """Whoever was told when to come back has lost nothing."""
        after, self.sent_away = self.sent_away, None
        self.report("WS", "lost" if after is None else "sent away", time.perf_counter(), error=LostError(why) if after is None else None)
        waiting, self.replies, self.ws = self.replies, {}, None
        for result in waiting.values():
            result.set_exception(LostError(why))
        gevent.sleep((after or 0) / 1000)

    def _joined(self) -> bool:
        try:
            self._join()
        except (LostError, RefusedError) as error:
            self.report("WS", "join", time.perf_counter(), error=error)
            return False
        return True

    def _take(self, frame: dict[str, Any], length: int) -> None:
        if "id" in frame:
            # A pending tap is answered again under the same id; whoever gave up waiting is not there any more.
            if not (frame.get("ok") or {}).get("pending") and frame["id"] in self.replies:
                self.replies.pop(frame["id"]).set(frame)
        elif "own" in frame:
            self._gaps(self.mirror.own_events(frame["own"]))
        elif "reset" in frame:
            self.mirror.reset(frame["reset"])
        elif "bye" in frame:
            bye = frame["bye"]
            if bye["code"] in COME_BACK:
                self.sent_away = int(bye["after"])
            else:
                self.report("WS", "bye", time.perf_counter(), error=LostError(str(bye)))
        else:
            self._tick(frame, length)

    def _tick(self, frame: Mapping[str, Any], length: int) -> None:
        self._gaps(self.mirror.tick(frame))
        if said := frame.get("ch"):
            # One sample a frame, its oldest comment: a sample per comment would cost more than reading them.
            lag = time.time() * 1000 + self.skew - min(comment["at"] for comment in said)
            self.report("PUSH", "comment", 0.0, length, ms=max(0.0, lag))

    def _gaps(self, gaps: list[Gap]) -> None:
        for lane, what in gaps:
            self.report("GAP", lane, time.perf_counter(), error=GapError(what))

    def _keep(self) -> None:
        """Pings, and a fresh token in place before the old one ends."""
        while not self.leaving:
            gevent.sleep(PING_SECONDS)
            self.act("ping", {"at": int(time.time() * 1000)})
            if self.expires - time.time() < REFRESH_BEFORE:
                with suppress(LostError):
                    self._be(self._http("POST", "/v1/token/refresh"))
                    self.act("refresh", {"token": self.token})

    # commands

    def ask(self, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """The `ok` of one command. Raises RefusedError or LostError."""
        number, result = next(self.ids), AsyncResult()
        ws = self.ws
        if ws is None:
            raise LostError("no socket")
        self.replies[number] = result
        try:
            ws.send(json.dumps({"id": number, "t": kind, "d": data}))
            frame = result.get(timeout=ANSWER_SECONDS)
        except gevent.Timeout:
            raise LostError(f"{kind} was not answered within {ANSWER_SECONDS:g} s") from None
        except (OSError, websocket.WebSocketException) as error:
            raise LostError(str(error)) from None
        finally:
            self.replies.pop(number, None)
        if "no" in frame:
            raise RefusedError(kind, frame["no"])
        return dict(frame["ok"])

    def act(self, kind: str, data: Mapping[str, Any]) -> None:
        """One command, reported. Nothing is repeated."""
        if self.ws is None:
            return  # the reader is on its way back, and has reported why
        began = time.perf_counter()
        try:
            self.ask(kind, data)
            self.report("CMD", kind, began)
        except RefusedError as no:
            self._refused(kind, no, began)
        except LostError as error:
            if self.ws is not None:  # else the reader has reported why
                self.report("CMD", kind, began, error=error)

    def tap(self, kind: str, data: Mapping[str, Any]) -> dict[str, Any] | None:
        """A buy or a claim to its end: one key, resent as pages do. Its body when it was got. The whole of it is one report."""
        key, tries, began = secrets.token_urlsafe(12), 1, time.perf_counter()
        for _ in range(SENDS):
            sent = time.perf_counter()
            try:
                body = self.ask(kind, {**data, "key": key, "try": tries})
                self.report("CMD", kind, began)
                return body
            except RefusedError as no:
                if no.code not in RETRY and no.code != "price_changed":
                    self._refused(kind, no, began)
                    return None
                self.report("CMD", f"{kind}: {no.code}", sent)
                tries += no.code != "slow_down"  # that one never reached the turnstile
                if no.code == "price_changed":
                    data = {**data, "lines": [{**line, "version": no.facts["version"]} for line in data["lines"]]}
                else:
                    gevent.sleep(max(no.facts.get("wait", 0) / 1000, random.uniform(0.1, 0.5)))
            except LostError:
                tries += 1
                gevent.sleep(random.uniform(0.5, 1.0))
        self.report("CMD", kind, began, error=LostError(f"never answered in {SENDS} sends"))
        return None

    def _refused(self, kind: str, no: RefusedError, began: float) -> None:
        if no.code in EXPECTED:
            self.report("CMD", f"{kind}: {no.code}", began)
        else:
            self.report("CMD", kind, began, error=no)
