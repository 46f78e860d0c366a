"""A percentage off some goods: dropped on the console, claimed on a phone, and on the order without anybody choosing it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
import pytest_asyncio
from playwright.async_api import expect

from live.demo.seed import PASSWORD
from live.demo.staff import Host
from tests.browser.conftest import House, Visits
from tests.browser.test_show_pages import host, identify

__all__ = ["host"]
pytestmark = pytest.mark.browser


@pytest_asyncio.fixture
async def sold(host: Host) -> int:
    """The sale the coupon is for."""
    offer = await host.open_sale("beef-2", 6600, {"jingan": 3}, per_person=2)
    await host.pin(offer)
    return offer


async def test_a_percent_coupon_goes_from_the_console_to_a_paid_order(house: House, sold: int, visits: Visits) -> None:
    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}")
    viewer = await visits.phone(f"/room/{house.shop.room}")
    await console.get_by_role("button", name="发优惠券").click()
    form = console.get_by_role("dialog", name="发优惠券")
    await form.get_by_label("打折：减百分之几").fill("100")
    await form.get_by_label("最多减多少").fill("30")
    await form.get_by_role("button", name="立即发放").click()
    await expect(form.get_by_role("alert")).to_contain_text("99")  # the field says why, nothing was dropped
    await form.get_by_label("打折：减百分之几").fill("20")
    await form.get_by_label("适用商品").select_option("skus")
    await form.get_by_label("选择商品").select_option("beef-2")
    await form.get_by_label("领取后有效（小时）").fill("24")
    await form.get_by_label("有效期至").fill("2030-01-01T12:00")
    await form.get_by_role("button", name="立即发放").click()
    await expect(form.get_by_role("alert")).to_contain_text("只能填一个")
    await form.get_by_label("有效期至").fill("")
    await form.get_by_role("button", name="立即发放").click()
    await expect(form).to_be_hidden()

    card = viewer.locator(".coupon")
    await expect(card.locator(".coupon-off")).to_have_text("8 折")
    await expect(card).to_contain_text("最多减 ¥30")
    await expect(card).to_contain_text("限 谷饲雪花牛排")
    await expect(card).to_contain_text("领取后 24 小时内有效")
    await card.get_by_role("button", name=re.compile("^领")).click()
    await identify(viewer)
    await expect(card).to_have_count(0)

    await viewer.get_by_role("button", name=re.compile("抢 谷饲雪花牛排")).first.click()
    sheet = viewer.get_by_role("dialog", name="确认购买")
    await sheet.locator(".store", has_text="静安寺店").click()
    await sheet.get_by_role("button", name="确认抢购 ¥66").click()
    order = viewer.get_by_role("dialog", name="抢到了！")
    await expect(order.get_by_label("优惠券")).to_contain_text("减 ¥13.20")
    async with viewer.context.expect_page() as opened:
        await order.get_by_role("button", name="付款 ¥52.80").click()
    cashier = await opened.value
    await cashier.get_by_role("button", name="立即支付").click()
    await expect(cashier.get_by_role("status")).to_have_text("支付成功")
    await cashier.close()
    await expect(viewer.get_by_role("dialog", name="订单").locator(".sums")).to_contain_text("¥52.80")


async def test_a_coupon_with_an_end_for_who_watches_says_how_long_is_left(house: House, host: Host, visits: Visits) -> None:
    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}")
    viewer = await visits.phone(f"/room/{house.shop.room}")
    await console.get_by_role("button", name="发优惠券").click()
    form = console.get_by_role("dialog", name="发优惠券")
    await form.get_by_label("减多少").fill("5")
    await form.get_by_label("观看满几分钟可领").fill("30")
    until = datetime.now() + timedelta(days=3)
    await form.get_by_label("有效期至").fill(until.strftime("%Y-%m-%dT%H:%M"))
    await form.get_by_role("button", name="立即发放").click()
    await expect(form).to_be_hidden()
    card = viewer.locator(".coupon")
    await expect(card).to_contain_text("观看满 30 分钟可领")
    await expect(card).to_contain_text("前有效")
    await card.get_by_role("button", name=re.compile("^领")).click()
    await identify(viewer)
    await expect(viewer.get_by_text("再看 30 分钟就能领了")).to_be_visible()
    await expect(card.get_by_role("button", name=re.compile("^领"))).to_be_enabled()


async def test_a_batch_is_taken_back_and_its_holder_reads_why(house: House, host: Host, visits: Visits) -> None:
    viewer = await visits.phone(f"/room/{house.shop.room}")
    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}", phone=True)
    await host.open_coupon(700, 0, 5)
    await viewer.locator(".coupon").get_by_role("button", name=re.compile("^领")).click()
    await identify(viewer)
    await expect(viewer.locator(".coupon")).to_have_count(0)
    await console.get_by_role("button", name="作废这批券").click()
    form = console.get_by_role("dialog", name="作废这批券")
    await form.get_by_role("button", name="立即作废").click()
    await expect(form.get_by_text("不能为空")).to_be_visible()
    await form.get_by_label("原因").fill("金额填错了")
    await form.get_by_role("button", name="立即作废").click()
    await expect(form).to_be_hidden()
    await expect(viewer.get_by_text("一张优惠券已被商家收回：金额填错了")).to_be_visible()
    await console.get_by_role("button", name=re.compile("已结束")).click()
    await expect(console.locator(".offer-coupon").first).to_contain_text("已作废")
    await viewer.get_by_role("button", name="我的").click()
    await viewer.get_by_role("tab", name="我的优惠券").click()
    await expect(viewer.locator(".ticket").first).to_contain_text("商家收回：金额填错了")
