"""Checks an exported chain of movements. No server, no database: what this file does, a second program can do from `chain.py`'s text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

FORMAT = "live-movements/1"
SEAL_MOST = 1000  # movements a seal: one is a few milliseconds of hashing, and a fault is narrowed down to this many
TAKES = frozenset({"HOLD", "RELEASE", "RESTOCK"})  # change `taken`; ADJUST and RETURN change `total`
SIGNS = {"HOLD": (1, None), "RELEASE": (None, -1), "RESTOCK": (None, -1), "RETURN": (None, 0), "ADJUST": (None, None)}
_SHAPES = {
    "header": {"allotments": list, "at": str, "format": str},
    "allotment": {
        "hash": str, "location": str, "move_no": int, "offer": int, "opened": int, "room": str, "sealed": int, "taken": int, "total": int,
    },
    "movement": {"at": str, "kind": str, "location": str, "move_no": int, "offer": int, "qty": int, "rid": str},
    "seal": {"at": str, "from_no": int, "hash": str, "location": str, "offer": int, "previous": str, "to_no": int},
    "end": {"lines": int, "sha256": str},
}  # fmt: skip


def canonical(row: dict[str, Any]) -> bytes:
    """The one form of a row: JSON, keys sorted, no spaces, UTF-8. No newline."""
    return orjson.dumps(row, option=orjson.OPT_SORT_KEYS)


def opening(offer: int, location: str, opened: int) -> str:
    """What the first seal of an allotment follows: the hash of the units it was opened with."""
    return hashlib.sha256(canonical({"location": location, "offer": offer, "opened": opened})).hexdigest()


def seal(previous: str, lines: Iterable[bytes]) -> str:
    """The hash of a range: of the hash before it and its movements' lines, each with a newline."""
    digest = hashlib.sha256(previous.encode() + b"\n")
    for line in lines:
        digest.update(line + b"\n")
    return digest.hexdigest()


class Broken(Exception):
    """The first thing that is wrong. `line` counts from 1; `offer`, `location`, `move_no` when it is about one."""

    def __init__(self, why: str, line: int, row: dict[str, Any] | None = None, move_no: int | None = None) -> None:
        row = row or {}
        self.why, self.line, self.offer, self.location = why, line, row.get("offer"), row.get("location")
        self.move_no = None if self.offer is None else row.get("move_no", row.get("from_no")) if move_no is None else move_no
        about = f", offer {self.offer} at {self.location}, move_no {self.move_no}" if self.offer is not None else ""
        super().__init__(f"line {line}{about}: {why}")


