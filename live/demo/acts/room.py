"""First and last act: people come, talk, are moderated, lose their network, and go home."""

from __future__ import annotations

import asyncio
from itertools import islice

from live.demo.acts.stage import Stage, together
from live.demo.client import Viewer
from live.demo.staff import Clerk, Host

BY_WECHAT = 6  # of the buyers; the others log in by phone
TALKERS = 45  # one comment each, spread so that the room's budget of 40 a second is kept
SAID = "这是演示观众的留言 / a comment of the demo"


async def staff(stage: Stage) -> None:
    """The staff log in; who must not, cannot."""
    await stage.step("staff log in; a wrong password is refused")
    web, shop = stage.settings.web_url, stage.shop
    stranger = Host(web, "host", shop.room)
    try:
        with stage.refused("wrong_login", "a wrong password"):
            await stranger.login("not-the-password")
        with stage.refused("unauthorised", "starting the show without a login"):
            await stranger.start()
    finally:
        await stranger.close()
    await stage.owner.login(shop.password)
    await stage.host.login(shop.password)
    stage.clerks = {store: Clerk(web, account, store) for store, account in islice(shop.clerks.items(), 4)}
    await together(clerk.login(shop.password) for clerk in stage.clerks.values())
    with stage.refused("forbidden", "a clerk who starts the show"):
        await stage.clerks[shop.stores[0]].doors.post(f"/v1/rooms/{shop.room}/start")


async def arrive(stage: Stage, guests: int, people: int) -> None:
    """The show starts; viewers come, as guests, by WeChat and by phone."""
    await stage.step("the host starts the show")
    await stage.host.start()
    await stage.step(f"{guests + people} viewers join: {guests} guests, {people} identified")
    room = stage.shop.room

    def viewer(name: str) -> Viewer:
        return Viewer(stage.doors, stage.settings.hub_url, name)

    async def guest(number: int) -> Viewer:
        return await (await viewer(f"演示观众 {number}").as_guest()).join(room)

    async def person(number: int) -> Viewer:
        buyer = viewer(f"演示买家 {number}")
        await (buyer.by_wechat(f"demo-once-{number}") if number <= BY_WECHAT else buyer.by_phone(f"139{number:08d}"))
        return await buyer.join(room)

    stage.guests = await together(guest(number) for number in range(1, guests + 1))
    stage.people = await together(person(number) for number in range(1, people + 1))
    stage.check(len({one.sub for one in stage.everybody}) == guests + people, "everybody to be somebody else")
    await stage.all_see(lambda mirror: mirror.value("room")["phase"] == "live", "the show being live")
    await stage.sees(stage.guests[0], lambda mirror: mirror.viewers >= guests + people, "the count of all viewers")


async def talk(stage: Stage) -> None:
    """Comments and hearts; what may not be said is not."""
    await stage.step("viewers comment and like; bad comments are refused")

    async def one(number: int, guest: Viewer) -> str:
        await asyncio.sleep(number * 0.03)  # below the room's budget, as people are
        return await guest.say(f"{SAID} {number}")

    said = await together(one(number, guest) for number, guest in enumerate(stage.guests[:TALKERS]))
    stage.same(len(set(said)), len(said), "the number of different comments")
    await together(viewer.like(1 + number % 5) for number, viewer in enumerate(stage.everybody))
    hearts = sum(1 + number % 5 for number in range(len(stage.everybody)))
    await stage.sees(stage.people[0], lambda mirror: mirror.likes >= hearts, f"{hearts} likes")
    seen = stage.people[-1]
    await stage.sees(seen, lambda mirror: set(said) <= {one["id"] for one in mirror.chat}, "every comment")
    with stage.refused("bad_words", "an advertisement"):
        await stage.guests[-1].say("加微信 领红包")
    with stage.refused("too_long", "a novel"):
        await stage.guests[-1].say("长" * 300)


async def moderate(stage: Stage) -> None:
    """A mute, its end, and a comment that is taken off every screen, also off one that was away meanwhile."""
    await stage.step("the host mutes a viewer and withdraws a comment; one who was away resumes and misses nothing")
    loud, away = stage.guests[TALKERS], stage.guests[TALKERS + 1]
    comment = await loud.say("这条会被撤回 / this one will be withdrawn")
    await stage.all_see(lambda mirror: any(said["id"] == comment for said in mirror.chat), "the comment")
    before = away.mirror.seq
    away.drop()
    await stage.host.mute(loud.sub, 10)
    await stage.host.withdraw(comment)
    here = [viewer for viewer in stage.everybody if viewer is not away]
    await stage.all_see(lambda mirror: mirror.heard("comment.withdrawn", id=comment), "the withdrawal", here)
    # A host's acts reach the room in their order: who sees the withdrawal is past the mute.
    with stage.refused("muted", "a muted viewer's comment"):
        await loud.say("还能说话吗 / can I still talk")
    await away.join(stage.shop.room)
    stage.check(away.mirror.resumed, "a resume by position, not a new snapshot")
    stage.check(away.mirror.seq > before, "the position to have moved")
    stage.check(away.mirror.heard("comment.withdrawn", id=comment), "the missed withdrawal to be replayed")
    stage.check(all(said["id"] != comment for said in away.mirror.chat), "the comment to be gone")
    await stage.host.mute(loud.sub, None, on=False)
    await stage.host.pin(None)
    await stage.sees(loud, lambda mirror: mirror.value("room")["pin"] is None, "nothing pinned")
    await loud.say("谢谢 / thank you")


async def close(stage: Stage) -> None:
    """The show ends; its figures are those of the script."""
    await stage.step("the host stops the show; the figures are the script's own")
    figures, tally = await stage.host.figures(), stage.tally
    stage.same(figures["orders"], tally.orders, "orders")
    stage.same(figures["paid_orders"], tally.paid, "paid orders")
    stage.same(figures["paid_fen"], tally.paid_fen, "money taken (fen)")
    stage.same(figures["refunded_fen"], tally.refunded_fen, "money sent back (fen)")
    stage.same(figures["waiting_pickup"], 0, "orders waiting at the stores")
    await stage.host.stop()
    await stage.all_see(lambda mirror: mirror.heard("room.closed") and mirror.value("room")["phase"] == "ended", "the end of the show")
    await stage.all_see(lambda mirror: not any(mirror.open(kind) for kind in ("sale", "coupon", "group", "packet")), "every offer ended")
    with stage.refused("ended", "buying after the show"):
        await stage.people[-1].buy(stage.sale, list(stage.shop.stores[:3]))
    with stage.refused("room_closed", "opening a sale after the show"):
        await stage.host.open_sale("milk-1", 1500, {stage.shop.stores[0]: 1})
    await together(viewer.leave() for viewer in stage.everybody)
