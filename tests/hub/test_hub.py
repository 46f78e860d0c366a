"""The hub over real sockets."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

import httpx2
import orjson
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from websockets.exceptions import ConnectionClosed

from live.infra import roomlog, security
from live.infra.db import utc_now
from live.infra.keys import room_key
from live.offers.actions import add_stock, clear_shelf
from live.offers.rebuild import rebuild
from live.promotions.flash_sale.actions import end_sale
from live.rooms.actions import mute, pin, withdraw
from tests.hub.conftest import Client, House
from tests.offers.shop import coupon, sale
from workers.ledger import facts


def key(n: int) -> str:
    return f"key-{n:06d}"


def merge(state: dict[str, Any], frames: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client that applies every tick holds: the newest version of each key."""
    for frame in frames:
        for name, (version, value) in frame.get("st", {}).items():
            if name not in state or state[name][0] < version:
                state[name] = [version, value]
    return state


async def closed(client: Client) -> tuple[int, list[dict[str, Any]]]:
    """Wait for the close: its code, and the frames that came before."""
    try:
        while True:
            await client.next()
    except ConnectionClosed as end:
        return (end.rcvd.code if end.rcvd else 1006), client.frames


async def test_a_viewer_gets_the_room_and_then_what_happens_in_it(house: House) -> None:
    client, hello = await house.join("g:1")
    assert hello["rec"] is False
    assert hello["snap"]["st"]["room"][1]["phase"] == "live"
    offer = await sale(house.db, {"S1": 3})
    seq, _, body = await client.event("offer.opened")
    assert body == {"offer": offer, "kind": "sale"}
    opened = await client.until(lambda f: f"offer:{offer}" in f.get("st", {}))
    assert opened["st"][f"left:{offer}"][1] == {"left": {"S1": 3}}
    assert seq == hello["s"] + 1


async def test_you_got_it_is_said_after_the_commit_and_to_one_buyer_per_unit(house: House) -> None:
    offer = await sale(house.db, {"S1": 5}, per_person=1)
    buyers = [(await house.join(f"p:{n}"))[0] for n in range(1, 21)]
    await buyers[0].until(lambda f: f"offer:{offer}" in str(f))
    lines = [{"offer": offer, "qty": 1, "version": 1}]
    replies = await asyncio.gather(*(b.ask("buy", key=key(1), lines=lines, at=["S1"]) for b in buyers))
    winners = [reply["ok"]["order"]["no"] for reply in replies if "ok" in reply]
    assert len(set(winners)) == 5
    assert {reply["no"]["code"] for reply in replies if "no" in reply} == {"sold_out"}
    async with house.db.connection() as connection:
        found = (await connection.exec_driver_sql("SELECT no FROM orders")).scalars().all()
    assert sorted(found) == sorted(winners)
    winner = next(i for i, reply in enumerate(replies) if "ok" in reply)
    own = await buyers[winner].until(lambda f: "own" in f and "id" not in f)
    assert own["own"][0][2]["no"] == replies[winner]["ok"]["order"]["no"]


async def test_a_resent_tap_gives_the_same_order_and_another_body_is_refused(house: House) -> None:
    offer = await sale(house.db, {"S1": 5})
    buyer, _ = await house.join("p:1")
    await buyer.until(lambda f: f"offer:{offer}" in str(f))
    line = {"offer": offer, "qty": 1, "version": 1}
    first = await buyer.ask("buy", key=key(1), lines=[line], at=["S1"])
    again = await buyer.ask("buy", **{"key": key(1), "try": 2, "lines": [line], "at": ["S1"]})
    other = await buyer.ask("buy", **{"key": key(1), "try": 2, "lines": [line | {"qty": 2}], "at": ["S1"]})
    asked = await buyer.ask("ask", key=key(1))
    assert first["ok"] == again["ok"] == asked["ok"]
    assert other["no"]["code"] == "key_reused"


