"""Movements sealed, exported, checked without a server, and every kind of tampering named where it stands."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text
from typer.testing import CliRunner

from live.cli import app
from live.infra.db import Database, utc_now
from live.offers import chain, proof
from live.offers.actions import add_stock, end_offer
from live.offers.chain import export, seal_due, seals, sound
from live.offers.ledger import RoomLedger
from live.offers.proof import Broken, canonical, verify
from live.offers.report import whole
from live.offers.reservations import reserve
from live.settings import settings as read_settings
from tests.offers.shop import book_all, books, coupon, make_shop, sale, tap

CAP = 20_000
NOW = datetime(2026, 11, 22, 13, tzinfo=UTC)
Lines = list[bytes]
Rows = list[dict[str, Any]]


@pytest_asyncio.fixture
async def shop(database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> RoomLedger:
    """Offer 1: 10 holds at S1 and 2 at S2, then 5 more units and the rest given back at both; offer 2: 2 coupons. Three to a seal."""
    monkeypatch.setattr(chain, "SEAL_MOST", 3)
    await make_shop(database)
    await sale(database, {"S1": 20, "S2": 5})
    await coupon(database, 3)
    ledger = await books(database, redis)
    taps = [tap(n, 1) for n in range(1, 11)] + [tap(n, 1, at=("S2",)) for n in (11, 12)]
    await reserve(redis, "r1", [*taps, *(tap(n, 2, key="c", at=("-",)) for n in (1, 2))], CAP)
    await book_all(ledger)
    async with database.begin() as session:
        await add_stock(session, 1, "S1", 5, utc_now())
    await ledger._apply_outbox()
    await seal_due(database, NOW)
    async with database.begin() as session:
        await end_offer(session, 1, utc_now())
    await ledger._apply_outbox()
    return ledger


async def sealed(db: Database) -> list[tuple[Any, ...]]:
    async with db.connection() as connection:
        query = "SELECT offer_id, location, from_no, to_no, previous, hash FROM movement_seal ORDER BY offer_id, location, from_no"
        return [tuple(row) for row in (await connection.execute(text(query))).all()]


async def test_ranges_follow_each_other_up_to_the_last_movement(shop: RoomLedger) -> None:
    ranges = [row[:4] for row in await sealed(shop.db)]
    assert ranges == [(1, "S1", 1, 3), (1, "S1", 4, 6), (1, "S1", 7, 9), (1, "S1", 10, 11), (1, "S2", 1, 2), (2, "-", 1, 2)]
    assert [await seal_due(shop.db, NOW, seconds=0) for _ in range(2)] == [1, 1]  # a turn's time is over, and still something is done
    assert await seal_due(shop.db, NOW) == 0
    rows = [row for row in await sealed(shop.db) if row[:2] == (1, "S1")]
    assert rows[-1][2:4] == (12, 12)
    assert rows[0][4] == hashlib.sha256(b'{"location":"S1","offer":1,"opened":20}').hexdigest()
    assert [row[4] for row in rows[1:]] == [row[5] for row in rows[:-1]]
    async with shop.db.connection() as connection:
        state = await seals(connection)
    assert [(each["offer"], each["location"], each["move_no"], each["sealed"], each["seals"]) for each in state] == [
        (1, "S1", 12, 12, 5), (1, "S2", 3, 3, 2), (2, "-", 2, 2, 1)
    ]  # fmt: skip
    assert state[0]["hash"] == rows[-1][5]


async def test_a_second_program_finds_the_same_hashes(shop: RoomLedger, tmp_path: Path) -> None:
    """Written from the text in chain.py with Python's own json."""
    await export(shop.db, tmp_path / "books", NOW)
    *body, end = (tmp_path / "books").read_bytes().splitlines(keepends=True)
    rows = [json.loads(line) for line in body]
    for line, row in zip(body, rows, strict=True):
        assert json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n" == line
    assert json.loads(end) == {"lines": len(body), "sha256": hashlib.sha256(b"".join(body)).hexdigest()}
    previous, waiting = "", b""
    for line, row in zip(body[1:], rows[1:], strict=True):
        if "hash" not in row:
            waiting += line
            continue
        if row["from_no"] > 1:
            assert row["previous"] == previous
        previous = hashlib.sha256(row["previous"].encode() + b"\n" + waiting).hexdigest()
        assert row["hash"] == previous
        waiting = b""
    assert waiting == b""


