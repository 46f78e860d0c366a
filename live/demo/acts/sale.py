"""Second act: a coupon with more takers than coupons, a sale with more buyers than units, paying, cancelling, expiring, refunds."""

from __future__ import annotations

import asyncio
from typing import Any

from live.demo.acts.stage import Stage, outcome, together
from live.demo.client import Viewer, key

COUPONS, CLAIMANTS = 25, 40
UNITS, MORE, BUYERS = 30, 6, 48  # at first, added later, and who wants one
FLIP_SECONDS = 1.1  # "sold out" and "back" are said at most once a second per offer; a host is not faster either
SKU, FEN = "strawberry-500g", 2990
PERCENT, MOST, THRESHOLD = 20, 1000, 2000  # a fifth off, at most ten yuan, on this SKU from twenty yuan on
OFF = FEN * PERCENT // 100


class Rush:
    """What the sale left: each winner's order, who got nothing, and who holds which coupon."""

    def __init__(self) -> None:
        self.won: dict[str, Viewer] = {}
        self.lost: list[Viewer] = []
        self.coupon: dict[str, int] = {}  # subject → coupon

    def held(self, no: str) -> int | None:
        """The coupon of an order's buyer."""
        return self.coupon.get(self.won[no].sub)


async def play(stage: Stage) -> None:
    """The whole act."""
    rush = Rush()
    await _open(stage)
    await _claim(stage, rush)
    await _buy(stage, rush)
    await _add(stage, rush)
    await _pay(stage, rush)
    await _refund(stage, rush)


