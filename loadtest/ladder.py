"""`python -m loadtest.promos ladder --viewers 10000 --rate 2000 --seconds 10`: a room fills one bar, and the price falls for everybody.

The viewers are connected to the hub; their taps go to the turnstile as the hub hands them over (the sockets' way in is `rush`'s business)
and are booked by the ledger. Each order that is told as got is paid at once. Passed through: everything from the provider's notice on,
once its signature is checked (`payments.notices`, in this process, as a web process runs it): notice, attempt, order, seat, bar, step.
Not passed through: the buyer's call for pay params (the attempts are laid into the books as those calls would leave them), HTTP, the
signature and its decryption. The group is as large as there are taps, so the last payment closes it.

`bar_age_p99_ms`: over every payment group's commit and every viewer, from when COMMIT was about to be sent until the viewer got a bar that
shows it; a frame that was never sent makes the next one older, not rarer. `frames_per_viewer_per_s`: frames of the room, and beside them
`own_per_viewer_per_s`: news of one's own orders. `steps_crossed`: steps every single viewer was told exactly once; `steps_disordered`:
viewers who were told of them in another order than the ladder's.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from live.infra.db import Database, array, utc_now
from live.infra.garbage import look_rarely
from live.orders.actions import payment_arrived, refunds_done
from live.payments.actions import Paid
from live.payments.gateway import NoGateway, Notice
from live.payments.notices import PAID, Notices
from loadtest import processes
from loadtest.books import opened
from loadtest.crowd import Crowd
from loadtest.doors import DirectDoor
from loadtest.pace import arrivals, percentile
from loadtest.pairs import still
from loadtest.roomful import SETTLE_SECONDS, limits
from loadtest.stage import PRICE, House, StageError, house, owner
from loadtest.storm import Storm
from loadtest.tally import BUCKET, Ages, percentile_ms
from loadtest.team import open_team

ROOM = "ladder"
STEPS = 10  # what a bar may have, the price it begins with among them
PER_PERSON = 99  # the most an offer allows: the viewers buy more than once
STEP_FEN = 500
BAR_P99_MS, FRAMES = 300.0, 12.0
PATIENCE = 60.0  # seconds for what is unanswered or unpaid when everything has been sent
SETTLED_PER_SECOND = 100  # orders of a group that succeeded are handed over at least so fast

_ATTEMPTS = text(
    "INSERT INTO pay_attempt (order_no, out_trade_no, payer, fen, state, winner, prepay_id, expires_at)"
    " SELECT no, no || '-1', 'payer', fen - discount, 'SENT', false, 'P' || no, pay_until FROM orders"
    " WHERE no = ANY(CAST(:nos AS text[])) RETURNING order_no, fen"
)


def flags(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("--viewers", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=2_000, help="paid units a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-bar-p99-ms", type=float, default=BAR_P99_MS)
    parser.add_argument("--max-frames", type=float, default=FRAMES, help="a viewer and second")


class Cashier(Notices):
    """Pays orders as they are told. `commits`: when each was about to be sent, and how many orders were paid after it."""

    def __init__(self, db: Database) -> None:
        super().__init__(db, NoGateway(), self._settled, refunds_done)
        self.commits: list[tuple[float, int]] = []
        self.verdicts: Counter[str] = Counter()
        self.groups = self.paid = 0
        self._booked: list[str] = []
        self._moment = 0.0
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def booked(self, body: Mapping[str, Any]) -> None:
        """A buyer was told that they got it."""
        self._booked.append(body["order"]["no"])
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            nos, self._booked = self._booked, []
            async with self.db.begin() as session:
                rows = (await session.execute(_ATTEMPTS, {"nos": array(nos)})).all()
            for no, fen in rows:
                task = asyncio.create_task(self._pay(no, fen))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _pay(self, no: str, fen: int) -> None:
        paper = {"mchid": "", "appid": "", "out_trade_no": f"{no}-1", "trade_state": "SUCCESS", "transaction_id": f"T{no[::-1]}"}
        # A provider's ids have no order of ours: turned round they go anywhere in an index.
        self.verdicts[await self.book(Notice(f"N{no[::-1]}", PAID, paper | {"amount": {"total": fen}}), utc_now())] += 1

    async def _settled(self, session: AsyncSession, attempts: Sequence[Paid], now: datetime) -> Sequence[bool]:
        good = await payment_arrived(session, attempts, now)
        self._moment = time.monotonic()
        return good

    async def together(self, judge: Any, notices: Sequence[Notice], now: datetime) -> list[str]:
        """As there, noting the moment."""
        verdicts = await super().together(judge, notices, now)
        self.groups += 1
        self.paid += verdicts.count("paid")
        self.commits.append((self._moment, self.paid))
        return verdicts


async def ladder(options: argparse.Namespace) -> dict[str, Any]:
    """The whole run; returns the report."""
    wanted = round(options.rate * options.seconds)
    tiers = [{"seats": wanted * step // STEPS, "fen": PRICE - STEP_FEN * step} for step in range(min(STEPS, wanted))]
    settings = limits(options.viewers, 1, 0)
    print("raised by setting: " + ", ".join(f"{name}={value}" for name, value in settings.items()), flush=True)
    async with house(settings) as found:
        async with owner(found) as boss:
            offer = await open_team(boss, ROOM, wanted, wanted, tiers, PER_PERSON)
        tokens = [found.token(number) for number in range(1, options.viewers + 1)]
        async with Crowd(found.hub_url, ROOM, tokens) as crowd:
            await crowd.open()
            await still(crowd, SETTLE_SECONDS)  # the number of viewers still changes
            print(f"{options.viewers} viewers; {wanted} taps in {options.seconds:g} s", flush=True)
            return await _sold(options, found, offer, crowd, [tier["fen"] for tier in tiers[1:]])


class _Door(DirectDoor):
    """The room's viewers buy, in turn."""

    viewers = 1

    def whose(self, n: int) -> tuple[int, str]:
        return n % self.viewers + 1, f"ladder-{n:08d}"


