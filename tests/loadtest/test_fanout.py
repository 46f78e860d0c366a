"""The fan-out: what it makes of figures, what it asks of the house, and one small roomful through every process."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtest.director import Rates
from loadtest.fanout import arguments, faults, raised
from loadtest.hubs import Figures, parse
from loadtest.pairs import Pairs, Slice, hub_slice, payload
from loadtest.stage import StageError

ROOT = Path(__file__).parents[2]
KEYS = {
    "viewers", "sends_per_s", "limit_sends_per_s", "ratio", "ratio_spread", "offered_logical", "delivered_ratio", "logical_per_s",
    "rss_per_viewer_kib", "tick_p99_ms", "critical_p50_ms", "critical_p99_ms", "chat_p99_ms", "critical_lost", "skipped",
}  # fmt: skip
METRICS = """\
# TYPE live_hub_info gauge
live_hub_info{hub="ab",pid="12"} 1.0
# TYPE live_hub_skipped_items counter
live_hub_skipped_items_total{lane="chat",reason="slow"} 5.0
live_hub_skipped_items_total{lane="chat",reason="gone"} 2.0
live_hub_skipped_items_total{lane="state",reason="slow"} 1.0
# TYPE live_hub_written_frames counter
live_hub_written_frames_total 1000.0
# TYPE live_hub_sweep_seconds histogram
live_hub_sweep_seconds_sum{lane="tick"} 0.25
live_hub_sweep_seconds_sum{lane="critical"} 0.25
"""


def options(*words: str) -> Any:
    return arguments(["--viewers", "100", "--seconds", "10", *words])


@pytest.mark.parametrize(
    "words",
    [
        ["--viewers", "0", "--seconds", "1"],
        ["--viewers", "10", "--seconds", "30", "--stalled", "5"],  # 30 s of stall leave nothing to compare with
        ["--viewers", "10", "--seconds", "60", "--stalled", "10"],
        ["--viewers", "10", "--seconds", "60", "--stalled", "5", "--hubs", "2"],
        ["--viewers", "10", "--seconds", "9", "--profile", "single", "--find-max"],
        ["--viewers", "10", "--seconds", "9", "--profile", "single", "--tls"],
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(words)


def test_the_single_profile_has_events_only_and_one_a_frame() -> None:
    single = options("--profile", "single")
    assert (single.comments, single.states, single.criticals) == (0, 0, 0)
    assert raised(single)["LIVE_HUB_EVENTS_PER_FRAME"] == "1"
    assert "LIVE_HUB_EVENTS_PER_FRAME" not in raised(options())


def test_limits_are_raised_as_far_as_the_load_needs() -> None:
    few, many = raised(options("--comments", "80")), raised(arguments(["--viewers", "36000", "--seconds", "9", "--hubs", "2"]))
    assert (few["LIVE_HUB_SAYS_PER_SECOND"], few["LIVE_COMMENT_BUDGET_PER_SECOND"], few["LIVE_HUBS"]) == ("11", "0", "1")
    assert "LIVE_HUB_MAX_CONNECTIONS" not in few
    assert (many["LIVE_HUB_MAX_CONNECTIONS"], many["LIVE_HUBS"]) == ("19700", "2")
    assert raised(options("--seconds", "40", "--stalled", "5"))["LIVE_HUB_BEHIND_SECONDS"] == "90.0"


def test_a_room_is_directed_alike_every_time() -> None:
    comments, states, events = Rates(10, 100, 0.5).moments(4.0, 1000.0, 7)
    assert (len(comments), len(states), len(events)) == (40, 400, 2)
    assert all(1000 <= at < 1004 for at in (*comments, *states, *events))
    assert Rates(10, 100, 0.5).moments(4.0, 1000.0, 7) == (comments, states, events)


def test_a_run_is_good_only_within_its_bounds() -> None:
    lane = {"offered": 10, "received": 10, "skipped": 0}
    good: dict[str, Any] = {
        "critical_lost": 0, "states_behind": 0, "unanswered": 0, "refused": {}, "identity": {"chat": lane}, "ratio": 0.85,
        "delivered_ratio": 1.0, "critical_p99_ms": 90.0, "chat_p99_ms": 200.0, "tick_p99_ms": 100.0, "rss_per_viewer_kib": 6.0,
    }  # fmt: skip
    tight = options(
        "--min-ratio", "0.9", "--min-delivered", "1", "--max-critical-p99-ms", "80", "--max-chat-p99-ms", "300", "--max-tick-p99-ms", "99",
        "--max-rss-kib", "5",
    )  # fmt: skip
    assert faults(good, options()) == []
    assert faults(good, tight) == [
        "ratio is 0.85, below 0.9",
        "critical_p99_ms is 90.0, above 80",
        "tick_p99_ms is 100.0, above 99",
        "rss_per_viewer_kib is 6.0, above 5",
    ]
    assert faults(good | {"critical_lost": 1, "refused": {"slow_down": 2}}, options()) == [
        "critical_lost is 1", "refused is {'slow_down': 2}",
    ]  # fmt: skip
    assert faults(good | {"identity": {"chat": lane | {"skipped": 1}}}, options()) == ["chat: 10 offered are not 10 received and 1 skipped"]
    assert faults(good | {"missed": {"chat": 5}, "skips": {"chat": 5}}, options()) == []
    (unequal,) = faults(good | {"missed": {"chat": 5}, "skips": {"chat": 4}}, options())
    assert unequal == "the stalled missed {'chat': 5}, the hub skipped {'chat': 4}"
    assert faults(good | {"lost_sockets": 1, "identity": {"chat": lane | {"skipped": 1}}}, options()) == ["lost_sockets is 1"]
    del good["ratio"]
    assert faults(good, tight)[0] == "no ratio was measured"


def test_figures_are_summed_over_hubs_and_over_labels_that_are_not_asked_for() -> None:
    pid, values = parse(METRICS)
    figures = Figures({pid: values, 13: values})
    assert pid == 12
    assert figures.of("live_hub_skipped_items_total", lane="chat") == 14
    assert figures.of("live_hub_skipped_items_total", reason="slow") == 12
    assert figures.of("live_hub_skipped_items_total", 13, reason="slow") == 6
    assert figures.of("live_hub_unheard_of_total") == 0
    assert figures.since(Figures({12: values})).of("live_hub_written_frames_total") == 1000


def test_a_hub_that_does_not_say_who_it_is_cannot_be_measured() -> None:
    with pytest.raises(StageError, match="live_hub_info"):
        parse("# TYPE live_hub_looks counter\nlive_hub_looks_total 3.0\n")


def test_a_slice_of_the_hub_is_worth_frames_over_its_own_time() -> None:
    _, values = parse(METRICS)
    assert hub_slice(Figures({12: values}), 1.0, 0.5).per_s == 2000
    assert hub_slice(Figures({12: values, 13: values}), 1.0, 0.5) == Slice(2000, 4000, 1.0, 0.5)
    with pytest.raises(StageError, match="wrote nothing"):
        hub_slice(Figures({12: {}}), 1.0, 0.5)


def test_the_ratio_is_the_median_of_the_pairs_and_tells_how_far_they_lie_apart() -> None:
    pairs = Pairs([Slice(10, per_s, 50.0, 1.25) for per_s in (80, 90, 100)], [Slice(10, 100.0, 100.0, 1.0, again=1) for _ in range(3)])
    report = pairs.report(by_receipt=True)
    assert (report["ratio"], report["ratio_spread"], report["ratio_by_receipt"], report["bare_again"]) == (0.9, 0.2, 0.5, 3)
    assert (report["sends_per_s"], report["limit_sends_per_s"], report["ratio_by_cpu"]) == (90, 100, 0.8)
    assert "ratio_by_receipt" not in pairs.report(by_receipt=False)


@pytest.mark.parametrize(("frame", "found"), [(127, 125), (130, 126), (154.4, 150), (65_539, 65_535), (65_546, 65_536)])
def test_the_payload_is_the_frame_without_its_head(frame: float, found: int) -> None:
    assert payload(frame) == found


@pytest.mark.show
@pytest.mark.timeout(120)
@pytest.mark.parametrize("profile", ["tick", "single"])
async def test_a_small_roomful_gets_everything_once(profile: str) -> None:
    words = ["--viewers", "60", "--seconds", "2", "--profile", profile, "--comments", "50", "--states", "100", "--pairs", "1"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest.fanout", *words), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    report = json.loads(output.strip().rpartition("\n")[2])
    assert report.keys() >= KEYS
    assert (report["viewers"], report["delivered_ratio"], report["critical_lost"], report["skipped"]) == (60, 1.0, 0, 0)
    assert all(lane["offered"] == lane["received"] for lane in report["identity"].values())
    assert report["identity"]["critical"]["offered"] > 0
    assert (report["identity"]["chat"]["offered"] > 0) == (profile == "tick")
