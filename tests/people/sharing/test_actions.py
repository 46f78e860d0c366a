"""Links opened by crowds at once: the inviters form a tree, whatever the order of things."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlmodel import col

from live.infra.db import Database
from live.people.sharing import rules
from live.people.sharing.actions import link, open_link
from live.people.sharing.queries import brought_by, people_brought
from live.people.sharing.tables import ShareTouch
from live.people.tables import Person
from live.protocol.codes import Code, Refusal
from live.rooms.tables import Room
from tests.crowd import side_by_side

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CROWD = 200


class Town:
    """Two rooms and people who share them."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def people(self, count: int) -> None:
        """Persons 1 … count, who have met nobody."""
        async with self.db.connection() as connection:
            await connection.execute(text("TRUNCATE person, share_link, share_touch RESTART IDENTITY CASCADE"))
            fresh = text("INSERT INTO person (openid, name, first_touch) SELECT 'o' || i, 'P' || i, '{}' FROM generate_series(1, :n) i")
            await connection.execute(fresh, {"n": count})

    async def link(self, sharer: str, room: str = "r1") -> str:
        async with self.db.begin() as session:
            return await link(session, room, sharer)

    async def opens(self, person: int, token: str, now: datetime = NOW) -> ShareTouch:
        async with self.db.begin() as session:
            return await open_link(session, token, person, now)

    async def tree(self) -> dict[str, list[str]]:
        """Person -> path of inviters, of those who have one."""
        async with self.db.begin() as session:
            return {f"p:{one.id}": one.first_touch["path"] for one in (await session.execute(select(Person))).scalars() if one.first_touch}

    async def touches(self, person: int) -> list[str]:
        async with self.db.begin() as session:
            mine = select(col(ShareTouch.sharer)).where(col(ShareTouch.person) == f"p:{person}").order_by(col(ShareTouch.id))
            return list((await session.execute(mine)).scalars())


@pytest_asyncio.fixture
async def town(database: Database) -> Town:
    async with database.begin() as session:
        session.add_all([Room(id=room, title_zh="间", title_en="Room", phase="live") for room in ("r1", "r2")])
    found = Town(database)
    await found.people(5)
    return found


def sound(tree: dict[str, list[str]]) -> None:
    """No cycle, nobody above themselves, and each path is the inviter and the inviter's own, at most ten."""
    for person, path in tree.items():
        above, seen = person, [person]
        while above in tree:
            above = tree[above][0]
            assert above not in seen, f"a cycle: {seen} {above}"
            seen.append(above)
        assert path == seen[1 : rules.DEPTH + 1]


async def test_a_sharer_has_one_link_a_room_that_a_mini_programs_scene_can_carry(town: Town) -> None:
    tokens = await asyncio.gather(*(town.link("p:1") for _ in range(20)))
    assert len(set(tokens)) == 1
    assert tokens[0] != await town.link("p:1", "r2")
    assert tokens[0] != await town.link("s:1")
    assert 0 < len(tokens[0]) <= 32
    assert set(tokens[0]) <= set("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!#$&'()*+,/:;=?@-._~")
    with pytest.raises(Refusal) as no:
        await town.link("p:1", "nowhere")
    assert (no.value.code, no.value.facts) == (Code.NOT_FOUND, {"what": "room"})


async def test_nobody_invites_themselves_and_a_link_nobody_made_leads_nowhere(town: Town) -> None:
    mine = await town.link("p:1")
    for token, code in ((mine, Code.STATE), ("no-such-token", Code.NOT_FOUND)):
        with pytest.raises(Refusal) as no:
            await town.opens(1, token)
        assert no.value.code is code
    assert await town.touches(1) == []
    assert await town.tree() == {}


