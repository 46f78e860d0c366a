"""A flash coupon: `off` fen from orders of `threshold` fen on. It never makes an order free. A fault is (field, why)."""

from __future__ import annotations

Fault = tuple[str, str]

MOST_OFF = 10_000_000  # a hundred thousand yuan off is a slip of the keyboard
MOST_GRANTS = 1_000_000  # the largest batch that live platforms allow

# Grant: CLAIMED -> LOCKED by an order at checkout -> USED when it is paid. Back to CLAIMED when the order is cancelled or refunded in full.
MOVES: dict[str, frozenset[str]] = {
    "CLAIMED": frozenset({"LOCKED", "VOID"}),
    "LOCKED": frozenset({"CLAIMED", "USED"}),
    "USED": frozenset({"CLAIMED"}),
    "VOID": frozenset(),
}


def terms_fault(off: int, threshold: int, total: int) -> Fault | None:
    """`threshold` 0 means any order; `total` is how many can be claimed."""
    if not 1 <= off <= MOST_OFF:
        return ("off", f"must be 1 to {MOST_OFF} fen")
    if threshold < 0:
        return ("threshold", "must not be negative")
    if threshold and off >= threshold:
        return ("off", "must be less than the threshold")
    if not 1 <= total <= MOST_GRANTS:
        return ("total", f"must be 1 to {MOST_GRANTS}")
    return None


def discount(off: int, threshold: int, fen: int) -> int:
    """What comes off an order of `fen`: 0 when it does not reach the threshold; at least 1 fen stays to be paid."""
    return 0 if fen < threshold else max(0, min(off, fen - 1))


def unusable(state: str, by: str | None, order_no: str, gain: int) -> str | None:
    """Why this coupon cannot be locked for the order, None if it can. `by`: the order it belongs to; `gain`: its discount there."""
    if state == "LOCKED":
        return None if by == order_no else "locked"
    if state != "CLAIMED":
        return state.lower()
    return None if gain > 0 else "threshold"


def title(off: int, threshold: int) -> tuple[str, str]:
    """What the card says, (zh, en)."""
    if not threshold:
        return f"立减 ¥{_yuan(off)}", f"¥{_yuan(off)} off"
    return f"满 ¥{_yuan(threshold)} 减 ¥{_yuan(off)}", f"¥{_yuan(off)} off from ¥{_yuan(threshold)}"


def _yuan(fen: int) -> str:
    yuan, rest = divmod(fen, 100)
    return f"{yuan}.{rest:02d}" if rest else str(yuan)
