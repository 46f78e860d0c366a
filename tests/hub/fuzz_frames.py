"""Streams of frames made from a grammar, then spoilt; and what RFC 6455 says of each, read by a parser that shares no code with the hub.

A case is a number: the same seed and number make the same bytes in the same cuts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import orjson

from live.protocol.codes import Code
from tests.hub.peer import BINARY, CLOSE, CONT, PING, PONG, TEXT, Frame, close, frame, masked, request

LIMIT = 4096  # bytes of a message: the default of hub_inbound_bytes
PIECES = 64  # frames of a message: FRAGMENTS of live/hub/connection.py
KNOWN = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})  # codes a client may close with
ECHO = -1  # an end that repeats the client's close frame
CODES = frozenset(Code)
HANDSHAKE = request()
WORDS = ("a", "茶", "🍵", "é", "e\u0301", "\u202e", "\ufeff", " ", "\\u8336", "\\ud800", "\x7f", "\\\\")
BAD_UTF8 = (b"\x80", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe8\x8c", b"\xf0\x9f\x8d", b"\xf8\x88\x80\x80\x80")
SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 124, 125, 126, 127, 128, 1000, LIMIT - 1, LIMIT, LIMIT + 1, 65535, 65536)
CLOSE_CODES = (0, 1, 999, 1000, 1001, 1003, 1004, 1005, 1006, 1007, 1011, 1014, 1015, 1016, 2999, 3000, 4000, 4501, 4999, 5000, 65535)
NOISE = ("", "null", '"', "{" * 9, "[" * 300, "-1e999", "茶" * 20, '{"id":1,"t":"x"}', '{"id":1,"t":"say","d":{}}', '{"id":1,"t":"ping"}}')


@dataclass(slots=True)
class Case:
    """What arrives. `first`: with the handshake or in place of it; `segments`: afterwards, by a known person outside any room."""

    first: bytes
    segments: list[bytes] = field(default_factory=list)
    told: dict[bytes, tuple[int, int]] = field(default_factory=dict)  # messages that are pings of ours: their id and `at`


def case(seed: int, number: int) -> Case:
    """One case. One in twenty spoils the handshake, one in twenty does not wait for its answer."""
    chance = random.Random(seed * 1_000_000 + number)
    found = Case(HANDSHAKE)
    stream = b"".join(_items(chance, found.told))
    if chance.random() < 0.4:
        stream = _spoilt(chance, stream)
    if number % 20 == 0:
        found.first = _spoilt(chance, request(f"GET /{chance.choice(('ws', 'ws?a=b', 'healthz', 'metrics', 'x'))} HTTP/1.1"))
        cuts = _cut(chance, found.first + stream)
        found.first, found.segments = cuts[0], cuts[1:]
    elif number % 20 == 1:
        found.first += stream
    else:
        found.segments = _cut(chance, stream)
    return found


# the grammar


def _text(chance: random.Random, told: dict[bytes, tuple[int, int]]) -> bytes:
    """A message's text: mostly a ping whose answer shows that every byte of it arrived."""
    kind = chance.random()
    if kind < 0.7:
        number, at = len(told) + 1, chance.getrandbits(53)
        room = chance.choice(SIZES[:-3]) if kind < 0.3 else 0
        raw = (b'{"id":%d,"t":"ping","d":{"at":%d}}' % (number, at)).ljust(room)
        if kind < 0.1:
            raw = raw.strip().rjust(room)
        told[raw] = (number, at)
        return raw
    if kind < 0.9:
        words = "".join(chance.choices(WORDS, k=chance.choice((0, 1, 5, 60, 600))))
        return f'{{"id":77,"t":"say","d":{{"cid":"12345678","text":"{words}"}}}}'.encode()[: LIMIT + 9]
    return chance.choice(NOISE).encode()


def _control(chance: random.Random) -> bytes:
    return frame(chance.choice((PING, PING, PONG)), chance.randbytes(chance.choice((0, 1, 8, 124, 125))))


def _message(chance: random.Random, told: dict[bytes, tuple[int, int]]) -> Iterator[bytes]:
    raw = _text(chance, told)
    if chance.random() < 0.5:
        yield frame(TEXT, raw, mask=chance.randbytes(4), wide=chance.choice((0, 0, 0, 2, 8)))
        return
    count = chance.choice((1, 1, 2, 2, 3, 5)) if chance.random() < 0.96 else chance.choice((20, PIECES - 1))
    at = sorted(chance.choices(range(len(raw) + 1), k=count))
    for n, (start, end) in enumerate(zip([0, *at], [*at, len(raw)], strict=True)):
        yield frame(CONT if n else TEXT, raw[start:end], fin=n == count, mask=chance.randbytes(4))
        if n < count and chance.random() < 0.2:
            yield _control(chance)


