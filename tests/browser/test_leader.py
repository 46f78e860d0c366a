"""A link shared by one person and opened by another, a leader's group opened in the console, and the list its leader sees."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect
from sqlalchemy import text

from live.demo.acts.leader import ACCOUNT, hire
from live.demo.seed import PASSWORD
from live.demo.staff import Host
from live.infra.db import Database
from tests.browser.conftest import House, Visits
from tests.browser.test_show_pages import host, identify

pytestmark = pytest.mark.browser
__all__ = ["host"]


async def test_a_shared_link_brings_a_buyer_to_a_leaders_group_and_the_leader_sees_the_order(
    house: House, host: Host, visits: Visits, database: Database
) -> None:
    owner = await Host(house.settings.web_url, "owner", house.shop.room).login(PASSWORD)
    leader = await hire(owner, house.settings.web_url)
    await owner.close()
    await leader.close()

    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}")
    await console.get_by_role("button", name="开团长团").click()
    form = console.get_by_role("dialog", name="开团长团")
    await form.locator(".sku-row", has_text="eggs-30").click()
    await form.get_by_role("combobox", name="团长").select_option(ACCOUNT)
    await form.get_by_label("最多件数").fill("5")
    await form.get_by_label("最少成团人数").fill("5")
    await form.get_by_role("button", name="立即开启").click()
    await expect(form.get_by_text("要小于最多件数")).to_be_visible()
    await form.get_by_label("最少成团人数").fill("1")
    await form.get_by_role("button", name="立即开启").click()
    await expect(form).to_be_hidden()

    sharer = await visits.phone(f"/room/{house.shop.room}")
    await sharer.get_by_role("button", name="分享直播间").click()
    await identify(sharer)
    sheet = sharer.get_by_role("dialog", name="分享直播间")
    await expect(sheet.get_by_role("img", name="分享二维码")).to_be_visible()
    await expect(sheet.get_by_role("status")).to_have_text("还没有人从您的链接进来")
    link = await sheet.locator(".share-url").inner_text()
    await sheet.get_by_role("button", name="关闭").click()

    friend = await visits.phone(link.removeprefix(house.settings.web_url))
    await expect(friend).to_have_url(re.compile(r"/room/demo$"))
    group = friend.locator(".group")
    await expect(group).to_contain_text("团长 安娜团长 · 在花园小区自提点自提")
    await group.get_by_role("button", name=re.compile("散养土鸡蛋")).click()
    await identify(friend)
    buy = friend.get_by_role("dialog", name="确认购买")
    await expect(buy.locator(".store")).to_have_count(1)
    await buy.locator(".sheet-foot button").click()
    order = friend.get_by_role("dialog", name="抢到了！")
    async with friend.context.expect_page() as opened:
        await order.get_by_role("button", name="付款 ¥36").click()
    cashier = await opened.value
    await cashier.get_by_role("button", name="立即支付").click()
    await expect(cashier.get_by_role("status")).to_have_text("支付成功")
    await cashier.close()
    await expect(group.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "1")

    await sharer.get_by_role("button", name="分享直播间").click()
    await expect(sheet.get_by_role("status")).to_have_text("您带来了 1 人，0 笔订单")  # the order is the leader's
    async with database.connection() as connection:
        kept = (await connection.execute(text("SELECT attribution FROM orders"))).scalar_one()
    assert (kept["rule"], kept["credit"], kept["leader"]) == ("leader", kept["leader"], kept["leader"])
    assert kept["first"] == kept["last"] == kept["path"][0] != kept["leader"]

    page = await visits.staff(ACCOUNT, PASSWORD, "/store", phone=True)
    card = page.locator(".leader-group")
    await expect(card).to_contain_text("1 / 5 件已付款，1 件成团")
    await expect(card.get_by_role("row").nth(1)).to_contain_text("**")
    await expect(card.get_by_role("row").nth(1)).to_contain_text("× 1")
    await expect(console.locator(".sharers")).to_contain_text("安娜团长", timeout=20_000)