async def _open(stage: Stage) -> None:
    await stage.step(f"the host opens a flash sale of {UNITS} units at three stores and pins it")
    stores = stage.shop.stores[:3]
    stage.sale = await stage.host.open_sale(SKU, FEN, {store: UNITS // 3 for store in stores})
    await stage.host.pin(stage.sale)
    sale = stage.sale
    await stage.all_see(lambda mirror: mirror.heard("offer.opened", offer=sale) and mirror.offer(sale), "the sale's card")
    await stage.all_see(lambda mirror: mirror.heard("room.pinned", offer=sale) and mirror.value("room")["pin"] == sale, "the pin")
    stage.same(sum(stage.guests[0].mirror.left(sale).values()), UNITS, "units left")
    with stage.refused("identify", "a guest who buys"):
        await stage.guests[0].buy(sale, list(stores))


async def _claim(stage: Stage, rush: Rush) -> None:
    await stage.step(f"{CLAIMANTS} viewers claim {COUPONS} coupons")
    offer = await stage.host.open_coupon(MOST, THRESHOLD, COUPONS, percent=PERCENT, skus=[SKU], valid_seconds=3600)
    claimants = stage.people[:CLAIMANTS]
    await stage.all_see(lambda mirror: mirror.offer(offer), "the coupon's card", claimants)
    answers = await together(outcome(viewer.claim(offer)) for viewer in claimants)
    for viewer, answer in zip(claimants, answers, strict=True):
        if isinstance(answer, dict):
            rush.coupon[viewer.sub] = answer["id"]
        else:
            stage.same(answer, "sold_out", "the refusal of a late claim")
    stage.same(len(rush.coupon), COUPONS, "coupons claimed")
    stage.same(len(set(rush.coupon.values())), COUPONS, "different coupons")
    await stage.all_see(lambda mirror: mirror.left(offer) == {"-": 0}, "no coupon left")
    await stage.host.end(offer)
    await stage.all_see(lambda mirror: mirror.heard("offer.ended", offer=offer), "the end of the drop")


async def _buy(stage: Stage, rush: Rush) -> None:
    await stage.step(f"{BUYERS} buyers want {UNITS} units: exactly {UNITS} get one")
    stores, sale = list(stage.shop.stores[:3]), stage.sale
    buyers = stage.people[:BUYERS]
    taps = [key() for _ in buyers]
    wanted = [stores[number % 3 :] + stores[: number % 3] for number in range(BUYERS)]
    tries = (outcome(viewer.buy(sale, at, tap=tap)) for viewer, at, tap in zip(buyers, wanted, taps, strict=True))
    first: tuple[Viewer, list[str], str, dict[str, Any]] | None = None
    for viewer, at, tap, answer in zip(buyers, wanted, taps, await together(tries), strict=True):
        if isinstance(answer, dict):
            rush.won[answer["no"]] = viewer
            first = first or (viewer, at, tap, answer)
        else:
            stage.same(answer, "sold_out", "the refusal of a loser")
            rush.lost.append(viewer)
    stage.same(len(rush.won), UNITS, "orders of the sale")
    await stage.all_see(lambda mirror: sum(mirror.left(sale).values()) == 0, "nothing left")
    await stage.all_see(lambda mirror: mirror.heard("offer.sold_out", offer=sale), "the sell-out")
    stage.tally.orders += UNITS
    if first is not None:
        await stage.step("a resent tap gives the same order; the same key for something else is refused")
        viewer, at, tap, answer = first
        again = await viewer.buy(sale, at, tap=tap, resent=True)
        stage.same(again["no"], answer["no"], "the order of a resent tap")
        with stage.refused("key_reused", "the same key for two units"):
            await viewer.buy(sale, at, tap=tap, qty=2, resent=True)


async def _add(stage: Stage, rush: Rush) -> None:
    await stage.step(f"the host adds {MORE} units: {MORE} who got nothing buy them, and nobody gets two")
    sale, store = stage.sale, stage.shop.stores[0]
    await asyncio.sleep(FLIP_SECONDS)
    await stage.host.add_stock(sale, store, MORE)
    await stage.all_see(lambda mirror: mirror.left(sale).get(store) == MORE, "the added units")
    await stage.all_see(lambda mirror: mirror.heard("offer.back", offer=sale), "the sale being back")
    with stage.refused("limit", "a second unit for one person"):
        await next(iter(rush.won.values())).buy(sale, [store])
    late = rush.lost[:MORE]
    for viewer, order in zip(late, await together(viewer.buy(sale, [store]) for viewer in late), strict=True):
        rush.won[order["no"]] = viewer
    rush.lost = rush.lost[MORE:]
    with stage.refused("sold_out", "one unit too many"):
        await rush.lost[0].buy(sale, [store])
    stage.tally.orders += MORE


async def _pay(stage: Stage, rush: Rush) -> None:
    numbers = list(rush.won)
    given_up = next(no for no in numbers if rush.held(no))
    unpaid = next(no for no in numbers if no != given_up)
    stage.unpaid = (unpaid, rush.won[unpaid])
    paying = [no for no in numbers if no not in (given_up, unpaid)]
    await stage.step(f"{len(paying)} buyers pay, with their coupons; one is away when the money arrives and hears of it on return")
    away = rush.won[paying[0]]
    await together(_paid(stage, rush, no, leaves=no == paying[0]) for no in paying)
    await away.join(stage.shop.room)
    stage.check(away.mirror.resumed, "a resume by position")
    await together(stage.becomes(rush.won[no], no, "ALLOCATED") for no in paying)
    for held in await together(rush.won[no].coupons() for no in paying if rush.held(no)):
        stage.same([coupon["state"] for coupon in held], ["USED"], "the coupon of a paid order")
    stage.waiting |= {no: rush.won[no] for no in paying}

    await stage.step("a buyer begins to pay and cancels: coupon and unit come back, and somebody else buys it")
    await _cancelled(stage, rush, given_up)


async def _paid(stage: Stage, rush: Rush, no: str, *, leaves: bool) -> None:
    viewer, coupon = rush.won[no], rush.held(no)
    found = await viewer.best(no)
    stage.same((found["best"], [one["gain"] for one in found["usable"]]), (coupon, [OFF] if coupon else []), "the best coupon")
    begun = await viewer.checkout(no, coupon)
    due = FEN - (OFF if coupon else 0)
    stage.same(begun["order"]["payable"], due, f"what order {no} costs")
    if leaves:
        viewer.drop()
    await viewer.doors.post(f"{begun['cashier']}/pay")
    stage.tally.paid += 1
    stage.tally.paid_fen += due


async def _cancelled(stage: Stage, rush: Rush, no: str) -> None:
    sale, viewer = stage.sale, rush.won.pop(no)
    coupon = rush.coupon[viewer.sub]
    await viewer.checkout(no, coupon)
    locked = next(held for held in await viewer.coupons() if held["id"] == coupon)
    stage.same((locked["state"], locked["order"]), ("LOCKED", no), "the coupon at checkout")
    stage.same((await viewer.cancel(no))["state"], "CANCELLED", "the cancelled order")
    free = next(held for held in await viewer.coupons() if held["id"] == coupon)
    stage.same((free["state"], free["order"]), ("CLAIMED", None), "the coupon after cancelling")
    store = (await viewer.order(no))["store"]["code"]
    lucky = rush.lost.pop(0)
    await stage.sees(lucky, lambda mirror: mirror.left(sale).get(store, 0) >= 1, "the unit that came back")
    order = await lucky.buy(sale, [store])
    stage.tally.orders += 1
    rush.won[order["no"]] = lucky
    await _paid(stage, rush, order["no"], leaves=False)
    await stage.becomes(lucky, order["no"], "ALLOCATED")
    stage.waiting[order["no"]] = lucky


async def _refund(stage: Stage, rush: Rush) -> None:
    await stage.step("two buyers ask for a refund: the host grants one and declines one")
    granted = next(no for no in stage.waiting if rush.held(no))
    declined = next(no for no in stage.waiting if no != granted)
    for no in (granted, declined):
        await rush.won[no].ask_refund(no, "演示：买错了 / demo: bought by mistake")
    asked = {refund["order"]: refund for refund in await stage.host.refunds() if refund["state"] == "REQUESTED"}
    stage.same(set(asked), {granted, declined}, "refunds that wait for the host")
    await stage.host.decline(asked[declined]["id"])
    await stage.host.grant(asked[granted]["id"])
    viewer = stage.waiting.pop(granted)
    await stage.becomes(viewer, granted, "REFUNDED")
    await stage.go_back(viewer, granted, FEN - OFF)
    stage.tally.refunded += 1
    order = await viewer.order(granted)
    stage.same((order["state"], order["refunded"]), ("REFUNDED", FEN - OFF), "the refunded order")
    back = next(held for held in await viewer.coupons() if held["id"] == rush.coupon[viewer.sub])
    stage.same(back["state"], "CLAIMED", "the coupon of the refunded order")
    stage.same((await rush.won[declined].order(declined))["state"], "ALLOCATED", "the order whose refund was declined")


async def expire(stage: Stage) -> None:
    """The order nobody paid ends by itself, and its unit is on sale again."""
    await stage.step("the order nobody paid has expired, and its unit is back on sale")
    if stage.unpaid is None:
        return
    no, viewer = stage.unpaid
    await viewer.until(
        lambda: viewer.mirror.orders.get(no, {}).get("state") == "CANCELLED",
        f"order {no} to expire",
        stage.settings.flash_hold_seconds + 10,
    )
    store = (await viewer.order(no))["store"]["code"]
    await stage.sees(viewer, lambda mirror: mirror.left(stage.sale).get(store, 0) >= 1, "its unit")