async def _sold(options: argparse.Namespace, found: House, offer: int, crowd: Crowd, steps: list[int]) -> dict[str, Any]:
    storm = Storm(arrivals(round(options.rate * options.seconds), options.seconds, options.seed))
    door, db = _Door(storm, found, ROOM, offer), Database(found.database_url)
    cashier = Cashier(db)
    door.viewers, door.booked = options.viewers, cashier.booked
    paying = asyncio.create_task(cashier.run())
    try:
        await door.open()
        look_rarely()  # a look through what is here would be a pause of ours in the servers' figures
        await crowd.take()
        begun = await crowd.status()
        before = processes.cpu(found.pid) | {"receivers": begun.cpu}
        await storm.run(door, PATIENCE)
        await _paid(cashier, storm.confirmed)
        seconds = time.perf_counter() - storm.start
        seen, status = await crowd.take(), await crowd.status()  # what is on its way belongs to the close
        used = processes.spent(before, processes.cpu(found.pid) | {"receivers": status.cpu})
        frames = seen.all.frames
        decided = await _decided(found, offer, storm.confirmed)
        await still(crowd, SETTLE_SECONDS)
        seen.merge(await crowd.take())
    finally:
        paying.cancel()
        await asyncio.gather(paying, return_exceptions=True)
        await door.close()
        await db.close()
    each, own = options.viewers * seconds, status.counts["own"] - begun.counts["own"]
    got = storm.latencies_ms(confirmed=True)
    return {
        "viewers": options.viewers, "rate": options.rate, "seconds": options.seconds, "orders": storm.confirmed, "paid": cashier.paid,
        "paid_per_s": round(cashier.paid / seconds), "payments_per_commit": round(cashier.paid / max(1, cashier.groups), 1),
        "bar_age_p50_ms": percentile_ms(bar_ages(cashier.commits, seen.all.bars), 0.5),
        "bar_age_p99_ms": percentile_ms(bar_ages(cashier.commits, seen.all.bars), 0.99),
        "frames_per_viewer_per_s": round(frames / each, 2), "own_per_viewer_per_s": round(own / each, 2),
        "order_p99_ms": round(percentile(got, 0.99), 1),
        "refused": storm.refused, "unanswered": storm.unanswered, "not_paid": dict(cashier.verdicts - Counter(paid=cashier.paid)),
        **crossed(steps, round(options.rate * options.seconds), await crowd.ladder(), options.viewers),
        "critical_lost": seen.all.lost, "critical_repeated": seen.all.repeated, "lost_sockets": status.lost, **decided,
        "balanced": (await found.audit())["balanced"], **found.durability, "cpu_s": used,
    }  # fmt: skip


