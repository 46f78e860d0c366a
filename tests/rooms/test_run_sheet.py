"""A show prepared as a plan, through its doors: every row is started once, by whom, and as it was seen."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest_asyncio
from sqlalchemy import text

from live.infra.db import Database
from tests.offers.shop import make_shop
from tests.web.doors import Doors, holdings

SALE = {"sku": "TEA", "fen": 5000, "per_person": 2, "stock": {"S1": 5}, "minutes": 10}
COUPON = {"off": 500, "threshold": 3000, "total": 10}
GROUP = {
    "sku": "TEA", "per_person": 2, "stock": {"S1": 4}, "size": 4, "minimum": 2,
    "tiers": [{"seats": 0, "fen": 8000}, {"seats": 2, "fen": 7000}],
}  # fmt: skip
PACKET = {"currency": "points", "sum": 500, "shares": 5, "minutes": 5}
DRAW = {"prize_zh": "茶", "prize_en": "Tea", "winners": 2, "entry": "comment", "word": "抽我", "minutes": 5}
LEADER = {"sku": "TEA", "leader": "laowang", "fen": 7000, "size": 10, "minimum": 2, "per_person": 2, "minutes": 60}
TEAM = {"sku": "TEA", "fen": 6000, "stock": {"S1": 6}, "size": 3, "team_minutes": 30}
SHEET = "/v1/rooms/r1/run-sheet"
Sheet = dict[str, Any]


def row(kind: str, settings: Sheet, minute: int = 0, note: str = "", pins: bool = False) -> Sheet:
    return {"minute": minute, "kind": kind, "settings": settings, "pins": pins, "note": note}


PLAN = [row("coupon", COUPON, 0, "先发券"), row("sale", SALE, 5), row("pin", {"sku": "TEA"}, 6), row("group", GROUP, 20, "压轴")]


class Host:
    """Somebody at the console, and the sheet as they last saw it."""

    def __init__(self, doors: Doors, cookie: str) -> None:
        self.doors, self.cookie, self.presses = doors, cookie, 0
        self.sheet: Sheet = {"rows": []}

    async def ask(self, path: str, body: Sheet | None = None, method: str = "POST") -> tuple[int, Any]:
        status = 503
        while status == 503:  # hundreds at once on a slow machine: whoever finds no connection asks again, as pages do
            status, answer = await self.doors.ask(method, SHEET + path, body or {}, self.cookie)
        if "rows" in answer and "tag" in answer:
            self.sheet = answer
        return status, answer.get("no", answer)

    async def look(self) -> Sheet:
        await self.ask("", method="GET")
        return self.sheet

    def row(self, n: int) -> Sheet:
        found: Sheet = self.sheet["rows"][n]
        return found

    async def do(self, verb: str, n: int, **body: Any) -> tuple[int, Any]:
        """`verb` on the row that stands at `n`, as it was last seen."""
        seen = self.row(n)
        if verb == "start" and "key" not in body:
            self.presses += 1
            body["key"] = f"press-{id(self)}-{self.presses}"
        return await self.ask(f"/rows/{seen['id']}{'/' + verb if verb else ''}", {"version": seen["version"], **body})


@pytest_asyncio.fixture
async def xiaoman(doors: Doors) -> Host:
    """A host in a shop whose room r1 is live."""
    await make_shop(doors.db)
    return Host(doors, await doors.hire("host", name="小满"))


@pytest_asyncio.fixture
async def zhou(doors: Doors, xiaoman: Host) -> Host:
    """The owner, at a second console."""
    return Host(doors, await doors.hire("owner", name="周店主"))


async def one(db: Database, query: str) -> Any:
    async with db.connection() as connection:
        return (await connection.execute(text(query))).scalar_one()


async def test_a_show_runs_by_its_plan_and_each_row_says_who_started_it_and_when(xiaoman: Host, zhou: Host) -> None:
    assert (await xiaoman.ask("", method="GET"))[0] == 200
    assert (xiaoman.sheet["rows"], xiaoman.sheet["next"], xiaoman.sheet["length"], xiaoman.sheet["late"]) == ([], None, 0, None)
    for planned in reversed(PLAN):  # whatever order they are typed in
        assert (await xiaoman.ask("/rows", planned))[0] == 201
    await zhou.look()
    assert [{name: each[name] for name in PLAN[0]} for each in zhou.sheet["rows"]] == PLAN
    assert (zhou.sheet["length"], zhou.sheet["next"]) == (20, zhou.row(0)["id"])
    for n, kind in enumerate(("coupon", "sale", "pin", "group")):
        status, answer = await (xiaoman, zhou)[n % 2].ask("", method="GET")
        status, answer = await (xiaoman, zhou)[n % 2].do("start", n)
        assert (status, answer["rows"][n]["state"], answer["rows"][n]["kind"]) == (200, "STARTED", kind), answer
        assert answer["next"] == (answer["rows"][n + 1]["id"] if n < 3 else None)
    rows = (await xiaoman.look())["rows"]
    coupon, sale, pinned, group = (each["offer"] for each in rows)
    assert (coupon < sale == pinned < group, [each["by"] for each in rows]) == (True, ["小满", "周店主", "小满", "周店主"])
    assert all(each["at"] <= xiaoman.sheet["now"] and isinstance(each["late"], int) for each in rows)
    assert xiaoman.sheet["late"] == rows[3]["late"]
    db = xiaoman.doors.db
    assert await one(db, "SELECT string_agg(kind, ' ' ORDER BY id) FROM offer WHERE phase = 'open'") == "coupon sale group"
    assert await one(db, "SELECT pin FROM room WHERE id = 'r1'") == sale


async def test_by_hand_out_of_order_and_skipped(xiaoman: Host) -> None:
    await xiaoman.ask("/import", {"rows": PLAN})
    assert (await xiaoman.doors.ask("POST", "/v1/rooms/r1/coupons", COUPON, xiaoman.cookie))[0] == 201
    assert (await xiaoman.do("start", 3))[1]["next"] == xiaoman.row(0)["id"], "what was passed over is still next"
    assert (await xiaoman.do("skip", 0))[1]["next"] == xiaoman.row(1)["id"]
    status, no = await xiaoman.do("start", 0)
    assert (status, no["code"], no["state"], no["by"], no["row"]) == (409, "state", "SKIPPED", "小满", xiaoman.row(0)["id"])
    for verb in ("skip", "delete", "move", ""):
        body = {"before": None} if verb == "move" else PLAN[0] if not verb else {}
        assert (await xiaoman.do(verb, 3, **body))[1]["state"] == "STARTED", verb
    assert (await xiaoman.ask(f"/rows/{xiaoman.row(3)['id']}/duplicate"))[0] == 201
    assert [(each["state"], each["minute"]) for each in xiaoman.sheet["rows"]] == [
        ("SKIPPED", 0), ("PLANNED", 5), ("PLANNED", 6), ("STARTED", 20), ("PLANNED", 20),
    ]  # fmt: skip


async def test_a_press_sent_again_finds_what_it_did(xiaoman: Host, zhou: Host) -> None:
    await xiaoman.ask("/import", {"rows": PLAN})
    await zhou.look()
    seen = xiaoman.row(0)
    first, again = [await xiaoman.ask(f"/rows/{seen['id']}/start", {"version": seen["version"], "key": "same-press"}) for _ in range(2)]
    assert first[0] == again[0] == 200
    assert again[1]["rows"][0] == first[1]["rows"][0]
    status, no = await zhou.do("start", 0, key="same-press")
    assert (status, no["state"], no["by"]) == (409, "STARTED", "小满"), "a key is its presser's own"
    assert await one(xiaoman.doors.db, "SELECT count(*) FROM offer") == 1


async def test_of_200_presses_on_two_consoles_one_starts_the_row(xiaoman: Host, zhou: Host) -> None:
    await xiaoman.ask("/import", {"rows": PLAN})
    await zhou.look()
    hosts = [(xiaoman, zhou)[n % 2] for n in range(200)]
    path = f"/rows/{xiaoman.row(1)['id']}/start"
    body = {"version": xiaoman.row(1)["version"]}
    answers = await asyncio.gather(*(host.ask(path, body | {"key": f"press-{n:04}"}) for n, host in enumerate(hosts)))
    won = [hosts[n] for n, (status, _) in enumerate(answers) if status == 200]
    assert len(won) == 1, Counter(status for status, _ in answers)
    name = {xiaoman: "小满", zhou: "周店主"}[won[0]]
    assert {(no["code"], no["state"], no["by"]) for status, no in answers if status != 200} == {("state", "STARTED", name)}
    db = xiaoman.doors.db
    assert await one(db, "SELECT count(*) FROM offer") == 1
    assert await one(db, "SELECT allotted FROM stock WHERE location = 'S1'") == 5


async def test_a_row_changed_while_it_is_started_is_started_as_it_was_seen_or_not_at_all(xiaoman: Host, zhou: Host) -> None:
    for round_ in range(4):
        await xiaoman.ask("/rows", row("coupon", COUPON | {"off": 100 + round_}, minute=round_))
        await zhou.look()
        seen, dice = xiaoman.row(round_), random.Random(round_)
        acts = ["change"] * 20 + ["start"] * 10  # a change takes longer, so starts come last in every other round
        if round_ % 2:
            dice.shuffle(acts)
        change = row("coupon", COUPON | {"off": 900}, minute=round_) | {"version": seen["version"]}
        path = f"/rows/{seen['id']}"
        answers = await asyncio.gather(*(
            zhou.ask(f"{path}/start", {"version": seen["version"], "key": f"press-{n:04}"}) if act == "start" else xiaoman.ask(path, change)
            for n, act in enumerate(acts)
        ))  # fmt: skip
        won = [acts[n] for n, (status, _) in enumerate(answers) if status == 200]
        assert len(won) == 1, won
        now = (await xiaoman.look())["rows"][round_]
        if won == ["start"]:
            assert (now["state"], now["settings"]) == ("STARTED", seen["settings"])
            assert await one(xiaoman.doors.db, f"SELECT terms->>'off' FROM offer WHERE id = {now['offer']}") == str(100 + round_)
        else:
            assert (now["state"], now["settings"]["off"], now["offer"]) == ("PLANNED", 900, None)
            assert {no["state"] for status, no in answers if status != 200} == {"CHANGED"}
        _, fresh = await xiaoman.ask(path, change | {"version": now["version"]})
        assert fresh.get("state") == ("STARTED" if won == ["start"] else None)
        assert (await zhou.ask(f"{path}/start", {"version": seen["version"], "key": "too-late"}))[0] == 409


WRONG: list[tuple[Sheet, str]] = [
    (row("sale", SALE) | {"minute": -1}, "minute"),
    (row("sale", SALE) | {"minute": 1441}, "minute"),
    (row("sale", SALE) | {"minute": "5"}, "minute"),
    (row("sale", SALE) | {"note": "长" * 501}, "note"),
    (row("sale", SALE) | {"when": 1}, "when"),
    (row("lottery", {}), "kind"),
    ({"minute": 0, "kind": "sale"}, "settings"),
    (row("sale", {}), "settings.sku"),
    (row("sale", SALE | {"fen": 0}), "settings.fen"),
    (row("sale", SALE | {"fen": 59.9}), "settings.fen"),
    (row("sale", SALE | {"fen": 10**30}), "settings.fen"),
    (row("sale", SALE | {"price": 1}), "settings.price"),
    (row("sale", SALE | {"stock": {"S1": 0}}), "settings.stock.S1"),
    (row("sale", SALE | {"stock": {}}), "settings.stock"),
    (row("sale", SALE | {"sku": "COFFEE"}), "settings.sku"),
    (row("sale", COUPON), "settings.sku"),
    (row("coupon", COUPON | {"threshold": 499}), "settings.off"),
    (row("group", GROUP | {"size": 5}), "settings.size"),
    (row("group", GROUP | {"tiers": [{"seats": 0, "fen": 7000}, {"seats": 2, "fen": 8000}]}), "settings.tiers.1.fen"),
    (row("packet", PACKET | {"shares": 501}), "settings.sum"),
    (row("packet", PACKET | {"word": "加微信"}), "settings.word"),
    (row("draw", DRAW | {"prize_en": ""}), "settings.prize_en"),
    (row("draw", DRAW | {"word": ""}), "settings.word"),
    (row("draw", DRAW, pins=True), "pins"),
    (row("leader", LEADER | {"leader": "nobody"}), "settings.leader"),
    (row("team", TEAM | {"size": 1}), "settings.size"),
    (row("sale", SALE) | {"pins": 1}, "pins"),
    (row("pin", {"sku": None}, pins=True), "pins"),
    (row("pin", {}), "settings.sku"),
    (row("pin", {"sku": "COFFEE"}), "settings.sku"),
]


async def test_a_row_that_could_never_be_started_is_refused_when_it_is_saved_by_row_and_field(xiaoman: Host) -> None:
    await xiaoman.ask("/import", {"rows": PLAN})
    before = await holdings(xiaoman.doors.db)
    seen = xiaoman.row(1)
    for wrong, field in WRONG:
        status, no = await xiaoman.ask("/rows", wrong)
        assert (status, no["code"], no["field"]) == (422, "bad_request", field), (wrong, no)
        status, no = await xiaoman.ask(f"/rows/{seen['id']}", wrong | {"version": seen["version"]})
        assert (status, no["code"], no["field"]) == (422, "bad_request", field), (wrong, no)
        if "." in field or field == "kind" or (field == "pins" and wrong["pins"] is True):
            assert no["row"] == seen["id"]
            status, no = await xiaoman.ask("/import", {"rows": [PLAN[0], wrong, PLAN[1], wrong]})
            assert (status, no["code"]) == (422, "rows")
            assert [(error["row"], error["field"], bool(error["why"])) for error in no["errors"]] == [(2, field, True), (4, field, True)]
    assert await holdings(xiaoman.doors.db) == before


async def test_what_only_the_moment_decides_is_asked_when_the_row_is_started_and_changes_nothing(xiaoman: Host) -> None:
    host = xiaoman
    await host.ask("/import", {"rows": [row("pin", {"sku": "TEA"}), row("sale", SALE | {"stock": {"S1": 1001}}), row("sale", SALE)]})
    assert [each["state"] for each in host.sheet["rows"]] == ["PLANNED"] * 3
    before = await holdings(host.doors.db)
    status, no = await host.do("start", 0)
    assert (status, no["code"], no["field"], no["row"]) == (404, "not_found", "settings.sku", host.row(0)["id"])
    status, no = await host.do("start", 1)
    assert (status, no["code"], no["have"], no["location"], no["row"]) == (409, "not_enough_stock", 1000, "S1", host.row(1)["id"])
    assert await holdings(host.doors.db) == before
    async with host.doors.db.connection() as connection:
        await connection.execute(text("UPDATE sku SET active = false"))
    assert (await host.do("start", 2))[1]["field"] == "settings.sku"
    async with host.doors.db.connection() as connection:
        await connection.execute(text("UPDATE room SET phase = 'ended'"))
    status, no = await host.do("start", 2)
    assert (status, no["code"], no["phase"], no["row"]) == (409, "room_closed", "ended", host.row(2)["id"])


async def test_a_sheet_is_prepared_before_the_show_copied_and_carried_as_a_file(xiaoman: Host) -> None:
    doors, cookie = xiaoman.doors, xiaoman.cookie
    await xiaoman.ask("/import", {"rows": PLAN})
    await xiaoman.do("start", 0)
    status, kept = await xiaoman.ask("/export", method="GET")
    assert (status, kept) == (200, {"rows": PLAN})
    await doors.ask("POST", "/v1/rooms", {"id": "next", "title_zh": "下一场", "title_en": "Next"}, cookie)
    copied = await doors.ask("POST", "/v1/rooms/next/run-sheet/copy", {"room": "r1"}, cookie)
    brought = await doors.ask("POST", "/v1/rooms/next/run-sheet/import", kept, cookie)
    assert (copied[0], brought[0], brought[1]["phase"], brought[1]["began"]) == (201, 201, "draft", None)
    assert [each["state"] for each in brought[1]["rows"]] == ["PLANNED"] * 8
    assert Counter(each["kind"] for each in brought[1]["rows"]) == {"coupon": 2, "sale": 2, "pin": 2, "group": 2}
    for source in ("none", "r2"):
        status, answer = await doors.ask("POST", "/v1/rooms/r1/run-sheet/copy", {"room": source}, cookie)
        assert (status, answer["no"]["field"]) == (404, "room")
    status, answer = await doors.ask("POST", "/v1/rooms/none/run-sheet/copy", {"room": "r1"}, cookie)
    assert (status, answer["no"]["what"]) == (404, "room")
    async with doors.db.connection() as connection:
        await connection.execute(text("UPDATE sku SET active = false"))
    _, answer = await doors.ask("POST", "/v1/rooms/next/run-sheet/copy", {"room": "r1"}, cookie)
    assert [(error["row"], error["field"]) for error in answer["no"]["errors"]] == [(n, "settings.sku") for n in (2, 3, 4)]


async def test_a_sheet_has_an_end(xiaoman: Host) -> None:
    assert (await xiaoman.ask("/import", {"rows": [row("coupon", COUPON)] * 99}))[0] == 201
    assert (await xiaoman.ask(f"/rows/{xiaoman.row(0)['id']}/duplicate"))[0] == 201
    full = (422, "bad_request", "rows", "more than 100 rows")
    for path, body in ((f"/rows/{xiaoman.row(0)['id']}/duplicate", {}), ("/rows", row("coupon", COUPON)), ("/import", {"rows": PLAN})):
        status, no = await xiaoman.ask(path, body)
        assert (status, no["code"], no["field"], no["why"]) == full, path


async def test_a_second_console_asks_only_for_news(xiaoman: Host, zhou: Host) -> None:
    await xiaoman.ask("/import", {"rows": PLAN})
    await zhou.look()
    have = zhou.sheet["tag"]
    assert await zhou.ask(f"?have={have}", method="GET") == (200, {"tag": have, "same": True})
    await xiaoman.do("start", 0)
    _, news = await zhou.ask(f"?have={have}", method="GET")
    assert (news["rows"][0]["state"], news["rows"][0]["by"], news["rows"][1]["name"]["zh"]) == ("STARTED", "小满", "茶 盒")
    for act in ("stop", "start"):  # the plan is the same, its clock is not
        have = news["tag"]
        await zhou.doors.ask("POST", f"/v1/rooms/r1/{act}", {}, zhou.cookie)
        _, news = await zhou.ask(f"?have={have}", method="GET")
        assert (news["late"], bool(news["began"])) == (None, act == "start")


async def test_any_edits_keep_the_order_of_minutes_and_what_was_decided_stays(xiaoman: Host) -> None:
    """Clicks drawn once and for all: states go one way, a refused act changes nothing, each success counts one."""
    dice, host = random.Random(20261122), xiaoman
    await host.ask("/rows", row("coupon", COUPON))
    decided: dict[int, Sheet] = {}
    done: Counter[str] = Counter()
    for _ in range(80):
        before = await host.look()
        verb = dice.choice(["add", "change", "move", "delete", "duplicate", "start", "skip"])
        rows = before["rows"]
        seen = dice.choice(rows) if rows else None
        stale = dice.random() < 0.15
        if verb == "add" or seen is None:
            status, no = await host.ask("/rows", row("coupon", COUPON, minute=dice.randrange(60)))
        else:
            body = {} if verb == "duplicate" else {"version": seen["version"] - stale}
            if verb == "change":
                body |= row("coupon", COUPON, minute=dice.randrange(60))
            if verb == "move":
                body["before"] = dice.choice([None, *(each["id"] for each in rows)])
            if verb == "start":
                body["key"] = f"press-{dice.getrandbits(60)}"
            status, no = await host.ask(f"/rows/{seen['id']}{'' if verb == 'change' else '/' + verb}", body)
        after = await host.look()
        minutes = [each["minute"] for each in after["rows"]]
        assert minutes == sorted(minutes)
        if status >= 400:
            assert no["code"] == "state", (verb, no)
            assert after["rows"] == rows
            assert seen is not None
            assert stale or seen["state"] != "PLANNED"
        else:
            done[verb] += 1
            assert stale <= (verb in ("add", "duplicate") or seen is None), verb
            moved_onto_itself = verb == "move" and body["before"] == seen["id"] if seen else False
            assert (after["tag"] == before["tag"]) == moved_onto_itself
        found = {each["id"]: each for each in after["rows"]}
        for number, each in decided.items():
            assert found[number] | {"minute": 0} == each | {"minute": 0}, "started and skipped rows stay as they are"
        decided |= {number: each for number, each in found.items() if each["state"] != "PLANNED"}
    assert min(done[verb] for verb in ("add", "change", "move", "delete", "duplicate", "start", "skip")) >= 3, done
    started = [each["offer"] for each in decided.values() if each["state"] == "STARTED"]
    assert sorted(started) == sorted(set(started))
    assert await one(host.doors.db, "SELECT count(*) FROM offer") == len(started)
