"""The loss of a hub: what is made of the figures, whose SQL it was, and one small loss with every process."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from live.infra.embedded import EmbeddedServers
from loadtest.hubs import family
from loadtest.reconnect import EACH, arguments, faults, peak, raised, reads_allowed
from loadtest.statements import backends, counted, unix_sockets

ROOT = Path(__file__).parents[2]
KEYS = {"viewers", "seconds", "sql_reads", "redis_reads", "redis_reads_allowed", "critical_lost", "peak_handshakes_per_s"}
GOOD: dict[str, Any] = {
    "lost": 10, "not_back": 0, "seconds": 8.2, "sql_reads": 0, "redis_reads": 90, "redis_reads_allowed": 120, "critical_lost": 0,
    "critical_repeated": 0, "own_lost": 0, "states_behind": 0, "strange_frames": 0,
}  # fmt: skip
LOG = b"""2026-01-01 10:00:00.000 UTC [7] LOG:  parameter "log_statement" changed to "all"
2026-01-01 10:00:00.001 UTC [41] LOG:  statement: BEGIN
2026-01-01 10:00:00.002 UTC [41] LOG:  execute _pg3_0: SELECT 1
\t, '[42] LOG:  statement: no'
2026-01-01 10:00:00.002 UTC [41] DETAIL:  Parameters: $1 = '[42] LOG:  statement: no'
2026-01-01 10:00:00.003 UTC [42] LOG:  execute <unnamed>: SELECT 2
2026-01-01 10:00:00.004 UTC [43] LOG:  statement: SELECT 3
2026-01-01 10:00:00.005 UTC [42] ERROR:  canceling statement due to user request
2026-01-01 10:00:00.006 UTC [42] STATEMENT:  SELECT 4
"""
# A shorter spread than pages are asked for, yet one that outlasts the hub's start: backoff would take longer. The rest is as it is.
QUICK = "import sys; from loadtest import reconnect as it; old = it.raised; it.WARM_SECONDS = 0.5; it.QUIET_SECONDS = 0.5; "
QUICK += "it.raised = lambda *crowd: old(*crowd) | {'LIVE_HUB_SPREAD_MS': '3000'}; sys.exit(it.main())"


def test_a_run_is_good_when_nothing_is_lost_and_reads_do_not_grow_with_the_crowd() -> None:
    assert faults(GOOD, None) == []
    assert faults(GOOD, 8.2) == []
    assert faults(GOOD, 8.0) == ["all were back after 8.2 s, above 8"]
    assert faults(GOOD | {"redis_reads": 121}, None) == ["121 reads of Redis, above 120"]
    assert faults(GOOD | {"lost": 0}, None) == ["nobody came back"]
    assert faults(GOOD | {"critical_lost": 3, "own_lost": -1, "sql_reads": 2, "not_back": 1}, None) == [
        "critical_lost is 3", "not_back is 1", "own_lost is -1", "sql_reads is 2",
    ]  # fmt: skip


def test_the_bound_of_reads_knows_hubs_and_seconds_but_no_viewers() -> None:
    assert reads_allowed(1, 0) == EACH
    assert reads_allowed(1, 10) == 141 + EACH  # 100 ticks, 40 nudges, one look at what was revoked
    assert reads_allowed(3, 10) == 3 * (141 + EACH)


def test_limits_are_raised_only_for_a_crowd_that_needs_it() -> None:
    assert raised(2_000, 1) == {}
    assert raised(10_000, 1) == {"LIVE_HUB_SOCKETS_PER_ADDRESS": "10300"}
    assert raised(18_000, 1) == {"LIVE_HUB_SOCKETS_PER_ADDRESS": "15300", "LIVE_HUB_MAX_CONNECTIONS": "19700"}
    # one of two is lost: the other may hold everybody for a while
    assert raised(18_000, 2) == {"LIVE_HUBS": "2", "LIVE_HUB_SOCKETS_PER_ADDRESS": "15300", "LIVE_HUB_MAX_CONNECTIONS": "19700"}
    assert raised(18_000, 3) == {"LIVE_HUBS": "3", "LIVE_HUB_SOCKETS_PER_ADDRESS": "15300"}
    assert "LIVE_HUB_HANDSHAKES_PER_SECOND" not in raised(36_000, 2)


def test_arguments_name_a_crowd_and_a_loss() -> None:
    options = arguments(["--viewers", "5"])
    assert (options.viewers, options.how, options.hubs, options.max_seconds) == (5, "kill", 1, None)
    for words in (["--viewers", "0"], ["--viewers", "5", "--hubs", "0"], ["--viewers", "5", "--how", "ask"]):
        with pytest.raises(SystemExit):
            arguments(words)


def test_the_peak_is_the_fullest_second_wherever_it_begins() -> None:
    assert peak([]) == 0
    assert peak([5.0]) == 1
    assert peak([0.0, 0.9, 1.1, 1.8, 3.0]) == 3  # 0.9 … 1.8
    assert peak([0.0, 1.0]) == 1  # a second has one end


def test_statements_are_counted_by_the_process_behind_the_backend() -> None:
    assert counted(LOG, {41: "web", 42: "ledger"}) == {"web": 2, "ledger": 1, "unknown": 1}
    assert counted(b"", {}) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel by netlink")
def test_the_kernel_names_both_ends_of_a_socket() -> None:
    one, other = socket.socketpair()
    with one, other:
        ends = unix_sockets()
        inodes = [os.fstat(each.fileno()).st_ino for each in (one, other)]
        assert (ends[inodes[0]], ends[inodes[1]]) == (inodes[1], inodes[0])
    assert inodes[0] not in unix_sockets()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel by netlink")
async def test_a_backend_is_known_by_who_talks_to_it(servers: EmbeddedServers) -> None:
    url = servers.database_url.replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url) as connection:
        pid = connection.info.backend_pid
        assert backends(family(os.getpid()))[pid] == "other"  # this test is no process of a house
    assert pid not in backends(family(os.getpid()))


@pytest.mark.show
@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform != "linux", reason="the crowd needs epoll")
async def test_nobody_misses_anything_when_a_hub_is_killed() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", QUICK, "--viewers", "60", "--max-seconds", "60"), cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    report = json.loads(output.strip().rpartition("\n")[2])
    assert report.keys() >= KEYS
    assert (report["lost"], report["not_back"], report["critical_lost"], report["own_lost"], report["sql_reads"]) == (60, 0, 0, 0, 0)
    assert report["critical_events"] > 0
    assert sum(report["resumes"].values()) == 60
    assert report["resumes"]["none"] == 0
    assert report["sql_statements"]["wave"]["ledger"] > 0  # so statements are seen at all
