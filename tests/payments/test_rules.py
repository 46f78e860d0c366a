"""Money's rules, value by value."""

from __future__ import annotations

from datetime import timedelta

import pytest

from live.payments import rules


def test_money_that_arrived_is_final_and_may_follow_every_belief() -> None:
    assert {state for state in rules.ATTEMPT if rules.attempt_may(state, "SUCCEEDED")} == {"NEW", "SENT", "CLOSED", "FAILED"}
    assert not any(rules.attempt_may("SUCCEEDED", state) for state in rules.ATTEMPT)
    assert not rules.attempt_may("CLOSED", "SENT")


def test_a_refund_is_done_once_and_only_a_failed_one_is_approved_again() -> None:
    assert not any(rules.refund_may("DONE", state) for state in rules.REFUND)
    assert not any(rules.refund_may("DECLINED", state) for state in rules.REFUND)
    assert {state for state in rules.REFUND if rules.refund_may(state, "APPROVED")} == {"REQUESTED", "FAILED"}
    assert {state for state in rules.REFUND if rules.refund_may(state, "DECLINED")} == {"REQUESTED"}


@pytest.mark.parametrize("order", ["A1", "20261122130501-7QK4", "x" * 60, "订单一", "a b", "A*B", ""])
def test_numbers_for_the_provider_fit_its_rules_and_never_change(order: str) -> None:
    made = [rules.out_trade_no(order, n) for n in (1, 2, 11)] + [rules.out_refund_no(order, c) for c in ("buyer", "loser:7", "loser:71")]
    assert len(set(made)) == 6
    assert all(rules.TRADE_NO.fullmatch(number) for number in made)
    assert made[0] == rules.out_trade_no(order, 1)
    assert made[3] == rules.out_refund_no(order, "buyer")


def test_readable_numbers_where_they_fit() -> None:
    assert rules.out_trade_no("20261122-7QK4", 2) == "20261122-7QK4-2"
    assert rules.out_refund_no("20261122-7QK4", "loser:9") == "R-20261122-7QK4-loser-9"


def test_causes_name_their_attempt() -> None:
    assert rules.cause_of("loser", 9) == "loser:9"


@pytest.mark.parametrize(("age", "wait"), [(0, 2), (3, 2), (60, 30), (1199, 599.5), (86400, 600)])
def test_pauses_between_questions_grow_with_the_age(age: float, wait: float) -> None:
    assert rules.refund_wait(timedelta(seconds=age)) == timedelta(seconds=wait)


def test_text_is_clipped_between_characters() -> None:
    assert rules.clip("退款原因", 7) == "退款"
    assert rules.clip("ok", 80) == "ok"
