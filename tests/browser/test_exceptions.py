"""The owner's page of payments that contradict the books: what is known, a refusal said in words, and each way out."""

from __future__ import annotations

import pytest
from playwright.async_api import expect
from sqlalchemy import text

from live.demo.seed import PASSWORD
from live.infra.db import Database, utc_now
from live.payments.exceptions import drift
from tests.browser.conftest import House, Visits

pytestmark = pytest.mark.browser


async def test_an_owner_reads_and_closes_an_exception(house: House, visits: Visits, database: Database) -> None:
    page = await visits.staff("owner", PASSWORD, "/hq")
    await page.goto("/hq#books")
    part = page.locator(".exceptions")
    await expect(part).to_contain_text("没有支付异常")
    async with database.begin() as session:
        wrong = {"state": "SUCCESS", "fen": 2000, "transaction": "420001"}
        expected = {"state": "SENT", "fen": 2990, "transaction": None}
        await drift(session, "wrong_amount", "A1-1", utc_now(), order_no="A1", expected=expected, told=wrong)
        await session.execute(
            text(
                "INSERT INTO pay_attempt (order_no, out_trade_no, fen, state, winner, expires_at)"
                " VALUES ('A1', 'A1-1', 2990, 'SENT', false, now())"
            )
        )
    one = part.locator(".exception")
    await expect(one).to_contain_text("实付金额与应付不符", timeout=15_000)
    await expect(one).to_contain_text("¥29.90")
    await expect(one).to_contain_text("¥20")
    await expect(one.get_by_role("button")).to_have_text(["全额退回实付款", "再次核对并入账", "备注并关闭"])
    await one.get_by_role("button", name="备注并关闭").click()
    sheet = page.get_by_role("dialog")
    await sheet.get_by_role("button", name="备注并关闭").click()
    await expect(sheet).to_contain_text("不能为空")
    await sheet.get_by_label("查到了什么").fill("商户平台已退")
    async with database.begin() as session:
        await session.execute(text("UPDATE pay_exception SET order_no = NULL"))  # no order of that number: nothing to let go
    await page.keyboard.press("Enter")
    await expect(one).to_contain_text("已备注关闭")
    await expect(one).to_contain_text("商户平台已退")
    await expect(one.get_by_role("button")).to_have_count(0)

    async with database.begin() as session:
        await session.execute(
            text(
                "INSERT INTO orders (no, rid, intent_id, room_id, person, channel, location, fen, state, pay_until, created_at)"
                " VALUES ('A1', 'a1', '1-1', :room, 'p:1', 'live', 'jingan', 2990, 'CANCELLED', now(), now())"
            ), {"room": house.shop.room},
        )  # fmt: skip
        await session.execute(
            text(
                "INSERT INTO refund (order_no, cause, out_trade_no, out_refund_no, fen, total, reason, state, version, created_at, due_at)"
                " VALUES ('A1', 'late:1', 'A1-1', 'A1-late', 2990, 2990, '', 'FAILED', 1, now(), now())"
            )
        )
    failed = part.locator(".failed li")
    await expect(failed).to_contain_text("超时付款 ¥29.90 未能退回", timeout=15_000)
    await failed.get_by_role("button", name="再次退款").click()
    await expect(page.get_by_text("已再次提交退款")).to_be_visible()
