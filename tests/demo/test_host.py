"""The demo's host sees whether a person acted, and holds still then."""

from __future__ import annotations

from typing import Any

import pytest

from live.demo.host import Keeper
from live.demo.staff import Host

NOW = 1_000_000  # epoch ms


def offer(number: int, phase: str = "open", *, closes: int | None = NOW + 60_000, total: int = 10, paid: int = 0) -> dict[str, Any]:
    view = {"id": number, "kind": "group", "phase": phase, "closes": closes, "total": total}
    return {"view": view, "team": {"paid": paid, "size": 10}}


@pytest.fixture
def keeper() -> Keeper:
    """One that has looked once: offers 1 and 2 are open, 1 is pinned."""
    found = Keeper(Host("http://127.0.0.1:1", "host", "demo"))
    assert not found.somebody_acted([offer(1), offer(2)], 1, NOW)
    return found


def test_nothing_new_is_nobody(keeper: Keeper) -> None:
    assert not keeper.somebody_acted([offer(1), offer(2)], 1, NOW)


def test_its_own_offer_and_pin_are_not_a_person(keeper: Keeper) -> None:
    keeper._opened(3)
    keeper.pinned = 3
    assert not keeper.somebody_acted([offer(1), offer(2), offer(3)], 3, NOW)


def test_an_end_by_the_clock_or_by_a_full_group_is_not_a_person(keeper: Keeper) -> None:
    assert not keeper.somebody_acted([offer(1, "ended", closes=NOW), offer(2, "ended", paid=10)], 1, NOW + 60_000)


@pytest.mark.parametrize(
    ("offers", "pin"),
    [
        ([offer(1), offer(2), offer(3)], 1),
        ([offer(1, "ended"), offer(2)], 1),
        ([offer(1, total=12), offer(2)], 1),
        ([offer(1), offer(2)], None),
    ],
    ids=["opened", "ended", "stocked", "pinned"],
)
def test_what_a_person_does_at_the_console_is_seen_once(keeper: Keeper, offers: list[dict[str, Any]], pin: int | None) -> None:
    assert keeper.somebody_acted(offers, pin, NOW)
    assert not keeper.somebody_acted(offers, pin, NOW)
