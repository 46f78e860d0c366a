"""Every table of the shop, for migrations and tests."""

from __future__ import annotations

from sqlmodel import SQLModel

import live.catalog.tables
import live.infra.tables
import live.offers.parties.tables
import live.offers.tables
import live.offers.waitlist.tables
import live.orders.tables
import live.payments.tables
import live.people.following.tables
import live.people.points.tables
import live.people.sharing.tables
import live.people.tables
import live.pickup.tables
import live.promotions.coupon.tables
import live.promotions.draw.tables
import live.promotions.flash_sale.tables
import live.promotions.red_packet.tables
import live.rooms.run_sheet.tables
import live.rooms.tables
import live.stock.tables  # noqa: F401

metadata = SQLModel.metadata
