"""A group leader's group: friends come by links, order at the leader's point and are credited; one group succeeds, one is too small.

Its paid orders wait for the desk's act, where the leader hands them over.
"""

from __future__ import annotations

from live.demo.acts.stage import Stage, together
from live.demo.client import Viewer
from live.demo.seed import PASSWORD
from live.demo.staff import Host, Leader

POINT, ACCOUNT, SKU, FEN = "garden", "anna", "eggs-30", 2800
GOODS = (
    "category,category_zh,category_en,product,product_zh,product_en,sku,sku_zh,sku_en,price,picture,stock:garden\n"
    "farm,农场直供,From the farm,eggs,散养土鸡蛋,Free-range eggs,eggs-30,30 枚,30 pieces,36.00,,40\n"
)
SIZE, MINIMUM, JOIN, TOO_FEW = 10, 3, 4, 2


async def hire(owner: Host, web_url: str) -> Leader:
    """A leader with a point of their own and eggs at it, logged in."""
    place = {"name_zh": "花园小区自提点", "name_en": "Garden estate", "address_zh": "花园小区 3 号楼", "address_en": "Building 3"}
    await owner.doors.post("/v1/stores", {"code": POINT, "leader_point": True, **place})
    await owner.doors.post("/v1/import", {"csv": GOODS})
    made = await owner.doors.post("/v1/staff", {"account": ACCOUNT, "name": "安娜团长", "role": "leader", "store": POINT})
    return await Leader(web_url, ACCOUNT, POINT).begin(made["one_time_password"], PASSWORD)


async def play(stage: Stage) -> None:
    """Links, then both groups."""
    await stage.step("a viewer and a guide share their links; friends come by them, nobody by their own")
    sharer, *friends = stage.people[: JOIN + 1]
    mine, guides = await sharer.share(), await stage.host.share()
    with stage.refused("state", "coming by one's own link"):
        await sharer.came_by(mine)
    await together(friend.came_by(mine if at % 2 else guides) for at, friend in enumerate(friends))
    found = await stage.host.sharers()
    stage.same(found[sharer.sub]["people"], JOIN // 2, "people the viewer brought")
    stage.same(sorted(one["people"] for one in found.values()), [JOIN // 2, JOIN // 2], "people brought")

    leader = await hire(stage.owner, stage.doors.web_url)
    stage.clerks[POINT] = leader
    await stage.step(f"a group leader's group: {JOIN} of at least {MINIMUM} pay, and it succeeds")
    paid = await _group(stage, leader, friends, "success")
    await together(stage.becomes(viewer, no, "ALLOCATED") for no, viewer in paid.items())
    stage.same((await stage.host.sharers())[f"s:{await _id(leader)}"]["orders"], JOIN, "orders credited to the leader")
    stage.waiting |= paid

    await stage.step(f"another has {TOO_FEW} at the cut-off: everybody is refunded in full")
    refunded = await _group(stage, leader, friends[:TOO_FEW], "failed")
    await together(stage.becomes(viewer, no, "REFUNDED") for no, viewer in refunded.items())
    await together(stage.go_back(viewer, no, FEN) for no, viewer in refunded.items())
    stage.tally.refunded += len(refunded)


async def _id(leader: Leader) -> int:
    return int((await leader.doors.get("/v1/staff/me"))["you"]["id"])


async def _group(stage: Stage, leader: Leader, joining: list[Viewer], state: str) -> dict[str, Viewer]:
    """Open one, let them pay, end it; order → buyer."""
    group = await stage.host.open_leader_group(ACCOUNT, SKU, FEN, size=SIZE, minimum=MINIMUM)
    await stage.all_see(lambda mirror: mirror.offer(group) and mirror.team(group), "the group's card and bar")
    orders = await together(viewer.buy(group, [POINT]) for viewer in joining)
    paid = {str(order["no"]): viewer for order, viewer in zip(orders, joining, strict=True)}
    await together(viewer.pay(no) for no, viewer in paid.items())
    await together(stage.becomes(viewer, no, "GROUP_WAIT") for no, viewer in paid.items())
    stage.tally.orders += len(paid)
    stage.tally.paid += len(paid)
    stage.tally.paid_fen += FEN * len(paid)
    listed = (await leader.groups())[0]
    stage.same((listed["offer"], sorted(one["no"] for one in listed["orders"])), (group, sorted(paid)), "the leader's list")
    stage.check(all(one["name"].endswith("**") for one in listed["orders"]), "masked names on the leader's list")
    await stage.host.end(group)
    await stage.all_see(lambda mirror: mirror.heard("team.done", offer=group, state=state), f"the group's {state}")
    return paid
