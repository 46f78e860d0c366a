"""The small shops whose every schedule is walked. Each is about one thing that goes wrong, and as small as it can be for that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.prove.model.turnstile import Card
from tests.prove.model.world import Buyer, World

Body = tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]


@dataclass(frozen=True, slots=True)
class Scene:
    """`taps`: who sends which bodies, one rid each. `budget`: faults and acts of the shop."""

    name: str
    taps: tuple[tuple[str, tuple[Body, ...]], ...]
    budget: dict[str, int] = field(default_factory=dict)
    stock: dict[str, int] = field(default_factory=lambda: {"S1": 1})
    k: int = 9
    size: int | None = None
    ledgers: int = 1
    more: Callable[[World], None] | None = None

    def world(self) -> World:
        """The first world: the room is open, nobody has tapped."""
        world = World()
        kind = "sale" if self.size is None else "group"
        world.open(Card(kind, "open", 1, self.k, tuple(sorted(self.stock))), self.stock, self.size)
        if self.more:
            self.more(world)
        world.buyers = [Buyer(f"{who}{n}", who, bodies) for n, (who, bodies) in enumerate(self.taps)]
        world.build(self.ledgers)
        world.budget = dict(self.budget)
        return world


def one(offer: int = 1, qty: int = 1, at: tuple[str, ...] = ("S1",)) -> tuple[Body, ...]:
    """A tap for some units of one offer."""
    return ((at, ((offer, qty, 1),)),)


def _second(world: World) -> None:
    world.open(Card("sale", "open", 1, 9, ("S1",)), {"S1": 1})


TWO = (("a", one()), ("b", one()))
BUNDLE: tuple[Body, ...] = ((("S1",), ((1, 1, 1), (2, 1, 1))),)
DOUBLE: tuple[Body, ...] = ((("S1",), ((1, 1, 1), (1, 1, 1))),)
CHANGED: tuple[Body, ...] = ((("S1",), ((1, 1, 1),)), (("S1",), ((1, 2, 1),)))

SCENES = (
    Scene("crash and lost replies", TWO, {"crash": 1, "reply": 1, "again": 1}),
    Scene("two ledgers", TWO, {"crash": 1}, ledgers=2),
    Scene("older dump under the same server", TWO, {"save": 1, "restore": 1}),
    Scene("a rebuild in mid-batch", TWO[:1], {"restart": 1}, ledgers=2),
    Scene("a limit of one", (("a", one()), ("a", one())), {"crash": 1, "again": 1}, {"S1": 2}, k=1),
    Scene("release and sale again", TWO, {"close": 1, "crash": 1}),
    Scene("pay and refund", TWO, {"pay": 1, "refund": 1, "crash": 1}),
    Scene("stock added", TWO, {"add": 1, "crash": 1}),
    Scene("ended", TWO, {"end": 1, "crash": 1}),
    Scene("ended, and a release", (("a", one()),), {"end": 1, "close": 1, "crash": 1}, {"S1": 2}),
    Scene("a team of one seat", TWO, {"close": 1, "crash": 1}, {"S1": 2}, size=1),
    Scene("a team paid", TWO, {"pay": 1, "close": 1}, {"S1": 2}, size=2),
    Scene("bundles and their parts", (("a", BUNDLE), ("b", one(2))), {"crash": 1}, more=_second),
    Scene("two lines of one offer", (("a", DOUBLE), ("b", one())), {"again": 1}),
    Scene("two places", (("a", one(at=("S1", "S2"))), ("b", one(at=("S2", "S1")))), {"crash": 1}, {"S1": 1, "S2": 1}),
    Scene("the same key, another body", (("a", CHANGED),), {"again": 1, "reply": 1, "flush": 1}, {"S1": 2}),
    Scene("the price changes", TWO, {"price": 1, "again": 1}),
    Scene("two ledgers, a release", TWO, {"close": 1}, ledgers=2),
    Scene("two ledgers, ended", TWO, {"end": 1}, ledgers=2),
    Scene("redis emptied, and settled twice", TWO[:1], {"flush": 1, "reply": 2}, {"S1": 2}),
    Scene("a tail lost in a rebuild", (("a", one()),), {"save": 1, "flush": 1, "tail": 1}),
    Scene("three buyers", (*TWO, ("c", one())), {}, {"S1": 2}),
    # From here on each has tens or hundreds of thousands of steps.
    Scene("release, and redis emptied", TWO, {"close": 1, "flush": 1}),
    Scene("two ledgers, stock added", TWO, {"add": 1}, ledgers=2),
    Scene("redis emptied", TWO, {"flush": 1, "crash": 1}),
    Scene("keys forgotten", TWO, {"forget": 1, "crash": 1}),
    Scene("price, and redis emptied", TWO, {"price": 1, "flush": 1}),
    Scene("stock added, and redis emptied", TWO, {"add": 1, "flush": 1}),
    Scene("restarted twice", TWO, {"restart": 2}),
    Scene("release, and tail lost", TWO, {"close": 1, "save": 1, "tail": 1}),
    Scene("ended, and redis emptied", TWO, {"end": 1, "flush": 1}, {"S1": 2}),
    Scene("tail lost", TWO, {"save": 1, "tail": 1, "reply": 1}),
    Scene("two ledgers, stock added, a crash", TWO, {"add": 1, "crash": 1}, ledgers=2),
    Scene("redis emptied, two ledgers", TWO, {"flush": 1}, ledgers=2),
    Scene("ended, and tail lost", TWO, {"end": 1, "save": 1, "tail": 1}, {"S1": 2}),
    Scene("stock added, and redis emptied, two ledgers", TWO, {"add": 1, "flush": 1}, ledgers=2),
    Scene("two masters", TWO, {"save": 1, "promote": 1}, ledgers=2),
)
