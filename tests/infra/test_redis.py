"""Scripts and clients on a real Valkey: nothing is lost by a forgotten script, nothing is bought twice by a lost reply."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from live.infra.db import Database
from live.infra.embedded import EmbeddedServers
from live.infra.keys import room_key
from live.infra.redis import Script, connect, connect_buying
from live.offers.reservations import reserve
from tests.infra.lossy import Wire, lossy
from tests.offers.shop import book_all, books, make_shop, sale, tap


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of ours with a folder for scripts."""
    folder = tmp_path / "shelfware" / "lua"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, folder.parent.name, raising=False)  # another test's
    monkeypatch.syspath_prepend(tmp_path)
    return folder


@pytest_asyncio.fixture
async def wire(servers: EmbeddedServers) -> AsyncIterator[tuple[Wire, str]]:
    """Loses replies to INCR. In a short folder: a socket's path ends at 107 bytes."""
    with TemporaryDirectory(prefix="wire") as folder:
        async with lossy(servers.redis_url, Path(folder), b"INCR") as found:
            yield found


async def test_a_script_the_server_forgot_is_sent_again_and_runs_once(redis: Redis, scripts: Path) -> None:
    (scripts / "add.lua").write_text("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    add = Script("shelfware", "add")
    assert [await add(redis, ["n"], [2]), await add(redis, ["n"], [2])] == [2, 4]
    await redis.script_flush()
    assert await redis.script_exists(add.sha) == [False]
    assert await add(redis, ["n"], [2]) == 6
    assert await redis.script_exists(add.sha) == [True]
    assert add.sha == hashlib.sha1(add.source.encode()).hexdigest() == await redis.script_load(add.source)


async def test_a_fragment_is_taken_in_where_it_is_named(redis: Redis, scripts: Path) -> None:
    (scripts / "part.lua").write_text("local n = 7\n")
    (scripts / "whole.lua").write_text("-- include: part\n-- include: live.infra/nudge\nreturn {n, META, '-- include: part'}")
    whole = Script("shelfware", "whole")
    nudge = (Path(__file__).parents[2] / "live" / "infra" / "lua" / "nudge.lua").read_text("utf-8")
    assert whole.source == f"local n = 7\n\n{nudge}\nreturn {{n, META, '-- include: part'}}\n"
    assert await whole(redis, ["m", "l", "s"], ["r1"]) == [7, b"m", b"-- include: part"]


def test_a_script_or_fragment_that_is_not_there_fails_when_it_is_loaded(scripts: Path) -> None:
    (scripts / "lost.lua").write_text("-- include: nowhere\n")
    for name in ("lost", "nothing"):
        with pytest.raises(FileNotFoundError):
            Script("shelfware", name)


async def test_an_error_of_a_script_passes_through_and_is_not_taken_for_a_forgotten_one(redis: Redis, scripts: Path) -> None:
    (scripts / "fail.lua").write_text("redis.call('INCR', KEYS[1])\nreturn redis.error_reply('NO WAY')")
    with pytest.raises(ResponseError, match="NO WAY"):
        await Script("shelfware", "fail")(redis, ["n"], [])
    assert await redis.get("n") == b"1"


@pytest.mark.parametrize(("silent", "error"), [(False, RedisConnectionError), (True, RedisTimeoutError)])
async def test_the_buying_client_never_sends_twice(redis: Redis, wire: tuple[Wire, str], silent: bool, error: type[Exception]) -> None:
    lost, url = wire
    buying = connect_buying(url, timeout=0.3)
    lost.lose, lost.silent = 1, silent
    with pytest.raises(error):
        await buying.incr("n")
    assert (await redis.get("n"), lost.sent) == (b"1", 1)
    assert await buying.incr("n") == 2  # it connects again by itself
    await buying.aclose()


async def test_the_other_client_does_send_again(redis: Redis, wire: tuple[Wire, str]) -> None:
    lost, url = wire
    client = connect(url)
    lost.lose = 2
    assert await client.incr("n") == 3
    assert lost.sent == 3
    await client.aclose()


async def test_a_buy_whose_reply_was_lost_is_one_intent_and_its_resend_finds_it(
    database: Database, redis: Redis, servers: EmbeddedServers
) -> None:
    await make_shop(database)
    offer = await sale(database, {"S1": 5})
    ledger = await books(database, redis)
    await reserve(redis, "r1", [tap(9, offer)], 100)  # the server knows the script
    with TemporaryDirectory(prefix="wire") as folder:
        async with lossy(servers.redis_url, Path(folder), b"EVALSHA") as (lost, url):
            buying = connect_buying(url, timeout=1)
            lost.lose = 1
            with pytest.raises(RedisConnectionError):
                await reserve(buying, "r1", [tap(1, offer)], 100)
            assert (await redis.xlen(room_key("r1", "intents")), lost.sent) == (2, 1)
            [answer] = await reserve(buying, "r1", [tap(1, offer, tries=2)], 100)
            assert answer.tag == "KNOWN"
            await buying.aclose()
    await book_all(ledger)
    assert await redis.hget(room_key("r1", f"offer:{offer}"), "left:S1") == b"3"


async def test_a_server_that_is_away_is_told_soon(tmp_path: Path) -> None:
    for client, most in ((connect_buying(f"unix://{tmp_path}/none.sock"), 1.0), (connect(f"unix://{tmp_path}/none.sock"), 4.0)):
        started = time.monotonic()
        with pytest.raises((RedisConnectionError, OSError)):
            await client.ping()
        assert time.monotonic() - started < most
        await client.aclose()
