"""What a kind of proof is: a module with `NAME` and `run(seed, budget) -> Result`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


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
