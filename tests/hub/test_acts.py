"""Old snapshot and what was told since make the new snapshot, for everything that is ever written to a room."""

from __future__ import annotations

import ast
import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

import live
from live.infra import outbox, roomlog
from live.infra.db import utc_now
from live.infra.keys import room_key
from live.offers.actions import add_stock, clear_shelf
from live.offers.parties.queries import board
from live.offers.waitlist import actions as waitlist
from live.orders import actions as orders
from live.orders.unpaid import tell_unpaid
from live.payments.actions import ask_provider
from live.people.following.actions import follow
from live.people.following.queries import counted
from live.pickup.handoff import handoff
from live.promotions.coupon.actions import end_coupon
from live.promotions.coupon.voiding import void_coupon
from live.promotions.draw.actions import clear_draws, close_draw, draw_winners, open_draw
from live.promotions.flash_sale.actions import end_sale, move_sale, open_sale, reprice_sale, tell_started
from live.promotions.group_buy.actions import close_team, end_group
from live.promotions.team.actions import open_teams
from live.protocol.events import CRITICAL, STATE
from live.rooms.actions import begin_stop, create_room, edit_room, mute, pin, start_room, stop_room, unmute, withdraw
from tests.conftest import PICKUP
from tests.hub.conftest import House
from tests.hub.crowd import Viewer, until
from tests.offers.shop import coupon, group, sale
from tests.orders.stage import Provider, after
from tests.payments.due import send_refund

LIVE = Path(live.__file__).parent
TELLS = {"act", "own", "own_many", "count", "count_aside", "house"}  # verbs of live/infra/outbox.py that reach a room
END = {"sale": end_sale, "coupon": end_coupon, "group": end_group}


def tells(node: ast.AST) -> bool:
    """Whether this function writes an outbox row of a room: by a verb, or in SQL of its own."""
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == "outbox" and part.attr in TELLS:
            return True
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and "INSERT INTO outbox" in part.value:
            return True
    return False


