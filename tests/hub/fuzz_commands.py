"""Commands of every kind, each with parts of it spoilt. A case is a number: the same seed and number make the same text."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

LIMIT = 4096  # bytes of a message: the default of hub_inbound_bytes
DEEP = (1, 5, 100, 127, 128, 200, 900, 1900)  # nesting; JSON parsers give up between 128 and 1,000
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_-"
TEXTS = (
    "", " ", "hi", "好", "🍵" * 50, "好" * 200, "a" * 1000, "a" * 1001, "\x00", "\u200b", "\u202eevil", "e\u0301" * 100, "\ufdfa" * 60,
    "加微信", "x\n\ty", "'; DROP TABLE orders;--", "{r1}", "../../etc/passwd", "%s%n", "${jndi}", "<script>", "ß" * 99, "\ufffe\uffff",
)  # fmt: skip
# As they stand in JSON; what Python would not write.
RAW = (
    "null", "true", "false", "0", "-0", "-1", "1.0", "1e3", "1E400", "-1e-400", "9007199254740991", "9007199254740992",
    "18446744073709551616", "9" * 400, "0.1", "[]", "{}", "[[]]", '{"a":{}}', '""', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"',
    '"\\ud83c\\udf75"', '"\\x"', '"\\u12"', "NaN", "Infinity", "-Infinity", "01", "+1", ".5", "1.", "0x10", "1_000", "'a'", "undefined",
    "//", "/**/", "[1,]", "{,}", '{"a":1,}', '"' + "k" * 300 + '"',
)  # fmt: skip
HEADS = (
    b"{}", b'{"alg":"none"}', b'{"alg":"HS256"}', b'{"alg":["HS256"]}', b'{"alg":"HS256","kid":{}}', b'{"alg":"HS256","crit":[]}',
    b"[" * 1100, b"\xff",
)  # fmt: skip
CLAIMS = (b"{}", b'{"sub":"s:1","role":"owner","aud":"socket","exp":9999999999,"iat":0}', b"[" * 300, b"null", b'"\xff"')


@dataclass(frozen=True, slots=True)
class Shop:
    """What there is to ask for: offers in the room (a sale, a coupon) and places."""

    sale: int
    coupon: int
    places: tuple[str, ...] = ("S1", "S2")


@dataclass(slots=True)
class Case:
    """A command's text and the id it was given; `whole` when nothing of it was spoilt."""

    number: int
    raw: bytes
    kind: str
    whole: bool


def _word(chance: random.Random, size: int = 12) -> str:
    return "".join(chance.choices(LETTERS, k=size))


def _good(chance: random.Random, shop: Shop) -> tuple[str, dict[str, Any]]:
    line = {"offer": shop.sale, "qty": chance.choice((1, 1, 2)), "version": 1}
    odd = [line | {"offer": chance.randint(0, 9)}, line | {"version": 2**53 - 1}]
    kinds: tuple[Callable[[], tuple[str, dict[str, Any]]], ...] = (
        lambda: ("say", {"cid": _word(chance), "text": chance.choice(TEXTS)[:1000]}),
        lambda: ("like", {"n": chance.randint(1, 20)}),
        lambda: ("buy", {"key": _word(chance), "lines": [line], "at": list(shop.places)}),
        lambda: ("buy", {"key": _word(chance, 64), "try": 2, "lines": [line] * 3, "at": ["S2"]}),
        lambda: ("buy", {"key": _word(chance), "lines": odd, "at": ["X"]}),
        lambda: ("claim", {"key": _word(chance), "offer": chance.choice((shop.coupon, shop.sale, 99))}),
        lambda: ("ask", {"key": _word(chance)}),
        lambda: ("refresh", {"token": token(chance)}),
        lambda: ("ping", {"at": chance.getrandbits(53)}),
        lambda: ("hello", {"v": 1, "token": token(chance), "room": "r1", "s": chance.getrandbits(53), "e": _word(chance)}),
    )
    return chance.choice(kinds)()


def token(chance: random.Random) -> str:
    """Something that looks like a token and is none of ours."""
    parts = [base64.urlsafe_b64encode(chance.choice(some)).rstrip(b"=").decode() for some in (HEADS, CLAIMS, (b"", b"x" * 32))]
    three = ".".join(parts)
    return chance.choice((three, three, three[:-1], three * 2, ".".join(parts[:2]), "x", "..", "é.ü.ß", "a" * 2048, " "))[:2048]


