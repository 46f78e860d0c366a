"""What a coupon takes off, when it may be used, and which is best: by example, by property, and against looking at all of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.promotions.coupon.rules import (
    MOST_GRANTS,
    MOST_OFF,
    MOST_SKUS,
    MOVES,
    STACKS,
    Basket,
    Held,
    Line,
    Terms,
    choose,
    discount,
    fits,
    in_scope,
    terms_fault,
    title,
    welcomed,
)  # fmt: skip
from tests.promotions.coupon.orders import order

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PLAIN = Terms(500, 2000)
LATER = NOW + timedelta(hours=1)

SKUS = {"berry": "fruit", "pear": "fruit", "tea": "drinks"}
lines = st.lists(
    st.builds(lambda sku, fen: Line(sku, SKUS[sku], fen), st.sampled_from(sorted(SKUS)), st.integers(1, 20_000)), min_size=1, max_size=6
).map(tuple)
terms = st.builds(
    Terms,
    off=st.integers(1, 30_000),
    threshold=st.sampled_from((0, 1, 1000, 5000, 20_000)),
    percent=st.none() | st.integers(1, 99),
    category=st.none() | st.sampled_from(("fruit", "drinks", "toys")),
    audience=st.sampled_from(("all", "new")),
) | st.builds(Terms, off=st.integers(1, 30_000), threshold=st.just(0), skus=st.lists(st.sampled_from(sorted(SKUS)), unique=True).map(tuple))
moments = st.none() | st.integers(-2, 3).map(lambda hours: NOW + timedelta(hours=hours))
states = st.sampled_from(
    (("CLAIMED", None), ("CLAIMED", None), ("LOCKED", "A"), ("LOCKED", "B"), ("USED", "C"), ("EXPIRED", None), ("VOID", None))
)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"off": 0}, "off"),
        ({"off": MOST_OFF + 1, "threshold": 0}, "off"),
        ({"threshold": -1}, "threshold"),
        ({"threshold": 500}, "off"),
        ({"threshold": 499}, "off"),
        ({"percent": 0}, "percent"),
        ({"percent": 100}, "percent"),
        ({"category": "fruit", "skus": ("berry",)}, "skus"),
        ({"skus": ("berry", "berry")}, "skus"),
        ({"skus": tuple(map(str, range(MOST_SKUS + 1)))}, "skus"),
        ({"audience": "old"}, "audience"),
        ({"total": 0}, "total"),
        ({"total": MOST_GRANTS + 1}, "total"),
        ({"valid_seconds": 59}, "valid_seconds"),
        ({"valid_seconds": 31_536_001}, "valid_seconds"),
        ({"valid_seconds": 60, "valid_until": LATER}, "valid_until"),
        ({"valid_until": NOW}, "valid_until"),
        ({"valid_until": NOW + timedelta(days=366)}, "valid_until"),
        ({"valid_until": LATER, "closes": LATER}, "valid_until"),
    ],
)
def test_terms_that_are_not_sound_are_named(changed: dict[str, Any], field: str) -> None:
    total, closes = changed.pop("total", 1), changed.pop("closes", None)
    fault = terms_fault(replace(PLAIN, **changed), total, NOW, closes)
    assert fault is not None
    assert fault[0] == field


@given(terms, lines)
def test_the_discount_is_exact_and_never_makes_an_order_free(terms: Terms, lines: tuple[Line, ...]) -> None:
    gain, whole = discount(terms, lines), sum(line.fen for line in lines)
    base = sum(line.fen for line in lines if in_scope(terms, line))
    assert 0 <= gain <= min(terms.off, base)
    assert whole - gain >= 1
    assert (gain > 0) <= (base >= max(1, terms.threshold))
    if base >= terms.threshold:
        share = Fraction(base * (terms.percent or 100), 100)
        exact = min(share, terms.off, base, whole - 1)
        assert 0 <= exact - gain < 1  # rounded down, once, by less than a fen


def test_an_order_at_its_threshold_gets_it_and_one_fen_below_does_not() -> None:
    assert [discount(PLAIN, order("A", fen).lines) for fen in (1999, 2000, 9000)] == [0, 500, 500]
    assert [discount(replace(PLAIN, threshold=0), order("A", fen).lines) for fen in (1, 2, 500, 501)] == [0, 1, 499, 500]


def test_a_percentage_and_its_threshold_look_at_the_goods_in_scope_only() -> None:
    mixed = (Line("berry", "fruit", 2999), Line("tea", "drinks", 9000))
    fruit = Terms(1000, 2000, percent=15, category="fruit")
    assert discount(fruit, mixed) == 449  # 15% of 29.99 is 4.4985
    assert discount(replace(fruit, off=400), mixed) == 400  # the ceiling
    assert discount(replace(fruit, threshold=3000), mixed) == 0  # the tea does not help
    assert discount(Terms(5000, 0, skus=("berry",)), mixed) == 2999  # more than the goods in scope cost is not taken from the others
    assert discount(Terms(5000, 0, category="toys"), mixed) == 0


@pytest.mark.parametrize(
    ("held", "basket", "why"),
    [
        (Held(1, PLAIN), order("A", 2990), None),
        (Held(1, PLAIN), order("A", 1999), "threshold"),
        (Held(1, PLAIN, "LOCKED", "A"), order("A", 2990), None),
        (Held(1, PLAIN, "LOCKED", "B"), order("A", 2990), "locked"),
        (Held(1, PLAIN, "USED", "A"), order("A", 2990), "used"),
        (Held(1, PLAIN, "VOID"), order("A", 2990), "void"),
        (Held(1, PLAIN, "EXPIRED"), order("A", 2990), "expired"),
        (Held(1, PLAIN, until=NOW), order("A", 2990), "expired"),
        (Held(1, PLAIN, "LOCKED", "A", until=NOW), order("A", 2990), None),  # survives its order's hold
        (Held(1, PLAIN), order("A", 2990, channel="group"), "group"),
        (Held(1, replace(PLAIN, percent=10)), order("A", 2990, channel="group"), "group"),
        (Held(1, PLAIN), order("A", 2990, channel="somewhere"), "stacking"),
        (Held(1, replace(PLAIN, audience="new")), order("A", 2990, new=False), "audience"),
        (Held(1, replace(PLAIN, category="toys")), order("A", 2990), "scope"),
    ],
)
def test_why_a_coupon_cannot_be_used_on_an_order(held: Held, basket: Basket, why: str | None) -> None:
    assert fits(held, basket, NOW) == ((500, None) if why is None else (0, why))


@given(
    st.lists(st.tuples(terms, states, moments), max_size=8), lines, st.sampled_from(("live", "group")), st.booleans()
)
def test_the_best_choice_is_what_trying_every_coupon_finds(
    hand: list[tuple[Terms, tuple[str, str | None], datetime | None]], lines: tuple[Line, ...], channel: str, new: bool
) -> None:
    held = [Held(i, terms, state, by, until) for i, (terms, (state, by), until) in enumerate(hand, 1)]
    basket = Basket("A", channel, lines, new)
    usable, others = choose(held, basket, NOW)
    assert sorted([one.id for one, _ in usable] + [one.id for one, _ in others]) == [one.id for one in held]

    def pays(one: Held) -> int:
        """By hand, unlike the rules: what the order costs with this coupon."""
        whole, mine = sum(line.fen for line in lines), [line.fen for line in lines if in_scope(one.terms, line)]
        if (one.state, one.order) != ("LOCKED", "A"):
            alive = one.state == "CLAIMED" and (one.until is None or one.until > NOW)
            if not alive or channel == "group" or not mine or (one.terms.audience == "new" and not new):
                return whole
        off = one.terms.off if one.terms.percent is None else int(Fraction(sum(mine) * one.terms.percent, 100))
        return max(1, whole - min(off, one.terms.off, sum(mine))) if sum(mine) >= one.terms.threshold else whole

    far = datetime.max.replace(tzinfo=UTC)
    best = min(held, key=lambda one: (pays(one), one.until or far, one.id), default=None)
    whole = sum(line.fen for line in lines)
    if best is None or pays(best) == whole:
        assert all(gain == 0 for _, gain in usable)
    else:
        assert (usable[0][0].id, whole - usable[0][1]) == (best.id, pays(best))
    assert [gain for _, gain in usable] == sorted((gain for _, gain in usable), reverse=True)


def test_of_equals_the_one_that_ends_first_is_best() -> None:
    held = [Held(1, PLAIN), Held(2, PLAIN, until=NOW + timedelta(days=2)), Held(3, PLAIN, until=LATER), Held(4, PLAIN)]
    assert [one.id for one, _ in choose(held, order("A", 2990), NOW)[0]] == [3, 2, 1, 4]


def test_a_new_customer_is_welcomed_by_one_order() -> None:
    hello = Held(1, replace(PLAIN, audience="new"), "LOCKED", "A")
    assert not welcomed([hello], "A")
    assert welcomed([hello], "B")
    assert not welcomed([replace(hello, terms=PLAIN)], "B")


def test_every_kind_of_coupon_and_channel_has_its_place_in_the_matrix() -> None:
    assert set(STACKS) == {(kind, channel) for kind in ("amount", "percent") for channel in ("live", "group")}


def test_a_used_coupon_can_only_come_back_or_end_and_what_has_ended_stays() -> None:
    assert {state for state, to in MOVES.items() if not to} == {"EXPIRED", "VOID"}
    assert MOVES["USED"] == {"CLAIMED", "EXPIRED", "VOID"}
    assert set().union(*MOVES.values()) <= set(MOVES)


@pytest.mark.parametrize(
    ("terms", "zh", "en"),
    [
        (Terms(2000, 10000), "满 ¥100 减 ¥20", "¥20 off from ¥100"),
        (Terms(550, 0), "立减 ¥5.50", "¥5.50 off"),
        (Terms(3000, 9900, percent=20), "满 ¥99 8 折，最多减 ¥30", "20% off, up to ¥30, from ¥99"),
        (Terms(3000, 0, percent=15), "8.5 折，最多减 ¥30", "15% off, up to ¥30"),
    ],
)
def test_cards_say_what_it_is_worth_in_both_languages(terms: Terms, zh: str, en: str) -> None:
    assert title(terms) == (zh, en)