async def test_two_workers_that_seal_at_once_make_one_chain(shop: RoomLedger) -> None:
    await asyncio.gather(*(seal_due(shop.db, NOW) for _ in range(4)))
    assert [row[2:4] for row in await sealed(shop.db) if row[:2] == (1, "S1")] == [(1, 3), (4, 6), (7, 9), (10, 11), (12, 12)]
    assert await sound(shop.db, NOW) is None


async def test_a_gap_is_not_sealed_over(shop: RoomLedger) -> None:
    await by_hand(shop.db, "DELETE FROM movement WHERE offer_id = 1 AND location = 'S2' AND move_no = 3")
    assert await seal_due(shop.db, NOW) == 1
    assert [row[2:4] for row in await sealed(shop.db) if row[:2] == (1, "S2")] == [(1, 2)]


async def by_hand(db: Database, statement: str) -> None:
    async with db.connection() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text(statement))


TAMPERED = {
    "UPDATE movement SET rid = 'other' WHERE offer_id = 1 AND location = 'S1' AND move_no = 5": ("movements 4 to 6", "S1", 4),
    "UPDATE movement SET qty = 2 WHERE offer_id = 1 AND location = 'S1' AND move_no = 10": ("movements 10 to 11", "S1", 10),
    "UPDATE movement_seal SET hash = repeat('0', 64) WHERE offer_id = 1 AND from_no = 4": ("movements 4 to 6", "S1", 4),
    "DELETE FROM movement_seal WHERE offer_id = 1 AND from_no = 7": ("a seal of 10 to 11", "S1", 10),
    "UPDATE allotment SET total = total + 1 WHERE offer_id = 1 AND location = 'S2'": ("does not follow", "S2", 1),
    "UPDATE allotment SET taken = taken - 1 WHERE offer_id = 2": ("taken is 2 after its last movement", "-", 2),
    "DELETE FROM movement WHERE offer_id = 2 AND move_no = 1": ("movement 1 was due", "-", 2),
}


@pytest.mark.parametrize("statement", TAMPERED)
async def test_books_changed_by_hand_are_found_and_not_exported(shop: RoomLedger, tmp_path: Path, statement: str) -> None:
    await seal_due(shop.db, NOW)
    assert await sound(shop.db, NOW) is None
    assert (await whole(shop.db, shop.redis))["broken"] is None
    await by_hand(shop.db, statement)
    broken = await sound(shop.db, NOW)
    why, place, move_no = TAMPERED[statement]
    assert broken is not None
    assert why in broken.why
    assert (broken.location, broken.move_no) == (place, move_no)
    report = await whole(shop.db, shop.redis)
    assert (report["balanced"], report["broken"]["location"]) == (False, place)
    with pytest.raises(Broken):
        await export(shop.db, tmp_path / "books", NOW)
    assert os.listdir(tmp_path) == []


# Files. Line 1 is the header, 2 to 4 the movements 1 to 3 of S1 and 5 their seal, 6 to 8 the next and 9 theirs, …


@pytest_asyncio.fixture
async def file(shop: RoomLedger, tmp_path: Path) -> Path:
    """A sound file."""
    path = tmp_path / "books.jsonl"
    found = await export(shop.db, path, NOW)
    assert (found.movements, found.seals) == (17, 8)
    assert (verify(path).movements, verify(path).line) == (17, 27)
    return path


def changed(number: int, **fields: Any) -> Callable[[Lines], None]:
    """Other values in line `number`."""

    def change(lines: Lines) -> None:
        lines[number - 1] = canonical(orjson.loads(lines[number - 1]) | fields)

    return change


def removed(*numbers: int) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        for number in sorted(numbers, reverse=True):
            del lines[number - 1]

    return change


def added(number: int, **fields: Any) -> Callable[[Lines], None]:
    """A copy of line `number` behind it, with other values."""

    def change(lines: Lines) -> None:
        lines.insert(number, canonical(orjson.loads(lines[number - 1]) | fields))

    return change


def swapped(one: int, other: int) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        lines[one - 1], lines[other - 1] = lines[other - 1], lines[one - 1]

    return change


