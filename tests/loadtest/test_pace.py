"""When load is due, and what a percentile is."""

from __future__ import annotations

from loadtest.pace import arrivals, percentile


def test_a_seed_gives_the_same_crowd_every_time() -> None:
    due = arrivals(1000, 2.0, seed=7)
    assert due == arrivals(1000, 2.0, seed=7)
    assert due != arrivals(1000, 2.0, seed=8)
    assert due == sorted(due)
    assert due[0] >= 0.0
    assert due[-1] < 2.0
    assert 450 < sum(moment < 1.0 for moment in due) < 550


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 0.5) == 50.0
    assert percentile(values, 0.99) == 99.0
    assert percentile(values, 1.0) == 100.0
    assert percentile([3.0], 0.01) == 3.0
    assert percentile([], 0.99) == 0.0
