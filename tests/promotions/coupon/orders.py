"""Orders as coupons see them."""

from __future__ import annotations

from live.promotions.coupon.rules import Basket, Line

SKU, CATEGORY = "BERRY-500", "fruit"


def order(no: str, fen: int, *, channel: str = "live", new: bool = True) -> Basket:
    """One line of `fen`."""
    return Basket(no, channel, (Line(SKU, CATEGORY, fen),), new)
