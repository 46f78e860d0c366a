from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live.offers.rules import Counters, House, Intent, IntentLine, body_hash, hold_for, rid_of, take


def intent(*units: tuple[int, int], person: str = "p:1", at: str = "S1") -> Intent:
    lines = tuple(IntentLine(offer, qty, 100, 1) for offer, qty in units)
    return Intent("1-0", "rid", person, "sale", at, lines, "h1", 1)


def counters(free: int = 5, quota: int = 5, seats: int | None = None) -> Counters:
    """Offers 1 and 2 at S1, for p:1."""
    found = Counters({(o, "S1"): free for o in (1, 2)}, {(o, "p:1"): quota for o in (1, 2)})
    if seats is not None:
        found.seats[1] = seats
    return found


def test_the_same_tap_is_the_same_request_from_any_device_and_no_other_tap_is() -> None:
    rid = rid_of("p:1", "r1", "12345678")
    assert rid == rid_of("p:1", "r1", "12345678")
    assert len(rid) == 32
    others = {rid_of("p:2", "r1", "12345678"), rid_of("p:1", "r2", "12345678"), rid_of("p:1", "r1", "12345679"), rid}
    assert len(others) == 4


def test_a_body_is_what_is_wanted_and_where_whatever_the_order_of_its_lines() -> None:
    one = body_hash([(1, 2), (3, 4)], ["S1", "S2"])
    assert one == body_hash([(3, 4), (1, 2)], ["S1", "S2"])
    others = [([(1, 2)], ["S1", "S2"]), ([(1, 2), (3, 5)], ["S1", "S2"]), ([(1, 2), (3, 4)], ["S2", "S1"]), ([(1, 2), (3, 4)], ["S1"])]
    assert one not in {body_hash(lines, at) for lines, at in others}
    assert body_hash([(1, 2), (1, 2)], ["S1"]) != body_hash([(1, 4)], ["S1"])


def test_lines_of_one_offer_are_summed() -> None:
    assert intent((1, 2), (2, 1), (1, 3)).units() == {1: 5, 2: 1}
    held = counters(free=4)
    assert take(intent((1, 2), (1, 3)), held) == "sold_out"
    assert held == counters(free=4)


@pytest.mark.parametrize(
    ("free", "quota", "seats", "why"),
    [
        (2, 2, 2, None), (2, 2, None, None), (1, 5, 5, "sold_out"), (5, 1, 5, "limit"), (5, 5, 1, "team_full"), (0, 0, 0, "limit"),
        (0, 5, 0, "team_full"),
    ],
)  # fmt: skip
def test_all_is_taken_or_nothing(free: int, quota: int, seats: int | None, why: str | None) -> None:
    held = counters(free, quota, seats)
    assert take(intent((1, 2)), held) == why
    wanted = counters(free, quota, seats)
    if why is None:
        wanted.free[(1, "S1")] -= 2
        wanted.quota_left[(1, "p:1")] -= 2
        if seats is not None:
            wanted.seats[1] -= 2
    assert held == wanted


def test_a_second_line_that_fails_leaves_the_first_untouched() -> None:
    held = counters()
    held.free[(2, "S1")] = 0
    before = Counters(dict(held.free), dict(held.quota_left), dict(held.seats))
    assert take(intent((1, 1), (2, 1)), held) == "sold_out"
    assert held == before


def test_what_the_till_does_not_know_is_none() -> None:
    assert take(intent((9, 1)), counters()) == "limit"
    assert take(intent((1, 1), person="p:2"), counters()) == "limit"
    assert take(intent((1, 1), at="S2"), counters()) == "sold_out"


units = st.lists(st.tuples(st.integers(1, 2), st.integers(1, 3)), min_size=1, max_size=3)
orders = st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["S1", "S2"]), units), max_size=30)


