"""Whose processor time it was."""

from __future__ import annotations

import os
import sys
import time

import pytest

from loadtest.processes import cpu, spent


def test_the_difference_of_two_looks_is_sorted_and_counts_newcomers_from_zero() -> None:
    assert spent({"hub": 1.0, "load": 2.0}, {"load": 2.5, "hub": 3.0, "ledger": 0.25}) == {"hub": 2.0, "load": 0.5, "ledger": 0.25}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_our_own_time_is_seen() -> None:
    before = cpu(os.getpid())
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    assert spent(before, cpu(os.getpid()))["load"] >= 0.09
