"""Anybody can check a draw, and whatever was changed afterwards is noticed."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.promotions.draw.rules import commitment, proof_fault, terms_fault, ticket, winners

SEED = "5eed"
TICKETS = sorted(ticket(commitment(SEED), f"p:{n}") for n in range(1, 21))


def sha256(words: str) -> str:
    """As anybody's own tool says it."""
    return hashlib.sha256(words.encode()).hexdigest()


def proof(**changed: Any) -> dict[str, Any]:
    """The proof of a draw of three among twenty."""
    found = {"seed": SEED, "commitment": commitment(SEED), "count": 3, "tickets": TICKETS, "winners": winners(SEED, TICKETS, 3)}
    return found | changed


def test_the_winners_are_those_of_the_documented_rule() -> None:
    # The first two by `printf … | sha256sum`.
    assert commitment("a") == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    assert ticket("c", "p:1") == "33bcc3de4af5579ac61d6cac46766d0d"
    key = sha256("5eed|" + "|".join(TICKETS))
    assert winners(SEED, TICKETS, 20) == sorted(TICKETS, key=lambda one: sha256(f"{key}|{one}"))
    assert proof_fault(proof()) is None
    assert proof_fault(proof(), published=commitment(SEED)) is None


@given(st.sets(st.integers(1, 10_000), min_size=1, max_size=40), st.integers(1, 50), st.text(max_size=10))
def test_the_draw_is_the_same_however_the_entrants_come_and_nobody_wins_twice(people: set[int], count: int, seed: str) -> None:
    tickets = [ticket(commitment(seed), f"p:{n}") for n in people]
    won = winners(seed, tickets, count)
    assert won == winners(seed, reversed(tickets), count) == winners(seed, tickets + tickets, count)
    assert len(won) == len(set(won)) == min(count, len(people))
    assert set(won) <= set(tickets)


def test_everybody_wins_about_as_often() -> None:
    people = [ticket("c", f"p:{n}") for n in range(10)]
    won = [winners(str(seed), people, 1)[0] for seed in range(3_000)]
    assert all(240 < won.count(one) < 360 for one in people)  # 300 each; it strays by 16


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"seed": "another"}, "seed"),
        ({"seed": "another", "commitment": commitment("another")}, "winners"),
        ({"tickets": TICKETS[1:]}, "winners"),
        ({"tickets": sorted([*TICKETS, ticket(commitment(SEED), "p:99")])}, "winners"),
        ({"tickets": [*TICKETS, TICKETS[0]]}, "twice"),
        ({"tickets": TICKETS[::-1]}, "order"),
        ({"winners": winners(SEED, TICKETS, 3)[::-1]}, "winners"),
        ({"winners": winners(SEED, TICKETS, 2)}, "winners"),
        ({"seed": None, "tickets": None, "winners": None}, "over"),
    ],
)  # fmt: skip
def test_a_changed_proof_is_noticed(changed: dict[str, Any], why: str) -> None:
    found = proof_fault(proof(**changed))
    assert found is not None
    assert why in found


def test_another_seed_is_noticed_by_who_wrote_the_commitment_down() -> None:
    other = proof(seed="another", commitment=commitment("another"), winners=winners("another", TICKETS, 3))
    assert proof_fault(other) is None
    assert proof_fault(other, published=commitment(SEED)) == "another commitment than the one that was published"


@pytest.mark.parametrize(
    ("given_", "field"),
    [((0, "comment", "茶"), "winners"), ((101, "comment", "茶"), "winners"), ((1, "raffle", ""), "entry"), ((1, "comment", ""), "word"),
     ((1, "comment", "茶" * 21), "word"), ((1, "order", "茶"), "word"), ((1, "follow", "茶"), "word")],
)  # fmt: skip
def test_terms_that_are_not_sound_are_named(given_: tuple[int, str, str], field: str) -> None:
    found = terms_fault(*given_)
    assert found is not None
    assert found[0] == field
