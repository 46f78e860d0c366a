"""What a coupon takes off, by example and by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.promotions.coupon.rules import MOST_GRANTS, MOST_OFF, MOVES, discount, terms_fault, title, unusable


@pytest.mark.parametrize(
    ("off", "threshold", "total", "field"),
    [
        (0, 0, 1, "off"),
        (MOST_OFF + 1, 0, 1, "off"),
        (500, -1, 1, "threshold"),
        (500, 500, 1, "off"),
        (500, 499, 1, "off"),
        (500, 2000, 0, "total"),
        (500, 2000, MOST_GRANTS + 1, "total"),
    ],
)
def test_terms_that_are_not_sound_are_named(off: int, threshold: int, total: int, field: str) -> None:
    fault = terms_fault(off, threshold, total)
    assert fault is not None
    assert fault[0] == field


@given(st.integers(1, MOST_OFF), st.integers(0, 10**8), st.integers(1, 10**9))
def test_a_coupon_never_makes_an_order_free_and_never_takes_more_than_it_says(off: int, threshold: int, fen: int) -> None:
    gain = discount(off, threshold, fen)
    assert 0 <= gain <= off
    assert fen - gain >= 1
    if terms_fault(off, threshold, 1) is None and fen >= threshold > 0:
        assert gain == off
    if fen < threshold:
        assert gain == 0


def test_an_order_at_its_threshold_gets_it_and_one_fen_below_does_not() -> None:
    assert [discount(500, 2000, fen) for fen in (1999, 2000, 9000)] == [0, 500, 500]
    assert [discount(500, 0, fen) for fen in (1, 2, 500, 501)] == [0, 1, 499, 500]


@pytest.mark.parametrize(
    ("state", "by", "gain", "why"),
    [
        ("CLAIMED", None, 500, None),
        ("CLAIMED", None, 0, "threshold"),
        ("LOCKED", "A", 500, None),
        ("LOCKED", "B", 500, "locked"),
        ("USED", "A", 500, "used"),
        ("VOID", None, 500, "void"),
    ],
)
def test_only_a_free_coupon_or_the_orders_own_can_be_locked(state: str, by: str | None, gain: int, why: str | None) -> None:
    assert unusable(state, by, "A", gain) == why


def test_a_used_coupon_can_only_come_back_and_a_void_one_never() -> None:
    assert {state for state, to in MOVES.items() if not to} == {"VOID"}
    assert MOVES["USED"] == {"CLAIMED"}
    assert set().union(*MOVES.values()) <= set(MOVES)


def test_cards_say_what_it_is_worth_in_both_languages() -> None:
    assert title(2000, 10000) == ("满 ¥100 减 ¥20", "¥20 off from ¥100")
    assert title(550, 0) == ("立减 ¥5.50", "¥5.50 off")
