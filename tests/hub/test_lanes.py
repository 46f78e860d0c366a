"""Three lanes on one socket: what is critical overtakes, state is its newest value, chat has a budget that is fair."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from live.hub import figures, room, sweep
from live.hub.limits import Bucket, Purse
from live.infra import roomlog
from live.infra.keys import room_key
from live.protocol.codes import Close
from live.rooms import live
from live.rooms.live import Manners
from live.settings import Settings
from tests.hub.crowd import ROOM, Viewer, counted, until
from tests.hub.peer import PATIENCE
from tests.hub.stage import Gate, Stage, a_stage
from tests.rooms.saying import say

BEFORE, ALL = 6, 20  # sockets a slowed sweep has written when something happens, of so many


@pytest_asyncio.fixture
async def slow(settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """A hub that writes two sockets a slice, and twenty guests."""
    monkeypatch.setattr(sweep, "SLICE", 2)
    async with a_stage(settings, hub_critical_ms=0) as stage:
        await stage.crowd(ALL)
        await stage.level()
        yield stage


async def amid(stage: Stage, monkeypatch: pytest.MonkeyPatch, act: Any, start: Any) -> None:
    """Make a tick by `start`; when its sweep has written the first of its sockets, do `act` and let the hub read it. Waits for the end."""
    slices = 0
    done = asyncio.Event()
    feed = stage.feed
    overtake = feed._overtake

    def place() -> tuple[str, int, int, int]:
        at = feed.picture.at
        return feed.picture.epoch, at.seq, at.own, at.sv

    async def in_the_middle() -> None:
        nonlocal slices
        slices += 1
        if slices == BEFORE // 2:
            before = place()
            await act()
            while place() == before:
                await overtake()
                await asyncio.sleep(0.001)
            done.set()
        await overtake()

    monkeypatch.setattr(feed, "_overtake", in_the_middle)
    await start()
    await asyncio.wait_for(done.wait(), PATIENCE)
    await until(lambda: feed._tick is None, "the end of the sweep")
    monkeypatch.undo()


def first(viewer: Viewer, one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether one was told before the other; each was told once."""
    places = [[at for at, told in enumerate(viewer.told) if told[: len(wanted)] == wanted] for wanted in (one, other)]
    assert [len(found) for found in places] == [1, 1]
    return places[0] < places[1]


# what is critical