async def test_guests_watch_and_comment_but_do_not_buy(house: House) -> None:
    offer = await coupon(house.db, 5)
    guest, hello = await house.join("g:1")
    assert hello["you"]["known"] is False
    assert (await guest.ask("claim", key=key(1), offer=offer))["no"]["code"] == "identify"
    assert "id" in (await guest.ask("say", cid=key(1), text="你好 hello"))["ok"]
    heard = await guest.until(lambda f: f.get("ch"))
    assert heard["ch"][0]["text"] == "你好 hello"


async def test_a_comment_is_refused_with_its_reason(house: House) -> None:
    guest, _ = await house.join("g:1")
    assert (await guest.ask("say", cid=key(1), text="加 微 信"))["no"]["code"] == "bad_words"
    assert (await guest.ask("say", cid=key(2), text="好" * 201))["no"] == {"code": "too_long", "retry": False, "limit": 200}
    assert (await guest.ask("say", cid=key(3), text="\u200b "))["no"]["code"] == "empty"
    slow = await guest.ask("say", cid=key(4), text="again")
    assert slow["no"]["code"] == "slow_down"
    assert slow["no"]["wait"] > 0
    other, _ = await house.join("g:2")
    async with house.db.begin() as session:
        await mute(session, "r1", "g:2", 10, 1, utc_now())
    await asyncio.sleep(0.4)
    assert (await other.ask("say", cid=key(1), text="hello"))["no"]["code"] == "muted"


async def test_a_withdrawn_comment_leaves_the_screens_and_later_joiners_never_see_it(house: House) -> None:
    guest, _ = await house.join("g:1")
    said = (await guest.ask("say", cid=key(1), text="oops"))["ok"]["id"]
    async with house.db.begin() as session:
        await withdraw(session, "r1", said, utc_now())
    assert (await guest.event("comment.withdrawn"))[2] == {"id": said}
    _, hello = await house.join("g:2")
    assert hello["snap"]["chat"] == []
    assert await house.redis.xlen(room_key("r1", "chat")) == 0  # nor those of a hub that starts later
    assert await house.redis.xlen(room_key("r1", "chat:all")) == 1  # the archive keeps it


async def test_snapshot_plus_events_is_the_new_snapshot_for_every_act(house: House) -> None:
    client, hello = await house.join("g:1")
    held = dict(hello["snap"]["st"])
    offer = await sale(house.db, {"S1": 3, "S2": 2})
    batch = await coupon(house.db, 5)
    async with house.db.begin() as session:
        await pin(session, "r1", offer)
        await add_stock(session, offer, "S1", 4, utc_now())
        await end_sale(session, offer, utc_now())
    await client.event("offer.ended")
    await asyncio.sleep(0.4)
    _, fresh = await house.join("g:2")
    await client.ask("ping")
    assert merge(held, client.frames[1:]) == fresh["snap"]["st"]
    assert fresh["snap"]["st"][f"left:{offer}"][1] == {"left": {"S1": 0, "S2": 0}}
    assert f"offer:{batch}" in held
    async with house.db.begin() as session:
        await clear_shelf(session, utc_now() + timedelta(minutes=1))
    await client.until(lambda f: f.get("st", {}).get(f"offer:{offer}", [0, 1])[1] is None)
    _, cleared = await house.join("g:3")
    assert {name for name in cleared["snap"]["st"] if name.endswith(f":{offer}")} == set()
    seqs = [entry[0] for frame in client.frames[1:] for entry in frame.get("ev", ())]
    assert seqs == list(range(hello["s"] + 1, fresh["s"] + 1))


