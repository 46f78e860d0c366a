"""The hub processes under load, seen from outside: their figures as Prometheus reads them, their memory, the cores they run on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from loadtest.stage import StageError

ASKS = 40  # per hub: one port is answered by any of them, and each must be met
ASK_SECONDS = 10.0  # a hub in the middle of a sweep answers when that is done
_PAGE = os.sysconf("SC_PAGE_SIZE")

Labels = tuple[tuple[str, str], ...]
Values = dict[tuple[str, Labels], float]


class Figures:
    """What every hub had counted at one moment: pid → (name, labels) → value."""

    def __init__(self, hubs: dict[int, Values]) -> None:
        self.hubs = hubs

    def of(self, name: str, pid: int | None = None, **labels: str) -> float:
        """The sum over the hubs (or of one), and over every label that is not given; 0.0 of what no hub counts."""
        wanted, chosen = set(labels.items()), [values for each, values in self.hubs.items() if pid in (None, each)]
        return sum(value for values in chosen for (found, has), value in values.items() if found == name and wanted <= set(has))

    def since(self, before: Figures) -> Figures:
        """What was counted since."""
        return Figures({
            pid: {key: value - before.hubs.get(pid, {}).get(key, 0.0) for key, value in values.items()} for pid, values in self.hubs.items()
        })  # fmt: skip


class Hubs:
    """`count` hubs behind one port of the loopback."""

    def __init__(self, hub_url: str, count: int) -> None:
        parts = urlsplit(hub_url)
        self.host, self.port, self.count = parts.hostname or "", parts.port or 80, count
        self.pids: list[int] = []

    async def read(self) -> Figures:
        """Figures of all of them. Raises StageError when one is not met."""
        found: dict[int, Values] = {}
        for _ in range(ASKS * self.count):
            pid, values = parse(await self._metrics())
            found.setdefault(pid, values)
            if len(found) == self.count:
                self.pids = sorted(found)
                return Figures(found)
        raise StageError(f"only {len(found)} of {self.count} hubs answered on port {self.port}")

    async def _metrics(self) -> str:
        """By a new connection each time, which may be another hub's."""
        async with asyncio.timeout(ASK_SECONDS):
            reader, writer = await asyncio.open_connection(self.host, self.port)
            writer.write(f"GET /metrics HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n".encode())
            answer = (await reader.read()).decode()
            writer.close()
        head, _, body = answer.partition("\r\n\r\n")
        if " 200 " not in head.split("\r\n", 1)[0]:
            raise StageError(f"the hub's metrics: {head[:200]}")
        return body

    def rss_kib(self) -> float:
        """Memory of all of them; 0.0 where there is no /proc."""
        pages = 0
        for pid in self.pids:
            with suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * _PAGE / 1024

    def cpu_s(self) -> float:
        """Processor time of all of them so far, to the microsecond; 0.0 where there is no /proc."""
        spent = 0
        for pid in self.pids:
            with suppress(OSError):
                spent += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
        return spent / 1e9

    def pin(self, crowd: Iterable[int]) -> None:
        """Hubs on the first cores, the crowd on the others. What is left (servers, this program) runs where there is room."""
        cores = sorted(os.sched_getaffinity(0))
        own = min(self.count, len(cores) - 1)
        if own < 1:
            raise StageError("--pin needs two cores")
        for n, pid in enumerate(self.pids):
            stay(pid, {cores[n % own]})
        for pid in crowd:
            stay(pid, set(cores[own:]))


def parse(text: str) -> tuple[int, Values]:
    """The hub's process id and its values."""
    values: Values = {}
    for metric in text_string_to_metric_families(text):
        for sample in metric.samples:
            values[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    pids = [dict(labels)["pid"] for name, labels in values if name == "live_hub_info"]
    if not pids:
        raise StageError("the hub does not say which process it is (live_hub_info)")
    return int(pids[0]), values


def family(root: int) -> set[int]:
    """A process and its descendants."""
    found, left = set(), [root]
    while left:
        pid = left.pop()
        found.add(pid)
        with suppress(OSError):  # it may end while we look
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                left += map(int, children.read_text().split())
    return found


def stay(pid: int, cores: set[int]) -> None:
    """Keep every thread of a process on these cores."""
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)
