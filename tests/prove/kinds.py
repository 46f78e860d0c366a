"""What a kind of proof is: a module with `NAME` and `run(seed, budget) -> Result`.

A kind that keeps one core busy says how it is divided: `parts(seed, budget)`, a list of arguments for `run`, the same on every machine.
One that has no `parts` has the machine for itself.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog


@dataclass(slots=True)
class Result:
    """What a proof found. `runs` counts what its kind counts; `violations` are sentences; `facts` say more about the runs."""

    kind: str
    runs: int
    seed: int
    violations: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        """The JSON object that is printed."""
        return {"kind": self.kind, "runs": self.runs, "violations": len(self.violations), "seed": self.seed, **self.facts}


class Kind(Protocol):
    """A proof's module."""

    NAME: str
    BUDGETS: dict[str, int]  # runs per `ci`, `release`, `tiny` (the suite's own) and `planted` (per bug)

    def run(self, seed: int, budget: int) -> Result:
        """Prove, with this many runs; the same seed gives the same runs."""
        ...


def parts(kind: Kind, seed: int, budget: int) -> list[tuple[int, ...]]:
    """Arguments of `run` for each piece that may run beside the others; the whole in one piece when it is not divided."""
    divided = getattr(kind, "parts", None)
    return list(divided(seed, budget)) if divided else [(seed, budget)]


def shares(budget: int, pieces: int) -> list[int]:
    """A budget in nearly equal pieces, none of them empty."""
    return [(budget + each) // pieces for each in range(pieces) if (budget + each) // pieces]


def whole(found: Sequence[Result]) -> Result:
    """The pieces of one kind together: numbers are added, lists joined."""
    result = Result(found[0].kind, 0, found[0].seed)
    for each in found:
        result.runs += each.runs
        result.violations += each.violations
        for name, value in each.facts.items():
            result.facts[name] = result.facts[name] + value if name in result.facts else value
    return result


def piece(module: str, *given: int) -> Result:
    """One piece of the kind in this module, in the process it was given."""
    quiet()
    found: Result = importlib.import_module(module).run(*given)
    return found


def quiet() -> None:
    """No log lines: refusals are what is being looked for."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
