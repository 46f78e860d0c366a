"""Pickup codes, what a ticket may become, and when a desk is locked out.

A code is 40 bits derived from a secret, as 8 symbols and a check symbol, shown 4-4-1. The alphabet is Crockford's base 32: it leaves out
I, L, O and U, so a reader who takes 1 for I or l, or 0 for O, types a symbol that stands for nothing else and is mapped back.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
SYMBOLS = 8  # 40 bits: a guess hits one of 1,000 open tickets once in 10^9 tries
LOOKALIKES = str.maketrans("OILU", "011V")
DASHES = str.maketrans(dict.fromkeys("-\u2010\u2011\u2012\u2013\u2014\u2212"))
ATTEMPTS = 5  # codes of 40 bits collide once in a while among a million tickets; five times in a row would be a bug
QR_PREFIX = "PK:"  # tells a scanner of ours what it reads
LONGEST_INPUT = 64  # characters of typed or scanned text that are looked at

# From state -> states it may become. A collected ticket stays collected, whatever happens to the money.
TRANSITIONS: dict[str, frozenset[str]] = {
    "QUEUED": frozenset({"READY", "VOID"}),
    "READY": frozenset({"COLLECTED", "VOID"}),
    "COLLECTED": frozenset(),
    "VOID": frozenset(),
}

WRONG_ALLOWED = 5  # wrong codes of one clerk's device
WRONG_WINDOW = timedelta(minutes=1)  # within this
LOCKED = timedelta(minutes=15)  # lock it for this
ACCOUNT_ALLOWED = 100  # wrong codes of one account over all devices in an hour: the ceiling of OWASP ASVS
ACCOUNT_WINDOW = timedelta(hours=1)


def may(old: str, new: str) -> bool:
    """Whether a ticket in state `old` may become `new`."""
    return new in TRANSITIONS[old]


def _power_table() -> tuple[list[int], list[int]]:
    """Powers and logarithms of x in GF(32) modulo x^5 + x^2 + 1, whose root generates all 31 of them."""
    powers, logs, value = [0] * 62, [0] * 32, 1
    for exponent in range(31):
        powers[exponent] = powers[exponent + 31] = value
        logs[value] = exponent
        value <<= 1
        if value & 32:
            value ^= 0b100101
    return powers, logs


_POWERS, _LOGS = _power_table()


def check_symbol(symbols: str) -> str:
    """The symbol that makes sum(x^position * symbol) zero over GF(32), the check itself standing at position 0.

    The weights differ and none is zero, so one wrong symbol changes the sum by weight * difference, and a swap of two symbols by
    (difference of weights) * (their difference): neither can be zero. All single errors and all swaps are caught, the check included.
    """
    total = 0
    for position, symbol in enumerate(reversed(symbols), start=1):
        value = ALPHABET.index(symbol)
        if value:
            total ^= _POWERS[_LOGS[value] + position]
    return ALPHABET[total]


def derive(secret: str, order_no: str, location: str, attempt: int = 0) -> str:
    """The code of an order at a store: 9 symbols without dashes. `attempt` > 0 is for the rare case that another ticket has the code."""
    message = f"pickup:{order_no}:{location}" + (f":{attempt}" if attempt else "")
    bits = int.from_bytes(hmac.digest(secret.encode(), message.encode(), hashlib.sha256)[:5], "big")
    symbols = "".join(ALPHABET[(bits >> shift) & 31] for shift in range(35, -1, -5))
    return symbols + check_symbol(symbols)


def keyed_hash(secret: str, code: str) -> str:
    """What is kept of a code. Without the secret nobody can try codes against a stolen table."""
    return hmac.digest(secret.encode(), f"pickup-code:{code}".encode(), hashlib.sha256).hex()


def parse(text: str) -> str | None:
    """A typed or scanned code as 9 symbols; None when it cannot be one. Case, width, blanks, dashes and look-alikes are forgiven."""
    if len(text) > LONGEST_INPUT:
        return None
    # NFKC: a Chinese keyboard types letters and digits of full width.
    bare = "".join(unicodedata.normalize("NFKC", text).upper().split())
    symbols = bare.removeprefix(QR_PREFIX).translate(DASHES).translate(LOOKALIKES)
    if len(symbols) != SYMBOLS + 1 or any(symbol not in ALPHABET for symbol in symbols):
        return None
    return symbols if check_symbol(symbols[:-1]) == symbols[-1] else None


def shown(code: str) -> str:
    """A code as people read it: XXXX-XXXX-X."""
    return f"{code[:4]}-{code[4:8]}-{code[8:]}"


def locked_seconds(device: Sequence[datetime], account: Sequence[datetime], now: datetime) -> int:
    """Seconds for which a desk is still locked, 0 when it is not.

    `device`: moments of wrong codes on this clerk's device; `account`: of this clerk on any device. Attempts made while locked are
    refused before they are looked at and do not count.
    """
    until = now
    moments = sorted(device)
    for first, last in zip(moments, moments[WRONG_ALLOWED - 1 :], strict=False):
        if last - first <= WRONG_WINDOW:
            until = max(until, last + LOCKED)
    recent = sorted(moment for moment in account if now - moment < ACCOUNT_WINDOW)
    if len(recent) >= ACCOUNT_ALLOWED:
        until = max(until, recent[-ACCOUNT_ALLOWED] + ACCOUNT_WINDOW)
    return math.ceil((until - now).total_seconds())