async def test_the_first_link_stays_first_and_the_newest_is_last(town: Town) -> None:
    one, two = await town.link("p:1"), await town.link("s:7", "r2")
    await town.opens(3, one)
    await town.opens(3, two, NOW + timedelta(hours=2))
    await town.opens(3, two, NOW + timedelta(hours=2, minutes=5))  # a reload
    assert await town.touches(3) == ["p:1", "s:7"]
    async with town.db.begin() as session:
        assert (await session.get_one(Person, 3)).first_touch == {"by": "p:1", "room": "r1", "at": 1795348800000, "path": ["p:1"]}
        for later, last in (({"hours": 1}, "p:1"), ({"hours": 2}, "s:7"), ({"days": 7}, "s:7"), ({"days": 7, "hours": 2}, None)):
            [(first, found)] = await brought_by(session, [("p:3", NOW + timedelta(**later))])
            assert (first["by"], found) == ("p:1", last)
        nobody = [("p:3", NOW - timedelta(seconds=1)), ("p:99", NOW), ("b:1", NOW)]
        assert await brought_by(session, nobody) == [({}, None)] * 3
        assert await people_brought(session, "r1") == {"p:1": 1}
        assert await people_brought(session, "r2", "p:1") == {}


async def test_who_has_brought_somebody_was_here_before_and_gets_no_inviter(town: Town) -> None:
    one, two = await town.link("p:1"), await town.link("p:2")
    await town.opens(2, one)
    await town.opens(1, two)
    assert await town.tree() == {"p:2": ["p:1"]}
    assert await town.touches(1) == ["p:2"]  # it still counts for what person 1 buys


async def test_one_person_leaves_at_most_twenty_touches_a_day(town: Town) -> None:
    tokens = [await town.link(f"s:{guide}") for guide in range(1, rules.TOUCHES_A_DAY + 2)]
    for token in tokens[:-1]:
        await town.opens(1, token)
    with pytest.raises(Refusal) as no:
        await town.opens(1, tokens[-1])
    assert (no.value.code, no.value.facts) == (Code.LIMIT, {"allowed": 20})
    assert len(await town.touches(1)) == 20
    await town.opens(1, tokens[-1], NOW + timedelta(days=1))


async def test_two_devices_that_open_two_sharers_links_at_once_leave_one_first_and_both_touches(town: Town) -> None:
    await town.people(CROWD // 2)
    tokens = {sharer: await town.link(sharer) for sharer in ("s:1", "s:2")}
    await side_by_side(town.opens(person, token) for person in range(1, CROWD // 2 + 1) for token in tokens.values())
    tree = await town.tree()
    async with town.db.begin() as session:
        for person in range(1, CROWD // 2 + 1):
            mine = select(col(ShareTouch.sharer)).where(col(ShareTouch.person) == f"p:{person}").order_by(col(ShareTouch.id))
            touches = list((await session.execute(mine)).scalars())
            assert sorted(touches) == ["s:1", "s:2"]
            assert tree[f"p:{person}"] == touches[:1]
            assert (await brought_by(session, [(f"p:{person}", NOW)]))[0][1] == touches[1]


async def test_a_ring_of_200_who_open_each_others_links_at_once_is_not_closed(town: Town) -> None:
    await town.people(CROWD)
    tokens = await side_by_side(town.link(f"p:{person}") for person in range(1, CROWD + 1))
    await side_by_side(town.opens(person, tokens[person % CROWD]) for person in range(1, CROWD + 1))
    tree = await town.tree()
    assert 0 < len(tree) < CROWD
    sound(tree)


@given(st.lists(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8)), min_size=1, max_size=5), max_size=8))
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whoever_opens_whatever_the_inviters_are_a_tree_and_no_place_in_it_changes(
    town: Town, rounds: list[list[tuple[int, int]]]
) -> None:
    """Each round's links are opened side by side."""
    await town.people(8)
    tokens = dict(enumerate(await asyncio.gather(*(town.link(f"p:{person}") for person in range(1, 9))), 1))
    kept: dict[str, list[str]] = {}
    for at, pairs in enumerate(rounds):
        now = NOW + timedelta(days=at)
        answers = await asyncio.gather(*(town.opens(person, tokens[by], now) for person, by in pairs), return_exceptions=True)
        for (person, by), answer in zip(pairs, answers, strict=True):
            assert isinstance(answer, Refusal if person == by else ShareTouch)
        tree = await town.tree()
        sound(tree)
        assert kept.items() <= tree.items()
        kept = tree
