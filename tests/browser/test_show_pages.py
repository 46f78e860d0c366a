"""The pages as people use them: phones and desks in one browser, against every real process."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from live.demo.client import Viewer
from live.demo.doors import Doors
from live.demo.seed import PASSWORD
from live.demo.staff import Host
from live.infra.db import Database
from live.people import owner
from live.people.staff.passwords import passwords
from live.settings import Settings
from tests.browser.conftest import House, Visits

pytestmark = pytest.mark.browser
ONE_TIME, OWN = "first-and-only-time", "a-password-of-my-own"
GOODS = """category,category_zh,category_en,product,product_zh,product_en,sku,sku_zh,sku_en,price,picture,stock:jingan
tea,茶,Tea,longjing,明前龙井,Longjing,longjing-100,100 克,100 g,168,,20
tea,茶,Tea,longjing,明前龙井,Longjing,longjing-250,250 克,250 g,398.50,,8
"""
MARKUP = '<img src=x onerror="document.title=`owned`">'


@pytest_asyncio.fixture
async def host(house: House) -> AsyncIterator[Host]:
    """The host's doors, with the show on."""
    found = await Host(house.settings.web_url, "host", house.shop.room).login(PASSWORD)
    await found.start()
    yield found
    await found.close()


async def identify(page: Page) -> None:
    """Say who this is, with the number and the code that a demo fills in."""
    sheet = page.get_by_role("dialog", name="验证身份")
    await expect(sheet.get_by_label("验证码")).to_have_value(re.compile(r"^\d{4,}$"))
    await sheet.locator(".sheet-foot button").click()
    await expect(sheet).to_be_hidden()


@asynccontextmanager
async def joining(house: House) -> AsyncIterator[tuple[Viewer, dict[str, Any]]]:
    """Somebody else, over a socket of their own, with an unpaid seat in the only group."""
    doors = Doors(house.settings.web_url)
    other = Viewer(doors, house.settings.hub_url, "同团的人")
    try:
        await (await other.by_phone("13800138000")).join(house.shop.room)
        team = await other.until(lambda: [key for key in other.mirror.state if key.startswith("team:")], "the group")
        yield other, await other.buy(int(team[0].removeprefix("team:")), ["jingan"])
    finally:
        await other.leave()
        await doors.close()


async def test_a_viewers_page_sees_the_group_bar_move_and_a_coupon_drop_while_the_console_causes_it(house: House, visits: Visits) -> None:
    viewer = await visits.phone(f"/room/{house.shop.room}")
    await expect(viewer.get_by_text("直播还没有开始")).to_be_visible()
    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}")
    await console.locator(".head-acts").get_by_role("button", name="开播").click()
    await console.get_by_role("dialog", name="现在开播？").get_by_role("button", name="开播").click()
    await expect(viewer.locator(".on-air")).to_be_visible()

    await console.get_by_role("button", name="开团购").click()
    form = console.get_by_role("dialog", name="开团购")
    await form.locator(".sku-row", has_text="mug-blue").click()
    for label, typed in (
        ("满团人数", "4"), ("最少成团人数", "1"), ("第 1 档价格", "70"), ("第 2 档人数", "1"), ("第 2 档价格", "60"), ("静安寺店", "6"),
    ):  # fmt: skip
        await form.get_by_label(label).fill(typed)
    await form.get_by_role("button", name="立即开启").click()
    await expect(form).to_be_hidden()

    group = viewer.locator(".group")
    bar = group.get_by_role("progressbar")
    await expect(group).to_contain_text("手作釉陶杯 湖蓝")
    await expect(group).to_contain_text("¥70")
    await expect(bar).to_have_attribute("aria-valuenow", "0")
    async with joining(house) as (other, order):
        await expect(group).to_contain_text("1 待付款")
        await other.pay(order["no"])
    await expect(bar).to_have_attribute("aria-valuenow", "1")
    await expect(bar.locator(".bar-solid")).to_have_attribute("style", re.compile("width: 25%"))
    await expect(group.locator(".price")).to_contain_text("¥60")
    await expect(console.locator(".offer-group")).to_contain_text("1 / 4 人已付款")

    await expect(viewer.locator(".coupon")).to_have_count(0)
    await console.get_by_role("button", name="发优惠券").click()
    form = console.get_by_role("dialog", name="发优惠券")
    await form.get_by_label("减多少").fill("8")
    await form.get_by_label("使用门槛").fill("50")
    await form.get_by_role("button", name="立即发放").click()
    await expect(viewer.locator(".coupon")).to_contain_text("满 ¥50 可用")
    await expect(viewer.locator(".coupon-off")).to_have_text("¥8")
    await expect(viewer.get_by_text("优惠券来了，快来领取").first).to_be_attached()


