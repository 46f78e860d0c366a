"""What a client knows of a room, and that nothing it should have heard goes missing unnoticed."""

from __future__ import annotations

from typing import Any

from loadtest.mirror import Mirror

SALE = {"id": 1, "kind": "sale", "phase": "open"}
COUPON = {"id": 2, "kind": "coupon", "phase": "ended"}


def greeted(**facts: Any) -> Mirror:
    """A mirror after a first hello at seq 5, own position 9."""
    mirror = Mirror()
    state = {"offer:1": [3, SALE], "offer:2": [4, COUPON], "left:1": [5, {"left": {"S1": 2}}]}
    assert mirror.hello({"e": "ab", "s": 5, "p": 9, "rec": False, "own": None, "snap": {"st": state}} | facts) == []
    return mirror


def test_open_offers_and_their_units_are_read_from_the_state() -> None:
    mirror = greeted()
    assert mirror.offers("sale", "group", "coupon") == [SALE]
    assert mirror.left(1) == {"S1": 2}
    assert mirror.left(2) == {}


def test_the_newer_version_of_a_state_wins_and_null_removes() -> None:
    mirror = greeted()
    assert mirror.tick({"s": 5, "st": {"left:1": [4, {"left": {"S1": 9}}]}}) == []
    assert mirror.left(1) == {"S1": 2}
    mirror.tick({"s": 5, "st": {"left:1": [6, {"left": {"S1": 1}}], "offer:1": [7, None]}})
    assert mirror.left(1) == {"S1": 1}
    assert mirror.offers("sale") == []


def test_events_in_order_leave_no_gap() -> None:
    mirror = greeted()
    assert mirror.tick({"s": 7, "ev": [[6, "room.pinned", {}], [7, "offer.ended", {}]]}) == []
    assert mirror.tick({"s": 7}) == []


def test_a_missing_event_is_a_gap_and_is_told_once() -> None:
    mirror = greeted()
    assert mirror.tick({"s": 7, "ev": [[7, "offer.ended", {}]]}) == [("critical", "7 came after 5")]
    assert mirror.tick({"s": 9}) == [("critical", "8 to 9 never came")]
    assert mirror.tick({"s": 9}) == []


def test_an_event_that_comes_twice_is_a_gap() -> None:
    assert greeted().tick({"s": 5, "ev": [[5, "offer.ended", {}]]}) == [("critical", "5 came after 5")]


def test_a_resume_must_hold_everything_that_was_missed() -> None:
    again: dict[str, Any] = {"e": "ab", "s": 7, "p": 9, "rec": True, "own": [], "snap": {"st": {}}}
    assert greeted().hello(again | {"ev": [[6, "room.pinned", {}], [7, "offer.ended", {}]]}) == []
    assert greeted().hello(again | {"ev": [[6, "room.pinned", {}]]}) == [("critical", "7 to 7 never came")]


def test_a_reset_begins_anew() -> None:
    mirror = greeted()
    mirror.reset({"e": "cd", "s": 2, "p": 0, "snap": {"st": {"offer:1": [1, SALE]}}})
    assert (mirror.epoch, mirror.seq, mirror.own) == ("cd", 2, 0)
    assert mirror.tick({"s": 3, "ev": [[3, "room.pinned", {}]], "st": {"offer:1": [2, None]}}) == []
    assert mirror.offers("sale") == []


def test_the_chain_of_own_events_shows_a_missing_one() -> None:
    mirror = greeted()
    assert mirror.own_events([[12, 4, {}], [15, 12, {}]]) == []
    assert mirror.own_events([[20, 18, {}]]) == [("own", "18 never came before 20")]
    assert mirror.own_events([[21, 20, {}]]) == []
