"""Whatever happens to a hand of coupons, in whatever order: the books agree with a model, and nobody has a coupon on two orders."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from live.promotions.coupon.actions import expire_due, give_back, lock, unlock, use
from live.protocol.codes import Refusal
from tests.orders.stage import NOW, Shop, after
from tests.promotions.coupon.orders import order

UNTIL = after(minutes=10)
ORDERS = ("A", "B")
GRANTS = 3
verbs = st.one_of(
    st.tuples(st.just("lock"), st.integers(0, GRANTS - 1), st.sampled_from(ORDERS)),
    st.tuples(st.sampled_from(("unlock", "use", "give_back")), st.just(0), st.sampled_from(ORDERS)),
    st.tuples(st.sampled_from(("expire", "wait")), st.just(0), st.just("")),
)


@dataclass
class Card:
    """What a coupon should be."""

    state: str = "CLAIMED"
    order: str | None = None
    version: int = 1

    def become(self, state: str, order: str | None = None) -> None:
        self.state, self.order, self.version = state, order, self.version + 1


class Model:
    """The hand as it should be, written down without the rules."""

    def __init__(self) -> None:
        self.hand = [Card() for _ in range(GRANTS)]
        self.now: datetime = NOW

    def free(self, card: Card) -> None:
        card.become("EXPIRED" if self.now >= UNTIL else "CLAIMED")

    def step(self, verb: str, at: int, no: str) -> bool:
        """Whether it is let through."""
        on = next((card for card in self.hand if card.order == no), None)
        if verb == "wait":
            self.now += timedelta(minutes=6)
        elif verb == "expire":
            for card in self.hand:
                if card.state == "CLAIMED" and self.now >= UNTIL:
                    card.become("EXPIRED")
        elif verb == "lock":
            wanted = self.hand[at]
            if wanted is on and wanted.state == "LOCKED":
                return True
            if wanted.state != "CLAIMED" or self.now >= UNTIL:
                return False
            if on is not None:
                self.free(on)
            wanted.become("LOCKED", no)
        elif on is not None and on.state == ("USED" if verb == "give_back" else "LOCKED"):
            if verb == "use":
                on.become("USED", no)
            else:
                self.free(on)
        return True


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(verbs, min_size=4, max_size=14))
async def test_coupons_do_what_the_model_says(shop: Shop, steps: list[tuple[str, int, str]]) -> None:
    drop = await shop.coupon(valid_until=after(minutes=10), total=GRANTS, per_person=GRANTS, minutes=9)
    grants = [int(await shop.take(drop, "p:1")) for _ in range(GRANTS)]
    model = Model()
    for verb, at, no in steps:
        let = model.step(verb, at, no)
        try:
            async with shop.db.begin() as session:
                if verb == "lock":
                    await lock(session, grants[at], "p:1", order(no, 2990), model.now)
                elif verb == "use":
                    await use(session, no)
                elif verb == "expire":
                    await expire_due(session, model.now)
                elif verb in ("unlock", "give_back"):
                    await (unlock if verb == "unlock" else give_back)(session, no, model.now)
        except Refusal:
            assert not let
        else:
            assert let
        found = [await shop.grant(grant) for grant in grants]
        assert [(one.state, one.order_no, one.version) for one in found] == [(one.state, one.order, one.version) for one in model.hand]
    async with shop.db.begin() as session:
        await session.execute(text("DELETE FROM coupon_grant"))
