"""`python -m tests.prove`: the proofs, one JSON object per kind.

`--ci` some minutes on one core, `--release` hours, `--planted` every bug of `bugs.py`; `--kind` one kind; `--show` a seed of the simulation
again. Exits 1 on a violation, or on a bug that nobody caught. What was violated goes to stderr.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

import orjson
import structlog

from tests.prove import exhaustive, kills, machine, planted, simulation
from tests.prove.kinds import Kind
from tests.prove.model.known import OPEN

KINDS: dict[str, Kind] = {kind.NAME: kind for kind in (exhaustive, simulation, machine, kills)}


def say(found: dict[str, Any]) -> None:
    """One line."""
    print(orjson.dumps(found).decode(), flush=True)


def prove(kinds: Sequence[Kind], size: str, seed: int) -> bool:
    """Run these; True when nothing was violated."""
    sound = True
    for kind in kinds:
        begun = time.monotonic()
        result = kind.run(seed, kind.BUDGETS[size])
        say(result.line() | {"seconds": round(time.monotonic() - begun, 1), "known": [fault.name for fault in OPEN]})
        for violation in result.violations:
            print(violation, file=sys.stderr)
        sound = sound and not result.violations
    return sound


def plant(seed: int) -> bool:
    """Run every bug; True when each was caught."""
    caught = True
    for found in planted.run(seed):
        say(found)
        caught = caught and bool(found["caught_by"])
    return caught


def show(seed: int) -> bool:
    """One show of the simulation again, shrunk; True when nothing was violated."""
    found = simulation.play(seed)
    if found.violations:
        violation, steps = simulation.shrink(found)
        print(violation, *steps, sep="\n", file=sys.stderr)
    say({"kind": "show", "runs": 1, "violations": len(found.violations), "seed": seed, "steps": len(found.steps)})
    return not found.violations


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser("python -m tests.prove", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    for name in ("ci", "release", "tiny", "planted"):
        size.add_argument(f"--{name}", action="store_const", const=name, dest="size")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=sorted(KINDS))
    parser.add_argument("--show", type=int, metavar="SEED")
    args = parser.parse_args(argv)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # refusals are what is being looked for
    if args.show is not None:
        sound = show(args.show)
    elif args.size == "planted":
        sound = plant(args.seed)
    else:
        sound = prove([KINDS[args.kind]] if args.kind else list(KINDS.values()), args.size or "ci", args.seed)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
