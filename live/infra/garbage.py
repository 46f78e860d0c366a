"""Python's cyclic collector, kept from looking at the same objects again and again."""

from __future__ import annotations

import gc


def look_rarely() -> None:
    """To be called once everything is imported: that stays. A transaction makes thousands of objects and hardly a cycle; looking for them
    every 700 objects, as is usual, was a tenth of the ledger's time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
