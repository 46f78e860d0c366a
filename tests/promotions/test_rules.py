"""What every promotion is checked for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from live.promotions.rules import MOST_FEN, MOST_UNITS, closing, limits_fault, price_fault, stock_fault
from tests.orders.stage import NOW


@pytest.mark.parametrize("fen", [0, -1, MOST_FEN + 1])
def test_a_price_is_one_fen_to_a_million_yuan(fen: int) -> None:
    assert price_fault("fen", 1) is None
    assert price_fault("fen", MOST_FEN) is None
    assert price_fault("fen", fen) == ("fen", "must be 1 to 100000000 fen")


@pytest.mark.parametrize("many", [0, -3, 100])
def test_a_person_gets_one_to_99(many: int) -> None:
    assert limits_fault(1, None) is None
    assert limits_fault(99, None) is None
    assert limits_fault(many, None) == ("per_person", "must be 1 to 99")


@pytest.mark.parametrize("minutes", [0, -1, 1441])
def test_a_window_is_a_minute_to_a_day_or_open(minutes: int) -> None:
    assert limits_fault(1, 1) is None
    assert limits_fault(1, 1440) is None
    assert limits_fault(1, minutes) == ("minutes", "must be 1 to 1440")


def test_stock_lies_at_one_to_eight_places_with_something_at_each() -> None:
    assert stock_fault({"S1": 1}) is None
    assert stock_fault({f"S{i}": MOST_UNITS for i in range(8)}) is None
    assert stock_fault({}) == ("stock", "must name 1 to 8 locations")
    assert stock_fault({f"S{i}": 1 for i in range(9)}) == ("stock", "must name 1 to 8 locations")
    assert stock_fault({"S1": 3, "S2": 0}) == ("stock.S2", "must be 1 to 1000000")
    assert stock_fault({"S1": -1}) == ("stock.S1", "must be 1 to 1000000")
    assert stock_fault({"S1": MOST_UNITS + 1}) == ("stock.S1", "must be 1 to 1000000")


def test_a_window_closes_its_minutes_later_or_never() -> None:
    assert closing(NOW, 15) == NOW + timedelta(minutes=15)
    assert closing(NOW, None) is None
