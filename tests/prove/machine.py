"""Proof kind `machine`: a Hypothesis state machine on a real Valkey and a real PostgreSQL, with the model beside it.

Every rule does one thing to both and then looks at both: the checker of `history` over the real books, the audit when nothing moves, and
the model's state against the real one, so that neither can change alone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from live.offers.audit import audit_room
from tests.prove import simulation
from tests.prove.compare import RealBooks, RealTurnstile, real_counters, turnstile_differences
from tests.prove.kinds import Result, shares
from tests.prove.model.world import Step, World
from tests.prove.pair import Pair, Servers, outbox_step

NAME = "machine"
# Hypothesis tries short runs too: 450 are some 17,000 steps, more than 300 times 50.
BUDGETS = {"tiny": 4, "ci": 450, "release": 9_000, "planted": 120}
STEPS = 50
PIECES, APART = 2, 1_000_003  # pieces have servers of their own, and seeds that nobody gives by hand
BUYERS = ("send", "again", "lose_reply", "ask")
LEDGERS = ("read", "sweep", "begin", "settle", "settle_twice", "settle_lost", "publish", "publish_lost", "rows", "raise", "crash")
SHOP = ("pay", "close", "cancel", "refund", "add", "end", "price")
REDIS = ("save", "flush", "restart", "tail", "restore", "forget")


class Broken(AssertionError):
    """A rule of the checker was broken, or model and shop differ."""


class Machine(RuleBasedStateMachine):
    """One room and one schedule."""

    servers: ClassVar[Servers]
    loop: ClassVar[asyncio.AbstractEventLoop]
    runs: ClassVar[int] = 0
    taken: ClassVar[int] = 0
    last: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__()
        self.pair: Pair | None = None
        self.failed = False

    def wait(self, act: Coroutine[Any, Any, Any]) -> Any:
        """Run to its end."""
        return Machine.loop.run_until_complete(act)

    @property
    def world(self) -> World:
        """The model's side."""
        assert self.pair is not None
        return self.pair.world

    @initialize(show=st.integers(0, 2**16))
    def open(self, show: int) -> None:
        """A shop, drawn as the simulation draws it, on sale at once."""
        Machine.runs += 1
        Machine.servers.rooms += 1
        world = simulation.stage(show, timed=False)
        dice = random.Random(show)
        world.budget |= {name: dice.randint(0, 1) for name in ("flush", "restart", "tail", "restore", "forget")} | {"save": 1, "promote": 0}
        self.pair = Pair(Machine.servers, world, f"run{Machine.servers.rooms}")
        self.wait(self.pair.open())
        self.check(True)

    def of(self, names: tuple[str, ...]) -> list[Step]:
        """Steps of these names that are possible now."""
        return [step for step in self.world.steps() if step[0] in names]

    def check(self, books: bool) -> None:
        """Both sides, after a step; `books`: SQL may have changed."""
        assert self.pair is not None
        Machine.taken += 1
        found = self.wait(_faults(self.pair, books))
        self.fail(found)

    def fail(self, found: list[str]) -> None:
        """Stop at the first fault, with the schedule that led to it."""
        if found and self.pair:
            self.failed, Machine.last = True, f"{found[0]} after {self.pair.steps}"
            raise Broken(Machine.last)

    @precondition(lambda self: self.of(BUYERS))
    @rule(data=st.data())
    def buyer(self, data: st.DataObject) -> None:
        """Somebody taps, sends again or asks."""
        assert self.pair is not None
        self.wait(self.pair.take(data.draw(st.sampled_from(self.of(BUYERS)))))
        self.check(False)

    @precondition(lambda self: self.of(LEDGERS))
    @rule(data=st.data())
    def ledger(self, data: st.DataObject) -> None:
        """A ledger goes on, or dies."""
        assert self.pair is not None
        step = data.draw(st.sampled_from(self.of(LEDGERS)))
        dies = self.world.budget.get("crash", 0) > 0 and data.draw(st.integers(0, 3)) == 0
        self.wait(ledger_step(self.pair, step, dies, data.draw(st.integers(0, 5))))
        self.check(step[0] in ("begin", "rows", "raise"))

    @precondition(lambda self: self.of(LEDGERS))
    @rule(data=st.data())
    def ledger_goes_on(self, data: st.DataObject) -> None:
        """Twice as often as anything else, for a booking is several steps."""
        self.ledger(data)

    @precondition(lambda self: self.of(SHOP))
    @rule(data=st.data())
    def shop(self, data: st.DataObject) -> None:
        """An order goes on, the host edits."""
        assert self.pair is not None
        self.wait(self.pair.take(data.draw(st.sampled_from(self.of(SHOP)))))
        self.check(True)

    @precondition(lambda self: self.of(REDIS))
    @rule(data=st.data())
    def redis(self, data: st.DataObject) -> None:
        """Redis loses something."""
        assert self.pair is not None
        self.wait(self.pair.take(data.draw(st.sampled_from(self.of(REDIS)))))
        self.check(False)

    @precondition(lambda self: not self.of((*BUYERS, *LEDGERS, *SHOP, *REDIS)))
    @rule()
    def rest(self) -> None:
        """Everything is done before the run is."""

    def teardown(self) -> None:
        """No more faults: go on until nothing is left to do, then the sums and the answers are due."""
        if self.pair is None or self.failed:
            return
        self.world.budget = {}
        while steps := self.of((*BUYERS, *LEDGERS, *SHOP)):
            step = steps[-1]
            Machine.taken += 1
            if step[0] in LEDGERS:
                self.wait(ledger_step(self.pair, step, False, 0))
            else:
                self.wait(self.pair.take(step))
        self.world.done()
        self.fail(self.wait(_quiet(self.pair)))


