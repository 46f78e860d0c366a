"""Paths and what is frozen on an order, by property."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from live.people.sharing.rules import DEPTH, attribution, path

subjects = st.builds("{}:{}".format, st.sampled_from("ps"), st.integers(1, 9999))


@given(subjects, st.lists(subjects, max_size=DEPTH, unique=True))
def test_a_path_begins_with_the_inviter_goes_on_with_theirs_and_is_never_longer_than_ten(sharer: str, above: list[str]) -> None:
    made = path(sharer, above)
    assert made[0] == sharer
    assert made[1:] == above[: DEPTH - 1]
    assert len(made) <= DEPTH == 10


def test_nobody_brought_means_nothing_is_written() -> None:
    assert attribution({}, None, None) == {}


@given(subjects, st.none() | subjects, st.none() | subjects)
def test_a_groups_leader_is_credited_before_the_last_link_and_the_first_never(first: str, last: str | None, leader: str | None) -> None:
    found = attribution({"by": first, "path": [first], "room": "r", "at": 1}, last, leader)
    assert found.get("credit") == (leader or last)
    assert found.get("rule") == ("leader" if leader else "last_touch" if last else None)
    assert (found["first"], found["path"]) == (first, [first])
    assert (found.get("last"), found.get("leader")) == (last, leader)
