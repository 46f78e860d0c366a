"""`python -m tests.prove.launcher MODULE …`: a program of the shop with a bug in it, named by PROVE_BUG.

Nothing in the shop knows of this.
"""

from __future__ import annotations

import os
import runpy
import sys

from tests.prove.bugs import BUGS
from tests.prove.patches import planted

VARIABLE = "PROVE_BUG"


def main() -> None:
    """Plant it, then run the module as `python -m` does."""
    bug = next(each for each in BUGS if each.name == os.environ[VARIABLE])
    del sys.argv[0]
    with planted(bug.house):
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
