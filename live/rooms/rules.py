"""What may be said, and how a show goes on. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from live.people.rules import invisible

FOR_GOOD = 2**53 - 1  # epoch ms of a mute without an end: the largest number JavaScript counts exactly
PHASES = {"draft": frozenset({"live"}), "live": frozenset({"ended"}), "ended": frozenset({"live"})}  # an ended show may be opened again

# A short list to start from: fraud and contact hawking, which every live room sees first. Shops add their own with LIVE_COMMENT_WORDS.
WORDS = ("加微信", "加v信", "刷单", "代付", "博彩", "办证", "free bitcoin", "casino", "viagra")

_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u00ad]")
_SPACES = re.compile(r"\s+")


def may_go(phase: str, to: str) -> bool:
    """Whether a room may go from one phase to another."""
    return to in PHASES.get(phase, frozenset())


def clean(text: str) -> str:
    """A comment as it is shown: composed, without control, zero-width and direction characters, single spaces."""
    composed = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    kept = "".join(" " if invisible(c) else c for c in composed)
    return _SPACES.sub(" ", kept).strip()


def folded(text: str) -> str:
    """A comment as the word list reads it: width, case, spaces, punctuation and repeats do not hide a word."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    letters = [c for c in plain if unicodedata.category(c)[0] in "LN"]
    return "".join(c for i, c in enumerate(letters) if i == 0 or c != letters[i - 1])


def fold_words(words: Sequence[str]) -> tuple[str, ...]:
    """A word list as `fault` reads it."""
    return tuple(sorted({folded(word) for word in words if folded(word)}))


def fault(text: str, limit: int, words: Sequence[str]) -> str | None:
    """Why a cleaned comment may not be said: empty, too_long, bad_words; None when it may. `words` come from `fold_words`."""
    if not text:
        return "empty"
    if len(text) > limit:
        return "too_long"
    plain = folded(text)
    return "bad_words" if any(word in plain for word in words) else None
