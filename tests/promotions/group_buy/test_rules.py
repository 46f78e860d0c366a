"""The ladder of a group buy, by example and by property."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.promotions.group_buy.rules import Tier, bar, fen_at, ladder, next_tier, outcome, team_fault, tiers_fault
from live.protocol.events import TeamView

STEPS: list[Tier] = [(0, 3000), (2, 2500), (4, 2000)]


@st.composite
def ladders(draw: st.DrawFn) -> tuple[list[Tier], int]:
    """A sound ladder and the size of its team."""
    size = draw(st.integers(2, 200))
    seats = [0, *sorted(draw(st.sets(st.integers(1, size), max_size=9)))]
    prices = sorted(draw(st.sets(st.integers(1, 100_000), min_size=len(seats), max_size=len(seats))), reverse=True)
    return list(zip(seats, prices, strict=True)), size


@pytest.mark.parametrize(
    ("tiers", "field"),
    [
        ([], "tiers"),
        ([(i, 100 - i) for i in range(11)], "tiers"),
        ([(1, 3000)], "tiers.0.seats"),
        ([(0, 0)], "tiers.0.fen"),
        ([(0, 3000), (0, 2500)], "tiers.1.seats"),
        ([(0, 3000), (3, 2500), (2, 2000)], "tiers.2.seats"),
        ([(0, 3000), (2, 3000)], "tiers.1.fen"),
        ([(0, 3000), (2, 3001)], "tiers.1.fen"),
        ([(0, 3000), (2, 0)], "tiers.1.fen"),
        ([(0, 3000), (21, 2500)], "tiers.1.seats"),
    ],
)
def test_a_broken_ladder_is_named_at_its_broken_step(tiers: list[Tier], field: str) -> None:
    fault = tiers_fault(tiers, 20)
    assert fault is not None
    assert fault[0] == field


@pytest.mark.parametrize(
    ("size", "minimum", "units", "fault"),
    [
        (6, 1, 6, None),
        (6, 6, 9, None),
        (1, 1, 9, ("size", "must be at least 2")),
        (7, 3, 6, ("size", "must not be more than the stock")),
        (6, 0, 6, ("minimum", "must be 1 to the size of the group")),
        (6, 7, 6, ("minimum", "must be 1 to the size of the group")),
    ],
)
def test_a_team_fits_its_stock_and_its_minimum_fits_the_team(size: int, minimum: int, units: int, fault: tuple[str, str] | None) -> None:
    assert team_fault(size, minimum, units) == fault


@given(ladders())
def test_every_sound_ladder_passes_and_its_price_never_rises_with_paid_seats(made: tuple[list[Tier], int]) -> None:
    tiers, size = made
    assert tiers_fault(tiers, size) is None
    prices = [fen_at(tiers, paid) for paid in range(size + 1)]
    assert prices == sorted(prices, reverse=True)
    assert prices[0] == tiers[0][1]
    assert prices[-1] == tiers[-1][1]


@given(ladders(), st.integers(0, 200))
def test_the_next_step_is_the_first_that_is_cheaper(made: tuple[list[Tier], int], paid: int) -> None:
    tiers, _ = made
    step = next_tier(tiers, paid)
    if step is None:
        assert fen_at(tiers, paid) == tiers[-1][1]
    else:
        assert step[0] > paid
        assert fen_at(tiers, step[0] - 1) == fen_at(tiers, paid) > step[1] == fen_at(tiers, step[0])


def test_the_price_of_each_step_holds_until_the_next() -> None:
    assert [fen_at(STEPS, paid) for paid in range(7)] == [3000, 3000, 2500, 2500, 2000, 2000, 2000]
    assert [next_tier(STEPS, paid) for paid in (0, 1, 2, 3, 4)] == [(2, 2500), (2, 2500), (4, 2000), (4, 2000), None]


def test_a_team_with_its_minimum_paid_succeeds_and_one_short_fails() -> None:
    assert [outcome(paid, 3) for paid in (0, 2, 3, 6)] == ["failed", "failed", "success", "success"]


def test_the_bar_is_what_the_wire_calls_a_team() -> None:
    terms: dict[str, Any] = {"tiers": [{"seats": seats, "fen": fen} for seats, fen in STEPS]}
    row = {"size": 6, "paid": 3, "held": 2, "minimum": 3, "state": "filling", "version": 9, "offer_id": 1}
    assert ladder(terms) == STEPS
    assert bar(row, terms) == {
        "size": 6, "paid": 3, "held": 2, "minimum": 3, "fen": 2500, "next": {"seats": 4, "fen": 2000}, "state": "filling",
    }  # fmt: skip
    assert bar({**row, "paid": 4, "held": 0}, terms)["next"] is None
    assert TeamView.model_validate(bar(row, terms)).model_dump() == bar(row, terms)
