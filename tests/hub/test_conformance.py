"""RFC 6455 as a client sees it: every answer, close code and silence of the hub, byte for byte over real sockets.

What the independent library `websocket-client` can provoke it provokes; what no decent client sends comes from `peer`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio
import websocket

from live.infra import security
from live.infra.db import utc_now
from live.infra.embedded import EmbeddedServers
from tests.hub.peer import ACCEPT, BINARY, CLOSE, CONT, KEY, PING, PONG, TEXT, Door, a_door, close, code_of, command, frame, pieces, request

LIMIT = 4096  # bytes of a message: the default of hub_inbound_bytes
PIECES = 64  # frames of a message: FRAGMENTS of live/hub/connection.py
TEA = "茶".encode()  # three bytes


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    """One hub for every test here: they leave nothing behind but comments."""
    async with a_door(servers.redis_url, tmp_path_factory.mktemp("conform")) as found:
        yield found


@pytest_asyncio.fixture
async def door(hub: Door) -> AsyncIterator[Door]:
    """The hub; no exception leaves a callback of it, whatever a test does to it."""
    escaped: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: escaped.append(context))
    yield hub
    await hub.clear()
    loop.set_exception_handler(None)
    assert escaped == []


# with a client of other people


def other(door: Door) -> websocket.WebSocket:
    """A socket of `websocket-client`. Blocking: only in a thread."""
    return websocket.create_connection(f"ws://127.0.0.1:{door.port}/ws", timeout=10, suppress_origin=True)


def part(opcode: int, data: bytes, fin: int = 1, **bits: int) -> websocket.ABNF:
    return websocket.ABNF(fin=fin, opcode=opcode, mask_value=1, data=data, **bits)


async def test_a_library_of_others_is_served_message_by_message_and_closed_as_it_asks(door: Door) -> None:
    hello = door.hello(1, "g:other")

    def talk() -> tuple[list[bytes], dict[str, Any], int, bytes]:
        ws = other(door)
        ws.send(hello)
        while orjson.loads(ws.recv()).get("id") != 1:
            pass
        text, pongs = command(2, at=7), []
        ws.send_frame(part(TEXT, text[:5], fin=0))
        for payload in (b"", b"between", bytes(range(125))):
            ws.ping(payload)
            ws.pong(b"nobody asked")
            while (got := ws.recv_data(control_frame=True))[0] != PONG:
                pass
            pongs.append(got[1])
        ws.send_frame(part(CONT, text[5:9], fin=0))
        ws.send_frame(part(CONT, text[9:]))
        while (reply := orjson.loads(ws.recv())).get("id") != 2:
            pass
        ws.send_close(3000, "再见".encode())
        while (got := ws.recv_data(control_frame=True))[0] != CLOSE:
            pass
        ws.shutdown()  # type: ignore[no-untyped-call]
        return pongs, reply, got[0], got[1]

    pongs, reply, opcode, payload = await asyncio.to_thread(talk)
    assert pongs == [b"", b"between", bytes(range(125))]
    assert reply["ok"]["at"] == 7
    assert (opcode, payload) == (CLOSE, (3000).to_bytes(2, "big") + "再见".encode())


OTHERS = {
    "reserved bit 1": (part(TEXT, b"x", rsv1=1), 1002), "reserved bit 2": (part(TEXT, b"x", rsv2=1), 1002),
    "reserved bit 3": (part(PING, b"x", rsv3=1), 1002), "ping in fragments": (part(PING, b"x", fin=0), 1002),
    "ping of 126": (part(PING, b"x" * 126), 1002), "continuation of nothing": (part(CONT, b"x"), 1002),
    "binary": (part(BINARY, b"x"), 1003), "not UTF-8": (part(TEXT, b"\xc0\xaf"), 1007), "too large": (part(TEXT, b"x" * (LIMIT + 1)), 1009),
    "not masked": (websocket.ABNF(fin=1, opcode=TEXT, mask_value=0, data=b"x"), 1002),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERS)
async def test_a_library_of_others_reads_why_it_was_closed(door: Door, what: str) -> None:
    wrong, code = OTHERS[what]

    def provoke() -> tuple[int, bytes]:
        ws = other(door)
        ws.send_frame(wrong)
        found: tuple[int, bytes] = ws.recv_data(control_frame=True)
        ws.shutdown()  # type: ignore[no-untyped-call]
        return found

    opcode, payload = await asyncio.to_thread(provoke)
    assert (opcode, code_of(payload)) == (CLOSE, code)


# frames that are wrong by themselves

FAULTS: dict[str, tuple[bytes, int]] = {
    **{f"reserved bits {bits:03b} on {name}": (frame(opcode, b"x", rsv=bits), 1002)
       for bits in (1, 2, 3, 4, 7) for name, opcode in (("text", TEXT), ("ping", PING), ("close", CLOSE))},
    **{f"reserved opcode {opcode}": (frame(opcode, b"x"), 1002) for opcode in (*range(3, 8), *range(11, 16))},
    **{f"opcode {opcode} unmasked": (frame(opcode, b"xx", mask=None), 1002) for opcode in (TEXT, BINARY, CLOSE, PING, PONG)},
    **{f"control {opcode} in fragments": (frame(opcode, b"", fin=False), 1002) for opcode in (CLOSE, PING, PONG)},
    **{f"control {opcode} of {size}": (frame(opcode, b"\x03\xe8" + b"x" * (size - 2)), 1002)
       for opcode in (CLOSE, PING, PONG) for size in (126, 127, 1000, LIMIT)},
    "continuation of nothing": (frame(CONT, b"x"), 1002),
    "continuation of nothing, not the last": (frame(CONT, b"x", fin=False), 1002),
    "text inside a message": (frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
    "binary inside a message": (frame(TEXT, b"{", fin=False) + frame(BINARY, b"}"), 1002),
    "binary": (frame(BINARY, b"{}"), 1003), "binary of nothing": (frame(BINARY), 1003),
    "binary in fragments": (frame(BINARY, b"{", fin=False), 1003),
    "one byte too many": (frame(TEXT, b" " * (LIMIT + 1)), 1009),
    "far too many bytes, only announced": (frame(TEXT, says=2 * LIMIT), 1009),
    "one byte too many, counted over fragments": (b"".join(pieces(b" " * (LIMIT + 1), 2000, 4000, LIMIT)), 1009),
    "65,536 bytes announced": (frame(TEXT, says=65536), 1009), "all but endless": (frame(TEXT, says=2**63 - 1), 1009),
    "more frames than a message may have": (frame(TEXT, fin=False) + frame(CONT, fin=False) * PIECES, 1009),
}  # fmt: skip
NOT_UTF8 = {
    "no lead byte": b"\x80", "no such byte": b"\xff", "overlong": b"\xc0\xaf", "a lone surrogate": b"\xed\xa0\x80",
    "past the last character": b"\xf4\x90\x80\x80", "cut short": TEA[:2], "cut and gone on": TEA[:2] + b"x",
}  # fmt: skip
FAULTS |= {f"text: {name}": (frame(TEXT, b'"' + raw + b'"'), 1007) for name, raw in NOT_UTF8.items()}
FAULTS |= {
    f"text in pieces: {name}": (b"".join(pieces(b'"' + raw + b'"', *range(1, len(raw) + 2))), 1007) for name, raw in NOT_UTF8.items()
}
FAULTS |= {"text that ends in a character": (b"".join(pieces(b"x" + TEA[:2], 2)), 1007)}
# 1004, 1005, 1006 and 1015 are reserved and may not stand in a frame; below 1000, 1016-2999 and from 5000 on there is nothing.
WRONG_CODES = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
FAULTS |= {f"close {code}": (close(code), 1002) for code in WRONG_CODES}
FAULTS |= {f"close: {name}": (close(1000, raw), 1007) for name, raw in NOT_UTF8.items()}
FAULTS |= {"close of one byte": (frame(CLOSE, b"\x03"), 1002)}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_answered_by_its_code_and_nothing_else(door: Door, fault: str) -> None:
    data, code = FAULTS[fault]
    assert await door.fate(data) == [(CLOSE, code)]


@pytest.mark.parametrize("fault", ["binary", "text in pieces: overlong", "close 1005", "one byte too many, counted over fragments"])
async def test_a_fault_is_the_same_fault_byte_by_byte(door: Door, fault: str) -> None:
    data, code = FAULTS[fault]
    told = [bytes([byte]) for byte in data[: LIMIT - 20]]
    assert await door.fate(*told, data[LIMIT - 20 :]) == [(CLOSE, code)]


# closing


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
async def test_a_close_is_echoed_with_code_and_reason(door: Door, code: int) -> None:
    for reason in (b"", b"so long", TEA * 41):  # 123 bytes: all that fits
        peer = await door.open()
        await peer.send(close(code, reason))
        assert await peer.rest() == [(CLOSE, code.to_bytes(2, "big") + reason)]


async def test_a_close_without_a_code_is_echoed_without_one(door: Door) -> None:
    assert await door.fate(frame(CLOSE)) == [(CLOSE, None)]


async def test_a_close_inside_a_message_is_answered_by_a_close(door: Door) -> None:
    # The RFC wants a close in answer and "typically" the same code; a message that was never ended may be called a fault.
    (told,) = await door.fate(frame(TEXT, b"{", fin=False), close(1000))
    assert told in ((CLOSE, 1000), (CLOSE, 1002))


async def test_after_a_close_nothing_is_read_and_nothing_is_said(door: Door) -> None:
    peer, _ = await door.join()
    late = [frame(TEXT, command(5, "say", cid="too-late-1", text="after our close")), frame(PING, b"late"), close(1001)]
    await peer.send(close(1000, b"first") + b"".join(late), *late)
    said = await peer.rest()
    assert said[-1] == (CLOSE, b"\x03\xe8first")
    assert [opcode for opcode, _ in said if opcode in (CLOSE, PONG)] == [CLOSE]
    with pytest.raises(ConnectionError):
        await peer.refused()  # the TCP connection goes, too, though this end never closed it
    assert "after our close" not in await door.comments()


@pytest.mark.parametrize("wrong", [frame(BINARY, b"x"), frame(TEXT, b"\xff"), frame(TEXT, b"x", rsv=4)])
async def test_what_follows_a_fault_is_not_acted_on(door: Door, wrong: bytes) -> None:
    peer, who = await door.join()
    await peer.send(wrong + frame(TEXT, command(5, "say", cid="after-fault", text=f"{who} after a fault")))
    assert [opcode for opcode, _ in await peer.rest()][-1] == CLOSE
    assert f"{who} after a fault" not in await door.comments()


async def test_what_follows_the_hubs_own_close_is_not_acted_on(door: Door) -> None:
    peer, sub = await door.join()
    await security.revoke(door.redis, sub, utc_now())
    while (told := await peer.next())[0] != CLOSE:
        last = told
    assert "bye" in orjson.loads(last[1])
    assert code_of(told[1]) == 4502
    await peer.send(frame(TEXT, command(5, "say", cid="banned-for-good", text="still here")), frame(PING, b"there?"))
    assert {opcode for opcode, _ in await peer.rest()} <= {PONG}  # the one thing the RFC still asks for; then it ends without our echo
    assert "still here" not in await door.comments()


async def test_a_refused_message_and_a_fault_in_one_segment_end_in_a_close_frame_not_in_a_reset(door: Door) -> None:
    for wrong in (frame(CONT, b"x"), frame(TEXT, b"x", rsv=1), frame(TEXT, says=2 * LIMIT)):
        told = await door.fate(frame(TEXT, b"{}") + wrong)  # who did not say hello is closed for its first bad message
        assert told[-1] in ((CLOSE, 4501), (CLOSE, 1002), (CLOSE, 1009))


async def test_codes_clients_make_up_do_not_become_metrics(door: Door) -> None:
    for code in range(3100, 3150):
        assert await door.fate(close(code)) == [(CLOSE, code)]
    await door.clear()
    page = await door.knock(request("GET /metrics HTTP/1.1", Upgrade=None, Connection="close"))
    assert b"live_hub_closed_total{" in page.body
    assert b'code="31' not in page.body


async def test_the_hubs_own_close_ends_with_the_echo(door: Door) -> None:
    peer = await door.open()
    assert (await peer.ask(1))["no"]["code"] == "unauthorised"
    assert "bye" in orjson.loads((await peer.next())[1])
    opcode, payload = await peer.next()
    assert (opcode, code_of(payload)) == (CLOSE, 4501)
    await peer.send(frame(CLOSE, payload))
    assert await peer.rest() == []


async def test_half_a_goodbye_ends_the_connection_after_the_answer(door: Door) -> None:
    peer, _ = await door.join()
    await peer.send(frame(PING, b"last") + frame(TEXT, command(1, at=5)))
    peer.writer.write_eof()
    said = await peer.rest()
    assert (PONG, b"last") in said
    assert [orjson.loads(payload)["ok"]["at"] for opcode, payload in said if opcode == TEXT and payload.startswith(b'{"id":1,')] == [5]
    for start in (b"", b"GET /ws HT", request()[:-2], request() + frame(TEXT, b"{", fin=False), request() + b"\x81\xfe"):
        peer = await door.connect()
        await peer.send(start)
        peer.writer.write_eof()
        assert (await peer.raw())[:12] in (b"", b"HTTP/1.1 101", b"HTTP/1.1 400")


# frames that are right


async def test_every_way_to_write_a_message_is_read(door: Door) -> None:
    peer, _ = await door.join()
    text = command(1, at=9)
    ways: dict[str, list[bytes]] = {
        "one frame": [frame(TEXT, text)],
        "byte by byte": [bytes([byte]) for byte in frame(TEXT, text)],
        "a frame a byte": pieces(text, *range(1, len(text))),
        "as many frames as may be": pieces(text, *([3] * (PIECES - 1))),
        "empty frames at both ends": pieces(text, 0, len(text)),
        "all in one segment": [b"".join(pieces(text, 4, 8))],
        "no mask to speak of": [frame(TEXT, text, mask=b"\x00\x00\x00\x00")],
        "cut in the length": [frame(TEXT, text.ljust(200))[:3], frame(TEXT, text.ljust(200))[3:]],
        "the longest in one frame": [frame(TEXT, text.ljust(LIMIT))],
        "the longest in three frames": pieces(text.ljust(LIMIT), 2000, LIMIT),
        # The RFC binds the sender to the shortest length, not the reader to refuse another; the limit is on what it says either way.
        "length in 2 bytes": [frame(TEXT, text, wide=2)],
        "length in 8 bytes": [frame(TEXT, text, wide=8)],
    }
    for name, segments in ways.items():
        await peer.send(*segments)
        assert (await peer.reply(1))["ok"]["at"] == 9, name


async def test_a_character_cut_in_two_is_whole_again(door: Door) -> None:
    peer, _ = await door.join()
    for number, at in enumerate(((1,), (2,), (4, 5, 6), range(8))):
        text = command(number, "say", cid=f"cut-in-two-{number}", text=f"茶🍵{number}")
        start = text.index(TEA)
        await peer.send(*pieces(text, *(start + n for n in at)))
        assert (await peer.reply(number))["ok"]["cid"] == f"cut-in-two-{number}"
    assert {f"茶🍵{number}" for number in range(4)} <= set(await door.comments())


async def test_control_frames_between_fragments_are_answered_at_once(door: Door) -> None:
    peer, _ = await door.join()
    first, second = pieces(command(1, at=3), 6)
    await peer.send(first)
    for payload in (b"", b"one", bytes(125)):
        await peer.send(frame(PONG, payload), frame(PING, payload))
        while (got := await peer.next())[0] != PONG:
            assert b'"id":1' not in got[1]
        assert got == (PONG, payload)
    await peer.send(second)
    assert (await peer.reply(1))["ok"]["at"] == 3


async def test_a_ping_does_not_count_as_part_of_a_message_near_the_limit(door: Door) -> None:
    peer, _ = await door.join()
    first, second = pieces(command(1, at=3).ljust(LIMIT), LIMIT - 1)
    await peer.send(first, frame(PING, bytes(125)), second)
    while (got := await peer.next())[0] == TEXT:
        pass
    assert got == (PONG, bytes(125))
    assert (await peer.reply(1))["ok"]["at"] == 3


async def test_many_frames_in_one_segment_are_all_answered_in_order(door: Door) -> None:
    peer, _ = await door.join()
    await peer.send(b"".join(frame(PING, b"%d" % n) + frame(TEXT, command(n, at=n)) for n in range(1, 51)))
    pongs: list[int] = []
    replies: list[int] = []
    while len(pongs) + len(replies) < 100:
        opcode, payload = await peer.next()
        body = orjson.loads(payload)
        if opcode == PONG:
            pongs.append(body)
        elif "id" in body:
            replies.append(body["ok"]["at"])
    assert pongs == replies == list(range(1, 51))


# the handshake

GOOD: dict[str, dict[str, Any]] = {
    "plain": {}, "a query": {"start": "GET /ws?from=share HTTP/1.1"}, "the page's origin": {"Origin": "https://shop.example"},
    "words in any case": {"Upgrade": "WebSocket", "Connection": "keep-alive, UPGRADE"},
    "two lines of Connection": {"Connection": ["keep-alive", "Upgrade"]},
    "offers nobody takes": {"Sec_WebSocket_Protocol": "chat, v2", "Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits"},
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
async def test_a_good_handshake_is_accepted_as_the_rfc_computes_it(door: Door, name: str) -> None:
    found = await door.knock(request(**GOOD[name]))
    assert (found.status, found.fields["sec-websocket-accept"]) == (101, ACCEPT)
    assert (found.fields["upgrade"].lower(), found.fields["connection"].lower()) == ("websocket", "upgrade")
    assert not {"sec-websocket-protocol", "sec-websocket-extensions"} & set(found.fields)


BAD: dict[str, tuple[dict[str, Any], int]] = {
    "no key": ({"Sec_WebSocket_Key": None}, 400), "a short key": ({"Sec_WebSocket_Key": KEY[:20] + "=="}, 400),
    "a long key": ({"Sec_WebSocket_Key": "QUJD" * 8}, 400), "a key that is no base64": ({"Sec_WebSocket_Key": "*" * 24}, 400),
    "a key beyond ASCII": ({"Sec_WebSocket_Key": "é" * 24}, 400), "two keys": ({"Sec_WebSocket_Key": [KEY, KEY]}, 400),
    "no version": ({"Sec_WebSocket_Version": None}, 400),
    **{f"version {version}": ({"Sec_WebSocket_Version": version}, 426) for version in ("8", "12", "14", "x", "")},
    **{f"{method}": ({"start": f"{method} /ws HTTP/1.1"}, 405) for method in ("POST", "PUT", "OPTIONS", "BREW")},
    "HTTP/1.0": ({"start": "GET /ws HTTP/1.0"}, 505), "another path": ({"start": "GET /wss HTTP/1.1"}, 404),
    "no Upgrade": ({"Upgrade": None}, 426), "another upgrade": ({"Upgrade": "h2c"}, 426),
    "no Connection": ({"Connection": None}, 426), "Connection without it": ({"Connection": "keep-alive"}, 426),
    **{f"origin {origin}": ({"Origin": origin}, 403)
       for origin in ("https://evil.example", "http://shop.example", "https://shop.example.evil", "https://shop.example:444", "null", "")},
    "two origins": ({"Origin": ["https://shop.example", "https://evil.example"]}, 400),
    "no host": ({"Host": None}, 400), "two hosts": ({"Host": ["a", "b"]}, 400),
    "a long line": ({"X_Long": "x" * 9000}, 431), "many lines": ({"X_Many": ["x"] * 130}, 431),
    "a long address": ({"start": f"GET /ws?{'x' * 9000} HTTP/1.1"}, 414),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_handshake_is_refused_by_its_status(door: Door, name: str) -> None:
    fields, status = BAD[name]
    found = await door.knock(request(**fields))
    assert found.status == status
    assert len(found.body) == int(found.fields["content-length"])
    if status == 405:
        assert found.fields["allow"] == "GET"
    if name.startswith("version"):
        assert found.fields["sec-websocket-version"] == "13"  # RFC 6455 section 4.4: so that the client can come back with ours


async def test_a_request_with_a_body_is_refused_and_its_body_is_no_frame(door: Door) -> None:
    for length in (1, 5, 4000):
        found = await door.knock(request("POST /ws HTTP/1.1", Content_Length=str(length)) + frame(TEXT, b"x" * length)[:length])
        assert found.status in (400, 405)


async def test_a_handshake_in_any_cut_is_the_same_handshake(door: Door) -> None:
    peer = await door.connect()
    await peer.send(*(bytes([byte]) for byte in request()))
    assert (await peer.answer()).status == 101
    await peer.send(frame(PING, b"there?"))
    assert await peer.next() == (PONG, b"there?")


EARLY = {
    "a ping": frame(PING, b"early"), "a message": frame(TEXT, command(1)), "a close": close(1000), "binary": frame(BINARY, b"x"),
    "a reserved opcode": frame(3), "another request": request(), "half a frame": frame(PING, b"early")[:3],
}  # fmt: skip


@pytest.mark.parametrize("what", EARLY)
async def test_bytes_that_do_not_wait_for_the_answer_come_after_it(door: Door, what: str) -> None:
    # A client "MUST wait" (RFC 6455 section 4.1), so either way is right: read them as frames, or refuse. But the answer comes first.
    peer = await door.connect()
    await peer.send(request() + EARLY[what])
    peer.writer.write_eof()
    assert (await peer.heard()).status in (101, 400)


async def test_a_page_is_whole_though_more_was_asked_for(door: Door) -> None:
    page = request("GET /healthz HTTP/1.1", Upgrade=None, Connection="keep-alive")
    for more in (page, request(), b"\x00" * 100, frame(CLOSE)):
        found = await door.knock(page + more)
        assert (found.status, found.body) == (200, b'{"ok":true}')


NOISE = [b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET\r\n\r\n", b"\x81\x02\n\n", b"x" * 9000]


@pytest.mark.parametrize("noise", NOISE)
async def test_what_is_no_request_ends_the_connection(door: Door, noise: bytes) -> None:
    peer = await door.connect()
    await peer.send(noise)
    assert (await peer.raw())[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 414")
