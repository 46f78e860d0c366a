"""Third act: a group buy whose price falls as seats are paid, with differences sent back; and one that misses its minimum."""

from __future__ import annotations

from live.demo.acts.stage import Stage, together
from live.demo.client import Viewer

SKU, SIZE, MINIMUM = "croissant-4", 20, 10
TIERS = ((0, 3000), (8, 2600), (16, 2200))  # paid seats, fen
WAVES = (8, 8, 2)  # who joins while the price is that of the first, second, third step
SMALL_SKU, SMALL_SIZE, SMALL_MINIMUM, SMALL_FEN, SMALL_JOIN = "candle-150g", 12, 6, 5800, 4


async def play(stage: Stage) -> None:
    """Both groups."""
    await _falls(stage)
    await _fails(stage)


async def _falls(stage: Stage) -> None:
    people = stage.people[-sum(WAVES) - 1 :]
    stores = list(stage.shop.stores[2:4])
    await stage.step(f"a group buy opens; {sum(WAVES)} viewers join and pay, and the price falls twice")
    group = await stage.host.open_group(SKU, {store: SIZE // 2 for store in stores}, size=SIZE, minimum=MINIMUM, tiers=TIERS)
    await stage.all_see(lambda mirror: mirror.offer(group) and mirror.team(group), "the group's card and bar")
    paid: dict[str, tuple[Viewer, int]] = {}  # order → buyer, fen
    coming = iter(people)
    for at, (wave, (_, fen)) in enumerate(zip(WAVES, TIERS, strict=True)):
        joining = [next(coming) for _ in range(wave)]
        await stage.all_see(lambda mirror, fen=fen: mirror.offer(group)["fen"] == fen, f"the price of {fen} fen", joining)  # type: ignore[misc]
        if at == 1:
            with stage.refused("price_changed", "a buyer who saw the old price"):
                await joining[0].buy(group, stores, version=1)
        paid |= await _join(stage, group, stores, joining, fen)
        done = len(paid)
        await stage.all_see(lambda mirror, done=done: mirror.team(group)["paid"] == done, f"{done} paid seats")  # type: ignore[misc]
    await stage.all_see(lambda mirror: mirror.heard("offer.price", offer=group, fen=TIERS[-1][1]), "the last step of the price")
    await _gives_seat_up(stage, group, stores, next(coming))

    await stage.step("the host ends the group: it succeeds, and each buyer gets the difference back")
    await stage.host.end(group)
    final = TIERS[-1][1]
    await stage.all_see(lambda mirror: mirror.heard("team.done", offer=group, state="success", fen=final), "the group's success")
    await together(stage.becomes(viewer, no, "ALLOCATED") for no, (viewer, _) in paid.items())
    await together(stage.go_back(viewer, no, fen - final) for no, (viewer, fen) in paid.items() if fen > final)
    with stage.refused("ended", "joining an ended group"):
        await stage.people[0].buy(group, stores)
    stage.waiting |= {no: viewer for no, (viewer, _) in paid.items()}


async def _join(stage: Stage, group: int, stores: list[str], joining: list[Viewer], fen: int) -> dict[str, tuple[Viewer, int]]:
    """They take seats at this price and pay."""
    orders = await together(viewer.buy(group, stores) for viewer in joining)
    for order in orders:
        stage.same(order["fen"], fen, "the price of a seat")
    pairs = list(zip(joining, orders, strict=True))
    await together(viewer.pay(order["no"]) for viewer, order in pairs)
    await together(stage.becomes(viewer, order["no"], "GROUP_WAIT") for viewer, order in pairs)
    stage.tally.orders += len(orders)
    stage.tally.paid += len(orders)
    stage.tally.paid_fen += fen * len(orders)
    return {order["no"]: (viewer, fen) for viewer, order in pairs}


async def _gives_seat_up(stage: Stage, group: int, stores: list[str], viewer: Viewer) -> None:
    """A held seat is shown apart from the paid ones, and is free again when its order is cancelled."""
    order = await viewer.buy(group, stores)
    stage.tally.orders += 1
    await stage.sees(viewer, lambda mirror: mirror.team(group)["held"] == 1, "a held seat")
    await viewer.cancel(order["no"])
    await stage.becomes(viewer, order["no"], "CANCELLED")
    await stage.sees(viewer, lambda mirror: mirror.team(group)["held"] == 0, "no held seat")


async def _fails(stage: Stage) -> None:
    await stage.step(f"a second group reaches {SMALL_JOIN} of at least {SMALL_MINIMUM} seats: everybody is refunded in full")
    stores = list(stage.shop.stores[:2])
    stock = {store: SMALL_SIZE // 2 for store in stores}
    group = await stage.host.open_group(SMALL_SKU, stock, size=SMALL_SIZE, minimum=SMALL_MINIMUM, tiers=((0, SMALL_FEN), (8, 4800)))
    joining = stage.people[-sum(WAVES) : -sum(WAVES) + SMALL_JOIN]
    await stage.all_see(lambda mirror: mirror.offer(group), "the group's card")
    paid = await _join(stage, group, stores, joining, SMALL_FEN)
    await stage.host.end(group)
    await stage.all_see(lambda mirror: mirror.heard("team.done", offer=group, state="failed"), "the group's failure")
    await together(stage.becomes(viewer, no, "REFUNDED") for no, (viewer, _) in paid.items())
    await together(stage.go_back(viewer, no, fen) for no, (viewer, fen) in paid.items())
    stage.tally.refunded += len(paid)
