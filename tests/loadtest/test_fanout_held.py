"""What a viewer of a crowd holds: frames cut out of bytes, gaps, resets, and that all who hold the same share it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from loadtest.held import KNOWN_FRAMES, KNOWN_STEPS, Frame, Held, Shelf, cut, follow, merged, snapshot


def wire(body: Any) -> bytes:
    return WireFrame(Opcode.TEXT, json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()).serialize(mask=False)


def payload(**facts: Any) -> bytes:
    return json.dumps({"r": "show", "s": 5, "p": 2} | facts, separators=(",", ":"), ensure_ascii=False).encode()


def stepped(shelf: Shelf, held: Held, *payloads: bytes) -> Held:
    step = shelf.step(held, b"".join(payloads), [shelf.frame(each) for each in payloads])
    return step.to or held


@pytest.mark.parametrize("size", [2, 125, 126, 65_535, 65_536])
def test_a_frame_is_cut_out_whole_or_not_at_all(size: int) -> None:
    one = WireFrame(Opcode.TEXT, b"x" * size).serialize(mask=False)
    both = one + one[:1]
    assert cut(both) == (0x81, b"x" * size, len(one))
    assert cut(both, len(one)) is None
    assert all(cut(one[:end]) is None for end in (0, 1, 2, 3, 4, 9, len(one) - 1) if end < len(one))


def test_a_frame_knows_its_items_and_when_they_were_meant() -> None:
    frame = Frame(payload(
        ev=[[5, "room.pinned", {"offer": 1, "at": 12.5}], [6, "offer.ended", {"offer": 2}]],
        st={"team:1": [9, {"paid": 1, "at": 13.25}], "team:2": [10, None]},
        ch=[{"id": "c1-1", "text": "14.0625 好看"}, {"id": "c2-1", "text": "今天几点结束"}],
    ))  # fmt: skip
    assert (frame.top, frame.own, frame.events, frame.said) == (5, 2, (5, 6), ("c1-1", "c2-1"))
    assert frame.states == {"team:1": 9, "team:2": 10}
    assert frame.ages == {"critical": [12.5], "state": [13.25], "chat": [14.0625]}
    assert not frame.stale
    assert not frame.bare


def test_a_whole_state_sent_to_the_slow_is_no_news_to_be_timed() -> None:
    frame = Frame(payload(stale=True, st={"team:1": [9, {"at": 13.25}]}))
    assert frame.stale
    assert frame.states == {"team:1": 9}
    assert frame.ages["state"] == []


@pytest.mark.parametrize(
    ("seq", "events", "top", "found"),
    [
        (4, (5, 6), 6, (6, 0, 0)),
        (4, (), 4, (4, 0, 0)),
        (4, (6,), 6, (6, 1, 0)),
        (4, (), 6, (6, 2, 0)),
        (6, (5, 6, 7), 7, (7, 0, 2)),
        (6, (), 5, (6, 0, 0)),  # a tick that a critical frame overtook
    ],
)
def test_missing_and_repeated_events_are_counted(seq: int, events: tuple[int, ...], top: int, found: tuple[int, int, int]) -> None:
    assert follow(seq, events, top) == found


def test_the_newest_version_of_a_key_is_held() -> None:
    held = {"a": 3, "b": 5}
    assert merged(held, {"a": 4, "b": 4, "c": 1}) == {"a": 4, "b": 5, "c": 1}
    assert merged(held, {"a": 3}) is held


def test_who_holds_the_same_shares_it_however_it_came_to_that() -> None:
    shelf = Shelf()
    one = shelf.only(Held("e", 4, 2, {}))
    event, state = payload(ev=[[5, "room.pinned", {}]]), payload(s=4, st={"team:1": [9, {}]})
    assert stepped(shelf, stepped(shelf, one, event), state) is stepped(shelf, one, state, event)
    assert shelf.only(Held("e", 4, 2, {})) is one


def test_what_changes_nothing_leads_nowhere_and_does_not_pile_up() -> None:
    shelf = Shelf()
    held = shelf.only(Held("e", 5, 2, {}))
    steps = [shelf.step(held, each, [shelf.frame(each)]) for each in (payload(ch=[{"id": str(n), "text": "1"}]) for n in range(200))]
    assert {step.to for step in steps} == {None}
    assert len(held.steps) <= KNOWN_STEPS


def test_a_reset_covers_what_came_before_it() -> None:
    shelf = Shelf()
    anew = {"e": "f", "s": 9, "p": 1, "snap": {"st": {"offer:1": [2, {}]}}}
    reset, event = json.dumps({"reset": anew}).encode(), payload(s=10, p=1, ev=[[10, "room.closed", {}]])
    step = shelf.step(Held("e", 4, 2, {"team:1": 9}), reset + event, [shelf.frame(reset), shelf.frame(event)])
    assert step.to is not None
    assert (step.lost, step.to.epoch, step.to.seq, step.to.own, step.to.state) == (0, "f", 10, 1, {"offer:1": 2})
    assert snapshot(anew).state == {"offer:1": 2}


def test_items_are_told_once_however_often_they_are_met() -> None:
    shelf = Shelf()
    shelf.frame(payload(ev=[[5, "room.pinned", {}]], st={"team:1": [9, {}]}, ch=[{"id": "c1", "text": "1"}]))
    shelf.frame(payload(s=6, ev=[[5, "room.pinned", {}]]))
    shelf.frame(payload(stale=True, st={"team:2": [7, {}]}))
    assert shelf.tell() == {"critical": [5], "state": [9], "chat": ["c1"]}
    assert shelf.tell() == {"critical": [], "state": [], "chat": []}


def test_old_frames_are_forgotten() -> None:
    shelf = Shelf()
    for n in range(KNOWN_FRAMES + 1):
        shelf.frame(payload(s=n))
    assert len(shelf.frames) <= KNOWN_FRAMES