async def test_a_resumed_socket_gets_exactly_what_it_missed(house: House) -> None:
    client, hello = await house.join("p:1")
    await client.ws.close()
    offers = [await sale(house.db, {"S1": 1}) for _ in range(3)]
    watcher, _ = await house.join("g:9")
    await watcher.until(lambda f: f"offer:{offers[-1]}" in str(f))
    _, back = await house.join("p:1", e=hello["e"], s=hello["s"], p=hello["p"])
    assert back["rec"] is True
    assert [entry[2]["offer"] for entry in back["ev"]] == offers
    assert back["own"] == []
    _, wrong = await house.join("p:1", e="other", s=hello["s"], p=hello["p"])
    assert wrong["rec"] is False
    assert wrong["own"] is None


async def test_a_rebuilt_room_resets_everybody_and_a_tap_in_between_is_told_one_moment(house: House) -> None:
    offer = await sale(house.db, {"S1": 5})
    buyer, hello = await house.join("p:1")
    await buyer.until(lambda f: f"offer:{offer}" in str(f))
    await house.redis.flushall()
    line = {"offer": offer, "qty": 1, "version": 1}
    reply = await buyer.ask("buy", key=key(1), lines=[line], at=["S1"])
    tries = 1
    while "ok" not in reply:  # at once when the rebuild was faster than the tap
        assert (reply["no"]["code"], reply["no"]["retry"]) in (("fenced", True), ("again", True))
        await asyncio.sleep(0.4)
        tries += 1
        reply = await buyer.ask("buy", **{"key": key(1), "try": tries, "lines": [line], "at": ["S1"]})
    assert "order" in reply["ok"]
    reset = (await buyer.until(lambda f: "reset" in f))["reset"]
    assert reset["e"] != hello["e"]
    assert reset["snap"]["st"][f"offer:{offer}"][1]["phase"] == "open"


async def test_a_blip_while_a_new_log_is_begun_still_ends_in_a_reset(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    client, hello = await house.join("g:1")
    look, calls = roomlog.look, itertools.count()

    async def shaky(*args: Any) -> roomlog.Look:
        if next(calls) % 3 == 1:
            raise RedisConnectionError("cut")
        return await look(*args)

    monkeypatch.setattr(roomlog, "look", shaky)
    await rebuild(house.redis, house.db, "r1", facts)
    reset = (await client.until(lambda f: "reset" in f))["reset"]
    assert reset["e"] != hello["e"]
    offer = await sale(house.db, {"S1": 1})
    assert (await client.event("offer.opened"))[2]["offer"] == offer


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x00\x01", 1003),
        ("x" * 5000, 1009),
        ("{}", None),
        ("[" * 3000, None),
        ('{"id":1,"t":"nonsense","d":{}}', None),
        ('{"id":1,"t":"say","d":{"cid":"12345678","text":"x","extra":1}}', None),
        ('{"id":1e400,"t":"ping"}', None),
        ("null", None),
    ],
)
async def test_a_bad_frame_is_a_typed_refusal_or_a_close(house: House, frame: str | bytes, code: int | None) -> None:
    client, _ = await house.join("g:1")
    await client.ws.send(frame)
    if code is None:
        reply = await client.until(lambda f: "no" in f)
        assert reply["no"]["code"] in ("bad_request", "unknown")
        assert "ok" in await client.ask("ping")
    else:
        assert (await closed(client))[0] == code
    _, hello = await house.join("g:2")
    assert hello["you"]["sub"] == "g:2"


async def test_text_that_is_not_utf8_closes_with_1007(house: House) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x81\x82\x00\x00\x00\x00\xff\xfe")
    frame = await reader.readexactly(4)
    assert (frame[0], int.from_bytes(frame[2:4])) == (0x88, 1007)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("seed", range(3))
async def test_random_frames_never_kill_the_hub(house: House, seed: int) -> None:
    chance = random.Random(seed)
    pieces = ['{"id":1,', '"t":', '"say"', '"hello"', '"d":', "{", "}", "[", "]", "null", "1e9", '"key"', ":", ",", '"\\ud800"']
    pieces += ["\u0000", "好"]
    for _ in range(30):
        client = await house.open()
        try:
            for _ in range(chance.randint(1, 4)):
                await client.ws.send("".join(chance.choice(pieces) for _ in range(chance.randint(0, 40))))
            await client.next(1)
        except (ConnectionClosed, TimeoutError):
            pass
        await client.ws.close()
    _, hello = await house.join("g:1")
    assert hello["room"] == "r1"


