"""The order machine and its sums, by example and by property."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.orders.rules import MOVES, REFUNDABLE, UNPAID, difference, legal, number, pay_until, payable, refundable
from live.orders.tables import STATES
from live.promotions.group_buy.rules import fen_at
from tests.orders.stage import NOW, after
from tests.promotions.group_buy.test_rules import ladders


def test_the_machine_knows_exactly_the_states_of_the_table() -> None:
    assert set(MOVES) == set(STATES)
    assert set().union(*MOVES.values()) <= set(STATES)


def test_the_whole_way_of_an_order_that_is_collected() -> None:
    way = ["AWAIT_PAY", "PAID", "GROUP_WAIT", "ALLOCATED", "READY", "COLLECTED"]
    assert all(legal(state, to) for state, to in pairwise(way))


@given(st.sampled_from(STATES), st.lists(st.sampled_from(STATES), max_size=12))
def test_no_order_goes_back_to_waiting_for_money_and_none_is_ready_before_it_is_paid(start: str, wanted: list[str]) -> None:
    state, seen = "AWAIT_PAY", ["AWAIT_PAY"]
    for to in wanted:
        if legal(state, to):
            state = to
            seen.append(to)
    assert seen.count("AWAIT_PAY") == 1
    for served in ("ALLOCATED", "READY", "COLLECTED"):
        if served in seen:
            assert "PAID" in seen[: seen.index(served)]
    if "REFUNDED" in seen:
        assert seen[-1] == "REFUNDED"
        assert "REFUNDING" in seen
    assert not legal(start, start)


def test_paid_wins_over_closing_and_nothing_leaves_refunded() -> None:
    assert MOVES["CLOSING"] == {"PAID", "CANCELLED"}
    assert MOVES["REFUNDED"] == frozenset()
    assert {state for state in STATES if legal(state, "CLOSING")} == {"AWAIT_PAY"}
    assert all(legal(state, "REFUNDING") for state in STATES if state not in {*UNPAID, "CANCELLED", "REFUNDING", "REFUNDED"})
    assert {"ALLOCATED", "READY"} == REFUNDABLE


@given(st.text(min_size=1, max_size=40))
def test_a_number_is_the_day_its_time_and_ten_plain_characters_of_its_rid(rid: str) -> None:
    no = number(rid, NOW)
    assert no.startswith("261122")
    assert len(no) == 20
    assert set(no[6:]) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
    assert number(rid, NOW) == no
    assert number(rid, NOW + timedelta(hours=3))[10:] == no[10:]


def test_a_hundred_thousand_numbers_of_a_moment_are_all_different() -> None:
    assert len({number(f"{i:032x}", NOW) for i in range(100_000)}) == 100_000


@given(st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2030, 1, 1), timezones=st.just(UTC)), st.floats(0.1, 5e6))
def test_numbers_of_one_time_lie_side_by_side_and_later_ones_behind(at: datetime, seconds: float) -> None:
    assert number("a", at) < number("b", at + timedelta(seconds=seconds))
    assert number("a", at)[:10] == number("b", at)[:10]


def test_a_hold_ends_with_its_team_but_leaves_a_minute_to_pay() -> None:
    assert pay_until(NOW, 300, None) == after(seconds=300)
    assert pay_until(NOW, 300, after(seconds=400)) == after(seconds=300)
    assert pay_until(NOW, 300, after(seconds=200)) == after(seconds=200)
    assert pay_until(NOW, 300, after(seconds=-1)) == after(seconds=60)


def test_something_is_always_left_to_pay() -> None:
    assert payable(100, 99) == 1
    with pytest.raises(ValueError, match="leaves nothing to pay"):
        payable(100, 100)


@given(ladders(), st.data())
def test_after_the_differences_everybody_has_paid_exactly_the_final_price(
    made: tuple[list[tuple[int, int]], int], data: st.DataObject
) -> None:
    tiers, size = made
    paid_seats, money, back = 0, 0, 0
    orders = []
    while paid_seats < size:
        qty = data.draw(st.integers(1, size - paid_seats))
        promised = fen_at(tiers, data.draw(st.integers(0, paid_seats)))  # the price of some moment before it was paid
        orders.append((promised, qty))
        paid_seats += qty
        money += promised * qty
    final = fen_at(tiers, paid_seats)
    for promised, qty in orders:
        one = difference(promised, final, qty, promised * qty)
        assert 0 <= one < promised * qty
        back += one
    assert money - back == final * size


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(1, 99), st.integers(0, 10**8))
def test_no_difference_is_more_than_was_paid_or_less_than_nothing(line: int, final: int, qty: int, paid: int) -> None:
    assert 0 <= difference(line, final, qty, paid) <= paid
    assert difference(line, line, qty, paid) == 0


def test_a_full_refund_is_what_has_not_gone_back_yet() -> None:
    assert [refundable(1000, going) for going in (0, 200, 1000, 1200)] == [1000, 800, 0, 0]