def raw(number: int, line: bytes) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        lines[number - 1] = line

    return change


FILES: dict[str, tuple[Callable[[Lines], None], int, int | None, str]] = {
    "a changed qty": (changed(3, qty=2), 5, 1, "the seal does not match its movements 1 to 3"),
    "a changed rid": (changed(3, rid="x"), 5, 1, "the seal does not match its movements 1 to 3"),
    "a changed time": (changed(4, at="2026-11-22T12:00:00.000001Z"), 5, 1, "the seal does not match its movements 1 to 3"),
    "a hold that became a restock": (changed(3, kind="RESTOCK", qty=-1), 5, 1, "the seal does not match its movements 1 to 3"),
    "a removed movement": (removed(3), 3, 3, "movement 2 was due"),
    "the last movement of a range removed": (removed(4), 4, 1, "a seal of 1 to 3, where movements 1 to 2 wait for theirs"),
    "an added movement": (added(3, rid="x"), 4, 2, "movement 3 was due"),
    "an added movement with the next number": (added(4, rid="x", move_no=4), 6, 1, "a seal of 1 to 3, where movements 1 to 4 wait"),
    "reordered movements": (swapped(2, 3), 2, 2, "movement 1 was due"),
    "a renumbered movement": (changed(7, move_no=6), 7, 6, "movement 5 was due"),
    "a cause that counts twice": (lambda lines: changed(3, rid=orjson.loads(lines[1])["rid"])(lines), 3, 2, "a second HOLD of cause"),
    "a changed seal": (changed(5, hash="0" * 64), 5, 1, "the seal does not match its movements 1 to 3"),
    "a changed link": (changed(9, previous="0" * 64), 9, 4, "the seal does not follow the one before it"),
    "a removed seal": (removed(5), 8, 4, "a seal of 4 to 6, where movements 1 to 6 wait for theirs"),
    "swapped seals": (swapped(5, 9), 5, 4, "a seal of 4 to 6, where movements 1 to 3 wait for theirs"),
    "more taken than there is": (changed(3, qty=99), 3, 2, "100 taken of 20"),
    "less than nothing taken": (changed(2, kind="RELEASE", qty=-1), 2, 1, "-1 taken of 20"),
    "a release that takes": (changed(3, kind="RELEASE"), 3, 2, "RELEASE of 1"),
    "a kind nobody knows": (changed(3, kind="GIFT"), 3, 2, "GIFT of 1"),
    "a movement of another offer": (changed(3, offer=9), 3, 1, "move_no is 1 after its last movement, the header says 12"),
    "a file without its end": (removed(27), 27, 3, "the file ends without its closing line"),
    "half a file": (lambda lines: lines.__delitem__(slice(12, None)), 13, 10, "the file ends without its closing line"),
    "an end too early": (removed(*range(22, 27)), 22, 2, "move_no is 2 after its last movement, the header says 3"),
    "something after the end": (lambda lines: lines.append(lines[1]), 28, None, "something follows the closing line"),
    "another end": (changed(27, sha256="0" * 64), 27, None, "the closing line does not match the file"),
    "another count": (changed(27, lines=25), 27, None, "26 lines before the closing one, it says 25"),
    "another moment": (changed(1, at="2026-11-22T12:00:00.000000Z"), 27, None, "the closing line does not match the file"),
    "another format": (changed(1, format="live-movements/2"), 1, None, "format live-movements/2, this program knows live-movements/1"),
    "not JSON": (raw(3, b"{"), 3, 2, "not JSON"),
    "spaces": (lambda lines: raw(3, lines[2].replace(b":", b": ", 1))(lines), 3, 2, "not in canonical form"),
    "a field twice": (lambda lines: raw(3, lines[2].replace(b'"qty":1', b'"qty":9,"qty":1'))(lines), 3, 2, "not in canonical form"),
    "a number with a point": (lambda lines: raw(3, lines[2].replace(b'"qty":1', b'"qty":1.0'))(lines), 3, None, "not the fields of a"),
    "a field too many": (changed(3, note="x"), 3, None, "not the fields of a movement"),
    "a list": (raw(3, b"[]"), 3, None, "not in canonical form"),
    "no file at all": (lambda lines: lines.clear(), 1, None, "the file ends without its closing line"),
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
def test_the_first_thing_wrong_with_a_file_is_named(file: Path, what: str) -> None:
    change, line, move_no, why = FILES[what]
    lines = file.read_bytes().splitlines()
    change(lines)
    file.write_bytes(b"".join(each + b"\n" for each in lines))
    with pytest.raises(Broken) as found:
        verify(file)
    assert (found.value.line, found.value.why[: len(why)]) == (line, why)
    assert found.value.move_no == move_no


@pytest.mark.parametrize("lost", [1, 100])
def test_a_file_cut_off_anywhere_is_noticed(file: Path, lost: int) -> None:
    file.write_bytes(file.read_bytes()[:-lost])
    with pytest.raises(Broken, match="cut off"):
        verify(file)


def test_an_opening_changed_throughout_contradicts_the_first_seal(file: Path) -> None:
    """Header, sums and closing line all made to fit: only the chain knows with how many units the offer began."""
    lines = file.read_bytes().splitlines()
    header = orjson.loads(lines[0])
    for name in ("opened", "total"):
        header["allotments"][0][name] += 5
    lines[0] = canonical(header)
    whole_file = b"".join(each + b"\n" for each in lines[:-1])
    lines[-1] = canonical({"lines": len(lines) - 1, "sha256": hashlib.sha256(whole_file).hexdigest()})
    file.write_bytes(whole_file + lines[-1] + b"\n")
    with pytest.raises(Broken, match="line 5, offer 1 at S1, move_no 1: the seal does not follow the one before it"):
        verify(file)


async def test_a_shop_without_offers_has_a_sound_file(database: Database, tmp_path: Path) -> None:
    await export(database, tmp_path / "books", NOW)
    assert verify(tmp_path / "books").line == 2


def test_the_command_checks_a_file_without_any_server(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live.launch.attach", lambda *_: pytest.fail("asked for a server"))
    good = CliRunner().invoke(app, ["audit", "--verify", str(file)])
    assert (good.exit_code, good.output) == (0, f"{file}: sound; 17 movements under 8 seals\n")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2] + lines[3:]))
    bad = CliRunner().invoke(app, ["audit", "--verify", str(file)])
    assert (bad.exit_code, bad.output) == (1, f"{file}: line 3, offer 1 at S1, move_no 3: movement 2 was due\n")
    told = CliRunner().invoke(app, ["audit", "--json", "--verify", str(file)])
    assert told.exit_code == 1
    assert orjson.loads(told.output) == {
        "sound": False, "why": "movement 2 was due", "line": 3, "offer": 1, "location": "S1", "move_no": 3,
    }  # fmt: skip