def case(seed: int, number: int, shop: Shop) -> Case:
    """One case; its id is its number plus one. A third is whole, the rest has one to three things wrong."""
    chance = random.Random(seed * 1_000_000 + number)
    kind, data = _good(chance, shop)
    text = orjson.dumps({"id": number + 1, "t": kind, "d": data}).decode()
    whole = chance.random() < 0.33
    for _ in range(0 if whole else chance.choice((1, 1, 1, 2, 3))):
        text = chance.choice(SPOIL)(chance, text)
    raw = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()
    return Case(number + 1, raw if len(raw) <= LIMIT else raw[:LIMIT].decode("utf-8", "ignore").encode(), kind, whole)


def first(seed: int, number: int, room: str, known: str) -> bytes:
    """What a socket says first: mostly a hello, good but for one thing. `known`: a token that is good."""
    chance = random.Random(-seed * 1_000_000 - number - 1)
    data: dict[str, Any] = {"v": 1, "token": chance.choice((known, known, token(chance))), "room": room}
    if chance.random() < 0.3:
        data |= {"e": _word(chance), "s": chance.getrandbits(53), "p": chance.getrandbits(53)}
    text = orjson.dumps({"id": 1, "t": chance.choice(("hello", "hello", "hello", "buy", "ping", "x")), "d": data}).decode()
    if chance.random() < 0.6:
        text = chance.choice(SPOIL)(chance, text)
    return text.encode("utf-8", "replace")[:LIMIT].decode("utf-8", "ignore").encode()


# what goes wrong


def _at(chance: random.Random, text: str, marks: str) -> int:
    """A place right after one of these characters; 0 when there is none."""
    places = [n + 1 for n, c in enumerate(text) if c in marks]
    return chance.choice(places) if places else 0


def _end_of_value(text: str, start: int) -> int:
    """Where the JSON value that begins here ends, strings and brackets respected."""
    depth, quoted, at = 0, False, start
    while at < len(text):
        c = text[at]
        if quoted:
            at += c == "\\"
            quoted = c != '"'
        elif c == '"':
            quoted = True
        elif c in "[{":
            depth += 1
        elif c in "]}," and not depth:
            return at
        elif c in "]}":
            depth -= 1
        at += 1
    return len(text)


def _other_value(chance: random.Random, text: str) -> str:
    start = _at(chance, text, ":[")
    value = chance.choice((chance.choice(RAW), orjson.dumps(chance.choice(TEXTS)).decode()))
    return text[:start] + value + text[_end_of_value(text, start) :] if start > 0 else value


def _deep(chance: random.Random, text: str) -> str:
    start, depth = _at(chance, text, ":["), chance.choice(DEEP)
    opens, closes = chance.choice((("[", "]"), ('{"a":', "}")))
    end = _end_of_value(text, start)
    depth = min(depth, (LIMIT - len(text)) // (len(opens) + 1))
    return text[:start] + opens * depth + text[start:end] + closes * chance.choice((depth, depth, depth - 1)) + text[end:]


def _extra(chance: random.Random, text: str) -> str:
    start = _at(chance, text, "{")
    name = chance.choice(("id", "t", "d", "key", "text", "n", "__proto__", "", "好", "\\u0000", "x" * 60, "x" * 2500, _word(chance)))
    return f'{text[:start]}"{name}":{chance.choice(RAW)},{text[start:]}' if start > 0 else text


def _twice(chance: random.Random, text: str) -> str:
    start = _at(chance, text, "{,")
    end = _end_of_value(text, start)
    return f"{text[:end]},{text[start:end]}{text[end:]}"


def _less(chance: random.Random, text: str) -> str:
    start = _at(chance, text, "{,[")
    end = _end_of_value(text, start)
    return text[:start] + text[end + (text[end : end + 1] == ",") :] if start > 0 else ""


def _long(chance: random.Random, text: str) -> str:
    size = chance.choice((LIMIT - 1, LIMIT, LIMIT, 2000)) - len(text.encode("utf-8", "replace"))
    start = _at(chance, text, chance.choice((":,", '"')))
    return text[:start] + chance.choice((" ", "\n", "x")) * size + text[start:]


def _letters(chance: random.Random, text: str) -> str:
    at = chance.randrange(len(text) + 1)
    other = chance.choice(("", "", '"', "\\", ",", "}", "]", "\x00", "\x1f", "好", "\ufeff", "\u2028", _word(chance, 2)))
    return text[:at] + other + text[at + 1 :]


def _cut_short(chance: random.Random, text: str) -> str:
    return text[: chance.randrange(len(text) + 1)]


def _other_frame(chance: random.Random, text: str) -> str:
    quoted = orjson.dumps(text).decode()
    return chance.choice((f"[{text}]", f"{text}{text}", f" {text}\n", chance.choice(RAW), quoted, f"\ufeff{text}", "[" * LIMIT))


SPOIL: tuple[Callable[[random.Random, str], str], ...] = (
    _other_value, _other_value, _other_value, _deep, _extra, _extra, _twice, _less, _long, _letters, _cut_short, _other_frame,
)  # fmt: skip
