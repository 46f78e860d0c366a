"""A sale made for later: a countdown, nobody before it ends, everything after it, another price, and a stop by hand."""

from __future__ import annotations

import asyncio

from live.demo.acts.stage import Stage, outcome, together

SKU, FEN, LESS = "beef-2", 6600, 5900
UNITS, BUYERS = 6, 12
WAIT, COUNTDOWN = 4, 10  # seconds until it starts; from when it counts down, which is at once then
EARLY = 3  # who cannot wait


async def play(stage: Stage) -> None:
    """The whole act. Nobody pays in it: what was taken is given back."""
    await stage.step(f"the host plans a sale of {UNITS} units that starts in {WAIT} s, two to an order; nobody gets in before")
    store, buyers = stage.shop.stores[0], stage.people[:BUYERS]
    sale = await stage.host.open_sale(SKU, FEN, {store: UNITS}, per_person=3, per_order=2, minutes=5, wait=WAIT, countdown=COUNTDOWN)
    planned = "the planned sale's card"
    await stage.all_see(lambda mirror: mirror.offer(sale), planned, buyers[:EARLY])  # these few at once: the clock runs
    for answer in await together(outcome(viewer.buy(sale, [store])) for viewer in buyers[:EARLY]):
        stage.same(answer, "not_started", "the refusal of who came early")
    await stage.all_see(lambda mirror: mirror.heard("offer.scheduled", offer=sale) and mirror.offer(sale), planned)
    await stage.all_see(lambda mirror: mirror.heard("sale.started", offer=sale), "the start")
    with stage.refused("order_limit", "three units in one order"):
        await buyers[0].buy(sale, [store], qty=3)

    await stage.step(f"{BUYERS} buyers want the {UNITS} units; the host lowers the price after the first, who keeps theirs")
    first = await buyers[0].buy(sale, [store])
    stage.same(first["fen"], FEN, "the first order's price")
    version = await stage.host.reprice(sale, LESS)
    await stage.all_see(lambda mirror: mirror.offer(sale)["version"] == version, "the new price")
    with stage.refused("price_changed", "a tap at the old price"):
        await buyers[1].buy(sale, [store], version=version - 1)
    answers = await together(outcome(viewer.buy(sale, [store])) for viewer in buyers[1:])
    won = [(viewer, order) for viewer, order in zip(buyers[1:], answers, strict=True) if isinstance(order, dict)]
    stage.same({order["fen"] for _, order in won}, {LESS}, "the price of who came after")
    stage.same({answer for answer in answers if isinstance(answer, str)}, {"sold_out"}, "the refusals")
    stage.same(len(won) + 1, UNITS, "orders of the planned sale")
    stage.tally.orders += UNITS
    stage.same((await buyers[0].order(first["no"]))["fen"], FEN, "the first order's price after the change")

    await stage.step("all of them cancel, it is on sale again, and the host stops it")
    await asyncio.gather(*(viewer.cancel(order["no"]) for viewer, order in [(buyers[0], first), *won]))
    await stage.all_see(lambda mirror: mirror.left(sale) == {store: UNITS}, "all units back")
    await stage.host.end(sale)
    await stage.all_see(lambda mirror: mirror.heard("offer.ended", offer=sale) and mirror.offer(sale)["stopped"], "that it was stopped")
