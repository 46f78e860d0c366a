"""The pages' own tests (static/*/*.test.mjs), run by node where there is one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[2] / "static"
SDK = STATIC / "sdk"
SECONDS = 50  # below the suite's own limit for one test; they take one


def test_what_needs_no_page_passes_its_tests_in_node() -> None:
    node = shutil.which("node")
    if node is None:
        missing = "node is not on PATH, so the pages' own tests did not run"
        if os.environ.get("LIVE_TEST_REQUIRE") == "all":
            pytest.fail(missing)
        pytest.skip(missing)
    files = sorted(str(path) for path in STATIC.glob("*/*.test.mjs"))
    done = subprocess.run([node, "--test", "--test-reporter=tap", *files], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) >= 20, "fewer tests ran than there are"


def test_the_room_client_has_no_dom_in_it() -> None:
    """The same files are meant for a mini-program, which has none."""
    for path in SDK.glob("*.js"):
        found = re.findall(r"\b(document|window|localStorage|navigator)\b", path.read_text(encoding="utf-8"))
        assert not found, f"{path.name} uses {found}"