class Proof:
    """Reads an export line by line and raises Broken at the first fault. Holds one open range of movements and the causes of one offer."""

    def __init__(self) -> None:
        self.line, self.movements, self.seals = 0, 0, 0
        self.digest = hashlib.sha256()
        self.allotments: list[dict[str, Any]] | None = None
        self.at = -1  # which allotment is being read
        self.now: dict[str, Any] = {}
        self.total = self.taken = self.move_no = self.sealed = 0
        self.head = ""
        self.open: list[bytes] = []
        self.causes: set[tuple[str, str]] = set()
        self.ended = False

    def read(self, line: bytes) -> None:
        """One line, without its newline."""
        self.line += 1
        if self.ended:
            raise Broken("something follows the closing line", self.line)
        row = self._row(line)
        if self.allotments is None:
            self._header(row)
        elif "sha256" in row:
            self._end(row)
            return
        else:
            self._belongs(row)
            if "hash" in row:
                self._seal(row)
            else:
                self._movement(row, line)
        self.digest.update(line + b"\n")

    def finish(self) -> None:
        """After the last line."""
        if not self.ended:
            raise Broken("the file ends without its closing line", self.line + 1, self.now, self.move_no + 1)

    def _row(self, line: bytes) -> dict[str, Any]:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise Broken("not JSON", self.line, self.now, self.move_no + 1) from None
        if not isinstance(row, dict) or canonical(row) != line:
            raise Broken("not in canonical form", self.line, row if isinstance(row, dict) else None)
        kind = "header" if self.allotments is None else "end" if "sha256" in row else "seal" if "hash" in row else "movement"
        self._shape(kind, row)
        return row

    def _shape(self, kind: str, row: Any) -> None:
        shape = _SHAPES[kind]
        if not isinstance(row, dict) or {name: type(value) for name, value in row.items()} != shape:
            raise Broken(f"not the fields of a {kind}", self.line)

    def _header(self, row: dict[str, Any]) -> None:
        if row["format"] != FORMAT:
            raise Broken(f"format {row['format']}, this program knows {FORMAT}", self.line)
        self.allotments = row["allotments"]
        for one in row["allotments"]:
            self._shape("allotment", one)
        places = [(one["offer"], one["location"]) for one in row["allotments"]]
        if places != sorted(set(places)):
            raise Broken("allotments are not in order, or one is there twice", self.line)

    def _belongs(self, row: dict[str, Any]) -> None:
        """Go on to the allotment the row belongs to; those between have no movements."""
        while (row["offer"], row["location"]) != (self.now.get("offer"), self.now.get("location")):
            self._done(row)

    def _done(self, row: dict[str, Any] | None) -> None:
        """The current allotment is complete: its sums are the header's. Open the next."""
        if self.at >= 0:
            now, found = self.now, (self.move_no, self.total, self.taken, self.sealed, self.head)
            names = ("move_no", "total", "taken", "sealed", "hash")
            for name, value in zip(names, found, strict=True):
                if now[name] != value:
                    raise Broken(f"{name} is {value} after its last movement, the header says {now[name]}", self.line, now, self.move_no)
        self.at += 1
        assert self.allotments is not None
        if self.at == len(self.allotments):
            if row is not None:
                raise Broken("belongs to no allotment of the header, or comes after it", self.line, row)
            return
        last = self.now.get("offer")
        self.now = self.allotments[self.at]
        if self.now["offer"] != last:
            self.causes = set()
        self.total, self.taken, self.move_no, self.sealed = self.now["opened"], 0, 0, 0
        self.head, self.open = opening(self.now["offer"], self.now["location"], self.now["opened"]), []

    def _movement(self, row: dict[str, Any], line: bytes) -> None:
        if row["move_no"] != self.move_no + 1:
            raise Broken(f"movement {self.move_no + 1} was due", self.line, row)
        low, high = SIGNS.get(row["kind"], (1, 0))
        if (low is not None and row["qty"] < low) or (high is not None and row["qty"] > high):
            raise Broken(f"{row['kind']} of {row['qty']}", self.line, row)
        if (row["rid"], row["kind"]) in self.causes:
            raise Broken(f"a second {row['kind']} of cause {row['rid']}", self.line, row)
        self.causes.add((row["rid"], row["kind"]))
        if row["kind"] in TAKES:
            self.taken += row["qty"]
        else:
            self.total += row["qty"]
        if not 0 <= self.taken <= self.total:
            raise Broken(f"{self.taken} taken of {self.total}", self.line, row)
        self.move_no += 1
        self.movements += 1
        self.open.append(line)

    def _seal(self, row: dict[str, Any]) -> None:
        if (row["from_no"], row["to_no"]) != (self.sealed + 1, self.move_no) or not 0 < len(self.open) <= SEAL_MOST:
            why = f"a seal of {row['from_no']} to {row['to_no']}, where movements {self.sealed + 1} to {self.move_no} wait for theirs"
            raise Broken(why, self.line, row)
        if row["previous"] != self.head:
            raise Broken("the seal does not follow the one before it", self.line, row)
        if row["hash"] != seal(self.head, self.open):
            raise Broken(f"the seal does not match its movements {row['from_no']} to {row['to_no']}", self.line, row)
        self.sealed, self.head, self.open = self.move_no, row["hash"], []
        self.seals += 1

    def _end(self, row: dict[str, Any]) -> None:
        assert self.allotments is not None
        while self.at < len(self.allotments):
            self._done(None)
        if row["lines"] != self.line - 1:
            raise Broken(f"{self.line - 1} lines before the closing one, it says {row['lines']}", self.line)
        if row["sha256"] != self.digest.hexdigest():
            raise Broken("the closing line does not match the file", self.line)
        self.ended = True


def verify(path: Path) -> Proof:
    """Check a file. Raises Broken at its first fault, OSError when it cannot be read."""
    proof = Proof()
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                raise Broken("the line is cut off", proof.line + 1, proof.now, proof.move_no + 1)
            proof.read(line[:-1])
    proof.finish()
    return proof
