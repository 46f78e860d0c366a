"""Red packets and draws as hosts and viewers use them, on phones and desks, against every real process."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from live.demo.seed import PASSWORD
from live.infra.db import Database
from tests.browser.conftest import House, Visits
from tests.browser.test_show_pages import host, identify
from tests.promotions.red_packet.stage import one, rows

__all__ = ["host"]
pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("host")]


async def test_a_host_drops_a_packet_with_a_password_and_a_viewer_says_it(house: House, visits: Visits, database: Database) -> None:
    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}")
    await console.get_by_role("button", name="发红包").click()
    form = console.get_by_role("dialog", name="发红包")
    await form.get_by_label("总额").fill("1")
    await form.get_by_label("红包个数").fill("2")
    await form.get_by_role("button", name="立即发放").click()
    await expect(form.get_by_role("alert")).to_have_text("总额至少每个红包 1 积分或 1 分")
    await form.get_by_label("总额").fill("88")
    await form.get_by_label("口令").fill("开门大吉")
    await form.get_by_role("button", name="立即发放").click()
    await expect(form).to_be_hidden()

    viewer = await visits.phone(f"/room/{house.shop.room}")
    await viewer.locator(".packet").get_by_role("button", name="说口令").click()
    await identify(viewer)
    sheet = viewer.get_by_role("dialog", name="红包雨 88 积分")
    await sheet.get_by_label("口令").fill("大吉")
    await sheet.get_by_label("口令").press("Enter")
    await expect(sheet.get_by_role("alert")).to_contain_text("口令不对")
    await sheet.get_by_label("口令").press("Enter")
    await expect(sheet.get_by_role("button", name="说出口令，拆红包")).to_be_enabled()
    await sheet.get_by_label("口令").fill("开门大吉")
    await sheet.get_by_label("口令").press("Enter")
    await expect(sheet.locator(".packet-got")).to_have_text(re.compile(r"您拆到了\d+ 积分"))
    amount = await one(database, "SELECT amount FROM points_entry")
    await expect(sheet.locator(".packet-got b")).to_have_text(f"{amount} 积分")
    await expect(sheet).to_contain_text("红包拆完后公布手气最佳")
    await expect(viewer.locator(".comments")).to_contain_text("开门大吉")
    await expect(viewer.locator(".comments").get_by_text("大吉", exact=True)).to_have_count(1)  # said once, tried twice

    await console.locator(".offer-packet").get_by_role("button", name="结束").click()
    await console.get_by_role("dialog").get_by_role("button", name="结束").click()
    await expect(sheet.locator(".lucky li")).to_have_count(1)
    await viewer.keyboard.press("Escape")
    await viewer.reload()
    await viewer.get_by_role("button", name="我的").click()
    await expect(viewer.locator(".who")).to_contain_text(f"{amount} 积分")


async def test_a_draw_is_entered_drawn_and_checked_on_the_page(house: House, visits: Visits, database: Database) -> None:
    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}")
    await console.get_by_role("button", name="开抽奖").click()
    form = console.get_by_role("dialog", name="开抽奖")
    await form.get_by_label("奖品名称（中文）").fill("龙井一盒")
    await form.get_by_label("奖品名称（英文）").fill("Longjing")
    await form.get_by_label("评论里要有的词").fill("抽我")
    await form.get_by_role("button", name="立即开启").click()
    await expect(form).to_be_hidden()

    viewer = await visits.phone(f"/room/{house.shop.room}")
    card = viewer.locator(".draw")
    await card.get_by_role("button", name="发评论参加").click()
    await identify(viewer)
    await expect(card.get_by_role("button", name="已参加")).to_be_disabled()
    await console.locator(".console-draw").get_by_role("button", name="立即开奖").click()
    await expect(console.locator(".console-draw")).to_contain_text("1 人参加")
    await expect(card).to_contain_text("您中奖了，第 1 位")
    await card.get_by_role("button", name="看结果").click()
    sheet = viewer.get_by_role("dialog", name="龙井一盒")
    await expect(sheet.locator(".lucky-first")).to_have_count(1)
    await sheet.get_by_role("button", name="核对这次抽奖").click()
    await expect(sheet).to_contain_text("核对一致：中奖名单由种子和 1 位参加者算出")

    # Another seed afterwards: the page works the draw out again and says so.
    await rows(database, "UPDATE draw SET seed = 'another' RETURNING 1")
    await sheet.get_by_role("button", name="核对这次抽奖").click()
    await expect(sheet).to_contain_text("不一致：种子与承诺不符")
