"""What a flash coupon is worth on an order, when it may be used, and which of several is best.

Whole fen throughout, rounded in one place (`discount`). A fault is (field, why). Sources: commerce anchors 2.1 (stacking) and 2.2.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

Fault = tuple[str, str]

MOST_OFF = 10_000_000  # a hundred thousand yuan off is a slip of the keyboard
MOST_GRANTS = 1_000_000  # the largest batch that live platforms allow
MOST_WATCH = 1440  # minutes; a show is shorter than a day
MOST_SKUS = 50  # more than a show sells; a longer list is a category
LEAST_VALID, MOST_VALID = 60, 31_536_000  # seconds: a minute is the least anybody can pay in, a year the most a shop remembers
AUDIENCES = ("all", "new")

# Grant: CLAIMED -> LOCKED by an order at checkout -> USED when it is paid. Back when the order is cancelled or refunded in full: to
# CLAIMED, to EXPIRED when its time has passed meanwhile, or to VOID when its batch was taken back. What an order has locked outlives both
# as long as that order is held.
MOVES: dict[str, frozenset[str]] = {
    "CLAIMED": frozenset({"LOCKED", "EXPIRED", "VOID"}),
    "LOCKED": frozenset({"CLAIMED", "EXPIRED", "USED", "VOID"}),
    "USED": frozenset({"CLAIMED", "EXPIRED", "VOID"}),
    "EXPIRED": frozenset(),
    "VOID": frozenset(),
}

# The stacking matrix: (kind of coupon, channel of the order) -> None when they go together, else why not. Whatever is not here does not
# stack. An order takes one coupon (`coupon_grant.order_no` is unique). A sale's price may be lowered further, a group's may not: its
# price still falls with every seat, and what goes back at its close is counted from the full one.
STACKS: Mapping[tuple[str, str], str | None] = {
    ("amount", "live"): None,
    ("percent", "live"): None,
    ("amount", "group"): "group",
    ("percent", "group"): "group",
}


@dataclass(frozen=True, slots=True)
class Terms:
    """`off` fen, or with `percent` that share of the goods but at most `off` fen, once they come to `threshold` fen (0: any sum).

    Only goods of `category` or with one of `skus` count, everything when neither is there. `audience` new: who has paid for no order yet.
    Only who has watched `watch` minutes of the show can claim it. It is good for `valid_seconds` after the claim, or until `valid_until`,
    or for ever.
    """

    off: int
    threshold: int
    percent: int | None = None
    category: str | None = None
    skus: tuple[str, ...] = ()
    audience: str = "all"
    valid_seconds: int | None = None
    valid_until: datetime | None = None
    watch: int | None = None

    @property
    def kind(self) -> str:
        """As the stacking matrix knows it."""
        return "amount" if self.percent is None else "percent"

    def until(self, claimed: datetime) -> datetime | None:
        """When a coupon claimed at that moment ends."""
        return self.valid_until if self.valid_seconds is None else claimed + timedelta(seconds=self.valid_seconds)


@dataclass(frozen=True, slots=True)
class Line:
    """`fen`: of all its units."""

    sku: str
    category: str
    fen: int


@dataclass(frozen=True, slots=True)
class Basket:
    """An order as coupons see it. `new`: its buyer has paid for none before."""

    no: str
    channel: str
    lines: tuple[Line, ...]
    new: bool = True


@dataclass(frozen=True, slots=True)
class Held:
    """A coupon in somebody's hand; `order`: the one it is locked by or was used on."""

    id: int
    terms: Terms
    state: str = "CLAIMED"
    order: str | None = None
    until: datetime | None = None


def terms_fault(terms: Terms, total: int, now: datetime, closes: datetime | None = None) -> Fault | None:
    """`total` is how many can be claimed, until `closes` (None: until ended by hand)."""
    if not 1 <= terms.off <= MOST_OFF:
        return ("off", f"must be 1 to {MOST_OFF} fen")
    if terms.threshold < 0:
        return ("threshold", "must not be negative")
    if terms.percent is None:
        if terms.threshold and terms.off >= terms.threshold:
            return ("off", "must be less than the threshold")
    elif not 1 <= terms.percent <= 99:
        return ("percent", "must be 1 to 99")
    if terms.skus and terms.category is not None:
        return ("skus", "a category or a list, not both")
    if len(terms.skus) > MOST_SKUS or len(set(terms.skus)) != len(terms.skus):
        return ("skus", f"must be at most {MOST_SKUS} different ones")
    if terms.audience not in AUDIENCES:
        return ("audience", "must be all or new")
    if terms.watch is not None and not 1 <= terms.watch <= MOST_WATCH:
        return ("watch", f"must be 1 to {MOST_WATCH}")
    if not 1 <= total <= MOST_GRANTS:
        return ("total", f"must be 1 to {MOST_GRANTS}")
    return _validity_fault(terms, now, closes)


