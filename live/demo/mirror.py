"""A room as one client holds it, folded from the frames of the socket (the wire is described in `live/protocol/events.py`).

A join, a resume and a reset end in the same place: state merges by version, critical events by position. Everything held is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

EVENTS, CHAT = 300, 100  # kept of each: as many events as the server replays, and twice the comments of a snapshot


class Mirror:
    """What is known. `epoch`, `seq` and `own` are the position to resume from."""

    def __init__(self) -> None:
        self.epoch = ""
        self.seq = self.own = 0
        self.state: dict[str, tuple[int, Any]] = {}
        self.events: deque[tuple[int, str, dict[str, Any]]] = deque(maxlen=EVENTS)
        self.chat: deque[dict[str, Any]] = deque(maxlen=CHAT)
        self.orders: dict[str, dict[str, Any]] = {}  # number → the newest own event of it
        self.coupons: dict[int, dict[str, Any]] = {}
        self.viewers = self.likes = 0
        self.resumed = False  # whether the last hello was answered with what was missed, not with everything

    # reading

    def value(self, key: str) -> Any:
        """The value of a state key, None when there is none."""
        return self.state.get(key, (0, None))[1]

    def offer(self, offer: int) -> dict[str, Any]:
        """The card of an offer; empty when it has none yet."""
        return self.value(f"offer:{offer}") or {}

    def left(self, offer: int) -> dict[str, int]:
        """Units left per store."""
        return dict((self.value(f"left:{offer}") or {}).get("left", {}))

    def team(self, offer: int) -> dict[str, Any]:
        """The bar of a group buy."""
        return self.value(f"team:{offer}") or {}

    def teams(self, offer: int) -> dict[str, Any]:
        """The small teams of an offer, as the room sees them."""
        return self.value(f"teams:{offer}") or {}

    def open(self, kind: str) -> list[dict[str, Any]]:
        """Cards of open offers of a kind, newest first."""
        cards = [value for key, (_, value) in self.state.items() if key.startswith("offer:") and value]
        return sorted((card for card in cards if card["kind"] == kind and card["phase"] == "open"), key=lambda card: -card["id"])

    def heard(self, kind: str, **facts: Any) -> bool:
        """Whether a critical event of this kind with these facts came."""
        return any(which == kind and facts.items() <= body.items() for _, which, body in self.events)

    # folding

    def hello(self, answer: Mapping[str, Any]) -> None:
        """The answer to hello: the whole room, or what was missed."""
        self.resumed = bool(answer["rec"])
        if not self.resumed and answer["e"] != self.epoch:
            self.state.clear()
        self._snapshot(answer["snap"])
        for event in answer.get("ev", ()):
            self._event(event)
        for entry in answer.get("own") or ():
            self._own(entry)
        self.epoch, self.seq, self.own = answer["e"], answer["s"], answer["p"]

    def frame(self, frame: Mapping[str, Any]) -> None:
        """Any frame but a reply."""
        if "own" in frame:
            for entry in frame["own"]:
                self._own(entry)
        elif "reset" in frame:
            again = frame["reset"]
            self.state.clear()
            self._snapshot(again["snap"])
            self.epoch, self.seq, self.own = again["e"], again["s"], again.get("p", self.own)
        elif "r" in frame:
            for event in frame.get("ev", ()):
                self._event(event)
            self._state(frame.get("st", {}))
            self.chat.extend(frame.get("ch", ()))
            if "v" in frame:
                self.viewers, self.likes = frame["v"]
            self.seq = max(self.seq, frame["s"])

    def _snapshot(self, snap: Mapping[str, Any]) -> None:
        self._state(snap["st"])
        self.chat = deque(snap["chat"], maxlen=CHAT)
        self.viewers, self.likes = snap["viewers"], snap["likes"]

    def _state(self, news: Mapping[str, Any]) -> None:
        for key, (version, value) in news.items():
            if version >= self.state.get(key, (-1, None))[0]:
                self.state[key] = (version, value)

    def _event(self, event: list[Any]) -> None:
        seq, kind, body = event
        if self.events and seq <= self.events[-1][0]:
            return  # seen: a resume may overlap
        self.events.append((seq, kind, body))
        if kind == "comment.withdrawn":
            self.chat = deque((said for said in self.chat if said["id"] != body["id"]), maxlen=CHAT)

    def _own(self, entry: list[Any]) -> None:
        position, _, body = entry
        self.own = max(self.own, position)
        if body["t"] == "order":
            _newest(self.orders, body["no"], body)
        elif body["t"] == "coupon":
            _newest(self.coupons, body["id"], body)


def _newest(held: dict[Any, dict[str, Any]], key: Any, body: dict[str, Any]) -> None:
    if key not in held or held[key]["version"] <= body["version"]:
        held[key] = body