@settings(max_examples=60)
@given(orders, st.integers(0, 8), st.integers(0, 5), st.integers(0, 6))
def test_whatever_comes_nothing_is_taken_twice_and_everything_taken_is_counted(
    wanted: list[tuple[int, str, list[tuple[int, int]]]], free: int, quota: int, seats: int
) -> None:
    quotas = {(o, f"p:{n}"): quota for o in (1, 2) for n in range(1, 5)}
    held = Counters({(o, p): free for o in (1, 2) for p in ("S1", "S2")}, quotas.copy(), {2: seats})
    sold: Counter[tuple[int, str]] = Counter()
    had: Counter[tuple[int, str]] = Counter()
    for person, place, units in wanted:
        one = intent(*units, person=f"p:{person}", at=place)
        if take(one, held) is None:
            for offer, qty in one.units().items():
                sold[(offer, place)] += qty
                had[(offer, f"p:{person}")] += qty
        assert min([*held.free.values(), *held.quota_left.values(), *held.seats.values()]) >= 0
    assert {pair: free - left for pair, left in held.free.items()} == {pair: sold[pair] for pair in held.free}
    assert {pair: quota - left for pair, left in held.quota_left.items()} == {pair: had[pair] for pair in quotas}
    assert seats - held.seats[2] == sold[(2, "S1")] + sold[(2, "S2")]


RAW = {
    "rid": "r",
    "who": "p:1",
    "name": "小明",
    "kind": "sale",
    "at": "S1",
    "lines": [[1, 2, 5000, 3]],
    "hub": "h1",
    "hash": "x",
    "fence": 4,
}


def test_an_intent_is_read_as_the_turnstile_wrote_it() -> None:
    assert Intent.read("5-0", RAW) == Intent("5-0", "r", "p:1", "sale", "S1", (IntentLine(1, 2, 5000, 3),), "h1", 4, "小明", "x")
    assert Intent.read("5-0", RAW | {"ask": ["NO", "limit", 2]}).ask == ("limit", 2)


@pytest.mark.parametrize("missing", ["rid", "who", "kind", "at", "lines", "hub", "fence"])
def test_an_intent_with_a_part_missing_is_none(missing: str) -> None:
    with pytest.raises(KeyError):
        Intent.read("5-0", {name: value for name, value in RAW.items() if name != missing})


def test_a_movement_of_the_shop_is_read_as_it_was_asked_for() -> None:
    raw = {"kind": "RELEASE", "rid": "r", "location": "S1", "person": "p:1", "lines": [[1, 2], [2, 1]], "seats": True}
    assert House.read(raw) == House("RELEASE", "r", "S1", ((1, 2), (2, 1)), "p:1", True)
    assert House.read({"kind": "RETURN", "rid": "end:1:S1", "location": "S1", "lines": [[1, 0]]}) == House(
        "RETURN", "end:1:S1", "S1", ((1, 0),)
    )


@pytest.mark.parametrize(
    ("free", "seconds"),
    [(100, 600), (51, 600), (50, 600), (49, 590), (25, 360), (10, 216), (1, 129), (0, 120)],
)
def test_a_hold_shrinks_in_a_straight_line_once_half_is_gone(free: int, seconds: int) -> None:
    assert hold_for(600, 120, 100, free) == seconds


def test_a_hold_shorter_than_the_floor_stays_as_it_is() -> None:
    assert {hold_for(60, 120, 100, free) for free in range(101)} == {60}
    assert {hold_for(120, 120, 100, free) for free in range(101)} == {120}


@given(st.integers(0, 3600), st.integers(0, 3600), st.integers(1, 500), st.data())
def test_no_hold_is_above_the_offers_or_below_its_floor_and_later_ones_are_never_longer(
    hold: int, floor: int, total: int, data: st.DataObject
) -> None:
    free = data.draw(st.integers(1, total))
    found = hold_for(hold, floor, total, free)
    assert min(hold, floor) <= found <= hold
    assert hold_for(hold, floor, total, free - 1) <= found


def test_the_only_unit_and_what_was_emptied_have_the_whole_hold() -> None:
    assert (hold_for(600, 120, 1, 1), hold_for(600, 120, 0, 0)) == (600, 600)
