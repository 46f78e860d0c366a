"""A room as one client knows it from its frames, and what it should have heard and did not. No sockets and no clock here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Gap = tuple[str, str]  # lane (`critical` or `own`), what is missing


@dataclass
class Mirror:
    """`seq`: last critical event; `own`: last own position heard of; `state`: key → [version, value]."""

    epoch: str = ""
    seq: int = 0
    own: int = 0
    state: dict[str, list[Any]] = field(default_factory=dict)

    def hello(self, ok: Mapping[str, Any]) -> list[Gap]:
        """The answer to a hello: a snapshot, or what was missed since `seq`. Own events that are null must be read over HTTP."""
        gaps = self._events(ok.get("ev", []), ok["s"]) if ok["rec"] else []
        if ok.get("own") is not None:
            gaps += self.own_events(ok["own"])
        self.epoch, self.seq, self.own = ok["e"], ok["s"], max(self.own, ok["p"])
        self.state = dict(ok["snap"]["st"])
        return gaps

    def reset(self, body: Mapping[str, Any]) -> None:
        """Forget everything: a new log."""
        self.epoch, self.seq, self.own, self.state = body["e"], body["s"], body.get("p", self.own), dict(body["snap"]["st"])

    def tick(self, frame: Mapping[str, Any]) -> list[Gap]:
        """A frame of the room."""
        gaps = self._events(frame.get("ev", []), frame["s"])
        for key, (version, value) in frame.get("st", {}).items():
            if version > self.state.get(key, [0])[0]:
                self.state[key] = [version, value]
        return gaps

    def own_events(self, entries: list[list[Any]]) -> list[Gap]:
        """Entries (p, previous p of this person, body): the chain tells what is missing, though others' entries lie between."""
        gaps = []
        for p, previous, *_ in entries:
            if previous > self.own:
                gaps.append(("own", f"{previous} never came before {p}"))
            self.own = max(self.own, p)
        return gaps

    def _events(self, events: list[list[Any]], top: int) -> list[Gap]:
        gaps = []
        for seq, *_ in events:
            if seq != self.seq + 1:
                gaps.append(("critical", f"{seq} came after {self.seq}"))
            self.seq = seq
        if top > self.seq:
            gaps.append(("critical", f"{self.seq + 1} to {top} never came"))
            self.seq = top
        return gaps

    def offers(self, *kinds: str) -> list[dict[str, Any]]:
        """Cards of what is open now."""
        cards = [value for key, (_, value) in self.state.items() if key.startswith("offer:") and value]
        return [card for card in cards if card["phase"] == "open" and card["kind"] in kinds]

    def left(self, offer: int) -> dict[str, int]:
        """Units left per store."""
        value = self.state.get(f"left:{offer}", [0, None])[1]
        return dict(value["left"]) if value else {}
