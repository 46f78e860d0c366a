"""What happens in the room that a crowd watches: comments, state changes and critical events, each carrying the moment it was meant for.

Open loop: a slow server does not slow this down, it only makes what arrives older. Comments come in by sockets, as everybody's do. State
and events go to Redis as the relay would write them. That takes the room's next `act_no` without the room's row in SQL, so it is for a
house that is thrown away afterwards and in which nothing else acts.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from live.infra import roomlog
from live.infra.keys import room_key
from live.infra.redis import Script, connect
from loadtest.doors import hello
from loadtest.held import SHARED, Shelf, versions
from loadtest.pace import arrivals
from loadtest.stage import COLUMNS, PRICE, STORE, House, Owner, StageError, open_sale
from loadtest.wire import Socket

KEYS = 5  # state keys that change, as a room with five offers has
STOCK = 1_000
SENDERS = 8  # sockets that comment; they watch too
FIRST_SENDER = 1_000_000  # number of the first of these people, behind every viewer's
OPEN_SECONDS = 15.0  # the relay takes what the owner did within a second
ANSWER_SECONDS = 5.0  # for the last comments
REST = 0.005  # seconds between looks at what is due: no item is written later than that by us
PHRASE = "这款还有吗？什么时候发货"  # 12 characters, what a comment has
_count = Script("live.infra", "count")  # as roomlog.count calls it, but many in one round trip


@dataclass(frozen=True)
class Rates:
    """Per second."""

    comments: float
    states: float
    criticals: float

    def moments(self, seconds: float, start: float, seed: int) -> tuple[list[float], list[float], list[float]]:
        """When each comment, state change and event is due, as crowds come: `time.monotonic`."""
        rates = (self.comments, self.states, self.criticals)
        one, two, three = ([start + at for at in arrivals(round(rate * seconds), seconds, seed + n)] for n, rate in enumerate(rates))
        return one, two, three


async def open_offers(boss: Owner, room: str) -> list[int]:
    """A live room with `KEYS` sales. Returns their ids. Raises StageError."""
    found = [await open_sale(boss, room, STOCK, 1)]
    for n in range(2, KEYS + 1):
        row = f"tea,茶,Tea,fan{n},茶{n},Tea {n},FAN{n},盒,Box,{PRICE / 100:.2f},,{STOCK}"
        await boss.post("/v1/import", {"csv": f"{COLUMNS},stock:{STORE}\n{row}\n"})
        sale = {"sku": f"FAN{n}", "fen": PRICE, "per_person": 1, "stock": {STORE: STOCK}}
        found.append(int((await boss.post(f"/v1/rooms/{room}/sales", sale))["offer"]))
    return found


class Director:
    """`items`: what its own sockets were sent, by lane; `said`: comments accepted; `refused`: by code."""

    def __init__(self, house: House, room: str, offers: Sequence[int]) -> None:
        self.house, self.room, self.offers = house, room, offers
        self.redis = connect(house.redis_url)
        self.sockets: list[Socket] = []
        self.shelf = Shelf()
        self.items: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.sent = self.said = self.lost = 0
        self.act_no = 0
        self.versions = dict.fromkeys(offers, 0)
        self.runs = 0

    async def begin(self, senders: int) -> None:
        """Wait until the room shows all offers, then open so many sockets to comment by. Raises StageError or TimeoutError."""
        cards = {f"offer:{offer}" for offer in self.offers}
        async with asyncio.timeout(OPEN_SECONDS):
            while not cards <= (await self.newest())[1].keys():  # noqa: ASYNC110 - another process's event
                await asyncio.sleep(0.1)
        await self.redis.script_load(_count.source)
        self.act_no = int(await self.redis.hget(room_key(self.room, "meta"), "act_no") or 0)  # type: ignore[misc]
        for n in range(senders):
            greeted = asyncio.get_running_loop().create_future()
            socket = await Socket.connect(self.house.hub_url, self._heard(greeted), self._lost)
            self.sockets.append(socket)
            socket.send(hello(self.house.token(FIRST_SENDER + n), self.room))
            async with asyncio.timeout(OPEN_SECONDS):
                await greeted

    def _heard(self, greeted: asyncio.Future[None]) -> Callable[[bytes], None]:
        def heard(payload: bytes) -> None:
            if payload.startswith(SHARED):
                frame = self.shelf.frame(payload)
                if not frame.stale:
                    self.items.update(critical=len(frame.events), state=len(frame.states), chat=len(frame.said))
                return
            reply = orjson.loads(payload)
            if "no" in reply:
                self.refused[reply["no"]["code"]] += 1
            elif reply.get("id") == 0:
                greeted.set_result(None)
            elif "ok" in reply:
                self.said += 1

        return heard

    def _lost(self) -> None:
        self.lost += 1

    async def run(self, seconds: float, rates: Rates) -> None:
        """Direct the room for so long, and wait until the last comment is answered. Raises StageError."""
        self.runs += 1
        comments, states, events = rates.moments(seconds, time.monotonic() + 0.05, 10 * self.runs)
        await asyncio.gather(_each(comments, self._say), _each(states, self._change), _each(events, self._act))
        until = time.monotonic() + ANSWER_SECONDS
        while self.unanswered and time.monotonic() < until:  # noqa: ASYNC110 - another process's event
            await asyncio.sleep(0.01)

    @property
    def unanswered(self) -> int:
        """Comments that were neither taken nor refused."""
        return self.sent - self.said - sum(self.refused.values())

    async def _say(self, due: Sequence[float]) -> None:
        for at in due:
            self.sent += 1
            words = {"cid": f"fanout-{self.sent:08d}", "text": f"{at:.4f} {PHRASE}"}
            self.sockets[self.sent % len(self.sockets)].send(orjson.dumps({"id": self.sent, "t": "say", "d": words}))

    async def _change(self, due: Sequence[float]) -> None:
        """A step of the bar of one offer after the other."""
        keys = [room_key(self.room, name) for name in ("meta", "log", "state")]
        pipe = self.redis.pipeline(transaction=False)
        for at in due:
            offer = self.offers[sum(self.versions.values()) % len(self.offers)]
            self.versions[offer] += 1
            bar = {"size": 10**6, "paid": self.versions[offer], "held": 0, "minimum": 2, "fen": PRICE, "next": None, "state": "filling"}
            value = orjson.dumps(bar | {"at": round(at, 4)})
            pipe.evalsha(_count.sha, len(keys), *keys, self.room, f"team:{offer}", str(self.versions[offer]), value.decode())
        shown = await pipe.execute()
        if any(int(answer) != 1 for answer in shown):
            raise StageError(f"state changes were not shown: {Counter(shown)}")

    async def _act(self, due: Sequence[float]) -> None:
        for at in due:
            await self._apply([["room.pinned", {"offer": self.offers[self.act_no % len(self.offers)], "at": round(at, 4)}]])

    async def burst(self, events: int, pad: int) -> None:
        """So many critical events in one act; `pad` characters make each as long as wanted. Raises StageError."""
        now = round(time.monotonic(), 4)
        await self._apply([["room.pinned", {"offer": self.offers[0], "at": now, "pad": "x" * pad}]] * events)

    async def _apply(self, events: list[list[Any]]) -> None:
        self.act_no += 1
        act = {"no": self.act_no, "events": events, "state": {}, "offers": {}, "muted": {}}
        answer = await roomlog.apply(self.redis, self.room, act)
        if answer != 1:
            raise StageError(f"act {self.act_no} was answered {answer}: something else acts in this room")

    async def newest(self) -> tuple[int, dict[str, int]]:
        """The room as Redis has it: last critical event, version by state key."""
        seq = await self.redis.hget(room_key(self.room, "meta"), "seq")  # type: ignore[misc]
        state = await self.redis.hgetall(room_key(self.room, "state"))  # type: ignore[misc]
        return int(seq or 0), versions({key.decode(): orjson.loads(value) for key, value in state.items()})

    async def end(self) -> None:
        """Leave."""
        for socket in self.sockets:
            socket.close()
        await self.redis.aclose()


async def _each(moments: Sequence[float], act: Callable[[Sequence[float]], Awaitable[None]]) -> None:
    """Give `act` the moments that are due, together with those that came while it was busy."""
    done = 0
    while done < len(moments):
        now, first = time.monotonic(), done
        while done < len(moments) and moments[done] <= now:
            done += 1
        if done > first:
            await act(moments[first:done])
        if done < len(moments):
            await asyncio.sleep(max(REST, moments[done] - time.monotonic()))
