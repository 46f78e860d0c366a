"""The shop of these tests is the one of the orders."""

from __future__ import annotations

from tests.orders.conftest import shop

__all__ = ["shop"]
