"""An order as coupons see it."""

from __future__ import annotations

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from live.catalog.queries import skus
from live.orders.change import lines_of
from live.orders.tables import Order
from live.promotions.coupon.rules import Basket, Line


async def basket_of(session: AsyncSession, order: Order) -> Basket:
    """Its lines with their categories as the catalogue has them now, and whether its buyer is a new customer."""
    lines = await lines_of(session, order.no)
    facts = await skus(session, [line.sku_id for line in lines])
    goods = tuple(Line(line.sku, facts[line.sku_id].category, line.qty * line.fen) for line in lines)
    return Basket(order.no, order.channel, goods, not await _paid_before(session, order))


async def _paid_before(session: AsyncSession, order: Order) -> bool:
    """Whether the buyer has paid for another order, in any room; one that was refunded in full does not count."""
    other = (col(Order.person) == order.person, col(Order.no) != order.no)
    paid = (col(Order.paid_at).is_not(None), col(Order.state) != "REFUNDED")
    return bool((await session.execute(select(exists().where(*other, *paid)))).scalar_one())
