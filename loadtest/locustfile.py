"""`locust -f loadtest/locustfile.py --headless -u 100 -r 50 -t 20s --host http://127.0.0.1:8000` against a running `live demo`.

Exit code: 1 when anything failed or nothing was asked at all, 2 when the 99th percentile of the commands is above its bound, 3 when the
books do not balance. The audit is asked when the shop's folder (LIVE_HOME) says that it is this machine's shop at that port.
"""

from __future__ import annotations

import json
import logging
import os
import random
import secrets
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from locust import between, constant, events, task
from locust.runners import WorkerRunner
from locust.stats import calculate_response_time_percentile

from loadtest.remote import loopback
from loadtest.wsuser import WsUser

log = logging.getLogger("loadtest")
AUDIT_SECONDS = 60
WORDS = ("好看", "多少钱", "还有吗", "主播好", "已下单", "so nice", "which store has it?", "666")


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def options(parser: Any) -> None:
    """Ours, beside locust's own."""
    parser.add_argument("--room", env_var="LIVE_LOAD_ROOM", default="demo", help="the room to storm")
    parser.add_argument("--p99-ms", type=float, env_var="LIVE_LOAD_P99_MS", default=2000.0, help="bound of the commands' 99th percentile")
    parser.add_argument("--allow-remote", action="store_true", env_var="LIVE_LOAD_ALLOW_REMOTE", help="load a server on another machine")


@events.init.add_listener  # type: ignore[untyped-decorator]
def only_here(environment: Any, **_: Any) -> None:
    """Nobody storms somebody else's shop by a slip of the keyboard."""
    host = environment.host or ""
    if not environment.parsed_options.allow_remote and not loopback(host):
        sys.exit(f"{host or 'no --host'} is not on this machine; say --allow-remote if the server is yours")


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def verdict(environment: Any, **_: Any) -> None:
    """The exit code."""
    if isinstance(environment.runner, WorkerRunner):
        return  # the master has everybody's figures
    total = environment.stats.total
    p99 = commands_p99(environment.stats)
    bound = environment.parsed_options.p99_ms
    balanced = books(environment.host)
    if total.num_requests == 0 or total.num_failures > 0:
        code, why = 1, f"{total.num_failures} of {total.num_requests} failed"
    elif p99 > bound:
        code, why = 2, f"p99 of the commands is {p99:.0f} ms, above {bound:.0f}"
    elif balanced is False:
        code, why = 3, "the books do not balance"
    else:
        code, why = 0, "good"
    environment.process_exit_code = code
    summary = {
        "requests": total.num_requests,
        "failures": total.num_failures,
        "cmd_p99_ms": round(p99),
        "balanced": balanced,
        "verdict": why,
    }
    print(json.dumps(summary), flush=True)


def commands_p99(stats: Any) -> float:
    """The 99th percentile over all commands, in ms; 0 of none."""
    times: Counter[int] = Counter()
    for (_, kind), entry in stats.entries.items():
        if kind == "CMD":
            times.update(entry.response_times)
    count = sum(times.values())
    return float(calculate_response_time_percentile(times, count, 0.99)) if count else 0.0


def books(host: str) -> bool | None:
    """Whether the books of the shop at `host` balance; None when it is not the one whose folder this is."""
    file = Path(os.environ.get("LIVE_HOME", ".live")) / "servers.json"
    try:
        port = json.loads(file.read_text("utf-8"))["settings"]["web_port"]
    except (OSError, ValueError, KeyError):
        return None
    if port != urlsplit(host).port or not loopback(host):
        return None
    command = [sys.executable, "-m", "live.cli", "audit", "--json"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=AUDIT_SECONDS, check=False)  # noqa: S603 - our own words
        return bool(json.loads(ran.stdout.strip().rpartition("\n")[2])["balanced"])
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return False


class Chatting(WsUser):
    """What everybody in a room does."""

    abstract = True
    wait_time = between(1, 4)

    @task(2)
    def say(self) -> None:
        """A comment; the room's budget may refuse it."""
        self.act("say", {"cid": secrets.token_urlsafe(12), "text": f"{random.choice(WORDS)} {random.randrange(100)}"})

    @task(4)
    def like(self) -> None:
        """A few hearts, summed as pages do."""
        self.act("like", {"n": random.randint(1, 10)})


class Viewer(Chatting):
    """A guest who mostly listens."""

    weight = 6

    def on_start(self) -> None:
        """Who comes in greets the room, so a short run measures comments too."""
        super().on_start()
        self.say()

    @task(12)
    def listen(self) -> None:
        """Nothing but reading, which another greenlet does."""


class Buyer(Chatting):
    """Buys what is open, in sales and group buys, and gives some of it up again, so that a show's stock lasts."""

    weight = 2
    known = True

    def on_start(self) -> None:
        """With an empty basket. Who came for something buys it at once, so a short run measures that too."""
        self.orders: list[str] = []
        super().on_start()
        self.buy()

    @task(6)
    def buy(self) -> None:
        """One unit at the stores that have it, or at any when all are empty: late taps are part of a rush."""
        offers = self.mirror.offers("sale", "group")
        if not offers:
            return
        offer = random.choice(offers)
        left = self.mirror.left(offer["id"])
        places = [place for place, units in left.items() if units > 0] or list(left)
        if not places:
            return
        random.shuffle(places)
        line = {"offer": offer["id"], "qty": 1, "version": offer["version"]}
        body = self.tap("buy", {"lines": [line], "at": places[:8]})
        if body is not None:
            self.orders.append(body["order"]["no"])

    @task(2)
    def think_better(self) -> None:
        """Cancel an unpaid order, so that its units come back. One that has ended by itself meanwhile is fine too."""
        if not self.orders:
            return
        path, headers = f"/v1/me/orders/{self.orders.pop(0)}/cancel", {"authorization": f"Bearer {self.token}"}
        with self.client.post(path, json={}, headers=headers, name="/v1/me/orders/{no}/cancel", catch_response=True) as answer:
            if answer.status_code == 409:
                answer.success()


class Claimer(Chatting):
    """Takes coupons as they drop."""

    weight = 2
    known = True
    wait_time = constant(2)

    def on_start(self) -> None:
        """What was dropped before is taken at once, so a short run measures that too."""
        super().on_start()
        self.claim()

    @task(6)
    def claim(self) -> None:
        """One of an open batch."""
        if coupons := self.mirror.offers("coupon"):
            self.tap("claim", {"offer": random.choice(coupons)["id"]})