def _fault(chance: random.Random) -> bytes:
    payload = chance.randbytes(chance.choice(SIZES[:13]))
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: frame(chance.randrange(16), payload, rsv=chance.randrange(1, 8)),
        lambda: frame(chance.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15)), payload),
        lambda: frame(chance.choice((TEXT, BINARY, CLOSE, PING, PONG)), payload, mask=None),
        lambda: frame(CONT, payload, fin=chance.random() < 0.5),
        lambda: frame(TEXT, b"{", fin=False) + frame(chance.choice((TEXT, BINARY)), b"}"),
        lambda: frame(chance.choice((CLOSE, PING, PONG)), payload[:125], fin=False),
        lambda: frame(chance.choice((CLOSE, PING, PONG)), chance.randbytes(chance.choice((126, 127, 300, LIMIT)))),
        lambda: frame(BINARY, payload, fin=chance.random() < 0.5),
        lambda: frame(TEXT, says=chance.choice((LIMIT + 1, 65535, 65536, 2**31, 2**63 - 1, 2**63, 2**64 - 1)), mask=payload[:4].ljust(4)),
        lambda: frame(TEXT, b'"' + chance.choice(BAD_UTF8) + b'"'),
        lambda: frame(TEXT, b'"\xe8', fin=False) + frame(CONT, chance.choice((b"\x8c\xb6", b"\x8c", b"x", b"\xe8")) + b'"'),
        lambda: frame(TEXT, b" " * (LIMIT // 2), fin=False) + frame(CONT, b" " * (LIMIT // 2 + chance.choice((-1, 0, 1, 2)))),
        lambda: frame(TEXT, fin=False) + frame(CONT, fin=False) * chance.choice((PIECES - 2, PIECES - 1, PIECES)) + frame(CONT),
    )
    return chance.choice(kinds)()


def _close(chance: random.Random) -> bytes:
    if chance.random() < 0.3:
        return frame(CLOSE, chance.choice((b"", b"\x03", b"\x03\xe8", bytes(2))))
    return close(chance.choice(CLOSE_CODES), chance.choice((b"", b"bye", "再见".encode(), b"x" * 123, *BAD_UTF8)))


def _items(chance: random.Random, told: dict[bytes, tuple[int, int]]) -> Iterator[bytes]:
    for _ in range(chance.choice((1, 1, 2, 3, 5))):
        kind = chance.random()
        if kind < 0.5:
            yield from _message(chance, told)
        elif kind < 0.65:
            yield _control(chance)
        elif kind < 0.9:
            yield _fault(chance)
        else:
            yield _close(chance)


def _spoilt(chance: random.Random, stream: bytes) -> bytes:
    """One to three accidents of the kind a broken proxy, a bug or an attacker has."""
    raw = bytearray(stream)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at = chance.randrange(min(len(raw), chance.choice((4, 16, 64, LIMIT))) + 1)
        kind = chance.randrange(7)
        if kind == 0 and at < len(raw):
            raw[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and at < len(raw):
            raw[at] = chance.choice((0, 1, 0x7D, 0x7E, 0x7F, 0x80, 0x81, 0x88, 0x89, 0xFE, 0xFF, chance.randrange(256)))
        elif kind == 2:
            del raw[at : at + chance.choice((1, 2, 4, 8))]
        elif kind == 3:
            raw[at:at] = chance.randbytes(chance.choice((1, 2, 4, 8)))
        elif kind == 4:
            raw[at:at] = raw[: chance.choice((2, 6, 14, 60))]
        elif kind == 5:
            del raw[at:]
        else:
            raw += chance.randbytes(chance.choice((1, 10, 200)))
    return bytes(raw)


def _cut(chance: random.Random, stream: bytes) -> list[bytes]:
    """The stream as segments. Now and then every byte by itself, for as long as that is cheap."""
    kind = chance.random()
    if kind < 0.4 or not stream:
        return [stream]
    if kind < 0.45:
        return [*(stream[n : n + 1] for n in range(min(60, len(stream)))), stream[60:]]
    at = sorted(chance.choices(range(len(stream) + 1), k=chance.choice((1, 2, 3, 6))))
    return [stream[start:end] for start, end in zip([0, *at], [*at, len(stream)], strict=True)]


# what the RFC says of it


@dataclass(slots=True)
class Story:
    """What a right server does with a stream: whole messages, pongs owed, and how it may end. `sure`: that many pongs come in any case."""

    messages: list[bytes] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    sure: int = 0
    ends: set[int] = field(default_factory=set)
    echo: bytes = b""
    must: bool = False  # all that is wrong has arrived: it has to be answered


def read(segments: list[bytes]) -> Story:
    """The story of these segments.

    A fault a server finds when it acts on a message (1003, 1007, 1009) may come after one its parser finds later in the same segment.
    """
    stream, story = b"".join(segments), Story()
    parts: list[bytes] | None = None
    at, until = 0, len(stream)
    while at < until:
        head = _head(stream, at)
        if head is None:
            break
        opcode, fin, start, size, wrong = head
        faults = wrong | _out_of_turn(opcode, size, parts)
        whole = start + size + 4 <= len(stream)
        payload = masked(stream[start + 4 : start + 4 + size], stream[start : start + 4]) if whole and 1002 not in wrong else b""
        at = start + 4 + size
        if not faults and whole:
            if opcode in (TEXT, CONT):
                parts = [*(parts or []), payload]
                faults = _of_message(parts, fin)
                if fin and not faults and not story.ends:
                    story.messages.append(b"".join(parts))
                parts = None if fin else parts
            elif opcode == CLOSE:
                faults = _of_close(payload) or ({ECHO} if parts is None else {ECHO, 1002})
                story.echo = payload
            elif opcode == PING:
                story.pongs.append(payload)
                story.sure += not story.ends
        if not faults:
            continue
        story.must = story.must or whole
        story.ends |= faults
        if faults & {1002, ECHO} or not whole:
            break
        until = min(until, _end_of_segment(segments, at))
        parts = None if fin else [payload]
    return story


def _head(stream: bytes, at: int) -> tuple[int, bool, int, int, set[int]] | None:
    """Opcode, FIN, place of the mask, size, and what is wrong with the header alone. None: not all of it is there."""
    if len(stream) < at + 2:
        return None
    first, second = stream[at], stream[at + 1]
    opcode, size, start = first & 15, second & 127, at + 2
    if opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15) or not second & 128:
        return opcode, True, start, -4, {1002}  # wrong with no more than these two bytes: the frame counts as whole
    if size > 125:
        wide = 2 if size == 126 else 8
        if len(stream) < start + wide:
            return None
        size, start = int.from_bytes(stream[start : start + wide], "big"), start + wide
    wrong = set()
    if first & 0x70 or (opcode >= 8 and (size > 125 or not first & 128)):
        wrong.add(1002)
    if size > LIMIT:
        wrong.add(1009)
    return opcode, bool(first & 128), start, size, wrong


def _out_of_turn(opcode: int, size: int, parts: list[bytes] | None) -> set[int]:
    found = set()
    if (opcode == CONT and parts is None) or (opcode in (TEXT, BINARY) and parts is not None):
        found.add(1002)
    if opcode == BINARY:
        found.add(1003)
    if opcode in (CONT, TEXT, BINARY) and parts is not None and sum(map(len, parts)) + size > LIMIT:
        found.add(1009)  # also of a frame that is out of turn: which of its faults is told first is nobody's business
    return found


def _of_message(parts: list[bytes], fin: bool) -> set[int]:
    if len(parts) > PIECES:
        return {1009}
    return {1007} if fin and not _is_utf8(b"".join(parts)) else set()


def _of_close(payload: bytes) -> set[int]:
    found = set()
    if len(payload) == 1 or (payload and int.from_bytes(payload[:2], "big") not in KNOWN):
        found.add(1002)
    if not _is_utf8(payload[2:]):
        found.add(1007)
    return found


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8", "strict")
    except UnicodeDecodeError:
        return False
    return True


def _end_of_segment(segments: list[bytes], at: int) -> int:
    total = 0
    for segment in segments:
        total += len(segment)
        if total >= at:
            break
    return total


# what the hub did, against it


def against(story: Story, told: dict[bytes, tuple[int, int]], said: list[Frame]) -> str | None:
    """The difference between what a hub said and what it should have, in a few words; None when there is none."""
    texts = [payload for opcode, payload in said if opcode == TEXT]
    pongs = [payload for opcode, payload in said if opcode == PONG]
    closes = [payload for opcode, payload in said if opcode == CLOSE]
    if pongs != story.pongs[: len(pongs)] or len(pongs) < story.sure:
        return "other pongs than owed"
    if closes:
        end = int.from_bytes(closes[0][:2], "big")
        if not (end in story.ends or (ECHO in story.ends and closes[0] == story.echo)):
            return f"closed with {end}, not one of {sorted(story.ends)}" if story.ends else f"closed with {end} for nothing"
    elif story.must:
        return f"open, though it should have closed with one of {sorted(story.ends)}"
    elif len(texts) < len(story.messages):
        return "a message without an answer"
    return against_answers(story.messages, told, texts)


def against_answers(messages: list[bytes], told: dict[bytes, tuple[int, int]], texts: list[bytes]) -> str | None:
    """Answers come in order, one a message; a ping of ours has its own id and `at` back."""
    if len(texts) > len(messages):
        return "more answers than messages"
    for message, raw in zip(messages, texts, strict=False):
        body = orjson.loads(raw)
        if "id" not in body or ("ok" in body) == ("no" in body) or ("no" in body and body["no"]["code"] not in CODES):
            return "no answer of the protocol"
        if message in told and (body["id"], body.get("ok", {}).get("at")) != told[message]:
            return "the answer to something else"
    return None
