"""Where the processor's time went: seconds per process of a house under load, from /proc. Empty where there is no /proc."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu(*roots: int) -> dict[str, float]:
    """Seconds of processor time so far of the families of these processes, by role, and of this process as `load`."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    found = {"load": own.ru_utime + own.ru_stime}
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):  # it may end while we look
            # The name in parentheses may hold spaces: fields are counted from behind it.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1])
            spent[int(folder.name)] = (int(fields[11]) + int(fields[12])) / _TICK
    for pid in parents:
        if any(_descends(pid, root, parents) for root in roots):
            role = _role(pid)
            found[role] = found.get(role, 0.0) + spent[pid]
    return found


def spent(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """The difference of two looks, largest first. What a process that was replaced in between had used is not seen."""
    change = {role: round(max(0.0, after[role] - before.get(role, 0.0)), 2) for role in after}
    return dict(sorted(change.items(), key=lambda pair: -pair[1]))


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid not in (0, root):
        pid = parents.get(pid, 0)
    return pid == root


def _role(pid: int) -> str:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").split()
        if "live.cli" in words:
            return words[words.index("live.cli") + 1]
        if "live.payments.simulator" in words:
            return "simulator"
        if "arq" in words:
            return "worker"
        return next((name for name in ("valkey", "redis", "postgres") if words and name in words[0]), "other")
    return "other"
