"""Following, the draws it enters, points on one's own page and the list of all teams, as hosts and viewers use them."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Page, Route, expect
from sqlalchemy import text

from live.demo.client import Viewer
from live.demo.doors import Doors
from live.demo.seed import PASSWORD
from live.demo.staff import Host
from live.infra.db import Database
from tests.browser.conftest import House, Visits
from tests.browser.test_show_pages import host, identify

__all__ = ["host"]
pytestmark = pytest.mark.browser


async def fits(page: Page) -> None:
    """Nothing is wider than the phone."""
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.usefixtures("host")
async def test_one_tap_follows_and_takes_part_and_the_points_won_are_on_my_page(house: House, visits: Visits) -> None:
    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}")
    await console.get_by_role("button", name="开抽奖").click()
    form = console.get_by_role("dialog", name="开抽奖")
    await form.get_by_role("group", name="奖品").get_by_role("button", name="积分").click()
    await form.get_by_role("group", name="参加方式").get_by_role("button", name="关注").click()
    await expect(form).to_contain_text("开奖前取消关注的不算")
    await form.get_by_role("button", name="立即开启").click()
    await expect(form.get_by_role("alert")).to_be_visible()
    await form.get_by_label("每位多少积分").fill("88")
    await form.get_by_role("button", name="立即开启").click()
    await expect(form).to_be_hidden()

    viewer = await visits.phone(f"/room/{house.shop.room}")
    card, follow = viewer.locator(".draw"), viewer.locator(".follow")
    await expect(card).to_contain_text("88 积分")
    await expect(follow).to_have_attribute("aria-pressed", "false")
    await viewer.set_viewport_size({"width": 360, "height": 740})
    title = viewer.locator(".head h1")
    await title.evaluate("(h1) => { h1.textContent = '明前龙井开仓夜，只此一场'; }")
    assert await title.evaluate("(h1) => h1.scrollHeight <= h1.clientHeight + 1 && h1.scrollWidth <= h1.clientWidth"), "cut"
    await fits(viewer)
    pressed = asyncio.Event()

    async def late(route: Route) -> None:
        """What was asked before the press is answered after it."""
        await pressed.wait()
        await route.fulfill(json={"following": False})

    await viewer.route("**/follow", late, times=1)
    await card.get_by_role("button", name="关注并参加").click()
    await identify(viewer)
    await expect(card.get_by_role("button", name="已参加")).to_be_disabled()
    async with viewer.expect_response("**/follow"):
        pressed.set()
    await expect(follow).to_have_text("已关注")
    await expect(viewer.locator(".head-followers")).to_have_text("1 人关注")
    await expect(console.locator(".head-counts")).to_contain_text("1关注")
    await fits(viewer)

    await follow.focus()
    await viewer.keyboard.press("Enter")
    sure = viewer.get_by_role("dialog", name="不再关注？")
    await expect(sure).to_contain_text("取消关注后就不算了")
    await sure.get_by_role("button", name="取消关注").click()
    await expect(card.get_by_role("button", name="关注并参加")).to_be_enabled()
    await expect(viewer.locator(".head-followers")).to_have_count(0)
    await follow.click()
    await expect(card.get_by_role("button", name="已参加")).to_be_disabled()  # the press still stands
    await console.locator(".console-draw").get_by_role("button", name="立即开奖").click()
    await expect(card).to_contain_text("您中奖了，第 1 位")

    await viewer.get_by_role("button", name="我的").click()
    mine = viewer.get_by_role("dialog", name="我的")
    await expect(mine.locator(".who")).to_contain_text("88 积分")
    await mine.get_by_role("tab", name="我的积分").click()
    await expect(mine.locator(".points-sum")).to_have_text("积分余额88")
    await expect(mine.locator(".points li")).to_have_text([re.compile(r"^抽奖中奖.*\+88$")])
    await mine.get_by_role("tab", name="我关注的直播间").click()
    await expect(mine.locator(".order-row")).to_have_count(1)
    await fits(viewer)


async def test_the_coupons_of_a_packet_are_taken_back_and_the_sheet_says_why(house: House, host: Host, visits: Visits) -> None:
    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}")
    viewer = await visits.phone(f"/room/{house.shop.room}")
    await host.doors.post(f"/v1/rooms/{house.shop.room}/packets", {"currency": "coupon", "sum": 500, "shares": 2})
    await viewer.locator(".packet").get_by_role("button", name=re.compile("^拆红包")).click()
    await identify(viewer)
    await expect(viewer.locator(".packet")).to_have_count(0)
    await console.locator(".offer-packet").get_by_role("button", name="作废这批券").click()
    form = console.get_by_role("dialog", name="作废这批券")
    await form.get_by_label("原因").fill("发错了金额")
    await form.get_by_role("button", name="立即作废").click()
    await expect(console.get_by_text("已作废").first).to_be_visible()
    await expect(viewer.get_by_text("一张优惠券已被商家收回：发错了金额")).to_be_visible()


async def test_every_team_is_in_the_list_and_found_by_its_number(house: House, host: Host, visits: Visits, database: Database) -> None:
    offer = await host.open_teams("mug-blue", 5000, {"jingan": 6}, size=2, team_minutes=30)
    add = text(
        "INSERT INTO party (offer_id, room_id, opener, size, paid, held, state, closes_at, version)"
        " SELECT :o, :r, 'p:x', 2, 1, 0, 'filling', now() + interval '20 minutes', 1 FROM generate_series(1, 24)"
    )
    doors = Doors(house.settings.web_url)
    opener = Viewer(doors, house.settings.hub_url, "开团的人")
    try:
        async with database.connection() as connection:
            await connection.execute(add, {"o": offer, "r": house.shop.room})
        await (await opener.by_phone("13800138001")).join(house.shop.room)
        await opener.pay((await opener.buy(offer, ["jingan"]))["no"])  # the board is told with it

        viewer = await visits.phone(f"/room/{house.shop.room}")
        await viewer.locator(".teams").get_by_role("button", name="看全部小团").click()
        every = viewer.get_by_role("dialog", name="所有可参加的小团")
        await expect(every.get_by_role("status").first).to_have_text("25 个团可参加，已列出 20 个")
        await expect(every.locator(".team-rows li")).to_have_count(20)
        await every.get_by_role("button", name="再看一些").click()
        await expect(every.locator(".team-rows li")).to_have_count(25)
        await expect(every.get_by_role("button", name="再看一些")).to_have_count(0)
        await fits(viewer)
        find = every.get_by_role("textbox", name="按团号找")
        for typed, said in (("abc", "团号是一个数字"), ("0", "团号是一个数字")):
            await find.fill(typed)
            await find.press("Enter")
            await expect(every.get_by_role("alert")).to_have_text(said)
        await find.fill("3")
        await find.press("Enter")
        await expect(viewer.get_by_role("dialog", name="小团")).to_contain_text("3 号团")
    finally:
        await opener.leave()
        await doors.close()