async def test_a_viewer_buys_and_pays_and_the_clerk_hands_over_with_the_code_on_the_viewers_page(
    house: House, host: Host, visits: Visits
) -> None:
    sale = await host.open_sale("beef-2", 6600, {"jingan": 3, "qibao": 2}, per_person=2)
    await host.pin(sale)
    viewer = await visits.phone(f"/room/{house.shop.room}")
    await viewer.locator(".pinned").get_by_role("button", name="抢 谷饲雪花牛排").click()
    await identify(viewer)
    sheet = viewer.get_by_role("dialog", name="确认购买")
    await sheet.get_by_role("button", name="多一件").click()
    await sheet.locator(".store", has_text="静安寺店").click()
    await sheet.get_by_role("button", name="确认抢购 ¥132").click()
    order = viewer.get_by_role("dialog", name="抢到了！")
    async with viewer.context.expect_page() as opened:
        await order.get_by_role("button", name="付款 ¥132").click()
    cashier = await opened.value
    await cashier.get_by_role("button", name="立即支付").click()
    await expect(cashier.get_by_role("status")).to_have_text("支付成功")
    await cashier.close()
    order = viewer.get_by_role("dialog", name="订单")
    await expect(order.get_by_role("img", name="取货二维码")).to_be_visible()
    code = await order.locator(".pickup-code").inner_text()

    clerk = await visits.staff("clerk-jingan", PASSWORD, "/store", phone=True)
    await clerk.locator(".ticket", has_text="谷饲雪花牛排").get_by_role("button", name="备好了").click()
    await expect(order.get_by_text("可以取货")).to_be_visible()
    await clerk.get_by_role("textbox", name="提货码").fill(code.replace("-", "").lower())
    await clerk.get_by_role("button", name="查看订单").click()
    await clerk.get_by_role("button", name="交付 2 件").click()
    await expect(clerk.locator(".handed")).to_contain_text("已交付给")
    await expect(order.get_by_text("已取货，谢谢光临")).to_be_visible()
    await expect(order.locator(".pickup-code")).to_have_count(0)


async def test_a_viewer_waits_in_line_for_what_is_sold_out_and_has_two_minutes_to_pay_for_what_comes_back(
    house: House, host: Host, visits: Visits
) -> None:
    sale = await host.open_sale("beef-2", 6600, {"jingan": 1})
    await host.pin(sale)
    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}")
    viewer = await visits.phone(f"/room/{house.shop.room}")
    card = viewer.locator(".pinned")
    await expect(card.get_by_role("button", name="抢 谷饲雪花牛排")).to_be_visible()
    doors = Doors(house.settings.web_url)
    other = Viewer(doors, house.settings.hub_url, "手快的人")
    try:
        await (await other.by_phone("13800138000")).join(house.shop.room)
        order = await other.buy(sale, ["jingan"])
        await expect(card).to_contain_text("已抢完")
        await card.get_by_role("button", name="排队").click()
        await identify(viewer)
        sheet = viewer.get_by_role("dialog", name="排队等候")
        await expect(sheet.get_by_role("checkbox", name="静安寺店")).to_be_checked()
        await sheet.get_by_role("button", name="排队").click()
        await expect(sheet.get_by_role("status")).to_have_text("您排在第 1 位")
        await expect(console.locator(".offer-sale .count-waiting b")).to_have_text("1")
        await sheet.get_by_role("button", name="不等了").click()
        await expect(console.locator(".offer-sale .count-waiting")).to_have_count(0)
        await sheet.get_by_role("button", name="排队").click()
        await sheet.get_by_role("button", name="关闭").click()
        await expect(card.get_by_role("button", name="第 1 位")).to_be_visible()
        await expect(card).to_contain_text("1 人排队")
        await other.cancel(order["no"])
    finally:
        await other.leave()
        await doors.close()
    given = viewer.get_by_role("dialog", name="抢到了！")
    await expect(given.get_by_role("timer")).to_have_text(re.compile("0?[12]:"))
    await expect(given.get_by_role("button", name="付款 ¥66")).to_be_visible()
    await given.get_by_role("button", name="关闭").click()
    await expect(card.get_by_role("button", name="去付款")).to_be_visible()