async def test_the_command_writes_the_file_and_prints_the_seals(shop: RoomLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, redis_url = shop.db.engine.url.render_as_string(hide_password=False), shop.redis.connection_pool.connection_kwargs["path"]
    for name, value in {"LIVE_DATABASE_URL": url, "LIVE_REDIS_URL": f"unix://{redis_url}", "LIVE_HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    read_settings.cache_clear()
    path = tmp_path / "books"
    try:
        wrote = await asyncio.to_thread(CliRunner().invoke, app, ["audit", "--export", str(path)])
        told = await asyncio.to_thread(CliRunner().invoke, app, ["audit", "--json"])
        said = await asyncio.to_thread(CliRunner().invoke, app, ["audit"])
    finally:
        read_settings.cache_clear()
    assert (wrote.exit_code, wrote.output) == (0, f"{path}: sound; 17 movements under 8 seals\n")
    assert (told.exit_code, said.exit_code) == (0, 0)
    answer = orjson.loads(told.output)
    assert (answer["balanced"], answer["broken"]) == (True, None)
    assert [(each["sealed"], each["move_no"]) for each in answer["chains"]] == [(12, 12), (3, 3), (2, 2)]
    assert f"offer 1 at S1: sealed to 12 of 12, {answer['chains'][0]['hash']}\n" in said.output
    assert said.output.endswith("\nbalanced\n")


def test_the_format_is_what_its_text_says() -> None:
    assert proof.FORMAT in str(chain.__doc__)
    assert f"{proof.SEAL_MOST:,}" in str(chain.__doc__)
