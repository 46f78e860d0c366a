from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.people.rules import invisible
from live.rooms import rules

WORDS = rules.fold_words(rules.WORDS)


@pytest.mark.parametrize(
    ("phase", "to", "may"),
    [
        ("draft", "live", True), ("live", "ended", True), ("ended", "live", True), ("draft", "ended", False), ("live", "draft", False),
        ("ended", "draft", False), ("live", "live", False), ("draft", "draft", False), ("ended", "ended", False), ("gone", "live", False),
    ],
)  # fmt: skip
def test_a_show_begins_ends_and_may_begin_again(phase: str, to: str, may: bool) -> None:
    assert rules.may_go(phase, to) is may


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("  好  看 ", "好 看"),
        ("one\ntwo\r\n\tthree", "one two three"),
        ("e\u0301", "é"),
        ("a\u200bb\u200cc\ufeffd\u00ade", "abcde"),
        ("\u202eevil\u202c", "evil"),
        ("a\u2066b\u2069", "ab"),
        ("bell\x07 null\x00!", "bell null !"),
        ("\ud800lone", "lone"),
        ("\ue000private", "private"),
        ("好吃😋", "好吃😋"),
        ("新\U0001fae9表情\U0001fc00", "新\U0001fae9表情\U0001fc00"),  # Unicode 16's face, and one to come
        ("a\U0001fbff\U0001fffe\uffff\u0378b", "a b"),  # unassigned elsewhere, and what is no character
        ("<b>&amp;</b>", "<b>&amp;</b>"),
        ("全角\u3000空格", "全角 空格"),
        ("", ""),
        (" \u200b\n ", ""),
    ],
)
def test_a_comment_is_shown_without_what_cannot_be_seen(given_: str, shown: str) -> None:
    assert rules.clean(given_) == shown


@given(st.text(max_size=300))
def test_whatever_is_typed_comes_out_clean_and_stays_so(text: str) -> None:
    shown = rules.clean(text)
    assert rules.clean(shown) == shown
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co"}
    assert not any(invisible(c) for c in shown)
    assert shown == shown.strip()
    assert "  " not in shown
    assert unicodedata.is_normalized("NFC", shown)
    shown.encode("utf-8")


@pytest.mark.parametrize(
    "said",
    [
        "加微信", "快加微信abc", "加 微 信", "加-微-信", "加。微、信", "加微微微信", "加\u200b微\u200b信", "ＣＡＳＩＮＯ", "C a s i n o",
        "cas1no casino",
        "c.a.s.i.n.o", "CaSiNo", "ⓒasino", "casiiino", "FREE BITCOIN", "freebitcoin", "f r e e-b i t c o i n", "加Ｖ信", "加v信", "代💰付",
        "vi@ viagra",
        "𝐯𝐢𝐚𝐠𝐫𝐚", "刷…单",
    ],
)  # fmt: skip
def test_width_case_spaces_signs_and_repeats_do_not_hide_a_word(said: str) -> None:
    assert rules.fault(rules.clean(said), 200, WORDS) == "bad_words"


@pytest.mark.parametrize("said", ["好看", "这个多少钱", "信", "加购了", "微笑", "How much?", "1111", "😀😀", "cash in order"])
def test_what_shoppers_say_passes(said: str) -> None:
    assert rules.fault(rules.clean(said), 200, WORDS) is None


@pytest.mark.parametrize(("length", "why"), [(1, None), (200, None), (201, "too_long")])
def test_the_limit_counts_characters_as_shown(length: int, why: str | None) -> None:
    assert rules.fault(rules.clean("好" * length), 200, WORDS) == why
    assert rules.fault(rules.clean("\u200b".join("好" * length)), 200, WORDS) == why


def test_nothing_is_not_a_comment() -> None:
    for nothing in ("", "   ", "\u200b", "\n\t"):
        assert rules.fault(rules.clean(nothing), 200, WORDS) == "empty"


@given(st.sampled_from(rules.WORDS), st.text(max_size=40), st.text(max_size=40), st.sampled_from(["", " ", "-", "。", "\u200b", "*", "~ "]))
def test_a_listed_word_is_found_wherever_it_hides(word: str, before: str, after: str, between: str) -> None:
    hidden = between.join(word).upper()
    # A neighbour that is the word's own first letter folds into it, so it is found all the same.
    assert rules.fault(rules.clean(f"{before} {hidden} {after}"), 1000, WORDS) == "bad_words"


@given(st.text(max_size=60))
def test_folding_twice_is_folding_once(text: str) -> None:
    once = rules.folded(text)
    assert rules.folded(once) == once
    assert not re.search(r"(.)\1", once)


def test_words_of_signs_only_are_no_words() -> None:
    assert rules.fold_words(["", " ", "!!", "Ａa", "a"]) == ("a",)
    assert rules.fault("hello", 200, rules.fold_words(["", "…"])) is None