async def test_an_event_reaches_sockets_before_the_tick_that_was_being_written_when_it_came(
    slow: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await amid(slow, monkeypatch, lambda: slow.events(2), lambda: slow.act(team__1={"paid": 1}))
    await slow.level()
    version = (await slow.truth())["team:1"][0]
    after = [viewer for viewer in slow.viewers if first(viewer, ("state", "team:1", version), ("event", 1, "room.pinned"))]
    assert len(after) == BEFORE
    assert {tuple(viewer.seqs()) for viewer in slow.viewers} == {(1, 2)}
    assert [viewer.of("gap") for viewer in slow.viewers] == [[]] * ALL


async def test_a_comment_taken_back_in_the_middle_of_its_sweep_is_shown_to_nobody_after_that(
    slow: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [(await slow.comment("before")).id]

    async def start() -> None:
        said.extend([(await slow.comment("oops")).id, (await slow.comment("fine")).id])

    await until(lambda: all(viewer.chat == said for viewer in slow.viewers))
    await amid(slow, monkeypatch, lambda: slow.withdraw(said[1]), start)
    await slow.level()
    await until(lambda: all(viewer.chat == [said[0], said[2]] for viewer in slow.viewers), "the other comment everywhere")
    gone = ("event", 1, "comment.withdrawn")
    shown = [viewer for viewer in slow.viewers if ("chat", said[1], "oops") in viewer.told]
    assert len(shown) == BEFORE
    assert all(first(viewer, ("chat", said[1]), gone) for viewer in shown)
    assert (await slow.join("g:late")).chat == [said[0], said[2]]


async def test_a_bar_that_rises_in_the_middle_of_a_sweep_is_at_once_told_to_those_it_has_not_reached(
    slow: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = counted(figures.offered, lane="state")

    async def rise() -> None:
        await slow.act(team__1={"paid": 2}, team__2={"paid": 1})

    await amid(slow, monkeypatch, rise, lambda: slow.act(team__1={"paid": 1}))
    await slow.level()
    shown = [[value["paid"] for key, _, value in viewer.of("state") if key == "team:1"] for viewer in slow.viewers]
    assert sorted(shown) == [[1, 2]] * BEFORE + [[2]] * (ALL - BEFORE)
    # One key to everybody, another one to those who were left, both to everybody with the next tick.
    await until(lambda: counted(figures.offered, lane="state") - offered == ALL + (ALL - BEFORE) + 2 * ALL)


async def test_what_a_sweep_no_longer_tells_is_counted_as_skipped(slow: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    async def start() -> None:
        said.append((await slow.comment("oops")).id)

    offered, skipped = counted(figures.offered, lane="chat"), counted(figures.skipped, lane="chat")
    await amid(slow, monkeypatch, lambda: slow.withdraw(said[0]), start)
    await slow.level()
    shown = sum(len(viewer.of("chat")) for viewer in slow.viewers)
    assert shown == BEFORE
    assert counted(figures.offered, lane="chat") - offered == shown + counted(figures.skipped, lane="chat") - skipped


async def test_a_log_begun_anew_in_the_middle_of_a_sweep_leaves_nobody_with_older_state(
    slow: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):  # of the new log versions are smaller: an older frame would win over them
        await slow.act(team__1={"paid": n}, team__2={"paid": n})
    await slow.level()
    old = slow.epoch

    async def start() -> None:
        await slow.act(team__1={"paid": 98}, team__2={"paid": 98})

    async def anew() -> None:
        await slow.redis.hdel(room_key(ROOM, "state"), "team:2")  # type: ignore[misc]
        await slow.begin_anew()
        await slow.act(team__1={"paid": 99})

    await amid(slow, monkeypatch, anew, start)
    await slow.level()
    assert slow.epoch != old
    assert "team:2" not in await slow.truth()
    for viewer in slow.viewers:
        told = [one[:2] for one in viewer.told]
        assert told.count(("anew", slow.epoch)) == 1
        after = [one[1:] for one in viewer.told[told.index(("anew", slow.epoch)) :] if one[0] == "state"]
        assert [one for one in after if one[0] == "team:2"] == []
        assert after[-1][2] == {"paid": 99}
    assert len([viewer for viewer in slow.viewers if {"paid": 98} in [one[2] for one in viewer.of("state")]]) == BEFORE


async def test_own_news_overtake_a_sweep_and_come_before_any_frame_that_says_they_did(
    slow: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    buyer = slow.viewers[7]
    await amid(slow, monkeypatch, lambda: slow.own(buyer.sub, "A"), lambda: slow.act(team__1={"paid": 1}))
    await slow.events()
    await slow.level()
    assert [p for p, _ in buyer.of("own")] == [1]
    assert buyer.of("fetch") == [()]  # with its first join
    assert {viewer.p for viewer in slow.viewers} == {1}


async def test_many_events_come_in_frames_of_a_bounded_number_with_their_state_in_the_first(
    settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_stage(settings, hub_events_per_frame=10) as stage:
        gate = Gate(monkeypatch)
        viewer = await stage.join("g:1")
        await gate.shut()
        await stage.events(25, team__1={"paid": 1})
        gate.open()
        await stage.level()
        frames = [one for one in viewer.frames if "ev" in one]
        assert [len(one["ev"]) for one in frames] == [10, 10, 5]
        assert [one["s"] for one in frames] == [10, 20, 25]
        assert ["st" in one for one in frames] == [True, False, False]
        assert (viewer.seqs(), viewer.of("gap")) == (list(range(1, 26)), [])


async def test_a_read_begun_near_the_end_of_a_sweep_is_told_without_waiting_for_a_tick(
    settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "SLICE", 2)
    monkeypatch.setattr(room, "STRETCH", 600.0)
    async with a_stage(settings, hub_critical_ms=0, hub_tick_ms=600_000) as stage:
        crowd = await stage.crowd(4)
        feed, gate, slices = stage.feed, Gate(monkeypatch), 0
        overtake = feed._overtake

        async def in_the_middle() -> Any:
            nonlocal slices
            slices += 1
            if slices == 1:  # the other two sockets are the last slice
                gate.close()
                await stage.events()
                await until(feed.wake.is_set, "the nudge")
                asyncio.get_running_loop().call_later(0.1, gate.open)
            return await overtake()

        monkeypatch.setattr(feed, "_overtake", in_the_middle)
        await stage.events()
        await until(lambda: [one.seqs() for one in crowd] == [[1, 2]] * 4, "the second event")


async def test_an_event_that_came_while_a_read_was_on_its_way_is_told_once(
    slow: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, feed = roomlog.look, slow.feed
    step, hold = 0, asyncio.Event()

    async def one_more(*args: Any) -> roomlog.Look:
        nonlocal step
        if step == 1:  # begun in the middle of the sweep: it is not done when that ends, and then more is there
            step = 2
            await hold.wait()
            found = await look(*args)
            await slow.act(("room.pinned", {"offer": 2}), team__1={"paid": 2})
            await slow.comment("hello")
            return found
        return await look(*args)

    overtake = feed._overtake

    async def in_the_middle() -> Any:
        nonlocal step
        if step == 0:
            step = 1
            await slow.events()
            await until(feed.wake.is_set, "the nudge")
            asyncio.get_running_loop().call_later(0.2, hold.set)
        return await overtake()

    monkeypatch.setattr(roomlog, "look", one_more)
    monkeypatch.setattr(feed, "_overtake", in_the_middle)
    tally = {lane: counted(figures.offered, lane=lane) for lane in ("critical", "state", "chat")}
    frames = {viewer.sub: len(viewer.frames) for viewer in slow.viewers}
    await slow.act(team__1={"paid": 1})
    await slow.level()
    await until(lambda: all(viewer.of("chat") for viewer in slow.viewers), "the comment")
    assert step == 2
    for viewer in slow.viewers:
        written = [seq for one in viewer.frames[frames[viewer.sub] :] for seq, _, _ in one.get("ev", ())]
        assert (written, viewer.of("gap")) == ([1, 2], [])
    assert counted(figures.offered, lane="critical") - tally["critical"] == 2 * ALL
    assert counted(figures.offered, lane="chat") - tally["chat"] == ALL


async def test_a_hub_that_ends_in_the_middle_of_a_read_leaves_no_task(
    settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "SLICE", 2)
    gate = Gate(monkeypatch)
    async with a_stage(settings, hub_critical_ms=0, hub_tick_ms=600_000) as stage:
        await stage.crowd(4)
        feed, overtake = stage.feed, stage.feed._overtake

        async def in_the_middle() -> Any:
            if not gate.shut_now:
                gate.close()
                await stage.events()
                await until(feed.wake.is_set, "the nudge")
            return await overtake()

        monkeypatch.setattr(feed, "_overtake", in_the_middle)
        await stage.events()
        await until(lambda: gate.held, "a read on its way")
    assert [task for task in asyncio.all_tasks() if "RoomFeed" in str(task.get_coro()) and not task.done()] == []


# state


async def test_a_thousand_changes_of_a_key_are_few_values_and_the_last_one_always_arrives(stage: Stage) -> None:
    viewer = await stage.join("g:1")
    await stage.act(offer__1={"phase": "open"})
    await stage.level()
    before = len(viewer.of("state"))
    for start in range(1, 1001, 100):
        counts = [roomlog.count(stage.redis, ROOM, "team:1", version, {"paid": version}) for version in range(start, start + 100)]
        await asyncio.gather(*counts)
    await stage.level()
    values = [one for one in viewer.of("state")[before:] if one[0] == "team:1"]
    assert values[-1][2] == {"paid": 1000}
    assert len(values) < 100
    assert [version for _, version, _ in values] == sorted({version for _, version, _ in values})


# chat


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as a test lasts it is the same second for the budget."""
    monkeypatch.setattr(live, "time", SimpleNamespace(time=lambda: 1_700_000_000.5))


async def spoken(stage: Stage, people: str, budget: int) -> str:
    """Each letter says something; those that were shown."""
    manners = Manners(budget=budget)
    return "".join([who for who in people if (await stage.comment(f"hello {who}", f"g:{who}", manners)).id])


@pytest.mark.usefixtures("one_second")
@pytest.mark.parametrize(
    ("people", "budget", "shown"),
    [
        ("abcdefgh", 5, "abcde"),
        ("aaaaaaaa", 10, "aaaaa"),  # one alone has half of it
        ("aaaaaaaabcdefg", 10, "aaaaabcdef"),  # … and the other half waits for the others
        ("bbbaaaaac", 10, "bbbaac"),  # the second half is for those not yet shown
        ("ababababcd", 6, "abacd"),
        ("aaa", 1, "a"),
        ("aab", 2, "ab"),
        ("aaaaab", 5, "aaab"),
        ("a" * 60, 0, "a" * 60),
    ],
)
async def test_the_budget_of_a_second_is_shared_fairly(stage: Stage, people: str, budget: int, shown: str) -> None:
    assert await spoken(stage, people, budget) == shown


@pytest.mark.usefixtures("one_second")
async def test_who_is_over_the_budget_is_told_and_only_consoles_hear_it(settings: Settings, redis: Redis) -> None:
    async with a_stage(settings, comment_budget_per_second=4, hub_says_per_second=100.0, hub_say_burst=100) as stage:
        viewer, console = await stage.join("g:1"), await stage.join("s:1")
        loud = await stage.join("g:2")
        replies = [await loud.ask("say", cid=f"cid-{n:05d}", text=f"buy {n}") for n in range(5)]
        quiet = await viewer.ask("say", cid="cid-00000", text="hello")
        assert ["ok" in reply for reply in replies] == [True, True, False, False, False]
        assert replies[2]["no"] == {"code": "slow_down", "retry": True, "wait": 1000}
        assert "ok" in quiet
        heard = [f"buy {n}" for n in range(5)] + ["hello"]
        await until(lambda: [text for _, text in console.of("chat")] == heard, "every comment at the console")
        for one in (viewer, loud):
            await until(lambda one=one: [text for _, text in one.of("chat")] == ["buy 0", "buy 1", "hello"])  # type: ignore[misc]
        assert await stage.redis.xlen(room_key(ROOM, "chat:all")) == 6


@pytest.mark.usefixtures("one_second")
async def test_a_comment_sent_again_with_its_id_is_said_once_everywhere(stage: Stage) -> None:
    manners = Manners(budget=1)
    assert (await say(stage.redis, ROOM, "g:1", "A", "cid-00001", "first", manners)).id
    for _ in range(3):
        assert (await say(stage.redis, ROOM, "g:2", "B", "cid-00002", "second", manners)).code == "slow_down"
    again = await say(stage.redis, ROOM, "g:1", "A", "cid-00001", "first", manners)
    assert again.id
    said = [fields[b"text"] for _, fields in await stage.redis.xrange(room_key(ROOM, "chat:all"))]
    assert said == [b"first", b"second"]  # a refused one may be shown to consoles, but not once per try


# limits of a person


async def codes(viewer: Viewer, t: str, count: int, **d: Any) -> list[str]:
    """Answers to so many commands: `ok` or the refusal's code."""
    replies = [await viewer.ask(t, **{name: f"{value}{viewer.sub[2:]}{next(viewer._ids)}" if name in ("cid", "key") else value
                                      for name, value in d.items()}) for _ in range(count)]  # fmt: skip
    return ["ok" if "ok" in reply else str(reply["no"]["code"]) for reply in replies]


async def test_a_person_has_one_purse_for_all_sockets_and_reconnecting_refills_nothing(settings: Settings, redis: Redis) -> None:
    slowly = {"hub_says_per_second": 0.001, "hub_say_burst": 3, "hub_buys_per_second": 0.001, "hub_buy_burst": 2}
    async with a_stage(settings, comment_budget_per_second=0, **slowly) as stage:
        one, two, other = await stage.join("p:1"), await stage.join("p:1"), await stage.join("p:2")
        said = {"cid": "comment-", "text": "hello"}
        tap = {"key": "tapped-", "lines": [{"offer": 1, "qty": 1, "version": 1}], "at": ["S1"]}
        assert await codes(one, "say", 2, **said) == ["ok", "ok"]
        assert await codes(two, "say", 2, **said) == ["ok", "slow_down"]
        assert await codes(one, "buy", 1, **tap) == ["fenced"]  # no turnstile here: it was asked
        assert await codes(two, "buy", 2, **tap) == ["fenced", "slow_down"]
        assert (await two.ask("say", cid="comment-last", text="x"))["no"]["wait"] > 1000
        await one.leave()
        await two.leave()
        stage.hub.desk.sort_purses()
        await one.come()
        assert await codes(one, "say", 1, **said) == ["slow_down"]
        assert await codes(one, "buy", 1, **tap) == ["slow_down"]
        assert await codes(other, "say", 3, **said) == ["ok", "ok", "ok"]


def test_a_purse_is_forgotten_when_a_new_one_would_be_the_same() -> None:
    purse = Purse(Bucket(0.5, 3, 100.0), Bucket(0.5, 5, 100.0))
    for _ in range(3):
        assert purse.says.take(101.0) == 0.0
    assert purse.says.take(101.0) == 2.0
    assert purse.buys.take(104.0) == 0.0
    assert not purse.full(113.9)  # the buys' five tokens take ten seconds
    assert purse.full(114.1)
    assert [Bucket(0.5, 3, 0.0).take(0.0, 4.0), Bucket(0.5, 3, 0.0).take(9.0, 3.0)] == [2.0, 0.0]


async def test_the_ninth_socket_of_a_person_closes_the_oldest(stage: Stage) -> None:
    sockets = [await stage.join("p:1") for _ in range(8)]
    other = await stage.join("p:2")
    await stage.join("p:1")
    await until(lambda: sockets[0].code)
    assert (sockets[0].code, sockets[0].bye["code"] if sockets[0].bye else None) == (Close.REPLACED, Close.REPLACED)
    await stage.own("p:1", "A")
    await until(lambda: all(one.of("own") for one in stage.viewers if one is not other and one is not sockets[0]))
    assert [one.code for one in (*sockets[1:], other)] == [None] * 8


async def test_sockets_of_a_person_that_come_all_at_once_leave_eight_too(stage: Stage) -> None:
    await stage.join("g:warm")
    burst = [stage.viewer("p:1") for _ in range(20)]
    for one in burst:
        await one.open()
    await asyncio.gather(*(one.greet() for one in burst))  # before the first one closed has answered its close
    assert len([one for one in stage.feed.people["p:1"] if one.open]) == 8


async def test_the_budget_has_no_memory_of_the_second_before(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    for second in (100.9, 101.0, 101.9, 102.1):
        monkeypatch.setattr(live, "time", SimpleNamespace(time=partial(float, second)))
        shown.append(await spoken(stage, "aab", 2))
    assert shown == ["ab", "ab", "", "ab"]
