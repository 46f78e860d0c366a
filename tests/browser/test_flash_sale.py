"""A flash sale as its host plans it and its viewers wait for it."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from live.demo.seed import PASSWORD
from live.demo.staff import Host
from tests.browser.conftest import House, Visits
from tests.browser.test_show_pages import host, identify

__all__ = ["host"]
pytestmark = pytest.mark.browser
BUY, SOON = re.compile("^抢 谷饲雪花牛排"), "即将开抢 谷饲雪花牛排"


async def test_a_host_plans_a_sale_changes_its_price_and_calls_it_off(house: House, host: Host, visits: Visits) -> None:
    viewer = await visits.phone(f"/room/{house.shop.room}")
    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}")
    await console.get_by_role("button", name="开抢购").click()
    form = console.get_by_role("dialog", name="开抢购")
    await form.locator(".sku-row", has_text="beef-2").click()
    await form.locator("select").select_option("in")
    for label, typed in (("价格", "66"), ("倒计时（秒）", "301"), ("每单限购", "2"), ("每人限购", "1"), ("静安寺店", "3")):
        await form.get_by_label(label).fill(typed)
    await form.get_by_role("button", name="预定").click()
    await expect(form.get_by_text("应在 10 到 300 之间")).to_be_visible()
    await expect(form.get_by_text("应在 1 到 1 之间")).to_be_visible()
    await form.get_by_label("倒计时（秒）").fill("300")
    await form.get_by_label("每人限购").fill("5")
    await form.get_by_label("几分钟后开始").fill("30")
    await form.get_by_role("button", name="预定").click()
    await expect(form).to_be_hidden()

    card, own = viewer.locator(".sale-next"), console.locator(".offer-sale")
    await own.get_by_role("button", name="改时间").click()
    form = console.get_by_role("dialog", name="改时间")
    await form.get_by_label("几分钟后开始").fill("5")
    await form.get_by_role("button", name="确认改时间").click()
    await expect(form).to_be_hidden()
    await expect(own.get_by_role("button", name="改时间")).to_have_count(0)
    await expect(card.locator(".sale-start")).to_have_text(re.compile(r"距开抢 [45]:\d\d"))
    await expect(card.get_by_role("button", name=SOON)).to_be_disabled()
    await expect(own).to_contain_text("倒计时")
    await expect(own).to_contain_text("每单限 2")

    await own.get_by_role("button", name="改价").click()
    form = console.get_by_role("dialog", name="改价")
    await form.get_by_role("button", name="改价").click()
    await expect(form.get_by_text("现在就是这个价")).to_be_visible()
    await form.get_by_label("价格").fill("59")
    await form.get_by_role("button", name="改价").click()
    await expect(card.locator(".price")).to_contain_text("¥59")

    await own.get_by_role("button", name="取消").click()
    await console.get_by_role("dialog").get_by_role("button", name="取消").last.click()
    await expect(card).to_have_count(0)
    await viewer.get_by_role("button", name=re.compile("货架")).first.click()
    await expect(viewer.get_by_role("dialog").locator(".shelf-row")).to_contain_text("已停止")


async def test_a_sale_turns_buyable_by_itself_and_a_stopped_one_says_so(house: House, host: Host, visits: Visits) -> None:
    viewer = await visits.phone(f"/room/{house.shop.room}")
    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}")
    await expect(viewer.locator(".on-air")).to_be_visible()
    await host.open_sale("beef-2", 6600, {"jingan": 3}, minutes=5, wait=6, countdown=10)
    card, own = viewer.locator(".sale-next"), console.locator(".offer-sale")
    await expect(card.get_by_role("button", name=SOON)).to_be_disabled()
    await expect(own).to_contain_text("倒计时")
    buy = card.get_by_role("button", name=BUY)
    await expect(buy).to_be_enabled(timeout=15_000)
    await expect(own).to_contain_text("进行中")
    await buy.click()
    await identify(viewer)
    await viewer.get_by_role("dialog", name="确认购买").get_by_role("button", name="确认抢购 ¥66").click()
    order = viewer.get_by_role("dialog", name="抢到了！")
    await expect(order).to_be_visible()
    await order.get_by_role("button", name="关闭").click()

    await own.get_by_role("button", name="停止").click()
    await console.get_by_role("dialog").get_by_role("button", name="停止").click()
    await expect(card).to_have_count(0)
    await console.get_by_role("button", name=re.compile("已结束")).click()
    await expect(own).to_contain_text("已停止")
