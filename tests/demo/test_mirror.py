"""A client's copy of a room: joins, resumes, resets and ticks end in the same place."""

from __future__ import annotations

from typing import Any

import pytest

from live.demo.doors import RefusedError, read
from live.demo.mirror import CHAT, EVENTS, Mirror


def snapshot(**state: Any) -> dict[str, Any]:
    return {"st": state, "chat": [], "viewers": 3, "likes": 4}


def hello(seq: int, snap: dict[str, Any], *, epoch: str = "k3Pq", missed: list[Any] | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = {"e": epoch, "s": seq, "p": 7, "rec": missed is not None, "snap": snap, "own": None}
    return answer | ({"ev": missed} if missed is not None else {})


def card(offer: int, phase: str = "open", kind: str = "sale") -> dict[str, Any]:
    return {"id": offer, "kind": kind, "phase": phase, "version": 1}


def test_state_keeps_the_newest_version_whichever_comes_last() -> None:
    mirror = Mirror()
    mirror.hello(hello(1, snapshot(room=[5, {"phase": "live"}])))
    mirror.frame({"r": "demo", "s": 1, "st": {"left:1": [9, {"left": {"S1": 2}}]}})
    mirror.frame({"r": "demo", "s": 1, "st": {"left:1": [8, {"left": {"S1": 3}}]}})
    assert mirror.left(1) == {"S1": 2}
    assert mirror.value("room") == {"phase": "live"}


def test_a_resume_adds_what_was_missed_once() -> None:
    mirror = Mirror()
    mirror.hello(hello(3, snapshot()))
    mirror.frame({"r": "demo", "s": 4, "ev": [[4, "room.pinned", {"offer": 1}]]})
    mirror.hello(
        hello(6, snapshot(), missed=[[4, "room.pinned", {"offer": 1}], [5, "room.pinned", {"offer": None}], [6, "room.closed", {}]])
    )
    assert [seq for seq, _, _ in mirror.events] == [4, 5, 6]
    assert (mirror.resumed, mirror.seq, mirror.own) == (True, 6, 7)
    assert mirror.heard("room.pinned", offer=None)
    assert not mirror.heard("room.pinned", offer=2)


def test_a_reset_forgets_the_state_that_was_held() -> None:
    mirror = Mirror()
    mirror.hello(hello(3, snapshot(**{"offer:1": [100, card(1)]})))
    mirror.frame({"reset": {"e": "new", "s": 1, "p": 2, "snap": snapshot(**{"offer:2": [1, card(2)]})}})
    assert (mirror.epoch, mirror.seq, mirror.own) == ("new", 1, 2)
    assert (mirror.offer(1), mirror.offer(2)["id"]) == ({}, 2)


def test_an_own_event_that_comes_late_does_not_undo_a_newer_one() -> None:
    mirror = Mirror()
    for position, version, state in ((1, 1, "AWAIT_PAY"), (2, 3, "ALLOCATED"), (3, 2, "PAID")):
        mirror.frame({"own": [[position, 0, {"t": "order", "no": "A", "version": version, "state": state}]]})
    assert (mirror.orders["A"]["state"], mirror.own) == ("ALLOCATED", 3)


def test_a_withdrawn_comment_is_gone_and_nothing_grows_without_end() -> None:
    mirror = Mirror()
    mirror.frame({"r": "demo", "s": 0, "ch": [{"id": f"c{n}"} for n in range(500)]})
    mirror.frame({"r": "demo", "s": 500, "ev": [[n, "comment.withdrawn", {"id": "c499"}] for n in range(1, 501)]})
    assert len(mirror.events) == EVENTS
    assert len(mirror.chat) == CHAT - 1
    assert all(said["id"] != "c499" for said in mirror.chat)


def test_open_offers_are_those_of_the_kind_newest_first() -> None:
    mirror = Mirror()
    cards = {f"offer:{n}": [n, card(n, phase, kind)] for n, phase, kind in ((1, "open", "sale"), (2, "ended", "sale"), (3, "open", "sale"))}
    mirror.hello(hello(1, snapshot(**cards, **{"offer:4": [4, card(4, kind="group")], "offer:5": [5, None]})))
    assert [found["id"] for found in mirror.open("sale")] == [3, 1]


def test_an_answer_is_its_json_or_a_typed_refusal() -> None:
    assert read("GET /x", 200, b'{"a":1}') == {"a": 1}
    with pytest.raises(RefusedError) as no:
        read("POST /x", 409, b'{"no":{"code":"sold_out","retry":false,"offer":7}}')
    assert (no.value.code, no.value.facts["offer"], no.value.again) == ("sold_out", 7, False)
    assert str(no.value) == "POST /x was refused: sold_out (offer=7)"
    with pytest.raises(RefusedError) as odd:
        read("GET /x", 502, b"<html>")
    assert odd.value.code == "http 502"
