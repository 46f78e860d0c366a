"""What every promotion is checked for before anything is written. A fault is (field, why); None means sound."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

Fault = tuple[str, str]

MOST_FEN = 100_000_000  # one million yuan for one thing: a slip of the keyboard, and far from overflowing a sum
MOST_UNITS = 1_000_000  # the largest batch that live platforms allow
MOST_LOCATIONS = 8  # the reserve script looks at each of them (design: stock per location, at most 8)
MOST_PER_PERSON = 99  # what one line of a buy command can carry
MOST_MINUTES = 1440  # a day; a show is shorter


def price_fault(field: str, fen: int) -> Fault | None:
    """A price is at least one fen: the payment provider takes nothing below."""
    return None if 1 <= fen <= MOST_FEN else (field, f"must be 1 to {MOST_FEN} fen")


def limits_fault(per_person: int, minutes: int | None) -> Fault | None:
    """Per-person limit and length of the window; `minutes` None means until it is ended by hand."""
    if not 1 <= per_person <= MOST_PER_PERSON:
        return ("per_person", f"must be 1 to {MOST_PER_PERSON}")
    if minutes is not None and not 1 <= minutes <= MOST_MINUTES:
        return ("minutes", f"must be 1 to {MOST_MINUTES}")
    return None


def stock_fault(stock: Mapping[str, int]) -> Fault | None:
    """Units per location: at least one in each that is named."""
    if not 1 <= len(stock) <= MOST_LOCATIONS:
        return ("stock", f"must name 1 to {MOST_LOCATIONS} locations")
    for location, units in stock.items():
        if not 1 <= units <= MOST_UNITS:
            return (f"stock.{location}", f"must be 1 to {MOST_UNITS}")
    return None


def closing(now: datetime, minutes: int | None) -> datetime | None:
    """When the window ends."""
    return None if minutes is None else now + timedelta(minutes=minutes)
