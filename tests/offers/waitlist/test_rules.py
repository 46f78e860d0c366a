"""Who is served in a line, and what of it a room is told."""

from __future__ import annotations

import pytest

from live.offers.waitlist.rules import passed_over, rid, worth_telling


def test_an_entry_has_one_rid_of_its_own() -> None:
    assert (rid(1), rid(12)) == ("wait:1", "wait:12")


@pytest.mark.parametrize(("promised", "now", "why"), [(5000, 5000, None), (5000, 4999, None), (5000, 5001, "price")])
def test_nobody_buys_at_a_higher_price_than_they_were_shown(promised: int, now: int, why: str | None) -> None:
    assert passed_over(promised, now) == why


def test_a_long_line_is_told_of_in_steps_of_a_tenth() -> None:
    assert [n for n in range(1, 131) if worth_telling(n)] == [*range(1, 101), 110, 120, 130]
    assert [n for n in range(1000, 1301) if worth_telling(n)] == [1000, 1100, 1200, 1300]