async def ledger_step(pair: Pair, step: Step, dies: bool, cut: int) -> None:
    """A ledger's step, where one of the model's is part of one of the shop's. `dies`: in the middle, at `cut` of its steps."""
    name, i = step
    world = pair.world
    if name == "begin":
        ends = ["commit"] + [end for end in ("abort", "commit_unknown") if dies and world.budget.get("reply", 0) > 0]
        ends += ["crash"] if dies else []
        end = ends[cut % len(ends)]
        pair.steps.append((name, i, end))
        await pair.booking(i, end)
    elif name == "rows":
        after = _survived(world, i, cut) if dies else None
        pair.steps.append((name, i, after))
        await (pair.outbox(i) if after is None else pair.outbox_dies(i, after))
    elif name == "raise":
        pair.steps.append((name, i, dies))
        await pair.ensure(i, dies)
    else:
        await pair.take(step)


def _survived(world: World, i: int, cut: int) -> int | None:
    """After how many steps of a look at the outbox the process dies there; None when the look has ended by itself."""
    trial = world.clone()
    trial.do(("rows", i))
    for _ in range(cut):
        name = outbox_step(trial, i)
        if name is None:
            break
        trial.do((name, i))
    return cut if ("crash", i) in trial.steps() else None


async def _faults(pair: Pair, books: bool) -> list[str]:
    real, rest = await RealTurnstile.read(pair)
    found = turnstile_differences(pair, real, rest)
    if books:
        sql = await RealBooks.read(pair)
        pair.history.harmed = pair.world.history.harmed
        pair.history.look(sql.seen())
        found += sql.differences(pair)
    answers = {rid: what for rid, (what, _) in pair.world.history.answers.items()}
    told = {rid: what for rid, (what, _) in pair.history.answers.items()}
    if answers != told:
        found.append(f"the model differs: buyers were told {answers} there, {told} here")
    return pair.history.violations + pair.world.history.violations + found


async def _quiet(pair: Pair) -> list[str]:
    found = await _faults(pair, True)
    if found:
        return found
    real, rest = await RealTurnstile.read(pair)
    sql = await RealBooks.read(pair)
    tampered = pair.world.tampered
    pair.history.quiet(sql.seen(), None if tampered else real_counters(pair, real, rest), sql.raw["outbox"])
    found = list(pair.history.violations)
    if not tampered:
        audit = await audit_room(pair.db, pair.redis, pair.room)
        found += [] if audit.balanced and audit.settled else [f"audit: {[terms.faults for terms in audit.offers]}"]
    if keys := await pair.keys():
        await pair.redis.delete(*keys)
    return found


@contextmanager
def serving() -> Iterator[None]:
    """Servers for every run in the block; they end with it."""
    Machine.loop = asyncio.new_event_loop()
    asyncio.set_event_loop(Machine.loop)
    try:
        Machine.servers = Machine.loop.run_until_complete(Servers.start())
        try:
            yield
        finally:
            Machine.loop.run_until_complete(Machine.servers.stop())
    finally:
        asyncio.set_event_loop(None)
        Machine.loop.close()


def parts(seed_: int, budget: int) -> list[tuple[int, int]]:
    """Two pieces, the first with the seed that was asked for."""
    return [(seed_ + n * APART, share) for n, share in enumerate(shares(budget, PIECES))]


def run(seed_: int, budget: int) -> Result:
    """`budget` runs of at most 50 rules."""
    with serving():
        return explore(seed_, budget)


def explore(seed_: int, budget: int, shrink: bool = True) -> Result:
    """As `run`, on servers that are there. Without `shrink` the first schedule that fails is reported as it came."""
    result = Result(NAME, 0, seed_)
    Machine.runs, Machine.taken, Machine.last = 0, 0, ""
    # Hypothesis counts only the runs that were new to it: about six in eleven.
    rules = settings(
        max_examples=max(2, budget * 6 // 11), stateful_step_count=STEPS, deadline=None, database=None,
        suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        print_blob=False, report_multiple_bugs=False,
    )  # fmt: skip
    try:
        run_state_machine_as_test(seed(seed_)(Machine), settings=rules)
    except (Broken, Flaky) as error:
        result.violations.append(f"{Machine.last or repr(error)}; again: python -m tests.prove --kind machine --seed {seed_}")
    result.runs, result.facts = Machine.runs, {"steps": Machine.taken}
    return result
