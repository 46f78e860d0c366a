"""A group that fails on the host's console: how far its refunds are, and one the provider did not carry out, sent again."""

from __future__ import annotations

import pytest
from playwright.async_api import expect
from sqlalchemy import text

from live.demo.seed import PASSWORD
from live.demo.staff import Host
from live.infra.db import Database
from tests.browser.conftest import House, Visits
from tests.browser.test_show_pages import host, joining

pytestmark = pytest.mark.browser
__all__ = ["host"]


async def test_a_host_sees_a_failed_groups_refunds_and_sends_one_again(
    house: House, host: Host, visits: Visits, database: Database
) -> None:
    group = await host.open_group("mug-blue", {"jingan": 4}, size=4, minimum=2, tiers=((0, 7000),))
    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}")
    panel = console.locator(".refunds")
    await expect(panel.get_by_text("没有待处理的退款")).to_be_visible()
    async with joining(house) as (other, order):
        await other.pay(order["no"])
        await expect(console.locator(".offer-group")).to_contain_text("1 / 4 人已付款")
        await host.end(group)
        owed = panel.locator(".owed")
        await expect(owed).to_contain_text("未成团退款", timeout=10_000)
        await expect(owed).to_contain_text("已退 1 / 1 笔", timeout=20_000)
        await expect(owed).to_contain_text("已全部退完")
        await expect(owed).to_contain_text("手作釉陶杯 湖蓝")
        async with database.begin() as session:  # as if the buyer's bank card had been closed
            await session.execute(text("UPDATE refund SET state = 'FAILED'"))
        await expect(owed).to_contain_text("1 笔未成功", timeout=20_000)
        await expect(panel.locator(".unpaid")).to_contain_text(order["no"])
        await panel.get_by_role("button", name="重新退款").click()
        await expect(panel.locator(".unpaid")).to_have_count(0)
        await expect(owed).to_contain_text("已全部退完", timeout=20_000)
    async with database.connection() as connection:
        assert (await connection.execute(text("SELECT state, refunded FROM orders"))).all() == [("REFUNDED", 7000)]
