"""`python -m loadtest.promos ladder|coupon|refund`: the promotions under load, and whether their books are right to the last unit and fen.

Each starts a house of its own (`live up`, embedded servers, durable commits). The last line is one JSON object.

- `coupon`: so many taps for a drop of coupons, a person each, as the hub hands them to the turnstile (the sockets are `rush`'s business).
  `granted`: rows in the books; `doubles`: rows beyond one a person; `p99_ms`: from the moment a tap was due to its verdict, granted or not.
- `ladder`: see `ladder.py`; `refund`: see `great_refund.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from live.offers.rules import ANYWHERE
from loadtest import great_refund, ladder
from loadtest.books import opened
from loadtest.doors import DirectDoor
from loadtest.pace import arrivals, percentile
from loadtest.stage import House, StageError, house, owner
from loadtest.storm import Storm
from loadtest.verdict import verdict

ROOM = "drop"
PATIENCE = 30.0  # seconds for what is unanswered when everything has been sent
COUPON_P99_MS = 100.0


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.promos", description="Promotions under load.")
    scenes = parser.add_subparsers(dest="scene", required=True)
    drop = scenes.add_parser("coupon", help="a drop of coupons that many more want")
    drop.add_argument("--claims", type=int, default=20_000)
    drop.add_argument("--seconds", type=float, default=5.0)
    drop.add_argument("--total", type=int, default=1_000, help="coupons there are")
    drop.add_argument("--seed", type=int, default=1)
    drop.add_argument("--max-p99-ms", type=float, default=COUPON_P99_MS)
    great_refund.flags(scenes.add_parser("refund", help="a failed group whose every order is paid back"))
    ladder.flags(scenes.add_parser("ladder", help="a whole room fills one bar, and the price falls"))
    options = parser.parse_args(words)
    if options.scene == "ladder" and not (options.viewers > 0 and options.rate * options.seconds >= ladder.STEPS):
        parser.error(f"--viewers must be positive, and --rate x --seconds at least {ladder.STEPS}")
    if options.scene == "coupon" and not (options.total > 0 and options.claims > 0 and options.seconds > 0):
        parser.error("--claims, --seconds and --total must be positive")
    if options.scene == "refund" and options.members < 1:
        parser.error("--members must be positive")
    return options


async def coupon(options: argparse.Namespace) -> dict[str, Any]:
    """The whole drop; returns the report."""
    async with house({}) as found, owner(found) as boss:
        await boss.post("/v1/rooms", {"id": ROOM, "title_zh": "发券", "title_en": "Drop"})
        await boss.post(f"/v1/rooms/{ROOM}/start", {})
        body = {"off": 500, "threshold": 0, "total": options.total, "per_person": 1}
        offer = int((await boss.post(f"/v1/rooms/{ROOM}/coupons", body))["offer"])
        storm = Storm(arrivals(options.claims, options.seconds, options.seed))
        door = DirectDoor(storm, found, ROOM, offer, ANYWHERE)
        try:
            await door.open()
            await storm.run(door, PATIENCE)
        finally:
            await door.close()
        granted, people = await _grants(found, offer)
        told = storm.latencies_ms(confirmed=True) + storm.latencies_ms(confirmed=False)
        return {
            "claims": options.claims, "total": options.total, "wanted": min(options.total, options.claims),
            "offered_per_s": round(storm.offered_per_s()), "confirmed": storm.confirmed, "refused": storm.refused,
            "unanswered": storm.unanswered, "granted": granted, "doubles": granted - people, "p99_ms": round(percentile(told, 0.99), 1),
            "granted_p99_ms": round(percentile(storm.latencies_ms(confirmed=True), 0.99), 1),
            "balanced": (await found.audit())["balanced"], **found.durability,
        }  # fmt: skip


async def _grants(found: House, offer: int) -> tuple[int, int]:
    async with opened(found.database_url) as connection:
        query = "SELECT count(*), count(DISTINCT person) FROM coupon_grant WHERE offer_id = %s"
        row = await (await connection.execute(query, (offer,))).fetchone()
    if row is None:
        raise StageError("the books have no answer")
    return int(row[0]), int(row[1])


def coupon_faults(report: Mapping[str, Any], options: argparse.Namespace) -> list[str]:
    """Why this drop is not good; empty when it is."""
    found = [f"{report['granted']} coupons granted, not {report['wanted']}"] if report["granted"] != report["wanted"] else []
    found += [f"{report['confirmed']} were told so, {report['granted']} have one"] if report["confirmed"] != report["granted"] else []
    found += [f"{name} is {report[name]}" for name in ("doubles", "unanswered") if report[name]]
    found += [] if report["balanced"] else ["the audit does not balance"]
    if report["p99_ms"] > options.max_p99_ms:
        found.append(f"p99 is {report['p99_ms']} ms, above {options.max_p99_ms:g}")
    return found


SCENES = {
    "ladder": (ladder.ladder, ladder.faults),
    "coupon": (coupon, coupon_faults),
    "refund": (great_refund.refund, great_refund.faults),
}


def main() -> int:
    """Run, print, and say by the exit code whether it was good."""
    options = arguments()
    measure, faults = SCENES[options.scene]
    return verdict(f"promos {options.scene}", measure(options), lambda report: faults(report, options))


if __name__ == "__main__":
    sys.exit(main())
