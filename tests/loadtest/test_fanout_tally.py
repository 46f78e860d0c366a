"""Counts of several processes, put together: nothing twice, and times that fit."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from loadtest.crowd import Seen
from loadtest.held import Held, Shelf
from loadtest.tally import Sweep, Tally, percentile_ms

TICK = b'{"r":"show","s":5,"st":{"team:1":[9,{"at":99.5}]},"ch":[{"id":"c1","text":"99.25 hi"}]}'
EVENT = b'{"r":"show","s":6,"ev":[[6,"room.pinned",{"at":99.9}]]}'


def counted(*receipts: tuple[bytes, int, float]) -> Tally:
    shelf, tally = Shelf(), Tally()
    for payload, viewers, now in receipts:
        tally.count(shelf.step(Held("e", 5, 0, {}), payload, [shelf.frame(payload)]), viewers, now)
    return tally


@pytest.mark.parametrize(
    ("ages", "share", "found"), [({}, 0.5, 0.0), ({10: 1}, 0.99, 1.0), ({10: 98, 50: 1, 900: 1}, 0.99, 5.0), ({0: 1, 10: 1}, 0.5, 0.0)]
)
def test_a_percentile_is_the_smallest_age_that_covers_its_share(ages: dict[int, int], share: float, found: float) -> None:
    assert percentile_ms(ages, share) == found


def test_items_are_counted_by_lane_and_aged_from_when_they_were_meant() -> None:
    tally = counted((TICK, 3, 100.0), (EVENT, 2, 100.0))
    assert tally.items == {"critical": 2, "state": 3, "chat": 3}
    assert (tally.frames, tally.bytes, tally.lost) == (5, 3 * len(TICK) + 2 * len(EVENT), 0)
    assert [tally.age_ms(lane, 0.99) for lane in ("critical", "state", "chat")] == pytest.approx([100, 500, 750], abs=0.1)


def test_a_sweep_is_measured_from_the_first_receipt_in_any_process() -> None:
    one, other = counted((TICK, 1, 100.010), (TICK, 1, 100.050)), counted((TICK, 1, 100.0), (TICK, 1, 100.020))
    one.merge(other)
    (sweep,) = one.sweeps.values()
    assert sweep.first == 100.0
    assert sorted(sweep.later.elements()) == pytest.approx([0, 100, 200, 500], abs=1)
    assert one.sweep_ms(1.0) == pytest.approx(50, abs=0.2)


def test_a_tick_whose_state_rose_on_its_way_is_still_one_sweep() -> None:
    newer = TICK.replace(b"[9,", b"[10,").replace(b'{"team:1"', b'{"team:2":[11,{}],"team:1"')
    tally = counted((TICK, 1, 100.0), (newer, 1, 100.2))
    assert len(tally.sweeps) == 1
    assert tally.sweep_ms(1.0) == pytest.approx(200, abs=0.2)
    assert tally.items["state"] == 3


def test_critical_frames_are_no_sweeps() -> None:
    assert counted((EVENT, 5, 100.0)).sweeps == {}


def test_merging_does_not_touch_what_was_merged() -> None:
    parts = [counted((TICK, 1, 100.0)), counted((TICK, 1, 100.5))]
    before = [part.as_json() for part in parts]
    whole = Seen(crowd=parts[0], aside=parts[1])
    assert whole.all.items["chat"] == 2
    again = Seen()
    again.merge(whole)
    again.merge(whole)
    assert [part.as_json() for part in parts] == before


def test_a_tally_comes_through_a_pipe_as_it_was() -> None:
    tally = counted((TICK, 3, 100.0), (TICK, 1, 100.25), (EVENT, 2, 100.0))
    assert Tally.of_json(json.loads(json.dumps(tally.as_json()))) == tally


def test_bare_frames_and_whole_states_are_no_items() -> None:
    bare, stale = b'{"r":"bare","s":0,"bare":1,"pad":"x"}', b'{"r":"show","s":5,"stale":true,"st":{"team:1":[9,{}]}}'
    tally = counted((bare, 4, 100.0), (stale, 2, 100.0))
    assert (tally.bare, tally.stale, sum(tally.items.values())) == (4, 2, 0)


def test_an_empty_sweep_merges_as_the_other() -> None:
    sweep = Sweep(5.0)
    sweep.merge(Sweep(5.0, Counter({3: 2})))
    assert sweep == Sweep(5.0, Counter({3: 2}))
