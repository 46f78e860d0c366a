"""The two ways a storm comes in: by the hub's socket, as buyers do, or straight to the turnstile, as the hub does.

The difference between the two is what the sockets cost.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from redis.asyncio import Redis

from live.infra.keys import hub_channel, room_key
from live.infra.redis import connect, connect_buying
from live.offers.intake import Intake
from live.offers.reservations import Answer, Tap, read_record, records, reserve
from live.offers.rules import body_hash, rid_of
from live.protocol.codes import Code
from loadtest.stage import STORE, House, StageError
from loadtest.storm import OK, Storm
from loadtest.wire import Socket

VERSION = 1  # price version of an offer nobody has changed
OPEN_SECONDS = 15.0  # a new room is taken by the ledger within half a second
AT_ONCE = 100  # handshakes under way together
BATCH_SECONDS, BATCH_SIZE, UNBOOKED = 0.005, 200, 20_000  # the hub's own defaults
LINE = 140_000  # the lines of seven hubs: each tap is a person of its own, and a hub holds 18,000
ASK_SECONDS, ASK_AT_ONCE = 1.0, 1000  # an intent whose verdict is so late is asked for, with others of its kind


def hello(token: str, room: str) -> bytes:
    """The first frame."""
    return orjson.dumps({"id": 0, "t": "hello", "d": {"v": 1, "token": token, "room": room}})


def buy(n: int, tries: int, offer: int) -> bytes:
    """Tap n as a frame; command ids are n + 1, since 0 is the hello's."""
    line = {"offer": offer, "qty": 1, "version": VERSION}
    return orjson.dumps({"id": n + 1, "t": "buy", "d": {"key": f"storm-{n:08d}", "try": tries, "lines": [line], "at": [STORE]}})


class SocketDoor:
    """`sockets` buyers with a connection each; taps go round. `house` and `room` as set up, `offer` on sale."""

    def __init__(self, storm: Storm, house: House, room: str, offer: int, sockets: int, seed: int) -> None:
        self.storm, self.house, self.room, self.offer = storm, house, room, offer
        self.order = list(range(sockets))
        random.Random(seed).shuffle(self.order)
        self.sockets: dict[int, Socket] = {}
        self.pending = self.lost = 0  # taps told `pending` first; connections lost
        self.frames = self.bytes = 0  # everything heard
        self.closing = False
        self.tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect everybody. Raises StageError when the offer never shows or a socket is refused."""
        async with asyncio.timeout(OPEN_SECONDS):
            while f"offer:{self.offer}" not in (await self._enter(0))["snap"]["st"]:  # noqa: ASYNC110 - another process's event
                await asyncio.sleep(0.1)
        gate = asyncio.Semaphore(AT_ONCE)

        async def enter(number: int) -> None:
            async with gate:
                await self._enter(number)

        await asyncio.gather(*(enter(number) for number in self.order if number))

    async def _enter(self, number: int) -> dict[str, Any]:
        """One buyer's socket, greeted; in place of the one they had. Returns the answer to the hello."""
        greeted: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def heard(payload: bytes) -> None:
            self.frames += 1
            self.bytes += len(payload)
            if payload.startswith(b'{"id":'):
                self._reply(orjson.loads(payload), greeted)

        def lost() -> None:
            if self.sockets.get(number) is socket and not self.closing:
                self.lost += 1
                self._spawn(number)

        socket = await Socket.connect(self.house.hub_url, heard, lost)
        old, self.sockets[number] = self.sockets.get(number), socket
        if old is not None:
            old.close()
        socket.send(hello(self.house.token(number + 1), self.room))
        async with asyncio.timeout(OPEN_SECONDS):
            return await greeted

    def _reply(self, reply: dict[str, Any], greeted: asyncio.Future[dict[str, Any]]) -> None:
        if reply["id"] == 0:
            if "ok" in reply:
                greeted.set_result(reply["ok"])
            else:
                greeted.set_exception(StageError(f"hello refused: {reply['no']}"))
        elif "no" in reply:
            self.storm.answer(reply["id"] - 1, reply["no"]["code"])
        elif "pending" in reply["ok"]:
            self.pending += 1
        else:
            self.storm.answer(reply["id"] - 1, OK)

    def _spawn(self, number: int) -> None:
        task = asyncio.get_running_loop().create_task(self._return(number))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _return(self, number: int) -> None:
        """A lost socket comes back and sends its unanswered taps again, with the same keys."""
        while True:
            await asyncio.sleep(random.uniform(0.2, 1.0))
            try:
                await self._enter(number)
                break
            except (OSError, TimeoutError):
                continue
        for n in range(self.order.index(number), len(self.storm.tries), len(self.order)):
            if self.storm.tries[n]:
                self.storm.send(n)

    def tap(self, n: int, tries: int) -> None:
        """Send tap n by the next socket in turn."""
        self.sockets[self.order[n % len(self.order)]].send(buy(n, tries, self.offer))

    async def close(self) -> None:
        """Everybody leaves."""
        self.closing = True
        for task in self.tasks:
            task.cancel()
        for socket in self.sockets.values():
            socket.close()


