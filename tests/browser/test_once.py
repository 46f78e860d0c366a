"""A console whose answer was lost: the second press of the same form is the first one's resend."""

from __future__ import annotations

import pytest
from playwright.async_api import Route, expect
from sqlalchemy import text

from live.demo.seed import PASSWORD
from live.demo.staff import Host
from live.infra.db import Database
from tests.browser.conftest import House, Visits
from tests.browser.test_show_pages import host

pytestmark = pytest.mark.browser
__all__ = ["host"]


async def test_a_second_press_after_a_lost_answer_opens_one_offer(house: House, host: Host, visits: Visits, database: Database) -> None:
    console = await visits.staff("host", PASSWORD, f"/console/{house.shop.room}")

    async def lose(route: Route) -> None:
        await route.fetch()
        await route.abort()

    await console.route("**/coupons", lose, times=1)
    await console.get_by_role("button", name="发优惠券").click()
    sheet = console.get_by_role("dialog")
    await sheet.locator("input").first.fill("5")
    await sheet.locator(".sheet-foot [type=submit]").click()
    await expect(sheet.get_by_role("alert")).to_be_visible()
    visits.complaints.clear()  # the lost answer itself
    await sheet.locator(".sheet-foot [type=submit]").click()
    await expect(sheet).to_be_hidden()
    async with database.connection() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM offer"))).scalar_one() == 1
