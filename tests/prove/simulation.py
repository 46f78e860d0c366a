"""Proof kind `simulation`: a whole show from a seed, on the model's steps: many buyers, several offers, faults and edits as the dice fall.

The same seed gives the same show. One that fails is shrunk: steps are taken away as long as it still fails in the same way.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.prove.kinds import Result, shares
from tests.prove.model.turnstile import Card
from tests.prove.model.world import Buyer, Step, World, replay

NAME = "simulation"
PIECES = 4
BUDGETS = {"tiny": 60, "ci": 7_000, "release": 400_000, "planted": 1_000}
PLACES = ("S1", "S2")
STORM = 90  # steps with faults; then the budget is taken away and the show runs until nothing is left to do
ENOUGH = 4_000  # steps until quiet, many times what the longest show needs: beyond it something goes round in circles
# How often each kind of step is drawn, against 10 for everything else: a show in which servers die at every step proves little.
RARE = {"crash": 1, "abort": 1, "commit_unknown": 1, "settle_lost": 1, "settle_twice": 1, "publish_lost": 1, "lose_reply": 2, "again": 2,
        "flush": 1, "restart": 1, "tail": 1, "restore": 1, "promote": 1, "forget": 1, "save": 2, "end": 1, "add": 3, "price": 1,
        "clock": 2, "close": 4, "pay": 3, "refund": 2}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Show:
    """What a seed led to."""

    seed: int
    violations: tuple[str, ...]
    steps: tuple[Step, ...]


def stage(seed: int, timed: bool = True) -> World:
    """The shop of a seed: offers of every kind, buyers with several taps, a budget of faults. `timed`: some offers open late or close."""
    dice = random.Random(seed)
    world = World(patience=6)
    for _ in range(dice.randint(1, 3)):
        _offer(world, dice, timed)
    people = [f"p{n}" for n in range(dice.randint(2, 7))]
    world.buyers = [_buyer(world, dice, n, dice.choice(people)) for n in range(dice.randint(3, 14))]
    world.build(dice.choice((1, 1, 2)))
    world.budget = {"again": dice.randint(0, 6), "reply": dice.randint(0, 4), "crash": dice.randint(0, 3), "raise": 1,
                    "pay": 9, "close": 9, "refund": 2, "add": dice.randint(0, 3), "end": dice.randint(0, 1), "price": dice.randint(0, 1),
                    "clock": 5}  # fmt: skip
    for fault in dice.sample(("flush", "restart", "tail", "restore", "promote", "forget"), dice.choice((0, 1, 1, 2))):
        world.budget[fault] = 1
        world.budget["save"] = 1
    return world


def _offer(world: World, dice: random.Random, timed: bool) -> None:
    kind = dice.choice(("sale", "sale", "sale", "group", "coupon"))
    places = {"coupon": ("-",), "group": PLACES[:1]}.get(kind, PLACES[: dice.randint(1, len(PLACES))])
    stock = {place: dice.randint(2 if kind == "group" else 1, 4) for place in places}
    size = sum(stock.values()) if kind == "group" else None
    opens, closes = (dice.choice((0, 0, 0, 2)), dice.choice((0, 0, 0, 4))) if timed else (0, 0)
    world.open(Card(kind, "open", 1, dice.randint(1, 3), tuple(sorted(places)), opens, closes), stock, size)


def _buyer(world: World, dice: random.Random, n: int, who: str) -> Buyer:
    bodies = []
    for _ in range(dice.choice((1, 1, 1, 2))):
        at = tuple(dice.sample(PLACES, dice.randint(1, len(PLACES))))
        offers = [offer for offer, card in world.books.cards.items() if card.kind == "sale"]
        if offers and dice.random() < 0.3:
            lines = tuple((dice.choice(offers), dice.randint(1, 2), 1) for _ in range(dice.randint(2, 3)))
        else:
            offer = dice.choice(sorted(world.books.cards))
            coupon = world.books.cards[offer].kind == "coupon"
            at, lines = (("-",) if coupon else at), ((offer, 1 if coupon else dice.randint(1, 2), 1),)
        bodies.append((at, lines))
    return Buyer(f"r{n}", who, tuple(bodies))


def draw(steps: Sequence[Step], dice: random.Random) -> Step:
    """One of them, seldom a rare one."""
    return dice.choices(steps, [RARE.get(step[0], 10) for step in steps])[0]


def settle(world: World, choose: Callable[[Sequence[Step]], Step]) -> list[Step]:
    """No more faults: go on until nothing is possible, then the sums are due."""
    world.budget = {}
    taken: list[Step] = []
    while not world.history.violations and (steps := world.steps()):
        if len(taken) == ENOUGH:
            world.history.violations.append(f"never quiet: {ENOUGH} steps after the last fault")
            break
        taken.append(choose(steps))
        world.do(taken[-1])
    if not world.history.violations:
        world.done()
    return taken


def play(seed: int) -> Show:
    """One show."""
    world, dice = stage(seed), random.Random(seed + 1)
    taken: list[Step] = []
    for _ in range(STORM):
        steps = world.steps()
        if not steps or world.history.violations:
            break
        taken.append(draw(steps, dice))
        world.do(taken[-1])
    if not world.history.violations:
        taken += settle(world, lambda steps: draw(steps, dice))
    return Show(seed, tuple(world.history.violations), tuple(taken))


def fails(seed: int, steps: Sequence[Step], rule: str) -> tuple[str, list[Step]] | None:
    """Run a schedule again, then to the end in one fixed order. The violation of this rule and the steps that led there, or None."""
    world = stage(seed)
    taken = replay(world, steps)
    if not world.history.violations:
        settle(world, lambda steps: steps[-1])
    broken = [violation for violation in world.history.violations if violation.startswith(rule)]
    return (broken[0], taken) if broken else None


def shrink(show: Show) -> tuple[str, list[Step]]:
    """Take steps away, in large pieces first, as long as the same rule is broken."""
    rule = show.violations[0].partition(":")[0]
    best = fails(show.seed, show.steps, rule)
    if best is None:
        return show.violations[0], list(show.steps)
    size = len(best[1]) // 2
    while size:
        start = 0
        while start < len(best[1]):
            shorter = fails(show.seed, best[1][:start] + best[1][start + size :], rule)
            if shorter is None or len(shorter[1]) >= len(best[1]):
                start += size
            else:
                best = shorter
        size //= 2
    return best


def parts(seed: int, budget: int) -> list[tuple[int, int]]:
    """The seeds in four ranges, one behind the other."""
    sizes = shares(budget, PIECES)
    return [(seed + sum(sizes[:n]), size) for n, size in enumerate(sizes)]


def run(seed: int, budget: int) -> Result:
    """`budget` shows from consecutive seeds. Stops at the third that fails."""
    result = Result(NAME, 0, seed)
    steps = 0
    for each in range(seed, seed + budget):
        show = play(each)
        result.runs += 1
        steps += len(show.steps)
        if show.violations:
            violation, shortest = shrink(show)
            result.violations.append(f"seed {each}: {violation} after {shortest}; again: python -m tests.prove --show {each}")
            if len(result.violations) == 3:
                break
    result.facts = {"steps": steps}
    return result
