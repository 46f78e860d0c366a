"""Second thoughts: a coupon for who has watched for long, a batch taken back, and a planned sale at another time."""

from __future__ import annotations

from live.demo.acts.stage import Stage

OFF, WATCH = 300, 600  # fen; minutes: longer than any run of this
SKU, FEN, UNITS = "beef-2", 6600, 2
WAIT, LATER = 900, 1800  # seconds until the planned sale starts, at first and then
WHY = "发错了金额"


async def play(stage: Stage) -> None:
    """The whole act. Nobody buys in it."""
    viewer = stage.people[0]
    await stage.step(f"the host drops a coupon for who has watched for {WATCH} minutes, which nobody has")
    offer = await stage.host.open_coupon(OFF, 0, 1, watch=WATCH)
    await stage.sees(viewer, lambda mirror: mirror.offer(offer), "the coupon's card")
    with stage.refused("watch_longer", "a claim after so short a time"):
        await viewer.claim(offer)
    await stage.host.end(offer)

    await stage.step("the host takes back a batch that somebody has claimed from")
    offer = await stage.host.open_coupon(OFF, 0, 2)
    await stage.sees(viewer, lambda mirror: mirror.offer(offer), "the coupon's card")
    grant = (await viewer.claim(offer))["id"]
    await stage.host.void_coupon(offer, WHY)
    await stage.all_see(lambda mirror: mirror.offer(offer)["void"] == WHY, "that the batch is void")
    held = next(one for one in await viewer.coupons() if one["id"] == grant)
    stage.same((held["state"], held["void"]), ("VOID", WHY), "the claimed coupon")

    await stage.step("the host moves a planned sale, then calls it off")
    sale = await stage.host.open_sale(SKU, FEN, {stage.shop.stores[0]: UNITS}, wait=WAIT)
    await stage.sees(viewer, lambda mirror: mirror.offer(sale), "the planned sale's card")
    opens = viewer.mirror.offer(sale)["opens"] + (LATER - WAIT) * 1000
    await stage.host.move_sale(sale, opens)
    await stage.all_see(lambda mirror: mirror.offer(sale)["opens"] == opens, "the new time")
    await stage.host.end(sale)
