"""What a crowd was sent, counted: items by lane, how old they were when they came, and how long a frame took to reach everybody.

Counts of several processes are merged as JSON. Ages and delays are kept in buckets of 0.1 ms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtest.held import LANES, Step

BUCKET = 10_000  # buckets a second

Ages = Counter[int]  # bucket → how many


def percentile_ms(ages: Mapping[int, int], share: float) -> float:
    """The smallest age that at least `share` (0 to 1) do not exceed, in ms; 0.0 of none."""
    wanted, seen = share * sum(ages.values()), 0
    for bucket in sorted(ages):
        seen += ages[bucket]
        if seen >= wanted:
            return bucket * 1000 / BUCKET
    return 0.0


@dataclass
class Sweep:
    """One state or chat frame on its way to everybody: when it came first, and how much later it came to how many."""

    first: float
    later: Ages = field(default_factory=Counter)

    def merge(self, other: Sweep) -> None:
        """The same frame in another process."""
        first = min(self.first, other.first)
        later: Ages = Counter()
        for one in (self, other):
            shift = round((one.first - first) * BUCKET)
            for bucket, n in one.later.items():
                later[bucket + shift] += n
        self.first, self.later = first, later


@dataclass
class Tally:
    """What one group of viewers was sent. Items are by lane; `stale` are those of a whole state sent to one who had been too slow.

    `lost`, `repeated`: critical events that did not come, that came twice; `bare`: frames written past the hub. `bars`: when the bar of a
    group came, the seats paid on the one before and on this one, and to how many viewers.
    """

    frames: int = 0
    bytes: int = 0
    lost: int = 0
    repeated: int = 0
    bare: int = 0
    stale: int = 0
    items: Counter[str] = field(default_factory=Counter)
    ages: dict[str, Ages] = field(default_factory=lambda: {lane: Counter() for lane in LANES})
    sweeps: dict[str, Sweep] = field(default_factory=dict)
    bars: list[tuple[float, int, int, int]] = field(default_factory=list)

    def count(self, step: Step, n: int, now: float) -> None:
        """The frames of `step` reached `n` viewers at `now`."""
        self.frames += len(step.frames) * n
        self.bytes += step.size * n
        self.lost += step.lost * n
        self.repeated += step.repeated * n
        self.bars += [(now, before, after, n) for before, after in step.bars]
        for frame in step.frames:
            if frame.bare:
                self.bare += n
                continue
            if frame.stale:
                self.stale += len(frame.states) * n
                continue
            self.items["critical"] += len(frame.events) * n
            self.items["state"] += len(frame.states) * n
            self.items["chat"] += len(frame.said) * n
            for lane, times in frame.ages.items():
                ages = self.ages[lane]
                for at in times:
                    ages[max(0, int((now - at) * BUCKET))] += n
            if frame.said or (frame.states and not frame.events):
                sweep = self.sweeps.get(frame.mark)
                if sweep is None:
                    sweep = self.sweeps[frame.mark] = Sweep(now)
                sweep.later[int((now - sweep.first) * BUCKET)] += n

    def merge(self, other: Tally) -> None:
        """Add what another process counted."""
        for name in ("frames", "bytes", "lost", "repeated", "bare", "stale"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.items.update(other.items)
        for lane, ages in other.ages.items():
            self.ages[lane].update(ages)
        self.bars += other.bars
        for mark, sweep in other.sweeps.items():
            if mark not in self.sweeps:
                self.sweeps[mark] = Sweep(sweep.first)  # never the other's own, which may be merged elsewhere too
            self.sweeps[mark].merge(sweep)

    def age_ms(self, lane: str, share: float) -> float:
        """A percentile of the ages of a lane's items at their receipt, in ms."""
        return percentile_ms(self.ages[lane], share)

    def sweep_ms(self, share: float) -> float:
        """A percentile, over viewers and state and chat frames, of how much later than the first a viewer got the frame, in ms."""
        delays: Ages = Counter()
        for sweep in self.sweeps.values():
            delays.update(sweep.later)
        return percentile_ms(delays, share)

    def as_json(self) -> dict[str, Any]:
        """For the other end of a pipe."""
        found: dict[str, Any] = {name: getattr(self, name) for name in ("frames", "bytes", "lost", "repeated", "bare", "stale")}
        found["items"], found["bars"] = dict(self.items), self.bars
        found["ages"] = {lane: list(ages.items()) for lane, ages in self.ages.items()}
        found["sweeps"] = {mark: [sweep.first, list(sweep.later.items())] for mark, sweep in self.sweeps.items()}
        return found

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> Tally:
        """The other way."""
        plain = {name: found[name] for name in ("frames", "bytes", "lost", "repeated", "bare", "stale")}
        return cls(
            **plain, items=Counter(found["items"]), bars=[(at, before, after, n) for at, before, after, n in found["bars"]],
            ages={lane: _ages(pairs) for lane, pairs in found["ages"].items()},
            sweeps={mark: Sweep(first, _ages(later)) for mark, (first, later) in found["sweeps"].items()},
        )  # fmt: skip


def _ages(pairs: Iterable[list[int]]) -> Ages:
    return Counter({bucket: n for bucket, n in pairs})
