"""A coupon for who has watched for some minutes, from sockets to the books."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from live.hub.watching import Watching
from live.infra.keys import room_key
from live.offers.rules import WATCH
from live.promotions.coupon.actions import open_coupon
from live.rooms.actions import edit_room
from live.rooms.live import watch
from tests.hub.conftest import Client, House
from tests.hub.crowd import until

MINUTE = 60_000


async def show_began(house: House, minutes: int) -> None:
    """The show has been on for so long."""
    async with house.db.begin() as session:
        await session.execute(text("UPDATE room SET started_at = :at"), {"at": datetime.now(UTC) - timedelta(minutes=minutes)})
        await edit_room(session, "r1", {"title_zh": "间"})


async def drop(house: House, minutes: int, total: int = 10) -> int:
    """A coupon for who has watched so long; None of them is claimed."""
    async with house.db.begin() as session:
        offer = await open_coupon(
            session, room_id="r1", off=500, threshold=0, total=total, per_person=1, minutes=None, now=datetime.now(UTC), watch=minutes
        )
        assert offer.terms[WATCH] == minutes
    while not await house.redis.hexists(room_key("r1", "state"), f"offer:{offer.id}"):  # type: ignore[misc]
        await asyncio.sleep(0.01)
    return int(offer.id or 0)


async def claim(client: Client, offer: int, key: str) -> dict[str, Any]:
    """The verdict of a tap; it may be pending for a while."""
    reply = await client.ask("claim", key=key, tries=1, offer=offer)
    return reply


async def test_a_claim_says_how_long_is_left_and_goes_through_once_it_is_watched_on_any_device(house: House) -> None:
    await show_began(house, 60)
    offer = await drop(house, 10)
    phone, _ = await house.join("p:1")
    tablet, _ = await house.join("p:1")
    await watch(house.redis, "r1", [("p:1", 6 * MINUTE, 0), ("p:1", 6 * MINUTE, 0)])  # on two devices at another hub
    for device, key in ((phone, "key-two-1"), (tablet, "key-two-2")):
        assert (await claim(device, offer, key))["no"] == {"code": "watch_longer", "retry": False, "minutes": 4}
    await phone.ws.close()
    await tablet.ws.close()
    back, _ = await house.join("p:1")
    assert (await claim(back, offer, "key-three"))["no"]["minutes"] == 4, "a reconnect resets nothing"
    await watch(house.redis, "r1", [("p:1", 30 * MINUTE, 0)])  # nothing of it counts twice: only what lies behind the last span is new
    assert (await claim(back, offer, "key-four1"))["no"]["minutes"] == 4
    other, _ = await house.join("p:2")
    assert (await claim(other, offer, "key-none1"))["no"]["minutes"] == 10
    newcomer, _ = await house.join("p:3")
    await watch(house.redis, "r1", [("p:3", 10 * MINUTE, 0)])
    body = (await claim(newcomer, offer, "key-five1"))["ok"]
    assert body["coupon"]["offer"] == offer
    async with house.db.connection() as connection:
        assert (await connection.execute(text("SELECT array_agg(person) FROM coupon_grant"))).scalar_one() == ["p:3"]


async def test_presence_is_written_when_claiming_and_when_the_last_device_goes(house: House) -> None:
    """The limit is set to a moment at the turnstile, so that real presence reaches it."""
    await show_began(house, 60)
    offer = await drop(house, 1)
    phone, _ = await house.join("p:1")
    tablet, _ = await house.join("p:1")
    await until(lambda: phone.frames, "a frame")

    async def at_the_turnstile() -> None:
        while not await house.redis.hexists(room_key("r1", f"offer:{offer}"), "watch"):  # type: ignore[misc]
            await asyncio.sleep(0.01)
        await house.redis.hset(room_key("r1", f"offer:{offer}"), "watch", "300")  # type: ignore[misc]

    await at_the_turnstile()
    number = 0
    while "no" in (reply := await claim(phone, offer, f"key-{number:05}")):  # it comes by being here, and by nothing else
        assert reply["no"]["code"] in ("watch_longer", "slow_down"), reply
        number += 1
        await asyncio.sleep(0.05)
    assert reply["ok"].get("coupon") or reply["ok"]["pending"]
    await phone.ws.close()
    before = await house.redis.hget(room_key("r1", "watched"), "p:1")  # type: ignore[misc]
    await tablet.ws.close()
    while await house.redis.hget(room_key("r1", "watched"), "p:1") == before:  # type: ignore[misc]
        await asyncio.sleep(0.05)


async def test_200_people_at_once_are_let_through_by_their_own_minutes(house: House) -> None:
    await show_began(house, 60)
    offer = await drop(house, 5, total=200)
    clients = await asyncio.gather(*(house.join(f"p:{n}") for n in range(1, 201)))
    await watch(house.redis, "r1", [(f"p:{n}", 5 * MINUTE if n % 2 else 4 * MINUTE, 0) for n in range(1, 201)])
    answers = await asyncio.gather(*(claim(client, offer, f"key-{n:05}") for n, (client, _) in enumerate(clients)))
    refused = [n for n, answer in enumerate(answers, 1) if "no" in answer]
    assert refused == list(range(2, 201, 2))
    assert {(answers[n - 1]["no"]["code"], answers[n - 1]["no"]["minutes"]) for n in refused} == {("watch_longer", 1)}


async def test_a_hub_that_ends_writes_what_it_has(house: House) -> None:
    """Also of more people than one call takes; who came twice is one."""
    await show_began(house, 60)
    await house.join("g:1")
    watching = Watching(house.redis, "r1")
    for n in range(2500):
        watching.came(f"p:{n}")
        watching.came(f"p:{n}")
    watching.went("p:7")
    await asyncio.sleep(0.01)
    await watching.end()
    held = await house.redis.hgetall(room_key("r1", "watched"))  # type: ignore[misc]
    assert len(held) == 2501, "everybody, and which show it is of"
    assert not watching.since
    assert not watching.over