async def test_the_first_run_makes_a_store_imports_goods_and_makes_a_room_whose_page_opens(
    empty_house: Settings, database: Database, visits: Visits
) -> None:
    async with database.begin() as session:
        await owner.add(session, "boss", await passwords.hash(ONE_TIME))
    start = await visits.desk("/")
    await expect(start.get_by_text("还差一步")).to_be_visible()
    page = await visits.desk("/login?next=/hq")
    await page.locator("[autocomplete=username]").fill("boss")
    await page.locator("[autocomplete=current-password]").fill(ONE_TIME)
    await page.get_by_role("button", name="登录").click()
    await page.get_by_label(re.compile("^新密码")).fill(OWN)
    await page.get_by_label(re.compile("^再次输入新密码")).fill(OWN)
    await page.get_by_role("button", name="保存并进入").click()

    await page.get_by_label("中文名").fill("静安寺店")
    await page.get_by_label("英文名").fill("Jing'an")
    await page.get_by_label("门店代码").fill("jingan")
    await page.get_by_role("button", name="添加门店").click()
    await page.get_by_role("button", name="下一步").click()
    await page.locator("textarea.csv").fill(GOODS)
    await page.get_by_role("button", name="导入商品").click()
    await expect(page.get_by_role("status")).to_contain_text("1 个类目，1 个商品，2 个规格")
    await page.get_by_role("button", name="下一步").click()
    await page.get_by_label("中文标题").fill("春茶开仓夜")
    await page.get_by_label("英文标题").fill("Spring tea night")
    await page.get_by_label("直播间代码").fill("spring-tea")
    await page.get_by_role("button", name="创建直播间").click()
    await expect(page.get_by_text("直播间准备好了")).to_be_visible()

    async with page.context.expect_page() as opened:
        await page.get_by_role("link", name="打开观看页").click()
    room = await opened.value
    await expect(room).to_have_url(f"{empty_house.web_url}/room/spring-tea")
    await expect(room.get_by_role("heading", name="春茶开仓夜")).to_be_visible()
    await expect(room.get_by_text("直播还没有开始")).to_be_visible()
    await expect(room.get_by_text("1 人在看")).to_be_visible()  # over its socket


async def test_markup_in_a_comment_is_shown_as_text_on_every_page(house: House, host: Host, visits: Visits) -> None:
    writer = await visits.phone(f"/room/{house.shop.room}")
    reader = await visits.desk(f"/room/{house.shop.room}")
    console = await visits.staff("moderator", PASSWORD, f"/console/{house.shop.room}")
    await expect(reader.locator(".on-air")).to_be_visible()
    await expect(writer.locator(".on-air")).to_be_visible()
    await writer.get_by_label("说点什么").fill(MARKUP)
    await writer.get_by_role("button", name="发送").click()
    for page, row in ((writer, ".comment"), (reader, ".comment"), (console, ".said")):
        await expect(page.locator(row)).to_contain_text(MARKUP)
        await expect(page.locator(f"{row} img")).to_have_count(0)
        assert await page.title() != "owned"
