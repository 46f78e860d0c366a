"""Logs of a process as its reader sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

FAILS = """
import structlog
from live.infra.observe import set_up_logs
set_up_logs("worker")
def sweep():
    password = "not-for-logs"
    raise LookupError("nobody")
try:
    sweep()
except LookupError:
    structlog.get_logger("worker").exception("sweep failed", sweep="expire")
"""


def said(env: str) -> str:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("LIVE_")}
    done = subprocess.run([sys.executable, "-c", FAILS], env=bare | {"LIVE_ENV": env}, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("env", ["development", "production"])
def test_a_failure_is_told_with_its_traceback_and_without_what_variables_held(env: str) -> None:
    lines = said(env)
    assert "LookupError: nobody" in lines
    assert "in sweep" in lines
    assert "not-for-logs" not in lines


def test_in_production_a_failure_is_one_line_of_json() -> None:
    line = json.loads(said("production"))
    assert (line["event"], line["sweep"], line["process"], line["level"]) == ("sweep failed", "expire", "worker", "error")
    assert line["exception"].endswith("LookupError: nobody")