async def test_who_may_not_come_in_is_told_why(house: House) -> None:
    stale = await house.open()
    reply = await stale.ask("hello", v=1, token=house.token("g:1", seconds=-5), room="r1")
    assert reply["no"]["code"] == "expired"
    assert (await closed(stale))[0] == 4004
    forged = await house.open()
    assert (await forged.ask("hello", v=1, token="x.y.z", room="r1"))["no"]["code"] == "unauthorised"
    assert (await closed(forged))[0] == 4500
    early = await house.open()
    assert (await early.ask("ping"))["no"]["code"] == "unauthorised"
    lost = await house.open()
    await lost.ws.send(orjson.dumps({"id": 1, "t": "hello", "d": {"v": 1, "token": house.token("g:1"), "room": "nowhere"}}).decode())
    code, frames = await closed(lost)
    assert code == 4503
    assert frames[0]["no"]["code"] == "not_found"
    assert frames[1]["bye"]["code"] == 4503


async def test_a_silent_stranger_is_closed_and_a_refreshed_token_is_taken_over(house: House) -> None:
    stranger = await house.open()
    began = time.monotonic()
    assert (await closed(stranger))[0] == 4005
    assert time.monotonic() - began < 10
    client, _ = await house.join("p:1")
    assert (await client.ask("refresh", token=house.token("p:1", seconds=900)))["ok"]["exp"] > 0
    assert (await client.ask("refresh", token=house.token("p:2")))["no"]["code"] == "unauthorised"


async def test_a_logout_closes_the_sockets_within_two_seconds(house: House) -> None:
    client, _ = await house.join("s:1")
    await asyncio.sleep(0.05)
    await security.revoke(house.redis, "s:1", utc_now())
    async with asyncio.timeout(2):
        code, _ = await closed(client)
    assert code == 4502


async def test_a_foreign_origin_is_refused_before_anything_else(house: House) -> None:
    async with httpx2.AsyncClient() as http:
        headers = {
            "Origin": "https://evil.example", "Upgrade": "websocket", "Connection": "Upgrade",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version": "13",
        }  # fmt: skip
        assert (await http.get(f"http://127.0.0.1:{house.port}/ws", headers=headers)).status_code == 403
        assert (await http.get(f"http://127.0.0.1:{house.port}/healthz")).json() == {"ok": True}
        assert (await http.get(f"http://127.0.0.1:{house.port}/metrics")).text.startswith("# HELP")
        through = await http.get(f"http://127.0.0.1:{house.port}/metrics", headers={"x-forwarded-for": "203.0.113.9"})
        assert through.status_code == 403  # by a proxy on this machine, of which we were not told
        assert (await http.get(f"http://127.0.0.1:{house.port}/other")).status_code == 404


async def test_viewers_are_counted_and_likes_summed(house: House) -> None:
    clients = [(await house.join(f"g:{n}"))[0] for n in range(3)]
    await clients[0].ask("like", n=5)
    frame = await clients[1].until(lambda f: f.get("v") == [3, 5])
    assert frame["v"] == [3, 5]


async def test_hammering_is_slowed_and_then_closed(house: House) -> None:
    client, _ = await house.join("g:1")
    reading = asyncio.create_task(closed(client))
    with suppress(ConnectionClosed):
        for number in range(1, 400):
            await client.ws.send(orjson.dumps({"id": number, "t": "ping"}).decode())
            await asyncio.sleep(0)  # who never reads would lose the close frame to a reset
    assert (await reading)[0] == 4006
    assert any(frame.get("no", {}).get("code") == "slow_down" for frame in client.frames)


