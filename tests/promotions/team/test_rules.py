"""The machine of a small team, by property: any order of joins, payments, give-ups and the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.offers.parties.rules import DECIDED, Seats, leave_seat, pay_seat, run_out, seat_fault, take_seat, terms_fault

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@given(st.integers(2, 6), st.booleans(), st.lists(st.sampled_from(["join", "pay", "leave", "clock", "wait"]), max_size=40))
def test_a_team_never_has_more_members_than_seats_and_decides_once(size: int, fills: bool, steps: list[str]) -> None:
    party, now = Seats(1, size, 1, 0, "opening", fills=fills), NOW
    for step in steps:
        before = party
        if step == "wait":
            now += timedelta(minutes=7)
        elif step == "join" and seat_fault(party, 1, now) is None:
            party = take_seat(party)
        elif step == "pay" and party.held:
            party = pay_seat(party, now, 30, None, ended=False)
        elif step == "leave" and party.held:
            party = leave_seat(party)
        elif step == "clock" and party.closes_at is not None and party.closes_at <= now:
            party = run_out(party)
        assert min(party.held, party.paid) >= 0
        assert party.held + party.paid <= size
        assert (party.state == "success") == (party.paid == size)
        if party.state in DECIDED:
            assert party.held == 0
            assert party.state != "filled" or (fills and party.paid > 0)
        if before.state in DECIDED:
            assert party == before
    # Whatever happened: once the clock is out and every held seat pays or is given up, it is decided.
    party = run_out(party)
    while party.held:
        party = leave_seat(party)
    assert party.state in DECIDED


def test_a_team_is_joined_only_after_its_opener_paid_and_before_its_clock_ran_out() -> None:
    opening = Seats(1, 2, 1, 0, "opening")
    assert seat_fault(None, 1, NOW) == seat_fault(opening, 1, NOW) == "team_closed"
    open_ = pay_seat(opening, NOW, 30, NOW + timedelta(minutes=10), ended=False)
    assert open_.closes_at == NOW + timedelta(minutes=10)
    assert seat_fault(open_, 1, NOW) is None
    assert seat_fault(open_, 2, NOW) == seat_fault(open_, 1, NOW + timedelta(minutes=10)) == "team_closed"
    assert seat_fault(take_seat(open_), 1, NOW) == "team_full"


def test_an_opener_who_pays_after_the_offer_ended_is_alone_and_gets_the_money_back() -> None:
    assert pay_seat(Seats(1, 2, 1, 0, "opening"), NOW, 30, None, ended=True).state == "failed"


@pytest.mark.parametrize(
    ("size", "minutes", "units", "field"),
    [(2, 1, 2, None), (1, 1, 9, "size"), (51, 1, 99, "size"), (3, 1, 2, "size"), (2, 0, 9, "team_minutes")],
)
def test_an_offer_of_teams_is_refused_by_field(size: int, minutes: int, units: int, field: str | None) -> None:
    fault = terms_fault(size, minutes, units)
    assert (fault and fault[0]) == field
