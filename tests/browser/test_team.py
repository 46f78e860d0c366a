"""Small teams as people use them: opened in the console, filled by a link that one buyer sends to another, or not filled and paid back."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from live.demo.client import Viewer
from live.demo.doors import Doors
from live.demo.seed import PASSWORD
from live.demo.staff import Host
from tests.browser.conftest import House, Visits
from tests.browser.test_show_pages import host, identify

pytestmark = pytest.mark.browser
__all__ = ["host"]


async def pay(page: Page, fen: str) -> None:
    """Pay for the order that was just taken, at the demo's cashier."""
    order = page.get_by_role("dialog", name="抢到了！")
    async with page.context.expect_page() as opened:
        await order.get_by_role("button", name=f"付款 {fen}").click()
    cashier = await opened.value
    await cashier.get_by_role("button", name="立即支付").click()
    await expect(cashier.get_by_role("status")).to_have_text("支付成功")
    await cashier.close()


async def test_a_team_is_opened_shared_joined_and_made_and_another_is_paid_back(house: House, host: Host, visits: Visits) -> None:
    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}")
    await console.get_by_role("button", name="开小团").click()
    form = console.get_by_role("dialog", name="开小团")
    await form.locator(".sku-row", has_text="mug-blue").click()
    for label, typed in (("每人价格", "50"), ("每团人数", "51"), ("静安寺店", "6")):
        await form.get_by_label(label).fill(typed)
    await form.get_by_role("button", name="立即开启").click()
    await expect(form.get_by_text("应在 2 到 50 之间")).to_be_visible()
    await form.get_by_label("每团人数").fill("2")
    await form.get_by_role("button", name="立即开启").click()
    await expect(form).to_be_hidden()
    card = console.locator(".offer-group")
    await expect(card).to_contain_text("2 人团，30 分钟内满员")

    opener = await visits.phone(f"/room/{house.shop.room}")
    await opener.locator(".teams").get_by_role("button", name=re.compile("^开团")).click()
    await identify(opener)
    await opener.get_by_role("dialog", name="确认购买").get_by_role("button", name="我来开团 ¥50").click()
    await pay(opener, "¥50")
    mine = opener.get_by_role("dialog").get_by_role("region", name="我的团")
    await expect(mine).to_contain_text("还差 1 人")
    await expect(mine.get_by_role("img", name="分享二维码")).to_be_visible()
    link = await mine.locator(".share-url").inner_text()
    await expect(card).to_contain_text("1 / 2")

    friend = await visits.phone(link.removeprefix(house.settings.web_url))
    team = friend.get_by_role("dialog", name="小团")
    await expect(team).to_contain_text("手作釉陶杯 湖蓝")
    await expect(team.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "1")
    await team.get_by_role("button", name="参团 ¥50").click()
    await identify(friend)
    buy = friend.get_by_role("dialog", name="确认购买")
    await expect(buy.get_by_role("radio", name=re.compile("号团"))).to_be_checked()
    await buy.get_by_role("button", name="确认参团 ¥50").click()
    await expect(mine).to_contain_text("1 待付款")  # the opener sees a friend who has not paid yet, apart from who has
    await pay(friend, "¥50")
    for page in (opener, friend):
        await expect(page.get_by_role("dialog").get_by_role("region", name="我的团")).to_contain_text("拼团成功")
        await expect(page.get_by_text("您的团拼成了").first).to_be_attached()
    await expect(card).to_contain_text("1已成团")

    await friend.goto(link)
    await expect(team.get_by_role("button", name="我的团")).to_be_visible()
    [offer] = [one["view"]["id"] for one in await host.offers() if one["view"]["team"]]
    doors = Doors(house.settings.web_url)
    lone = Viewer(doors, house.settings.hub_url, "没凑够人的人")
    try:
        await (await lone.by_phone("13800138000")).join(house.shop.room)
        no = (await lone.buy(offer, ["jingan"]))["no"]
        await lone.pay(no)
        await expect(card).to_contain_text("2 号团")
        await host.end(offer)
        await lone.until(lambda: lone.mirror.orders[no]["refunded"] == 5000, "the money to go back")
    finally:
        await lone.leave()
        await doors.close()
