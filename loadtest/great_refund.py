"""`python -m loadtest.promos refund --members 10000`: a group fails, and everybody gets their money back, once and to the fen.

The members' paid orders are laid into the books, and the payments into the simulator's, as they would be; from the host's end of the group
on everything is real: the decision, the refunds, signed requests, the provider's limit (100 refunds a second, then 429), its notices.

`seconds`: from the end of the group to the last refund that is DONE. `missing`: members the provider has not paid back in full; `double`:
members it has paid more than they paid, or twice. `limited`: refunds the provider put off, or that failed for another reason once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from live.payments import keys
from live.payments.simulator_book import Book, Trade
from loadtest import processes
from loadtest.books import opened
from loadtest.stage import PRICE, House, StageError, ends_with_us, free_port, house, owner
from loadtest.team import join, open_team

ROOM = "great-refund"
BOUND = 120.0  # seconds for 10,000: the provider's limit alone asks for 100
LOOK_SECONDS = 0.5
PATIENCE = 60.0  # seconds without a refund done
ANSWER_SECONDS = 20.0  # until the simulator listens


def flags(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--refunds-per-second", type=int, default=100, help="the provider's limit")
    parser.add_argument("--max-seconds", type=float, default=BOUND)


async def refund(options: argparse.Namespace) -> dict[str, Any]:
    """The whole run; returns the report."""
    with tempfile.TemporaryDirectory(prefix="live-load-pay-") as folder:
        home, port = Path(folder), free_port()
        async with house(keys.prepare(home, f"http://127.0.0.1:{port}")) as found, owner(found) as boss:
            offer = await open_team(boss, ROOM, options.members + 1, options.members + 1, [{"seats": 0, "fen": PRICE}])
            orders = await join(found, offer, options.members, paid=True)
            book = home / "simulator" / "book.sqlite3"
            _lay(book, orders, found)
            async with _simulator(home, port, options.refunds_per_second) as provider:
                print(f"{options.members} members have paid; the group ends", flush=True)
                before, begun = processes.cpu(found.pid, provider), time.monotonic()
                await boss.post(f"/v1/offers/{offer}/end", {})
                seconds = await _refunded(found, options.members, begun)
                used = processes.spent(before, processes.cpu(found.pid, provider))
            states = await _rows(found, "SELECT state, count(*) FROM orders GROUP BY state")
            [(limited,)] = await _rows(found, "SELECT coalesce(sum(tries), 0) FROM outbox WHERE topic = 'refund'")
            audit = await found.audit()
            return {
                "members": options.members, "seconds": round(seconds, 1), "per_s": round(options.members / seconds, 1),
                **_checked(book, len(orders)), "orders": dict(states), "limited": int(limited), "balanced": audit["balanced"],
                **found.durability, "cpu_s": used,
            }  # fmt: skip


def _lay(file: Path, orders: Sequence[str], found: House) -> None:
    book, now = Book(file), time.time()
    for no in orders:
        url = f"{found.web_url}/v1/wechat/pay/notice"
        book.keep(Trade(f"{no}-1", f"P{no}", "茶", "payer", PRICE, url, now + 3600, "SUCCESS", f"T{no}", now))
    book.close()


@asynccontextmanager
async def _simulator(home: Path, port: int, limit: int) -> AsyncIterator[int]:
    """WeChat Pay; yields its process's id."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("LIVE_")}
    env |= {"LIVE_HOME": str(home), "LIVE_SIMULATOR_PORT": str(port)}
    words = ("-m", "live.payments.simulator", "--refunds-per-second", str(limit))
    process = await asyncio.create_subprocess_exec(sys.executable, *words, env=env, preexec_fn=ends_with_us)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                try:
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                except OSError:
                    await asyncio.sleep(0.1)
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _refunded(found: House, members: int, begun: float) -> float:
    """Seconds until every refund is done. Raises StageError when for a long time none was."""
    most, since = -1, time.monotonic()
    async with opened(found.database_url, autocommit=True) as connection:
        while True:
            row = await (await connection.execute("SELECT count(*) FROM refund WHERE state = 'DONE'")).fetchone()
            done, now = int(row[0]) if row else 0, time.monotonic()
            if done >= members:
                return now - begun
            if done > most:
                most, since = done, now
            elif now - since > PATIENCE:
                raise StageError(f"{done} of {members} refunds are done, for {PATIENCE:g} s none was")
            await asyncio.sleep(LOOK_SECONDS)


async def _rows(found: House, query: str) -> list[tuple[Any, ...]]:
    async with opened(found.database_url) as connection:
        return await (await connection.execute(query)).fetchall()


def _checked(file: Path, members: int) -> dict[str, int]:
    """What the provider's own book says."""
    book = Book(file)
    back: Counter[str] = Counter()
    for made in book.returns.values():
        back[made.out_trade_no] += made.fen if made.status == "SUCCESS" else 0
    times = Counter(made.out_trade_no for made in book.returns.values())
    double = sum(times[trade.out_trade_no] > 1 or back[trade.out_trade_no] > trade.fen for trade in book.trades.values())
    missing = members - sum(back[trade.out_trade_no] == trade.fen for trade in book.trades.values())
    book.close()
    return {"double": double, "missing": missing, "fen": sum(back.values())}


def faults(report: Mapping[str, Any], options: argparse.Namespace) -> list[str]:
    """Why this run is not good; empty when it is."""
    found = [f"{name} is {report[name]}" for name in ("double", "missing") if report[name]]
    found += [] if report["balanced"] else ["the audit does not balance"]
    if report["seconds"] > options.max_seconds:
        found.append(f"it took {report['seconds']} s, above {options.max_seconds:g}")
    return found
