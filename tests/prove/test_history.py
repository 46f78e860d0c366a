"""The checker: sound books pass, and each kind of violation is reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.prove.history import Books, Counters, History, Moved, Order, books_faults, counter_faults

PLACE = (1, "S1")
BOUGHT = Order("n1", "ann", "S1", ((1, 2),))
HELD = Moved(1, "S1", 1, "HOLD", 2, "r1")
SOUND = Books({PLACE: (3, 2, 1)}, [("r1", BOUGHT)], [HELD], {(1, "ann"): 2}, {1: 2})
FULL = Books({PLACE: (2, 2, 1)}, [("r1", BOUGHT)], [HELD], {(1, "ann"): 2}, {1: 2}, {1: (2, 2, 0)})
COUNTED = Counters({PLACE: 1}, {(1, "ann"): 2}, {}, {}, frozenset({1}), {PLACE: 1})


def test_sound_books_and_counters_pass() -> None:
    assert books_faults(SOUND) == books_faults(FULL) == counter_faults(SOUND, COUNTED) == []


def test_what_was_given_back_is_kept_by_nobody() -> None:
    back = Moved(1, "S1", 2, "RELEASE", -2, "r1")
    assert books_faults(replace(SOUND, allotments={PLACE: (3, 0, 2)}, moves=[HELD, back], quotas={(1, "ann"): 0})) == []


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ("oversold", {"allotments": {PLACE: (1, 2, 1)}}),
        ("fold", {"allotments": {PLACE: (3, 1, 1)}}),
        ("limit", {"limits": {1: 1}}),
        ("quota", {"quotas": {(1, "ann"): 1}}),
        ("quota", {"quotas": {}}),
        ("seats", {"teams": {1: (1, 2, 0)}}),
        ("seats", {"teams": {1: (2, 1, 0)}}),
        ("seats", {"teams": {1: (2, 2, 1)}}),
        ("order twice", {"orders": [("r1", BOUGHT), ("r1", BOUGHT)]}),
        ("gap", {"moves": [HELD._replace(no=2)]}),
        ("gap", {"moves": []}),
        ("movement twice", {"moves": [HELD, HELD._replace(no=2)], "allotments": {PLACE: (3, 2, 2)}}),
        ("given back twice", {"moves": [HELD, *(Moved(1, "S1", n, kind, -2, "r1") for n, kind in ((2, "RELEASE"), (3, "RESTOCK")))]}),
    ],
)
def test_a_fault_in_the_books_is_named(rule: str, wrong: dict[str, Any]) -> None:
    assert rule in {fault.partition(":")[0] for fault in books_faults(replace(SOUND, **wrong))}


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ("sum", {"left": {PLACE: 2}}),
        ("sum", {"left": {PLACE: 0}}),
        ("sum", {"waiting": {(1, "S1", "bob"): 1}}),
        ("sum", {"used": {(1, "ann"): 1}}),
        ("sum", {"used": {(1, "ann"): 2, (1, "bob"): 1}}),
        ("behind", {"moves": {PLACE: 0}}),
    ],
)
def test_a_counter_that_is_not_the_books_is_named(rule: str, wrong: dict[str, Any]) -> None:
    assert {fault.partition(":")[0] for fault in counter_faults(SOUND, replace(COUNTED, **wrong))} == {rule}


def test_seats_free_are_what_the_team_does_not_hold() -> None:
    full = replace(COUNTED, left={PLACE: 0}, seats={1: 0})
    assert counter_faults(FULL, full) == []
    assert [fault.partition(":")[0] for fault in counter_faults(FULL, replace(full, seats={1: 1}))] == ["sum"]


def test_units_in_flight_count_until_they_are_booked() -> None:
    waiting = {(1, "S1", "bob"): 1}
    assert counter_faults(SOUND, replace(COUNTED, left={PLACE: 0}, waiting=waiting, used={(1, "ann"): 2, (1, "bob"): 1})) == []


def story(*heard: tuple[str, str | None]) -> History:
    """One rid that is sent once and then hears (code, the order's number in the books at that moment)."""
    history = History()
    history.sent("r1")
    for code, stands in heard:
        history.told("r1", code, stands)
    return history


def rules(history: History) -> list[str]:
    return [violation.partition(":")[0] for violation in history.violations]


def test_a_winner_who_is_told_once_or_twice_is_no_violation() -> None:
    history = story(("pending", None), ("booked:n1", "n1"), ("booked:n1", "n1"))
    history.quiet(SOUND, COUNTED)
    assert history.violations == []


def test_success_before_the_books_have_it_is_named() -> None:
    assert rules(story(("booked:n1", None))) == ["early success"]


def test_two_orders_for_one_rid_are_named() -> None:
    assert rules(story(("booked:n1", "n1"), ("booked:n2", "n2"))) == ["two orders"]


def test_a_refused_winner_is_named() -> None:
    assert rules(story(("sold_out", "n1"))) == ["winner refused"]


def test_what_a_tampered_turnstile_said_is_not_held_against_the_shop() -> None:
    history = History(harmed=True)
    history.sent("r1")
    history.told("r1", "sold_out", "n1")
    assert history.violations == []


def test_a_success_that_left_the_books_is_named() -> None:
    history = story(("booked:n1", "n1"))
    history.look(Books())
    assert rules(history) == ["lost success"]


def test_an_order_after_a_refusal_is_named_unless_the_buyer_sent_again_or_the_turnstile_was_tampered_with() -> None:
    history = story(("sold_out", None))
    other, again = history.clone(), history.clone()
    history.look(SOUND)
    assert rules(history) == ["refused, then booked"]
    other.harmed = True
    other.look(SOUND)
    again.sent("r1")
    again.look(SOUND)
    assert other.violations == again.violations == []


@pytest.mark.parametrize("code", ["again", "fenced", "busy", "sold_out"])
def test_every_answer_resolves_a_tap_but_pending(code: str) -> None:
    answered, pending = story((code, None)), story(("pending", None))
    answered.quiet(Books(), None)
    pending.quiet(Books(), None)
    assert (rules(answered), rules(pending)) == ([], ["never resolved"])


def test_what_is_left_undone_is_named() -> None:
    history = History()
    history.quiet(SOUND, COUNTED, ["outbox row 7"])
    assert history.violations == ["left undone: outbox row 7"]