def _validity_fault(terms: Terms, now: datetime, closes: datetime | None) -> Fault | None:
    if terms.valid_seconds is not None and not LEAST_VALID <= terms.valid_seconds <= MOST_VALID:
        return ("valid_seconds", f"must be {LEAST_VALID} to {MOST_VALID}")
    if terms.valid_until is None:
        return None
    if terms.valid_seconds is not None:
        return ("valid_until", "a length or a moment, not both")
    earliest, latest = (closes or now) + timedelta(seconds=LEAST_VALID), now + timedelta(seconds=MOST_VALID)
    if not earliest <= terms.valid_until <= latest:
        return ("valid_until", "must be a minute after the last claim at least, and within a year")
    return None


def in_scope(terms: Terms, line: Line) -> bool:
    """Whether this coupon looks at the line at all."""
    if terms.skus:
        return line.sku in terms.skus
    return terms.category is None or line.category == terms.category


def discount(terms: Terms, lines: Sequence[Line]) -> int:
    """Fen off an order of these lines: 0 when those in scope do not reach the threshold; at least 1 fen of the whole stays to be paid.

    A percentage is taken of the sum in scope, once, and rounded down: a part of a fen stays with the shop.
    """
    base = sum(line.fen for line in lines if in_scope(terms, line))
    if base < terms.threshold:
        return 0
    gain = terms.off if terms.percent is None else min(terms.off, base * terms.percent // 100)
    return max(0, min(gain, base, sum(line.fen for line in lines) - 1))


def fits(held: Held, basket: Basket, now: datetime) -> tuple[int, str | None]:
    """(its discount on this order, None), or (0, why it cannot be used there):
    locked, used, void, expired, group, stacking, audience, scope, threshold."""
    gain = discount(held.terms, basket.lines)
    if held.state == "LOCKED" and held.order == basket.no:
        return gain, None  # it was found good when it was locked, and the order's lines do not change
    why = _unusable(held, now) or _unfit(held.terms, basket, gain)
    return (0, why) if why else (gain, None)


def _unusable(held: Held, now: datetime) -> str | None:
    if held.state != "CLAIMED":
        return held.state.lower()
    return "expired" if over(held.until, now) else None


def _unfit(terms: Terms, basket: Basket, gain: int) -> str | None:
    stacking = STACKS.get((terms.kind, basket.channel), "stacking")
    if stacking is not None:
        return stacking
    if terms.audience == "new" and not basket.new:
        return "audience"
    if not any(in_scope(terms, line) for line in basket.lines):
        return "scope"
    return None if gain > 0 else "threshold"


def over(until: datetime | None, now: datetime) -> bool:
    """Whether its time has passed."""
    return until is not None and until <= now


def welcomed(held: Iterable[Held], no: str) -> bool:
    """Whether another order than `no` has one of these new customer's coupons: two unpaid orders would else both be the first."""
    return any(one.terms.audience == "new" and one.order not in (None, no) for one in held)


def as_of(basket: Basket, held: Iterable[Held]) -> Basket:
    """The basket with what its buyer's hand says of who is new."""
    return replace(basket, new=basket.new and not welcomed(held, basket.no))


def choose(held: Collection[Held], basket: Basket, now: datetime) -> tuple[list[tuple[Held, int]], list[tuple[Held, str]]]:
    """All of them: those usable with their discounts, the best first (of equals the one that ends first, then the older one), and the
    others with why not."""
    usable: list[tuple[Held, int]] = []
    others: list[tuple[Held, str]] = []
    for one in held:
        gain, why = fits(one, basket, now)
        if why is None:
            usable.append((one, gain))
        else:
            others.append((one, why))
    usable.sort(key=lambda found: (-found[1], found[0].until is None, found[0].until or now, found[0].id))
    return usable, others


def title(terms: Terms) -> tuple[str, str]:
    """What the card says, (zh, en)."""
    off = _yuan(terms.off)
    if terms.percent is None:
        zh, en = (f"立减 ¥{off}" if not terms.threshold else f"减 ¥{off}"), f"¥{off} off"
    else:
        tenths, rest = divmod(100 - terms.percent, 10)
        zh, en = f"{tenths}{f'.{rest}' if rest else ''} 折，最多减 ¥{off}", f"{terms.percent}% off, up to ¥{off}"
    if not terms.threshold:
        return zh, en
    return f"满 ¥{_yuan(terms.threshold)} {zh}", f"{en}{',' if terms.percent else ''} from ¥{_yuan(terms.threshold)}"


def _yuan(fen: int) -> str:
    yuan, rest = divmod(fen, 100)
    return f"{yuan}.{rest:02d}" if rest else str(yuan)