class DirectDoor(Intake[int]):
    """What the hub does with taps, without the sockets: batches to the turnstile, verdicts from the ledger's channel."""

    def __init__(self, storm: Storm, house: House, room: str, offer: int, at: str = STORE) -> None:
        super().__init__(BATCH_SECONDS, BATCH_SIZE, LINE, self._spawn)
        self.storm, self.room, self.offer, self.at = storm, room, offer, at
        self.redis, self.buying = connect(house.redis_url), connect_buying(house.redis_url)
        self.hub = f"storm{secrets.token_hex(4)}"
        self.waiting: dict[str, tuple[int, float]] = {}  # rid → tap, when it was sent or asked for
        self.tasks: set[asyncio.Task[None]] = set()
        self.pubsub = self.redis.pubsub(ignore_subscribe_messages=True)
        self.hash = body_hash([(offer, 1)], (at,))
        self.version = VERSION
        self.booked: Callable[[dict[str, Any]], None] = lambda body: None  # is told what each buyer is

    async def open(self) -> None:
        """Listen for verdicts, and wait for the offer. Raises TimeoutError."""
        await self.pubsub.subscribe(hub_channel(self.hub))
        async with asyncio.timeout(OPEN_SECONDS):
            while not await self.redis.exists(room_key(self.room, f"offer:{self.offer}")):  # noqa: ASYNC110 - another process's event
                await asyncio.sleep(0.1)
        self._spawn(self._listen())
        self._spawn(self._look())

    def whose(self, n: int) -> tuple[int, str]:
        """The person who taps tap n, and the key; here a person of its own."""
        return n + 1, f"storm-{n:08d}"

    def tap(self, n: int, tries: int) -> None:
        """Put tap n into the batch that is being gathered."""
        person, key = self.whose(n)
        who = f"p:{person}"
        rid = rid_of(who, self.room, key)
        self.add(n, Tap(rid, who, f"P{person}", self.hub, self.hash, tries, (self.at,), ((self.offer, 1, self.version),)))

    async def decide(self, taps: Sequence[Tap]) -> list[Answer]:
        """Ask the turnstile."""
        return await reserve(self.buying, self.room, taps, UNBOOKED)

    def sent(self, who: int, tap: Tap) -> None:
        """The ledger may be faster than the turnstile's reply."""
        self.waiting[tap.rid] = (who, asyncio.get_running_loop().time())

    def kept(self, who: int, tap: Tap) -> None:
        """It is in line again."""
        self.waiting.pop(tap.rid, None)

    def answered(self, who: int, tap: Tap, answer: Answer) -> None:
        """What the turnstile said of tap `who`."""
        code = _final(answer)
        if code == Code.PRICE_CHANGED:  # the buyer agrees to the new one
            self.version = max(self.version, int(answer.facts[1]))
            self.tap(who, tap.tries)
        elif code is not None and tap.rid not in self.waiting:  # it was never sent, or its verdict was faster
            self.storm.answer(who, code)
        elif code is not None:
            self._verdict(tap.rid, code, read_record(answer.record).body if answer.tag == "KNOWN" else None)

    def unknown(self, taps: Sequence[Tap], error: Exception) -> None:
        """`_look` finds out."""

    async def _listen(self) -> None:
        while True:
            message = await self.pubsub.get_message(timeout=1.0)
            if message is None:
                continue
            for rid, _, body, no in orjson.loads(message["data"]):
                self._verdict(rid, OK if body is not None else no[0], body)

    def _verdict(self, rid: str, code: str, body: dict[str, Any] | None = None) -> None:
        held = self.waiting.pop(rid, None)
        if held is None:
            return
        self.storm.answer(held[0], code)
        if body is not None:
            self.booked(body)

    async def _look(self) -> None:
        """Look up what has waited too long: a verdict or a reply was lost."""
        while True:
            await asyncio.sleep(ASK_SECONDS)
            now = asyncio.get_running_loop().time()
            late = [rid for rid, (_, since) in self.waiting.items() if now - since >= ASK_SECONDS]
            for at in range(0, len(late), ASK_AT_ONCE):
                await self._look_up(late[at : at + ASK_AT_ONCE], now)

    async def _look_up(self, rids: list[str], now: float) -> None:
        found = await records(self.redis, self.room, rids)
        fence = await self.redis.hget(room_key(self.room, "meta"), "fence")  # type: ignore[misc]
        for rid, record in zip(rids, found, strict=True):
            if rid not in self.waiting:
                continue  # told while we asked
            self.waiting[rid] = (self.waiting[rid][0], now)
            if record is not None and record.body is not None:
                self._verdict(rid, OK, record.body)
            elif fence is not None and (record is None or record.fence != fence.decode()):
                self._verdict(rid, "again")

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def close(self) -> None:
        """End listening."""
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.pubsub.aclose()  # type: ignore[no-untyped-call]
        await self.redis.aclose()
        await self.buying.aclose()


