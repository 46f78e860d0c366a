"""The run sheet at two consoles: prepared with the forms of doing it by hand, started with one key, the same on both."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect
from sqlalchemy import text

from live.demo.seed import PASSWORD
from live.demo.staff import Host
from live.infra.db import Database
from tests.browser.conftest import House, Visits

pytestmark = pytest.mark.browser


async def save(
    page: Page, kind: str, minute: str, note: str, fields: dict[str, str], sku: str = "", press: str = "", pins: bool = False
) -> None:
    """Add a row at the run sheet that lies open."""
    await page.get_by_role("dialog", name="流程单").get_by_role("button", name=f"+ {kind}").click()
    form = page.locator(".form-sheet")
    await form.get_by_label("第几分钟").fill(minute)
    await form.get_by_label("给主播的提示").fill(note)
    if sku:
        await form.locator(".sku-row", has_text=sku).click()
    if press:
        await form.get_by_role("button", name=press).click()
    if pins:
        await form.get_by_label("开始后立即讲解").check()
    for label, typed in fields.items():
        await form.get_by_label(label).fill(typed)
    await form.get_by_role("button", name="保存").click()
    await expect(form).to_have_count(0)


async def test_packets_and_draws_are_planned_and_a_row_pins_what_it_opens(house: House, visits: Visits, database: Database) -> None:
    async with database.begin() as session:
        await session.execute(text("DELETE FROM run_row"))
    host = await Host(house.settings.web_url, "host", house.shop.room).login(PASSWORD)
    try:
        await host.start()
    finally:
        await host.close()
    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}")
    await expect(console.get_by_text("还没有流程单")).to_be_visible()
    await console.keyboard.press("r")
    await save(console, "红包", "0", "", {"总额": "6.66", "红包个数": "3", "使用门槛": "30"}, press="优惠券金额")
    await save(console, "抽奖", "1", "", {"奖品名称（中文）": "牛排一份", "奖品名称（英文）": "A steak", "评论里要有的词": "抽我"})
    await save(console, "抢购", "2", "", {"价格": "66", "静安寺店": "3"}, "beef-2", pins=True)
    rows = console.locator(".run-row")
    await expect(rows.nth(0)).to_contain_text("¥6.66 券红包")
    await expect(rows.nth(1)).to_contain_text("牛排一份")
    await expect(rows.nth(2)).to_contain_text("讲解")
    await rows.nth(0).get_by_role("button", name=re.compile("^更多操作")).click()
    await rows.nth(0).get_by_role("button", name="修改").click()
    form = console.locator(".form-sheet")
    await expect(form.get_by_label("总额")).to_have_value("6.66")
    await expect(form.get_by_role("button", name="优惠券金额")).to_have_attribute("aria-pressed", "true")
    await form.get_by_role("button", name="取消").click()
    for n in range(3):
        await rows.nth(n).get_by_role("button", name=re.compile("^开始：")).click()
        await expect(rows.nth(n)).to_contain_text("已开始")
    await console.keyboard.press("Escape")
    await expect(console.locator(".offer-packet")).to_be_visible()
    await expect(console.locator(".console-draw")).to_contain_text("牛排一份")
    viewer = await visits.phone(f"/room/{house.shop.room}")
    await expect(viewer.locator(".pinned")).to_contain_text("谷饲雪花牛排")


async def fits(page: Page) -> bool:
    """Nothing sticks out of the screen sideways."""
    return bool(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


async def test_two_rows_are_prepared_started_with_a_key_and_seen_at_the_second_console(
    house: House, visits: Visits, database: Database
) -> None:
    async with database.begin() as session:
        await session.execute(text("DELETE FROM run_row"))
    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}")
    await expect(console.get_by_text("还没有流程单")).to_be_visible()
    await console.keyboard.press("r")
    await expect(console.get_by_role("dialog", name="流程单")).to_contain_text("按分钟排好")
    await save(console, "抢购", "5", "开箱给大家看", {"价格": "66", "静安寺店": "3"}, "beef-2")
    await save(console, "优惠券", "0", "先发券", {"减多少": "8", "使用门槛": "50"})
    rows = console.locator(".run-row")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(0)).to_contain_text("满 ¥50 减 ¥8")
    await expect(rows.nth(1)).to_contain_text("谷饲雪花牛排 200 克 × 2 ¥66")
    await expect(rows.nth(0).get_by_role("button", name="开始：满 ¥50 减 ¥8")).to_be_disabled()
    await rows.nth(0).get_by_role("button", name=re.compile("^更多操作")).focus()
    await console.keyboard.press("Enter")
    await console.keyboard.press("Tab")
    await console.keyboard.press("Enter")
    await expect(console.get_by_role("dialog", name="流程单 · 发优惠券").get_by_label("第几分钟")).to_be_focused()
    await console.keyboard.press("Escape")
    await expect(rows.nth(0).get_by_role("button", name="修改")).to_be_focused()
    await console.keyboard.press("Escape")
    await expect(console.get_by_role("dialog")).to_have_count(0)

    second = await visits.staff("owner", PASSWORD, f"/console/{house.shop.room}", phone=True)
    await expect(second.locator(".cue")).to_contain_text("满 ¥50 减 ¥8")
    host = await Host(house.settings.web_url, "host", house.shop.room).login(PASSWORD)
    try:
        await host.start()
    finally:
        await host.close()
    await expect(console.locator(".phase-live")).to_be_visible()
    await console.keyboard.press("n")
    await expect(console.locator(".offer-coupon")).to_be_visible()
    await expect(second.locator(".cue")).to_contain_text("谷饲雪花牛排")
    assert await fits(second)
    await second.locator(".cue").get_by_role("button", name="流程单").click()
    await expect(second.locator(".run-row").nth(0)).to_contain_text(re.compile("已开始.*小满"))
    assert await fits(second)

    await second.get_by_role("button", name=re.compile("^更多操作：谷饲")).click()
    await second.get_by_role("button", name="修改").click()
    form = second.locator(".form-sheet")
    await expect(form.get_by_label("价格")).to_have_value("66")
    await expect(form.get_by_label("静安寺店")).to_have_value("3")
    assert await fits(second)
    await form.get_by_label("价格").fill("59.9")
    await form.get_by_role("button", name="保存").click()
    await expect(console.locator(".cue")).to_contain_text("¥59.90")
    await second.get_by_role("button", name=re.compile("^开始：谷饲雪花牛排")).click()
    await expect(console.locator(".offer-sale")).to_contain_text("¥59.90")
    await expect(console.locator(".cue")).to_contain_text("流程单已全部走完")