async def _paid(cashier: Cashier, orders: int) -> None:
    """Wait until every order is paid, or for a long time none was."""
    most, since = -1, time.monotonic()
    while (done := sum(cashier.verdicts.values())) < orders:
        if done > most:
            most, since = done, time.monotonic()
        elif time.monotonic() - since > PATIENCE:
            raise StageError(f"{done} of {orders} orders are paid, for {PATIENCE:g} s none was")
        await asyncio.sleep(0.01)


async def _decided(found: House, offer: int, orders: int) -> dict[str, Any]:
    """How the group ended, and whether every buyer got back what they paid above the last price."""
    until = time.monotonic() + PATIENCE + orders / SETTLED_PER_SECOND
    async with opened(found.database_url, autocommit=True) as connection:
        waiting = "SELECT (SELECT state FROM team WHERE offer_id = %s), count(*) FROM orders WHERE state = 'GROUP_WAIT'"
        while True:
            state, left = await (await connection.execute(waiting, (offer,))).fetchone() or ("", 0)
            if (state in ("success", "failed") and not left) or time.monotonic() > until:
                break
            await asyncio.sleep(0.2)
        query = (
            "SELECT coalesce(sum(o.fen - f.fen), 0), (SELECT coalesce(sum(fen), 0) FROM refund WHERE cause = 'ladder')"
            " FROM orders o JOIN offer f ON f.id = %s WHERE o.team_id IS NOT NULL AND o.state <> 'CANCELLED'"
        )
        owed, back = await (await connection.execute(query, (offer,))).fetchone() or (0, 0)
    return {"group": state, "waiting": left, "owed_fen": int(owed), "back_fen": int(back)}


def bar_ages(commits: Sequence[tuple[float, int]], bars: Iterable[tuple[float, int, int, int]]) -> Ages:
    """Ages of commits at their receipt, in buckets.

    `commits`: (moment, seats paid after it); `bars`: (moment, seats on the bar before, and on this one, viewers it reached).
    """
    paid = [seats for _, seats in commits]
    ages: Ages = Counter()
    for now, before, after, viewers in bars:
        for moment, _ in commits[bisect_right(paid, before) : bisect_right(paid, after)]:
            ages[max(0, int((now - moment) * BUCKET))] += viewers
    return ages


def crossed(steps: Sequence[int], size: int, seen: Mapping[tuple[tuple[int, ...], int], int], viewers: int) -> dict[str, int]:
    """What the viewers were told of the steps. `steps`: the prices, falling; `seen`: (prices told, seats paid on the bar) → viewers."""
    told = [falls for falls, _ in seen]
    return {
        "steps": len(steps),
        "steps_crossed": sum(all(falls.count(fen) == 1 for falls in told) for fen in steps) if sum(seen.values()) == viewers else 0,
        "steps_disordered": sum(n for (falls, _), n in seen.items() if list(falls) != sorted(falls, reverse=True)),
        "steps_strange": sum(n for (falls, _), n in seen.items() if not set(falls) <= set(steps)),
        "bars_behind": sum(n for (_, paid), n in seen.items() if paid != size),
    }


def faults(report: Mapping[str, Any], options: argparse.Namespace) -> list[str]:
    """Why this run is not good; empty when it is."""
    never = (
        "refused", "unanswered", "not_paid", "steps_disordered", "steps_strange", "bars_behind", "critical_lost", "critical_repeated",
        "lost_sockets", "waiting",
    )  # fmt: skip
    found = [f"{name} is {report[name]}" for name in never if report[name]]
    if report["paid"] != report["orders"]:
        found.append(f"{report['paid']} of {report['orders']} orders are paid")
    if report["steps_crossed"] != report["steps"]:
        found.append(f"{report['steps_crossed']} of {report['steps']} steps were told exactly once to everybody")
    if report["group"] != "success":
        found.append(f"the group is {report['group']}")
    if report["back_fen"] != report["owed_fen"]:
        found.append(f"{report['back_fen']} fen go back, not {report['owed_fen']}")
    found += [] if report["balanced"] else ["the audit does not balance"]
    if report["bar_age_p99_ms"] > options.max_bar_p99_ms:
        found.append(f"the bar's p99 is {report['bar_age_p99_ms']} ms, above {options.max_bar_p99_ms:g}")
    if report["frames_per_viewer_per_s"] > options.max_frames:
        found.append(f"{report['frames_per_viewer_per_s']} frames a viewer and second, above {options.max_frames:g}")
    return found
