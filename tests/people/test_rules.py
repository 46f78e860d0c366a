from __future__ import annotations

import pytest

from live.people import rules
from live.people.rules import CLERK, HOST, LEADER, MODERATOR, OWNER

SHOP = {"store.create", "import", "staff.create", "staff.list", "staff.edit", "audit", "exception.decide"}
TALK = {"mute", "comment.withdraw", "console.socket", "room.list"}


def test_a_moderator_only_talks_and_a_clerk_only_works_the_desk() -> None:
    assert {act for act, roles in rules.MAY.items() if MODERATOR in roles} == TALK | {"self", "share"}
    assert {act for act, roles in rules.MAY.items() if CLERK in roles} == {"desk", "self", "share"}
    assert {act for act, roles in rules.MAY.items() if LEADER in roles} == {"desk", "self", "share", "leader.groups"}


def test_a_host_runs_the_show_but_not_the_shop_and_the_owner_may_everything() -> None:
    assert {act for act, roles in rules.MAY.items() if HOST in roles} == set(rules.MAY) - SHOP - {"desk", "leader.groups"}
    assert {act for act, roles in rules.MAY.items() if OWNER in roles} == set(rules.MAY)


@pytest.mark.parametrize(
    ("given", "phone"),
    [
        ("13800138000", "13800138000"),
        ("+86 138-0013-8000", "13800138000"),
        ("12800138000", None),
        ("1380013800", None),
        ("138001380000", None),
        ("１３８００１３８０００", None),
        ("13800138000x", None),
        ("", None),
    ],
)
def test_a_phone_is_a_mainland_mobile_number(given: str, phone: str | None) -> None:
    assert rules.phone(given) == phone


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, ""),
        ("  小满\n\t 同学 ", "小满 同学"),
        ("a\u202eb\u200bc\x00", "abc"),
        ("ＡＢＣ", "ABC"),
        ("小满\U0001fae9\ue000\uffff\u0378", "小满\U0001fae9"),  # an emoji of Unicode 16 stays; what is private or nothing goes
        ("长" * 40, "长" * 24),
        ("\u200b\u202e", ""),
        ("<b>x</b>", "<b>x</b>"),
    ],
)
def test_a_display_name_is_one_visible_line(given: str | None, name: str) -> None:
    assert rules.display_name(given) == name


@pytest.mark.parametrize(
    ("given", "account"), [(" Xiao.Man ", "xiao.man"), ("a", None), ("-ab", None), ("a b", None), ("小满", None), ("a" * 33, None)]
)
def test_an_account_is_plain_and_lower_case(given: str, account: str | None) -> None:
    assert rules.account(given) == account


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("x" * 9, "fewer than 10 characters"),
        ("x" * 10, None),
        ("x" * 128, None),
        ("x" * 129, "more than 128 characters"),
        ("LONG-account", "is the account"),
    ],
)
def test_a_password_is_long_and_not_the_account(password: str, fault: str | None) -> None:
    assert rules.password_fault(password, "long-account") == fault
