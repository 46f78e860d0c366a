"""Faults of the shop as it stands that the model shows. Their schedules are left out of the walks, so that the proof can go on behind them.

When one is mended in `live/`, the model follows and its entry goes; a test fails when an entry here shows nothing any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.prove.model.world import World


@dataclass(frozen=True, slots=True)
class Known:
    """`shows(world, step)`: this step is the one that makes it visible. `scene`: where; `schedule`: the shortest way there, in words."""

    name: str
    scene: str
    schedule: str
    shows: Callable[[World, tuple[Any, ...]], bool]


def _late_verdict(world: World, step: tuple[Any, ...]) -> bool:
    """A buyer acts on a rid whose refusal is settled, or overtaken by a rebuild, and not yet published."""
    if step[0] not in ("ask", "send", "again", "lose_reply"):
        return False
    rid = world.buyers[step[1]].rid
    held = world.servers[-1].intents  # while the intent is there, so is its record, and the tap is only told to wait
    late = [verdict for each in world.ledgers for booking, _ in each.after for verdict in booking.verdicts if verdict.intent.id not in held]
    asked = [intent for each in world.ledgers for intent in each.batch if intent.ask and intent.id not in held]
    return any(verdict.intent.rid == rid and not verdict.no for verdict in late) or any(intent.rid == rid for intent in asked)


LATE_VERDICT = Known(
    "late verdict",
    "release, and redis emptied",
    "A resend that would be refused becomes an ask; the ledger settles its refusal (the record goes) and has not published it yet. The "
    "buyer asks, hears `again`, sends the same key, and now a unit is free: a new intent. Then the old refusal arrives, since verdicts are "
    "told by rid and not by intent: `sold_out`, and the new intent is booked behind the buyer's back.",
    _late_verdict,
)
OPEN = (LATE_VERDICT,)
