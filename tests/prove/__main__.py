"""`python -m tests.prove`: the proofs, one JSON object per kind.

`--ci` some minutes on two cores, `--release` hours, `--planted` every bug of `bugs.py` (`--bug` one of them); `--kind` one kind; `--show`
a seed of the simulation again. Exits 1 on a violation, or on a bug that nobody caught. Progress and what was violated go to stderr.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import orjson

from tests.prove import exhaustive, kills, lines, losses, machine, planted, simulation
from tests.prove.bugs import BUGS
from tests.prove.kinds import Kind, Result, parts, piece, quiet, whole
from tests.prove.processes import Done, Work, side_by_side

KINDS: dict[str, Kind] = {kind.NAME: kind for kind in (exhaustive, simulation, machine, lines, losses, kills)}
LIMIT = 400.0  # seconds a piece may take before it counts as stuck; `--release` knows none


def say(found: dict[str, Any]) -> None:
    """One line."""
    print(orjson.dumps(found).decode(), flush=True)


def prove(kinds: Sequence[Kind], size: str, seed: int) -> bool:
    """Run these side by side; True when nothing was violated."""
    pieces = [(kind, given) for kind in kinds for given in parts(kind, seed, kind.BUDGETS[size])]
    limit = None if size == "release" else LIMIT
    work = [Work(kind.NAME, piece, (kind.__name__, *given), not hasattr(kind, "parts"), limit) for kind, given in pieces]
    ended: dict[int, Done] = {}
    printed, sound, begun = 0, True, time.monotonic()
    for number, done in side_by_side(work):
        ended[number] = done
        print(f"{time.monotonic() - begun:6.1f} s  {work[number].name} {pieces[number][1]}: {done.fault or 'done'}", file=sys.stderr)
        while printed < len(kinds):  # in their order, whichever came first
            mine = [n for n, (kind, _) in enumerate(pieces) if kind is kinds[printed]]
            if not all(n in ended for n in mine):
                break
            sound = report(kinds[printed], seed, [ended[n] for n in mine]) and sound
            printed += 1
    return sound


def report(kind: Kind, seed: int, pieces: Sequence[Done]) -> bool:
    """One kind's line. A piece that did not come to an end has violated something, whatever it was."""
    result = whole([piece.answer or Result(kind.NAME, 0, seed, [f"{kind.NAME}: {piece.fault}"]) for piece in pieces])
    seconds = max(piece.ended for piece in pieces) - min(piece.began for piece in pieces)
    say(result.line() | {"seed": seed, "seconds": round(seconds, 1)})
    for violation in result.violations:
        print(violation, file=sys.stderr)
    return not result.violations


def plant(seed: int, names: Sequence[str] = ()) -> bool:
    """Plant every bug, or those named; True when each was caught."""
    begun, caught = time.monotonic(), []
    for found in planted.run(seed, [bug for bug in BUGS if not names or bug.name in names]):
        say(found)
        caught.append(bool(found["caught_by"]))
    seconds = {"seconds": round(time.monotonic() - begun, 1), "limit": planted.SECONDS}
    say({"kind": "planted", "runs": len(caught), "violations": caught.count(False), "seed": seed, **seconds})
    return all(caught)


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
    parser.add_argument("--kind", action="append", choices=list(KINDS), default=[], help="only this one; may be given again")
    parser.add_argument("--bug", action="append", choices=[bug.name for bug in BUGS], default=[], help="with --planted: only this one")
    parser.add_argument("--show", type=int, metavar="SEED")
    args = parser.parse_args(argv)
    quiet()
    if args.show is not None:
        sound = show(args.show)
    elif args.size == "planted":
        sound = plant(args.seed, args.bug)
    else:
        sound = prove([KINDS[name] for name in args.kind or KINDS], args.size or "ci", args.seed)
    return 0 if sound else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
