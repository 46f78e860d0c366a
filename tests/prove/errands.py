"""Work for the tests of `processes`, in a module that imports next to nothing: each piece of it begins in a process of its own."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def twice(n: int) -> int:
    """An answer."""
    return 2 * n


def raises() -> None:
    """A fault."""
    raise LookupError("nowhere")


def dies() -> None:
    """No answer at all."""
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(mark: str = "") -> None:
    """No end; the file `mark` tells how far it came."""
    if mark:
        Path(mark).write_text("begun", "utf-8")
    try:
        time.sleep(60)
    finally:
        if mark:
            Path(mark).write_text("ended in order", "utf-8")
