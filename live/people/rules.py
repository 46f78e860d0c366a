"""Who may do what, and what a phone, a name, an account, a code and a password must be."""

from __future__ import annotations

import re
import unicodedata
from datetime import timedelta

OWNER, HOST, MODERATOR, CLERK, LEADER = "owner", "host", "moderator", "clerk", "leader"
ROLES = frozenset({OWNER, HOST, MODERATOR, CLERK, LEADER})
PLACED = frozenset({CLERK, LEADER})  # belong to one store, or to one pickup point

_SHOP = frozenset({OWNER})
_SHOW = frozenset({OWNER, HOST})
_TALK = frozenset({OWNER, HOST, MODERATOR})
_DESK = frozenset({OWNER, CLERK, LEADER})

# Every act of the staff and the roles that may do it. What is not here, nobody may do.
MAY: dict[str, frozenset[str]] = {
    "self": ROLES,  # own password, own name, logout
    "share": ROLES,
    "leader.groups": frozenset({OWNER, LEADER}),
    "room.create": _SHOW,
    "room.edit": _SHOW,
    "room.list": _TALK,
    "room.start": _SHOW,
    "room.stop": _SHOW,
    "pin": _SHOW,
    "sale.open": _SHOW,
    "sale.price": _SHOW,
    "coupon.open": _SHOW,
    "coupon.void": _SHOW,
    "group.open": _SHOW,
    "run_sheet": _SHOW,
    "packet.open": _SHOW,
    "draw.open": _SHOW,
    "draw.close": _SHOW,
    "offer.end": _SHOW,
    "offer.list": _SHOW,
    "stock.add": _SHOW,
    "figures": _SHOW,
    "refund.decide": _SHOW,
    "catalog": _SHOW,
    "store.list": _SHOW,
    "mute": _TALK,
    "comment.withdraw": _TALK,
    "console.socket": _TALK,
    "desk": _DESK,
    "store.create": _SHOP,
    "import": _SHOP,
    "staff.create": _SHOP,
    "staff.list": _SHOP,
    "staff.edit": _SHOP,
    "audit": _SHOP,
    "exception.decide": _SHOP,
}

CODE_LIFE = timedelta(minutes=5)
CODE_TRIES = 5  # with 10 codes a day: 50 guesses in 1,000,000 a day and phone
CODE_PAUSE = timedelta(minutes=1)  # between two codes to one phone
CODES_A_DAY = 10
LOGIN_TRIES = 5  # wrong passwords in a row
LOGIN_PAUSE = timedelta(minutes=15)
PASSWORD_LEAST = 10
PASSWORD_MOST = 128
NAME_MOST = 24  # characters; what fits before a comment on a phone
REFRESH_GRACE = 24 * 3600  # s: a phone that slept for hours must not log in by SMS again; only the refresh door allows it
LOGIN_LIFE = 30 * 24 * 3600  # s: however often refreshed, a login ends

_PICTURES = ((0x1F000, 0x1FAFF), (0x1FC00, 0x1FFFD))
_PHONE = re.compile(r"1[3-9][0-9]{9}")  # mainland mobile numbers, as the ministry gives them out
_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9_.-]{1,31}")


def phone(given: str) -> str | None:
    """A mainland mobile number as its 11 digits; None when it is none."""
    digits = re.sub(r"[\s-]", "", given).removeprefix("+86")
    return digits if _PHONE.fullmatch(digits) else None


def account(given: str) -> str | None:
    """A login name: 2 to 32 of a-z 0-9 _ . - in lower case; None when it is none."""
    name = given.strip().lower()
    return name if _ACCOUNT.fullmatch(name) else None


def invisible(letter: str) -> bool:
    """Whether a character is nothing to be seen: control, format, surrogate, private, or none.

    One this Python's tables do not know yet counts as an emoji where Unicode keeps room for them (emoji-data.txt: Extended_Pictographic).
    """
    category = unicodedata.category(letter)
    return category[0] == "C" and not (category == "Cn" and any(first <= ord(letter) <= last for first, last in _PICTURES))


def display_name(given: str | None) -> str:
    """A name others may be shown: one line, nothing invisible, at most 24 characters; empty when nothing is left."""
    text = unicodedata.normalize("NFKC", given or "")
    shown = "".join(" " if letter.isspace() else letter for letter in text if letter.isspace() or not invisible(letter))
    return " ".join(shown.split())[:NAME_MOST].strip()


def masked(name: str) -> str:
    """A name as others may read it on a list: the first character, whatever follows hidden."""
    return f"{name[:1]}**" if name else "**"


def password_fault(password: str, account: str) -> str | None:
    """Why this password will not do. Length is what counts (NIST SP 800-63B); no rules about signs."""
    if len(password) < PASSWORD_LEAST:
        return f"fewer than {PASSWORD_LEAST} characters"
    if len(password) > PASSWORD_MOST:
        return f"more than {PASSWORD_MOST} characters"
    if account and password.strip().lower() == account:
        return "is the account"
    return None
