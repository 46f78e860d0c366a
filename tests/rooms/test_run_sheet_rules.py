"""The order of a plan, and how far a show is off it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from live.rooms.run_sheet import rules
from live.rooms.run_sheet.rules import Slot

MINUTES = st.integers(0, rules.LAST_MINUTE)


class Plan(RuleBasedStateMachine):
    """Any order of edits keeps every row, once, and minutes that never fall."""

    def __init__(self) -> None:
        super().__init__()
        self.plan: list[Slot] = []
        self.rows: set[int] = set()
        self.given = 0

    def pick(self, n: int) -> Slot:
        return self.plan[n % len(self.plan)]

    @rule(minute=MINUTES)
    def add(self, minute: int) -> None:
        self.given += 1
        self.rows.add(self.given)
        self.plan = rules.placed(self.plan, Slot(self.given, minute))

    @precondition(lambda self: self.plan)
    @rule(n=st.integers(0), minute=MINUTES)
    def change(self, n: int, minute: int) -> None:
        others = rules.without(self.plan, self.pick(n).id)
        self.plan = rules.placed(self.plan, slot := Slot(self.pick(n).id, minute))
        assert slot in self.plan, "a row stands at the minute it was given"
        assert rules.without(self.plan, slot.id) == others

    @precondition(lambda self: len(self.plan) > 1)
    @rule(n=st.integers(0), m=st.one_of(st.none(), st.integers(0)))
    def move(self, n: int, m: int | None) -> None:
        row, before = self.pick(n).id, None if m is None else self.pick(m).id
        if row == before:
            return
        others = rules.without(self.plan, row)
        self.plan = rules.moved(self.plan, row, before)
        order = [slot.id for slot in self.plan]
        assert order.index(row) == (len(order) - 1 if before is None else order.index(before) - 1)
        assert rules.without(self.plan, row) == others

    @precondition(lambda self: self.plan)
    @rule(n=st.integers(0))
    def delete(self, n: int) -> None:
        row = self.pick(n).id
        self.rows.remove(row)
        self.plan = rules.without(self.plan, row)

    @invariant()
    def every_row_stands_once_in_the_order_of_minutes(self) -> None:
        assert sorted(slot.id for slot in self.plan) == sorted(self.rows)
        minutes = [slot.minute for slot in self.plan]
        assert minutes == sorted(minutes)
        assert all(0 <= minute <= rules.LAST_MINUTE for minute in minutes)


TestPlan = Plan.TestCase
TestPlan.settings = settings(max_examples=40)


def test_a_row_moved_keeps_its_minute_when_its_neighbours_let_it() -> None:
    plan = [Slot(1, 0), Slot(2, 10), Slot(3, 10), Slot(4, 20)]
    assert rules.moved(plan, 3, 2) == [Slot(1, 0), Slot(3, 10), Slot(2, 10), Slot(4, 20)]
    assert rules.moved(plan, 4, 2) == [Slot(1, 0), Slot(4, 10), Slot(2, 10), Slot(3, 10)]
    assert rules.moved(plan, 1, None) == [Slot(2, 10), Slot(3, 10), Slot(4, 20), Slot(1, 20)]


@given(states=st.lists(st.sampled_from(rules.STATES)))
def test_the_next_row_is_the_first_that_waits(states: list[str]) -> None:
    found = rules.next_row(list(enumerate(states)))
    assert found == (states.index(rules.PLANNED) if rules.PLANNED in states else None)


def test_a_plan_is_as_long_as_what_runs_longest() -> None:
    assert rules.length([]) == 0
    assert rules.length([(0, {"minutes": 30}), (10, {"minutes": 5}), (12, {}), (20, {"minutes": None})]) == 30


def test_late_and_early_count_from_the_shows_start_in_seconds() -> None:
    began = 1_000_000_000
    assert rules.late(10, began + 600_000, began) == 0
    assert rules.late(10, began + 725_400, began) == 125
    assert rules.late(10, began + 540_000, began) == -60
    assert rules.late(10, began - 1, began) is None, "started in an earlier show of this room"
    assert rules.late(10, began, None) is None
