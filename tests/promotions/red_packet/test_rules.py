"""How a sum is cut: exact, bounded, the same by the same seed, and no better for who comes first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.people.rules import masked
from live.promotions.red_packet.rules import split, terms_fault, title


@st.composite
def packets(draw: st.DrawFn) -> tuple[int, int, int, int, str]:
    shares = draw(st.integers(1, 200))
    least = draw(st.integers(0, 50))
    most = draw(st.integers(least, least + 2_000))
    return draw(st.integers(shares * least, shares * most)), shares, least, most, draw(st.text(max_size=8))


@given(packets())
def test_the_shares_are_as_many_as_asked_within_their_bounds_and_sum_to_the_total_exactly(packet: tuple[int, int, int, int, str]) -> None:
    total, shares, least, most, seed = packet
    cut = split(total, shares, least, most, seed)
    assert len(cut) == shares
    assert sum(cut) == total
    assert min(cut) >= least
    assert max(cut) <= most
    assert split(total, shares, least, most, seed) == cut


def test_another_seed_cuts_otherwise() -> None:
    assert split(10_000, 50, 1, 10_000, "a") != split(10_000, 50, 1, 10_000, "b")


def test_the_first_and_the_last_share_are_worth_the_same_on_average() -> None:
    cuts = [split(1_000, 10, 1, 1_000, str(seed)) for seed in range(2_000)]
    means = [sum(cut[place] for cut in cuts) / len(cuts) for place in range(10)]
    assert all(93 < mean < 107 for mean in means)  # 100 each; a mean of 2,000 such shares strays by 2


@pytest.mark.parametrize(("total", "shares", "least", "most"), [(9, 10, 1, 5), (51, 10, 1, 5), (0, 0, 1, 5), (10, 2, -1, 20)])
def test_what_cannot_be_cut_is_not(total: int, shares: int, least: int, most: int) -> None:
    with pytest.raises(ValueError, match="cannot be cut"):
        split(total, shares, least, most, "seed")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"currency": "cash"}, "currency"), ({"shares": 0}, "shares"), ({"shares": 2_001, "total": 100_000}, "shares"),
        ({"least": 0}, "least"), ({"least": 101}, "sum"), ({"total": 9}, "sum"), ({"total": 10_000_001}, "sum"),
        ({"threshold": 500}, "threshold"), ({"threshold": -1}, "threshold"), ({"currency": "coupon", "threshold": 100}, "threshold"),
        ({"word": "一" * 21}, "word"),
    ],
)  # fmt: skip
def test_terms_that_are_not_sound_are_named(changed: dict[str, object], field: str) -> None:
    sound: dict[str, object] = {"currency": "points", "total": 1_000, "shares": 10, "least": 1, "threshold": 0, "word": ""}
    assert terms_fault(**sound) is None  # type: ignore[arg-type]
    found = terms_fault(**sound | changed)  # type: ignore[arg-type]
    assert found is not None
    assert found[0] == field


def test_a_coupon_threshold_just_above_the_mean_share_is_sound() -> None:
    assert terms_fault("coupon", 1_000, 10, 1, 101, "") is None
    assert split(1_000, 10, 1, 100, "any") == [100] * 10


def test_titles_and_masked_names() -> None:
    assert title("points", 500) == ("红包雨 500 积分", "Red packets: 500 points")
    assert title("coupon", 12_050) == ("红包雨 ¥120.50 优惠券", "Red packets: ¥120.50 in coupons")
    assert (masked("王小明"), masked("")) == ("王**", "**")
