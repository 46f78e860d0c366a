"""A draw that anybody can check: who wins follows from a seed fixed before the first entry and from everybody who entered.

SHA-256 in lower-case hex throughout, texts in UTF-8, parts joined by "|":
1. When the draw opens, a random seed is made and its hash published: `commitment = H(seed)`. The seed stays secret until the end.
2. Who entered stands in the draw as a ticket: the first 32 digits of `H(commitment | person)`. Whoever knows their own id finds theirs.
3. At the end the seed and all tickets are published. `key = H(seed | ticket | ticket | …)`, tickets in ascending order; each ticket's
   number is `H(key | ticket)`, and the winners are the tickets with the lowest numbers, the lowest first.
So nobody, the shop included, can know a winner before the last entry is in; and another seed or one entrant more or less gives others.
What it does not prove: that all who entered are different people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

Fault = tuple[str, str]

ENTRIES = ("comment", "order", "follow")
MOST_WINNERS = 100  # their names travel to every screen in one event
MOST_POINTS = 1_000_000  # of one prize: above it a digit was typed twice
MOST_WORD = 20  # characters people will type on a phone
TICKET = 32  # hex digits


def terms_fault(winners: int, entry: str, word: str) -> Fault | None:
    """`entry`: by a comment that contains `word`, by an order of this room that is paid for, or by a press that follows the room."""
    if not 1 <= winners <= MOST_WINNERS:
        return ("winners", f"must be 1 to {MOST_WINNERS}")
    if entry not in ENTRIES:
        return ("entry", "must be comment, order or follow")
    if entry == "comment" and not 1 <= len(word) <= MOST_WORD:
        return ("word", f"must be 1 to {MOST_WORD} characters")
    if entry != "comment" and word:
        return ("word", "is for entry by comment")
    return None


def _hash(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def commitment(seed: str) -> str:
    """What is published of the seed when the draw opens."""
    return _hash(seed)


def ticket(commitment: str, person: str) -> str:
    """The name a person has in the published list."""
    return _hash(commitment, person)[:TICKET]


def winners(seed: str, tickets: Iterable[str], count: int) -> list[str]:
    """The tickets that won, first prize first; all of them when there are fewer than `count`."""
    entered = sorted(set(tickets))
    key = _hash(seed, *entered)
    return sorted(entered, key=lambda one: _hash(key, one))[:count]


def proof_fault(proof: Mapping[str, Any], published: str = "") -> str | None:
    """What is wrong with a published draw `{commitment, seed, count, tickets, winners}`; None when it is what its seed and tickets say.

    `published`: the commitment that was shown when the draw opened, if whoever checks wrote it down.
    """
    try:
        seed, tickets, won, count = str(proof["seed"]), list(proof["tickets"]), list(proof["winners"]), int(proof["count"])
        given = str(proof["commitment"])
    except (KeyError, TypeError, ValueError):
        return "not the proof of a draw that is over"
    if published and published != given:
        return "another commitment than the one that was published"
    if commitment(seed) != given:
        return "the seed is not the one that was committed to"
    if tickets != sorted(set(tickets)):
        return "the tickets are not in order, or one is there twice"
    return None if won == winners(seed, tickets, count) else "these are not the winners that seed and tickets give"
