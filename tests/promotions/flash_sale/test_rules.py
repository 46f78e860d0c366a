"""A sale's state follows from its facts and the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from live.promotions.flash_sale.rules import AHEAD, NEXT, Facts, State, by_hand, per_order_fault, schedule_fault, state

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


SALE = Facts(opens_at=at(600), closes_at=at(900), countdown=60, left=5)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "SCHEDULED"), (539.999, "SCHEDULED"), (540, "COUNTDOWN"), (599.999, "COUNTDOWN"), (600, "RUNNING"), (899.999, "RUNNING"),
        (900, "ENDED"), (90_000, "ENDED"),
    ],
)  # fmt: skip
def test_the_clock_alone_leads_through_a_sale(seconds: float, expected: State) -> None:
    assert state(SALE, at(seconds)) == expected


@pytest.mark.parametrize(
    ("seconds", "closes", "asked", "stopped"),
    [
        (0, 900, False, True), (599, None, False, True),  # what never began was called off, whoever ended it
        (600, 900, False, False), (600, 900, True, True), (899, 900, True, True), (900, 900, True, False), (700, None, True, True),
    ],
)  # fmt: skip
def test_stopped_is_what_a_hand_ended_before_its_time(seconds: float, closes: float | None, asked: bool, stopped: bool) -> None:
    assert by_hand(at(600), None if closes is None else at(closes), at(seconds), asked) is stopped


@pytest.mark.parametrize(
    ("opens", "countdown", "field"),
    [
        (None, None, None), (NOW, None, "opens"), (at(-1), None, "opens"), (NOW + AHEAD, 300, None),
        (NOW + AHEAD + timedelta(milliseconds=1), None, "opens"), (at(0.001), 10, None), (at(60), 9, "countdown"),
        (at(60), 301, "countdown"), (None, 60, "countdown"),
    ],
)  # fmt: skip
def test_a_schedule_lies_ahead_with_a_countdown_people_stay_for(opens: datetime | None, countdown: int | None, field: str | None) -> None:
    fault = schedule_fault(opens, countdown, NOW)
    assert (fault and fault[0]) == field


@pytest.mark.parametrize(("per_order", "sound"), [(None, True), (1, True), (5, True), (0, False), (6, False), (-1, False)])
def test_an_order_takes_no_more_than_a_person_may_have(per_order: int | None, sound: bool) -> None:
    assert (per_order_fault(per_order, 5) is None) is sound


class Sale(RuleBasedStateMachine):
    """A sale under a clock that runs on by small steps, buyers, returns, a host and a sweep that may be late."""

    @initialize(
        total=st.integers(1, 3), wait=st.integers(0, 40), countdown=st.sampled_from((10, 20)), length=st.none() | st.integers(1, 40)
    )
    def make(self, total: int, wait: int, countdown: int, length: int | None) -> None:
        self.total = self.left = total
        self.now = NOW
        self.opens = at(wait)
        self.closes = None if length is None else at(wait + length)
        self.countdown = countdown if wait else 0
        self.ended = self.stopped = False
        self.was = self.state

    @property
    def state(self) -> State:
        return state(Facts(self.opens, self.closes, self.countdown, self.left, self.ended, self.stopped), self.now)

    @property
    def lets_in(self) -> bool:
        """The turnstile's own test, in its own words (check.lua)."""
        return not self.ended and self.opens <= self.now and (self.closes is None or self.now < self.closes) and self.left > 0

    @rule()
    def second(self) -> None:
        self.now += timedelta(seconds=1)

    @precondition(lambda self: self.lets_in)
    @rule()
    def buy(self) -> None:
        self.left -= 1

    @precondition(lambda self: self.left < self.total)
    @rule()
    def hold_returns(self) -> None:
        self.left += 1

    @precondition(lambda self: not self.ended)
    @rule()
    def stop(self) -> None:
        self.end(asked=True)

    @precondition(lambda self: not self.ended and self.closes is not None and self.now >= self.closes)
    @rule()
    def sweep(self) -> None:
        self.end(asked=False)

    def end(self, asked: bool) -> None:
        self.stopped = by_hand(self.opens, self.closes, self.now, asked)
        self.ended, self.closes = True, self.now

    @invariant()
    def goes_only_where_it_may(self) -> None:
        if not hasattr(self, "was"):
            return
        found = self.state
        assert found == self.was or found in NEXT[self.was], (self.was, found)
        assert (found == "RUNNING") is self.lets_in
        assert (found == "STOPPED") is self.stopped
        self.was = found


TestSale = Sale.TestCase
TestSale.settings = settings(max_examples=60, stateful_step_count=60, deadline=None, derandomize=True)