def _final(answer: Answer) -> str | None:
    """The code of an answer after which nothing follows; None when the verdict is still to come."""
    if answer.tag == "NO":
        return answer.code
    if answer.tag == "FENCED":
        return "fenced"
    if answer.tag == "KNOWN" and read_record(answer.record).body is not None:
        return OK
    return None


async def bare_limit(redis_url: str, seconds: float) -> float:
    """Intents a second of the reserve script alone, 200 a call and two calls under way, so that the server never waits for us.

    On the server of the house, in a scratch room the ledger does not know, deleted afterwards.
    """
    redis, room, offer = connect_buying(redis_url), "storm-limit", 1
    try:
        facts = {"kind": "sale", "phase": "open", "opens": 0, "closes": 0, "fen": 1, "version": VERSION, "k": 1, f"left:{STORE}": 10**9}
        run_id = (await redis.info("server"))["run_id"]
        await redis.hset(room_key(room, "meta"), mapping={"fence": 1, "run_id": run_id})  # type: ignore[misc]
        await redis.hset(room_key(room, f"offer:{offer}"), mapping=facts)  # type: ignore[misc]
        return await _full_speed(redis, room, offer, seconds)
    finally:
        keys = [key async for key in redis.scan_iter(match=room_key(room, "*").replace("{", "\\{"), count=5000)]
        for at in range(0, len(keys), 5000):
            await redis.unlink(*keys[at : at + 5000])
        await redis.aclose()


async def _full_speed(redis: Redis, room: str, offer: int, seconds: float) -> float:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    done = 0

    async def lane(number: int) -> None:
        nonlocal done
        turn = 0
        while loop.time() - begin < seconds:
            ids = [f"{number}-{turn}-{i}" for i in range(BATCH_SIZE)]
            taps = [Tap(f"{one:0>32}", f"p:{one}", one, "none", "h", 1, (STORE,), ((offer, 1, VERSION),)) for one in ids]
            answers = await reserve(redis, room, taps, 10**9)
            if any(answer.tag != "OK" for answer in answers):
                raise StageError(f"the bare script answered {answers[0].tag} {answers[0].code}")
            done, turn = done + len(taps), turn + 1

    await asyncio.gather(lane(1), lane(2))
    return done / (loop.time() - begin)