def writers() -> set[tuple[str, str]]:
    """(file, function) of all that write to rooms."""
    found = set()
    for path in LIVE.rglob("*.py"):
        if path.relative_to(LIVE).as_posix() == "infra/outbox.py":
            continue
        tree = ast.parse(path.read_text("utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        found |= {(path.relative_to(LIVE).as_posix(), node.name) for node in functions if tells(node)}
        bare = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
        assert not any(tells(node) for node in bare), f"{path}: SQL of the outbox outside of a function is not seen here"
    return found


@pytest.fixture
def ran() -> Iterator[set[tuple[str, str]]]:
    """(file, function) of all of ours that runs meanwhile."""
    codes = set()

    def seen(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            codes.add(frame.f_code)

    found: set[tuple[str, str]] = set()
    before = sys.gettrace()
    sys.settrace(seen)  # returns nothing, so that no line is looked at
    yield found
    sys.settrace(before)
    prefix = f"{LIVE}/"
    found |= {(code.co_filename.removeprefix(prefix), code.co_name) for code in codes if code.co_filename.startswith(prefix)}
    assert writers() - found == set(), "these write to a room, and no step below makes them"


class Show:
    """A room with somebody who watches it from the beginning, and buyers; every step ends with a look at what they hold."""

    def __init__(self, house: House) -> None:
        self.house, self.db = house, house.db
        self.provider = Provider()
        self.viewers: dict[str, Viewer] = {}
        self.taps = 0

    async def watch(self, sub: str, room: str = "r1") -> Viewer:
        """Somebody comes."""
        self.viewers[f"{room}/{sub}"] = viewer = Viewer(self.house.port, self.house.tokens, sub, room=room)
        await viewer.come()
        return viewer

    async def act(self, action: Any, *args: Any, **how: Any) -> Any:
        """One action in its transaction, and a look."""
        async with self.db.begin() as session:
            result = await action(session, *args, **how)
        await self.look()
        return result

    async def tap(self, person: str, t: str, **d: Any) -> dict[str, Any]:
        """Buy or claim, until the verdict; and a look."""
        self.taps += 1
        viewer = self.viewers[f"r1/{person}"]
        number = viewer.send(t, key=f"tapped-{self.taps:04d}", **d)
        verdicts: list[dict[str, Any]] = []

        def verdict() -> bool:
            verdicts[:] = [one for one in viewer.frames if one.get("id") == number and not one.get("ok", {}).get("pending")]
            return bool(verdicts)

        await until(verdict, f"a verdict for {person}")
        await self.look()
        return verdicts[-1]

    async def buy(self, person: str, offer: int, qty: int = 1) -> str:
        """An order's number."""
        price = self.viewers[f"r1/{person}"].state[f"offer:{offer}"][1]["version"]
        answer = await self.tap(person, "buy", lines=[{"offer": offer, "qty": qty, "version": price}], at=["S1"])
        assert "ok" in answer, answer
        return str(answer["ok"]["order"]["no"])

    async def claim(self, person: str, offer: int) -> int:
        """A coupon's id."""
        return int((await self.tap(person, "claim", offer=offer))["ok"]["coupon"]["id"])

    async def paid(self, person: str, no: str, grant: int | None = None) -> None:
        """The money arrives."""
        await orders.pay(self.db, self.provider, person, no, grant, "openid", utc_now())
        await self.look()
        number = next(name for name, state in self.provider.states.items() if name.startswith(no) and state == "NOTPAY")
        self.provider.states[number] = "SUCCESS"
        assert await ask_provider(self.db, self.provider, no, orders.payment_arrived, utc_now()) == "paid"
        await self.look()

    async def refunded(self, person: str, no: str) -> None:
        """Asked for, granted, sent."""
        await self.act(orders.ask_refund, person, no, "too many", utc_now())
        refund = int(await self.one("SELECT id FROM refund WHERE order_no = :n AND cause = 'buyer'", n=no))
        await self.act(orders.grant_refund, refund, utc_now())
        await send_refund(self.db, self.provider, refund, orders.refunds_done, utc_now())
        await self.look()

    async def one(self, query: str, **values: Any) -> Any:
        """The single value of a query."""
        async with self.db.connection() as connection:
            return (await connection.execute(text(query), values)).scalar_one()

    async def settled(self) -> None:
        """Wait until the ledger has nothing to do."""
        waiting = "SELECT count(*) FROM outbox WHERE kind <> 'job'"
        for _ in range(1_000):
            if not await self.one(waiting) and not await self.house.redis.xlen(room_key("r1", "intents")):
                return
            await asyncio.sleep(0.01)
        raise AssertionError("never: a ledger at rest")

    async def look(self) -> None:
        """Whoever was here holds what Redis has and what somebody new is given; own news are the newest of SQL."""
        await self.settled()
        for room in ("r1", "r2"):
            raw = await self.house.redis.hgetall(room_key(room, "state"))  # type: ignore[misc]
            truth = {key.decode(): tuple(orjson.loads(value)) for key, value in raw.items()}
            here = [viewer for name, viewer in self.viewers.items() if name.startswith(room)]
            if not here:
                continue
            for viewer in here:
                await until(partial(_shows, viewer, truth), f"{viewer.sub} holds {truth}")
                assert viewer.of("gap") == []
            fresh = Viewer(self.house.port, self.house.tokens, "g:fresh", room=room)
            await fresh.come()
            await fresh.leave()
            assert fresh.shown == truth
            await until(partial(_all_at, here, fresh.s), "the same place in the log")
        await self.look_at_own()

    async def look_at_own(self) -> None:
        """What buyers were told last of each order and coupon is what SQL says."""
        async with self.db.connection() as connection:
            sold = (await connection.execute(text("SELECT person, 'order', no, version, state FROM orders"))).all()
            grants = (await connection.execute(text("SELECT person, 'coupon', id, version, state FROM coupon_grant"))).all()
        for person, kind, number, version, state in (*sold, *grants):
            news = partial(_told, self.viewers[f"r1/{person}"], kind, number, (version, state))
            await until(news, f"{person} is told of {kind} {number}: {state}")


def _shows(viewer: Viewer, state: dict[str, Any]) -> bool:
    return viewer.shown == state


def _all_at(viewers: list[Viewer], seq: int | None) -> bool:
    return {viewer.s for viewer in viewers} == {seq}


def _told(viewer: Viewer, kind: str, number: Any, last: tuple[int, str]) -> bool:
    """Whether the last own news of this thing are of this version and state."""
    news = [body for _, body in viewer.of("own") if body["t"] == kind and body.get("no", body.get("id")) == number]
    return [(body["version"], body["state"]) for body in news[-1:]] == [last]


@pytest_asyncio.fixture
async def show(house: House, ran: set[tuple[str, str]]) -> AsyncIterator[Show]:
    """The room r1 of the small shop, live, and five buyers in it."""
    del ran  # it watches what is called from here on
    found = Show(house)
    await found.watch("g:1")
    for n in range(1, 6):
        await found.watch(f"p:{n}")
    yield found
    for viewer in found.viewers.values():
        await viewer.leave()


async def goods(show: Show, later: datetime) -> int:
    """A sale: sold out and back, cancelled, expired, paid, collected, refunded, more of it; the offer."""
    offer = await sale(show.db, {"S1": 3, "S2": 1})
    await show.look()
    await show.act(pin, "r1", offer)
    first, second = await show.buy("p:1", offer, 2), await show.buy("p:2", offer)
    await show.tap("p:3", "buy", lines=[{"offer": offer, "qty": 1, "version": 1}], at=["S2"])
    assert "offer.sold_out" in [kind for _, kind, _ in show.viewers["r1/g:1"].of("event")]
    assert await tell_unpaid(show.db) == 1  # it may come back
    await asyncio.sleep(1.1)  # sold out and back are told once a second at most
    await orders.cancel(show.db, show.provider, "p:1", first, utc_now())
    await show.look()
    assert "offer.back" in [kind for _, kind, _ in show.viewers["r1/g:1"].of("event")]
    await show.paid("p:2", second)
    assert await orders.expire_due(show.db, show.provider, later) == 1
    await show.look()
    await show.act(add_stock, offer, "S1", 4, utc_now())
    third = await show.buy("p:1", offer)
    await show.paid("p:1", third)
    await show.act(handoff, "S1", utc_now(), secret=PICKUP)
    await show.act(orders.advance, second, "READY", utc_now())
    await show.act(orders.advance, second, "COLLECTED", utc_now())
    await show.refunded("p:1", third)
    fourth = await show.buy("p:4", offer)
    await show.paid("p:4", fourth)
    await show.act(orders.ask_refund, "p:4", fourth, "no", utc_now())
    await show.act(orders.decline_refund, int(await show.one("SELECT id FROM refund WHERE order_no = :n", n=fourth)), utc_now())
    return offer


async def coupons(show: Show, offer: int) -> None:
    """Claimed, tied to an order and let go, used, given back, ended."""
    batch = await coupon(show.db, 3)
    await show.look()
    grant = await show.claim("p:5", batch)
    order = await show.buy("p:5", offer)
    await orders.pay(show.db, show.provider, "p:5", order, grant, "openid", utc_now())
    await show.look()
    await orders.pay(show.db, show.provider, "p:5", order, None, "openid", utc_now())
    await show.look()
    await show.paid("p:5", order, grant)
    await show.refunded("p:5", order)
    await show.act(end_coupon, batch, utc_now())
    await show.act(void_coupon, batch, "a slip", None, utc_now())


async def queue(show: Show) -> None:
    """A line before a sale that is sold out: somebody stands there, leaves it, is given what comes back; it closes with its sale."""
    offer = await sale(show.db, {"S1": 1}, waitlist=60)
    await show.look()
    no = await show.buy("p:1", offer)
    for person in ("p:2", "p:3", "p:4"):
        await show.act(waitlist.enter, person=person, offer_id=offer, qty=1, at=["S1"], version=1, now=utc_now())
    await show.act(waitlist.leave, "p:2", offer)
    await orders.cancel(show.db, show.provider, "p:1", no, utc_now())
    await show.look()
    assert await show.one("SELECT person FROM waitlist WHERE offer_id = :o AND state = 'GIVEN'", o=offer) == "p:3"
    await show.act(end_sale, offer, utc_now())


async def groups(show: Show) -> None:
    """One that fills up and falls in price, one that fails."""
    full = await group(show.db, 4)
    await show.look()
    bought = [(person, await show.buy(person, full, 2)) for person in ("p:1", "p:2")]
    for person, no in bought:
        await show.paid(person, no)
    assert await show.act(close_team, full, utc_now()) == "success"
    while not await orders.settle_group(show.db, full, utc_now()):
        pass
    await show.look()
    lonely = await group(show.db, 4)
    await show.look()
    await orders.cancel(show.db, show.provider, "p:4", await show.buy("p:4", lonely), utc_now())  # a seat that was held is free again
    await show.look()
    no = await show.buy("p:3", lonely)
    await show.paid("p:3", no)
    await show.act(end_group, lonely, utc_now())
    assert await show.act(close_team, lonely, utc_now()) == "failed"
    while not await orders.settle_group(show.db, lonely, utc_now()):
        pass
    await show.look()


async def teams(show: Show) -> None:
    """Small teams, one of them opened."""
    offer = await show.act(
        open_teams, room_id="r1", sku="TEA", fen=5000, stock={"S1": 4}, size=2, team_minutes=30, minutes=None, now=utc_now()
    )
    await show.look()
    await show.paid("p:3", await show.buy("p:3", offer.id))
    async with show.db.begin() as session:
        await outbox.count(session, "r1", f"teams:{offer.id}", *await board(session, offer.id))
    await show.look()
    await show.act(end_group, offer.id, utc_now())


async def followers(show: Show) -> None:
    """Somebody follows the room, and the room is told how many do."""
    await show.act(follow, "r1", "p:1", utc_now())
    async with show.db.begin() as session:
        for key, (version, value) in (await counted(session, "r1")).items():
            await outbox.count(session, "r1", key, version, value)
    await show.look()


async def planned(show: Show) -> None:
    """A sale made for later starts, at another price."""
    opens = utc_now() + timedelta(minutes=1)
    made = await show.act(
        open_sale, room_id="r1", sku="TEA", fen=5000, per_person=1, stock={"S1": 1}, minutes=5, hold_seconds=600, opens_at=opens,
        now=utc_now(),
    )  # fmt: skip
    await show.act(reprice_sale, made.id, 4000, utc_now())
    opens = opens + timedelta(minutes=5)
    await show.act(move_sale, made.id, opens, 10, opens - timedelta(minutes=7))
    assert await show.act(tell_started, made.id, opens)


async def giveaway(show: Show, later: datetime) -> None:
    """A draw among those who pay for something meanwhile: opened, closed, drawn, and off the screen."""
    offer = await sale(show.db, {"S1": 2})
    prize = {"prize": ("", ""), "off": 500, "threshold": 1000, "winners": 9, "entry": "order", "word": "", "minutes": 5}
    drawn = await show.act(open_draw, room_id="r1", now=after(minutes=-1), **prize)  # by the provider's clock, whose NOW it is
    await show.paid("p:1", await show.buy("p:1", offer))
    await show.act(close_draw, drawn.id, after(minutes=1))
    assert "p:1" in await show.act(draw_winners, drawn.id, utc_now())
    assert await show.act(clear_draws, later) == 1
    await show.act(end_sale, offer, utc_now())


@pytest.mark.timeout(120)
async def test_old_snapshot_and_what_was_told_since_make_the_new_snapshot_for_all_that_writes_to_a_room(show: Show) -> None:
    watcher = show.viewers["r1/g:1"]
    later = utc_now() + timedelta(hours=1)
    await show.act(create_room, room_id="r2", title_zh="二", title_en="Two")
    other = await show.watch("g:2", "r2")
    await show.act(start_room, "r2", utc_now())
    await show.act(edit_room, "r1", {"title_zh": "新", "title_en": "New"})
    said = (await watcher.ask("say", cid="comment-0001", text="oops"))["ok"]["id"]
    await show.act(withdraw, "r1", said, utc_now())
    await show.act(mute, "r1", "g:1", 5, 1, utc_now())
    await show.act(unmute, "r1", "g:1")
    offer = await goods(show, later)
    await coupons(show, offer)
    await groups(show)
    await teams(show)
    await followers(show)
    await queue(show)
    await planned(show)
    await giveaway(show, later)
    await show.act(end_sale, offer, utc_now())
    await show.act(clear_shelf, later)
    last = await sale(show.db, {"S1": 1})
    await show.act(pin, "r1", last)
    async with show.db.begin() as session:
        for open_ in await begin_stop(session, "r1"):
            await END[open_.kind](session, int(open_.id or 0), utc_now())
        await stop_room(session, "r1", utc_now())
    await show.look()
    assert {kind for viewer in (watcher, other) for _, kind, _ in viewer.of("event")} == set(CRITICAL)
    assert {key.partition(":")[0] for viewer in (watcher, other) for key, _, _ in viewer.of("state")} == set(STATE)
    assert {body["t"] for viewer in show.viewers.values() for _, body in viewer.of("own")} == {"order", "coupon", "waitlist", "prize"}
    assert watcher.seqs() == list(range(watcher.seqs()[0], watcher.seqs()[0] + len(watcher.seqs())))
    assert len(watcher.of("anew")) == 1


async def test_a_comment_leaves_what_joiners_are_shown_before_that_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    # The other way round a hub that begins anew in between reads the comment after the event that takes it back.
    shown: list[int] = []
    apply = roomlog.apply

    async def looked(redis: Redis, room: str, act: Mapping[str, Any]) -> int:
        if [kind for kind, _ in act["events"]] == ["comment.withdrawn"]:
            shown.append(await redis.xlen(room_key(room, "chat")))
        return await apply(redis, room, act)

    monkeypatch.setattr(roomlog, "apply", looked)
    client, _ = await house.join("g:1")
    said = (await client.ask("say", cid="comment-0001", text="oops"))["ok"]["id"]
    async with house.db.begin() as session:
        await withdraw(session, "r1", said, utc_now())
    await client.event("comment.withdrawn")
    assert shown == [0]
