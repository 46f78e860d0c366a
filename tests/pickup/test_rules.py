from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.pickup import rules

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
symbols = st.text(alphabet=rules.ALPHABET, min_size=8, max_size=8)
codes = symbols.map(lambda text: text + rules.check_symbol(text))


def test_alphabet_has_32_different_symbols_and_none_that_is_taken_for_another() -> None:
    assert len(set(rules.ALPHABET)) == 32
    assert not set("ILOU") & set(rules.ALPHABET)


@given(codes, st.integers(0, 8), st.sampled_from(rules.ALPHABET))
def test_every_wrong_symbol_is_caught(code: str, position: int, symbol: str) -> None:
    wrong = code[:position] + symbol + code[position + 1 :]
    assert rules.parse(wrong) == (code if wrong == code else None)


@given(codes, st.integers(0, 7))
def test_every_swap_of_neighbours_is_caught(code: str, position: int) -> None:
    swapped = code[:position] + code[position + 1] + code[position] + code[position + 2 :]
    assert rules.parse(swapped) == (code if swapped == code else None)


@given(codes)
def test_what_is_shown_is_read_again_however_it_is_typed(code: str) -> None:
    shown = rules.shown(code)
    assert [len(part) for part in shown.split("-")] == [4, 4, 1]
    lookalikes = shown.lower().replace("0", "o").replace("1", "l").replace("v", "u")
    full_width = "".join(chr(ord(symbol) + 0xFEE0) if symbol != " " else "\u3000" for symbol in shown)
    for typed in (code, shown, lookalikes, shown.replace("1", "I"), f"  {' '.join(code)} ", f"PK:{code}", f"pk:{shown}", full_width):
        assert rules.parse(typed) == code


@given(st.text(max_size=200))
def test_any_text_is_a_code_or_none(text: str) -> None:
    parsed = rules.parse(text)
    assert parsed is None or (len(parsed) == 9 and rules.check_symbol(parsed[:8]) == parsed[8])


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30), st.integers(0, 4))
def test_a_derived_code_is_valid_and_always_the_same(no: str, location: str, attempt: int) -> None:
    code = rules.derive("secret", no, location, attempt)
    assert rules.parse(code) == code == rules.derive("secret", no, location, attempt)


def test_codes_differ_by_order_store_attempt_and_secret() -> None:
    given_ = [("s", "n", "a", 0), ("s", "m", "a", 0), ("s", "n", "b", 0), ("s", "n", "a", 1), ("t", "n", "a", 0)]
    assert len({rules.derive(*arguments) for arguments in given_}) == 5
    assert rules.keyed_hash("s", "A") != rules.keyed_hash("t", "A")


def test_a_code_is_this_one_for_ever() -> None:
    """A changed derivation would make every ticket of every shop worthless overnight."""
    assert rules.derive("s", "n", "l") == "X1QW5P9F4"


@pytest.mark.parametrize("old", rules.TRANSITIONS)
@pytest.mark.parametrize("new", rules.TRANSITIONS)
def test_a_ticket_moves_forward_only(old: str, new: str) -> None:
    allowed = {("QUEUED", "READY"), ("QUEUED", "VOID"), ("READY", "COLLECTED"), ("READY", "VOID")}
    assert rules.may(old, new) == ((old, new) in allowed)


def test_five_wrong_codes_within_a_minute_lock_the_device_for_15_minutes() -> None:
    moments = [NOW + timedelta(seconds=15 * n) for n in range(5)]
    last = moments[-1]
    assert rules.locked_seconds(moments[:4], moments[:4], last) == 0
    assert rules.locked_seconds(moments, moments, last) == 15 * 60
    assert rules.locked_seconds(moments, moments, last + timedelta(minutes=14, seconds=59.5)) == 1
    assert rules.locked_seconds(moments, moments, last + timedelta(minutes=15)) == 0


def test_five_wrong_codes_in_more_than_a_minute_do_not() -> None:
    moments = [NOW + timedelta(seconds=15.1 * n) for n in range(20)]
    assert rules.locked_seconds(moments, moments, moments[-1]) == 0


def test_a_hundred_wrong_codes_of_an_account_in_an_hour_lock_it_whatever_the_devices() -> None:
    moments = [NOW + timedelta(seconds=20 * n) for n in range(100)]
    assert rules.locked_seconds([], moments[:99], moments[98]) == 0
    assert rules.locked_seconds([], moments, moments[-1]) == 3600 - 99 * 20
